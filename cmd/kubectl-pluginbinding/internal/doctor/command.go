package doctor

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/types"

	"github.com/pluginbinding/kong-plugin-operator/cmd/kubectl-pluginbinding/internal/cli"
)

const long = `Say what is wrong, grouped by kind, with what to do next.

It looks at the operator, its CustomResourceDefinitions, KongGateways, PluginBindings and PluginPolicies,
at the events of Kong's ingress controller, and at every plugin in every Kong that a KongGateway leads to.
It writes nothing. What it could not look at is a finding, too.

Exit codes: 0 nothing found, 1 something found.`

const examples = `  # Everything
  kubectl pluginbinding doctor

  # The objects of one namespace
  kubectl pluginbinding doctor -n shop

  # For a machine, without what is only a reminder
  kubectl pluginbinding doctor -o json --min-severity Warning`

// defaultPause is from when on a pause is long.
const defaultPause = 24 * time.Hour

type options struct {
	gateway     string
	cluster     string
	minSeverity string
	pausedFor   time.Duration
	output      *cli.Output
}

// NewCommand returns the command doctor.
func NewCommand(f *cli.Factory) *cobra.Command {
	o := &options{output: cli.NewTextOutput()}
	command := &cobra.Command{
		Use:     "doctor",
		Short:   "Say what is wrong, with what to do next",
		Long:    long,
		Example: examples,
		Args:    cobra.NoArgs,
		RunE:    func(command *cobra.Command, _ []string) error { return o.run(command, f) },
	}
	flags := command.Flags()
	flags.StringVar(&o.gateway, "gateway", "", "Look only into the Kong of this KongGateway, NAME or NAMESPACE/NAME")
	flags.StringVar(&o.cluster, "cluster-id", "", "The --cluster-id of the operator, if it has one and no binding has a plugin yet")
	flags.StringVar(&o.minSeverity, "min-severity", string(Info), "Leave out what is less severe: Error, Warning or Info")
	flags.DurationVar(&o.pausedFor, "paused-for", defaultPause, "From when on a pause is a finding")
	o.output.AddFlags(command)
	values := make([]string, len(Severities))
	for i, severity := range Severities {
		values[i] = string(severity)
	}
	if err := command.RegisterFlagCompletionFunc("min-severity", cobra.FixedCompletions(values, cobra.ShellCompDirectiveNoFileComp)); err != nil {
		panic(err) // the flag exists
	}
	return command
}

func (o *options) run(command *cobra.Command, f *cli.Factory) error {
	least := slices.Index(Severities, Severity(o.minSeverity))
	if least < 0 {
		return fmt.Errorf("--min-severity %q: use Error, Warning or Info", o.minSeverity)
	}
	if f.KongURL != "" && o.gateway == "" {
		return errors.New("--kong-url is the URL of one Kong: name its KongGateway with --gateway")
	}
	reader, err := f.Client()
	if err != nil {
		return err
	}
	namespace, named, err := f.Namespace()
	if err != nil {
		return err
	}
	ctx, cancel := f.Context(command)
	defer cancel()
	g := &gatherer{Reader: reader, f: f, facts: Facts{Now: time.Now(), Cluster: o.cluster, PausedFor: o.pausedFor}}
	if named {
		g.facts.Namespace = namespace
	}
	g.gather(ctx, keyOf(o.gateway, namespace))
	findings := slices.DeleteFunc(Diagnose(g.facts), func(found Finding) bool { return slices.Index(Severities, found.Severity) > least })
	if err := o.print(f, findings); err != nil {
		return err
	}
	if len(findings) > 0 {
		return cli.ErrFindings
	}
	return nil
}

// keyOf is the key of a KongGateway on the command line.
func keyOf(named, namespace string) types.NamespacedName {
	if named == "" {
		return types.NamespacedName{}
	}
	if before, name, found := strings.Cut(named, "/"); found {
		return types.NamespacedName{Namespace: before, Name: name}
	}
	return types.NamespacedName{Namespace: namespace, Name: named}
}

// diagnosisOutput is what -o json and -o yaml print.
type diagnosisOutput struct {
	Findings []Finding `json:"findings"`
}

func (o *options) print(f *cli.Factory, findings []Finding) error {
	if o.output.Human() {
		return printGroups(f.Out, findings, f.Colour())
	}
	return o.output.Print(f, &cli.Result{Kind: "Diagnosis", Value: diagnosisOutput{Findings: append([]Finding{}, findings...)}})
}

// The colours of severities on a terminal.
var colours = map[Severity]string{Error: "\x1b[31m", Warning: "\x1b[33m", Info: "\x1b[36m"}

const bold, plain = "\x1b[1m", "\x1b[0m"

// printGroups prints findings for people: a title for each kind, and what to do below each finding.
func printGroups(w io.Writer, findings []Finding, colour bool) error {
	paint := func(code, text string) string {
		if !colour {
			return text
		}
		return code + text + plain
	}
	var b strings.Builder
	if len(findings) == 0 {
		b.WriteString("Nothing is wrong.\n")
	}
	for i, found := range findings {
		if i == 0 || findings[i-1].Kind != found.Kind {
			if i > 0 {
				b.WriteString("\n")
			}
			count := 0
			for _, other := range findings {
				if other.Kind == found.Kind {
					count++
				}
			}
			fmt.Fprintf(&b, "%s (%s, %d)\n", paint(bold, titleOf(found.Kind)), found.Kind, count)
		}
		in := ""
		if found.Gateway != "" && !strings.Contains(found.Object, found.Gateway) {
			in = " at " + found.Gateway
		}
		fmt.Fprintf(&b, "  %s %s%s\n    %s\n    Next: %s\n", paint(colours[found.Severity], string(found.Severity)+":"), found.Object, in, found.Message, found.Next)
	}
	_, err := io.WriteString(w, b.String())
	return err
}
