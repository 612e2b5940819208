// Package root is the command that has all others, and the only package that knows them.
//
// A command adds itself with one line in commands.
package root

import (
	"context"
	"flag"
	"fmt"
	"os"
	"strconv"

	"github.com/go-logr/logr"
	"github.com/spf13/cobra"
	"k8s.io/cli-runtime/pkg/genericiooptions"
	"k8s.io/klog/v2"
	ctrllog "sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/pluginbinding/kong-plugin-operator/cmd/kubectl-pluginbinding/internal/cli"
	"github.com/pluginbinding/kong-plugin-operator/cmd/kubectl-pluginbinding/internal/doctor"
	"github.com/pluginbinding/kong-plugin-operator/cmd/kubectl-pluginbinding/internal/handover"
	"github.com/pluginbinding/kong-plugin-operator/cmd/kubectl-pluginbinding/internal/importer"
	"github.com/pluginbinding/kong-plugin-operator/cmd/kubectl-pluginbinding/internal/plan"
	"github.com/pluginbinding/kong-plugin-operator/cmd/kubectl-pluginbinding/internal/rename"
	"github.com/pluginbinding/kong-plugin-operator/cmd/kubectl-pluginbinding/internal/tree"
	"github.com/pluginbinding/kong-plugin-operator/cmd/kubectl-pluginbinding/internal/validate"
	"github.com/pluginbinding/kong-plugin-operator/internal/version"
)

// commands are the constructors of the commands, in the order of the help.
var commands = []func(*cli.Factory) *cobra.Command{
	importer.NewCommand,
	doctor.NewCommand,
	handover.NewHandover,
	handover.NewHandback,
	tree.NewCommand,
	plan.NewCommand,
	validate.NewCommand,
	rename.NewCommand,
}

const long = `Work with the plugins that the Kong Plugin Operator keeps in Kong.

It talks to the cluster of the current kubeconfig with your own rights, and to Kong through the
settings of a KongGateway: directly with --kong-url; through the API server's proxy if the host of
adminURL is a Service; through a port-forward if the proxy is not allowed or cannot carry the
connection; otherwise directly.

Exit codes: 0 done, 1 an error or findings, 2 something would change.`

// Run runs the command line and returns the exit code.
func Run(ctx context.Context, streams genericiooptions.IOStreams, args []string) int {
	quietLibraries()
	f := cli.NewFactory(streams)
	command := newCommand(f)
	command.SetArgs(args)
	return cli.Report(streams.ErrOut, f.Explain(command.ExecuteContext(ctx)))
}

// newCommand returns the command with all others below it.
func newCommand(f *cli.Factory) *cobra.Command {
	command := &cobra.Command{
		Use:   "kubectl-pluginbinding",
		Short: "Work with the plugins that the Kong Plugin Operator keeps in Kong",
		Long:  long,
		Annotations: map[string]string{
			cobra.CommandDisplayNameAnnotation: cli.Name,
		},
		Version:       version.String(),
		SilenceErrors: true,
		SilenceUsage:  true,
		Args:          cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			return c.Help()
		},
	}
	command.SetIn(f.In)
	command.SetOut(f.Out)
	command.SetErr(f.ErrOut)
	f.AddFlags(command.PersistentFlags())
	for _, constructor := range commands {
		command.AddCommand(constructor(f))
	}
	command.AddCommand(newVersionCommand(f))
	return command
}

func newVersionCommand(f *cli.Factory) *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Print the version of this plugin",
		Args:  cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			_, err := fmt.Fprintln(f.Out, version.String())
			return err
		},
	}
}

// maxVerbosity is the highest level of KUBECTL_PLUGINBINDING_V. Above it, client-go logs headers and bodies:
// the token for Kong, and Secrets.
const maxVerbosity = 6

// verbosity is the level that the environment asks for, within its bound; 0 if it asks for none.
func verbosity(asked string) int {
	level, err := strconv.Atoi(asked)
	if err != nil {
		return 0
	}
	return min(max(level, 0), maxVerbosity)
}

// quietLibraries stops the log lines of the libraries: they are for operators, not for people at a
// terminal. Their errors arrive as errors. KUBECTL_PLUGINBINDING_V=6 shows the requests.
func quietLibraries() {
	ctrllog.SetLogger(logr.Discard())
	flags := flag.NewFlagSet("klog", flag.ContinueOnError)
	klog.InitFlags(flags)
	if level := verbosity(os.Getenv("KUBECTL_PLUGINBINDING_V")); level > 0 {
		if flags.Set("v", strconv.Itoa(level)) == nil {
			return
		}
	}
	klog.SetLogger(logr.Discard()) // whatever else klog is told, it writes errors to stderr
}
