package importer

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"k8s.io/cli-runtime/pkg/printers"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/pluginbinding/kong-plugin-operator/api/v1alpha1"
	"github.com/pluginbinding/kong-plugin-operator/cmd/kubectl-pluginbinding/internal/cli"
	"github.com/pluginbinding/kong-plugin-operator/cmd/kubectl-pluginbinding/internal/kong"
)

const long = `Print the objects for the plugins that a Kong already has. Nothing is written to the cluster or to Kong.

  --from kic        plugins of Kong's ingress controller. One KongPlugin on one object becomes a
                    PluginPolicy if there are several plugins of it in Kong, otherwise a PluginBinding
  --from unowned    plugins that nobody has marked
  --from all        both
  --from deck       plugins in the state files of decK that -f names, with what to take out of them
  --from terraform  plugins in the output of terraform show -json that -f names, likewise

A plugin without an owner keeps its ID, by spec.pluginID. A plugin of the ingress controller keeps it as
well, unless its policy puts a plugin beside it: on the route together with its service.

A value that is secret, or may be, is never printed. The objects refer to a Secret that has no value
until you fill it in, or to those of the KongPlugin. --secrets-file writes the Secrets with their values
into a file that only you can read.

What an object cannot say is reported on standard error. Plugins that are bound already are left out.`

const examples = `  # What Kong's ingress controller made of the objects in namespace shop
  kubectl pluginbinding import --from kic -n shop > shop.yaml

  # The plugins of a decK state file, once its entries are removed
  kubectl pluginbinding import --from deck -f kong.yaml --i-removed-it --secrets-file secrets.yaml > bindings.yaml

  # Everything that nobody has marked, as bindings in namespace platform
  kubectl pluginbinding import --from unowned --gateway kong/main --target-namespace platform`

type options struct {
	from, policies string
	gateway        string
	target         string
	cluster        string
	secretsFile    string
	output         string
	files          []string
	removed        bool
	strict         bool
}

// NewCommand returns the command import.
func NewCommand(f *cli.Factory) *cobra.Command {
	o := &options{}
	command := &cobra.Command{
		Use:     "import [--from kic|deck|terraform|unowned|all] [-f FILE...]",
		Short:   "Print the objects for the plugins that a Kong already has",
		Long:    long,
		Example: examples,
		Args:    cobra.NoArgs,
		RunE:    func(command *cobra.Command, _ []string) error { return o.run(command, f) },
	}
	flags := command.Flags()
	flags.StringVar(&o.from, "from", string(FromAll), "Whose plugins to import: kic, deck, terraform, unowned or all")
	flags.StringSliceVarP(&o.files, "filename", "f", nil, "State files of decK, or the output of terraform show -json; - is standard input")
	flags.StringVar(&o.gateway, "gateway", "", "KongGateway as NAME or NAMESPACE/NAME; needed if there are several")
	flags.StringVar(&o.target, "target-namespace", "", "Namespace for what belongs to no namespace (default: that of the KongGateway)")
	flags.StringVar(&o.policies, "policies", string(PoliciesAuto), "When the plugins of one KongPlugin become a PluginPolicy: auto (if there are several on one object), always or never")
	flags.StringVar(&o.cluster, "cluster-id", "", "The --cluster-id of the operator, if it has one and no binding has a plugin yet")
	flags.StringVar(&o.secretsFile, "secrets-file", "", "File to create for the Secrets with their values; only its owner can read it")
	flags.StringVarP(&o.output, "output", "o", "yaml", "Output format: yaml or json")
	flags.BoolVar(&o.removed, "i-removed-it", false, "decK or Terraform does not manage the plugins any more: the entries are out of its state")
	flags.BoolVar(&o.strict, "strict", false, "Exit with 1 if anything was left out or cannot be said")
	complete(command, "from", "kic", "deck", "terraform", "unowned", "all")
	complete(command, "policies", "auto", "always", "never")
	complete(command, "output", "yaml", "json")
	return command
}

func complete(command *cobra.Command, flag string, values ...string) {
	if err := command.RegisterFlagCompletionFunc(flag, cobra.FixedCompletions(values, cobra.ShellCompDirectiveNoFileComp)); err != nil {
		panic(err) // the flag exists
	}
}

func (o *options) check() error {
	withFiles := o.from == string(FromDeck) || o.from == string(FromTerraform)
	switch {
	case !slices.Contains(Sources, Source(o.from)):
		return fmt.Errorf("--from %q: use kic, deck, terraform, unowned or all", o.from)
	case !slices.Contains([]Policies{PoliciesAuto, PoliciesAlways, PoliciesNever}, Policies(o.policies)):
		return fmt.Errorf("--policies %q: use auto, always or never", o.policies)
	case o.output != "yaml" && o.output != "json":
		return fmt.Errorf("-o %q: use yaml or json", o.output)
	case withFiles && len(o.files) == 0:
		return fmt.Errorf("--from %s needs -f with its state", o.from)
	case !withFiles && len(o.files) > 0:
		return fmt.Errorf("-f is for --from deck and --from terraform")
	case !withFiles && o.removed:
		return errors.New("--i-removed-it is for --from deck and --from terraform")
	}
	return nil
}

func (o *options) run(command *cobra.Command, f *cli.Factory) error {
	if err := o.check(); err != nil {
		return err
	}
	ctx, cancel := f.Context(command)
	defer cancel()
	in, err := o.gather(ctx, f)
	if err != nil {
		return err
	}
	result := Plan(in)
	if err := o.print(f, result); err != nil {
		return err
	}
	Report(f.ErrOut, in, result, o.secretsFile)
	if refusedOf(result) > 0 || o.strict && len(result.Unsaid) > 0 {
		return cli.ErrFindings
	}
	return nil
}

// gather reads what the import depends on.
func (o *options) gather(ctx context.Context, f *cli.Factory) (Input, error) {
	in := Input{Source: Source(o.from), Policies: Policies(o.policies), Target: o.target, Removed: o.removed}
	reader, err := f.Client()
	if err != nil {
		return in, err
	}
	namespace, named, err := f.Namespace()
	if err != nil {
		return in, err
	}
	if named {
		in.Namespace = namespace
	}
	if in.State, err = o.readState(f); err != nil {
		return in, err
	}
	if in.Gateway, err = chooseGateway(ctx, reader, o.gateway, namespace); err != nil {
		return in, err
	}
	if err := checkWorkspace(in.State, in.Gateway); err != nil {
		return in, err
	}
	connection, err := kong.OpenReadOnly(ctx, f, in.Gateway)
	if err != nil {
		return in, err
	}
	defer connection.Close()
	if in.Kong, err = ReadKong(ctx, connection); err != nil {
		return in, err
	}
	if in.Kube, err = ReadBindings(ctx, reader, in.Gateway); err != nil {
		return in, err
	}
	if in.Source == FromKIC || in.Source == FromAll {
		in.Kube.ReadIngressObjects(ctx, reader, &in.Kong)
	}
	if in.Cluster = o.cluster; in.Cluster == "" {
		in.Cluster, err = ClusterOf(ctx, reader, in.Kong.Plugins, in.Kube.Bindings)
	}
	return in, err
}

// readState reads the state of the other tool, nil if there is none.
func (o *options) readState(f *cli.Factory) (*State, error) {
	if len(o.files) == 0 {
		return nil, nil //nolint:nilnil // no state
	}
	state := &State{}
	for _, name := range o.files {
		raw, err := readFile(f, name)
		if err != nil {
			return nil, err
		}
		parse := ParseDeck
		if o.from == string(FromTerraform) {
			parse = ParseTerraform
		}
		if err := parse(state, name, raw); err != nil {
			return nil, err
		}
	}
	return state, nil
}

func readFile(f *cli.Factory, name string) ([]byte, error) {
	in := f.In
	if name != "-" {
		file, err := os.Open(name) //nolint:gosec // G304: the user names the file
		if err != nil {
			return nil, err
		}
		defer file.Close()
		in = file
	}
	return io.ReadAll(io.LimitReader(in, MaxStateBytes+1))
}

// defaultWorkspace is what Kong calls the workspace of a gateway that names none.
const defaultWorkspace = "default"

func checkWorkspace(state *State, gateway *v1alpha1.KongGateway) error {
	if state == nil || state.Workspace == "" {
		return nil
	}
	if own := cmp.Or(string(gateway.Spec.Workspace), defaultWorkspace); own != state.Workspace {
		return fmt.Errorf("the state is of the workspace %s, and KongGateway %s/%s leads to the workspace %s; name another one with --gateway",
			state.Workspace, gateway.Namespace, gateway.Name, own)
	}
	return nil
}

// chooseGateway returns the gateway that was named, or the only one.
func chooseGateway(ctx context.Context, reader client.Reader, named, namespace string) (*v1alpha1.KongGateway, error) {
	if named != "" {
		key := client.ObjectKey{Namespace: namespace, Name: named}
		if before, name, found := strings.Cut(named, "/"); found {
			key = client.ObjectKey{Namespace: before, Name: name}
		}
		gateway := &v1alpha1.KongGateway{}
		if err := reader.Get(ctx, key, gateway); err != nil {
			return nil, fmt.Errorf("KongGateway %s cannot be read: %w", key, err)
		}
		return gateway, nil
	}
	list := &v1alpha1.KongGatewayList{}
	if err := reader.List(ctx, list); err != nil {
		return nil, fmt.Errorf("the KongGateways cannot be listed; name one with --gateway: %w", err)
	}
	var names []string
	for i := range list.Items {
		names = append(names, list.Items[i].Namespace+"/"+list.Items[i].Name)
	}
	switch len(names) {
	case 0:
		return nil, errors.New("there is no KongGateway; create one that leads to the Kong, see docs/konggateway.md")
	case 1:
		return &list.Items[0], nil
	default:
		return nil, fmt.Errorf("there are several KongGateways; name one with --gateway: %s", strings.Join(names, ", "))
	}
}

// print writes the Secrets into their file, and everything else to the output.
func (o *options) print(f *cli.Factory, result Result) error {
	secrets := result.Secrets
	if o.secretsFile != "" && len(secrets) > 0 {
		if err := writeSecrets(o.secretsFile, secrets); err != nil {
			return err
		}
		secrets = nil
	}
	if o.output == "yaml" {
		return PrintYAML(f.Out, secrets, result, false)
	}
	list, err := List(secrets, result, false)
	if err != nil {
		return err
	}
	return (&printers.JSONPrinter{}).PrintObj(list, f.Out)
}

// writeSecrets creates a file that only its owner can read. A file that exists stays: others may be able
// to read it, and it may hold something else.
func writeSecrets(name string, secrets []Secret) error {
	file, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600) //nolint:gosec // G304: the user names the file
	if err != nil {
		return fmt.Errorf("--secrets-file: %w", err)
	}
	if err := PrintYAML(file, secrets, Result{}, true); err != nil {
		return errors.Join(err, file.Close())
	}
	return file.Close()
}
