// Command kic runs the stand-in for Kong's ingress controller on its own.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/pluginbinding/kong-plugin-operator/test/kongtest/kic"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

type settings struct {
	kic.Options
	kubeconfig string
	printCRDs  bool
}

// run syncs until the context ends, and returns the exit code.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	s, err := parse(args, stderr)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return 0
	case err != nil:
		fmt.Fprintln(stderr, "kic:", err)
		return 2
	}
	if s.printCRDs {
		_, _ = stdout.Write(kic.CRDs()) // the reader is gone
		return 0
	}
	config, err := restConfig(s.kubeconfig)
	if err != nil {
		fmt.Fprintln(stderr, "kic:", err)
		return 1
	}
	k, err := kic.Start(ctx, config, s.Options)
	if err != nil {
		fmt.Fprintln(stderr, err)
		return 1
	}
	fmt.Fprintln(stdout, "kic: syncing to", s.AdminURL)
	<-ctx.Done()
	k.Stop()
	return 0
}

func parse(args []string, stderr io.Writer) (settings, error) {
	var s settings
	fs := flag.NewFlagSet("kic", flag.ContinueOnError)
	fs.SetOutput(stderr)
	fs.StringVar(&s.AdminURL, "kong-admin-url", "", "`URL` of the Admin API to write to")
	fs.StringVar(&s.kubeconfig, "kubeconfig", "", "`file` with the access to the API server (default: as kubectl finds it)")
	fs.DurationVar(&s.Interval, "interval", kic.DefaultInterval, "`time` from one sync to the next")
	fs.StringVar(&s.Tag, "tag", kic.DefaultTag, "`tag` of the rows that it writes")
	fs.StringVar(&s.IngressClass, "ingress-class", kic.DefaultIngressClass, "`class` of its Ingresses, besides those without one")
	fs.StringVar(&s.Namespace, "namespace", kic.DefaultNamespace, "`namespace` of the events about its syncs")
	fs.BoolVar(&s.ReverseSync, "enable-reverse-sync", false, "read Kong at every tick")
	fs.BoolVar(&s.printCRDs, "print-crds", false, "print the CRDs of KongPlugin, KongClusterPlugin and KongConsumer, for kubectl apply -f -, and exit")
	verbose := fs.Bool("v", false, "report every sync on standard error")
	if err := fs.Parse(args); err != nil {
		return s, err
	}
	switch {
	case fs.NArg() > 0:
		return s, fmt.Errorf("unexpected argument %q", fs.Arg(0))
	case s.AdminURL == "" && !s.printCRDs:
		return s, errors.New("--kong-admin-url is missing")
	case s.Interval <= 0:
		return s, errors.New("--interval must be more than 0")
	}
	if *verbose {
		s.Log = func(format string, args ...any) { fmt.Fprintf(stderr, format+"\n", args...) }
	}
	return s, nil
}

func restConfig(kubeconfig string) (*rest.Config, error) {
	rules := clientcmd.NewDefaultClientConfigLoadingRules()
	rules.ExplicitPath = kubeconfig
	return clientcmd.NewNonInteractiveDeferredLoadingClientConfig(rules, nil).ClientConfig()
}
