// Command kubectl-pluginbinding is the plugin of kubectl for people who work with PluginBindings: it
// shows what there is, what a change would do, and moves plugins in and out.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"k8s.io/cli-runtime/pkg/genericiooptions"

	"github.com/pluginbinding/kong-plugin-operator/cmd/kubectl-pluginbinding/internal/root"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := root.Run(ctx, genericiooptions.IOStreams{In: os.Stdin, Out: os.Stdout, ErrOut: os.Stderr}, os.Args[1:])
	stop()
	os.Exit(code)
}
