// Command kongtest runs the stand-in for Kong's Admin API on its own, to try a
// client by hand.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"os/signal"
	"syscall"

	"github.com/pluginbinding/kong-plugin-operator/test/kongtest"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

// run serves until the context ends, and returns the exit code.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	opts, err := options(args, stderr)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return 0
	case err != nil:
		fmt.Fprintln(stderr, "kongtest:", err)
		return 2
	}
	srv, err := start(opts)
	if err != nil {
		fmt.Fprintln(stderr, err)
		return 1
	}
	defer srv.Close()
	fmt.Fprintln(stdout, srv.URL())
	<-ctx.Done()
	return 0
}

func options(args []string, stderr io.Writer) ([]kongtest.Option, error) {
	fs := flag.NewFlagSet("kongtest", flag.ContinueOnError)
	fs.SetOutput(stderr)
	listen := fs.String("listen", "127.0.0.1:8001", "loopback `address` to listen on")
	dbless := fs.Bool("db-less", false, "be a Kong without a database")
	version := fs.String("version-string", kongtest.DefaultVersion, "`version` to report")
	perSecond := fs.Float64("rate-limit", 0, "`requests` a second to let through; more are answered 429 (0: no limit)")
	burst := fs.Int("rate-burst", 5, "`requests` that may come at once under --rate-limit")
	verbose := fs.Bool("v", false, "report every request on standard error")
	if err := fs.Parse(args); err != nil {
		return nil, err
	}
	if fs.NArg() > 0 {
		return nil, fmt.Errorf("unexpected argument %q", fs.Arg(0))
	}
	if *perSecond < 0 || *burst < 1 {
		return nil, errors.New("--rate-limit must not be negative, and --rate-burst at least 1")
	}
	if err := loopback(*listen); err != nil {
		return nil, err
	}
	opts := []kongtest.Option{kongtest.WithListen(*listen), kongtest.WithVersion(*version), kongtest.WithRateLimit(*perSecond, *burst)}
	if *dbless {
		opts = append(opts, kongtest.WithDBLess())
	}
	if *verbose {
		opts = append(opts, kongtest.WithLog(func(format string, args ...any) { fmt.Fprintf(stderr, format+"\n", args...) }))
	}
	return opts, nil
}

// loopback refuses addresses that other machines can reach: the stand-in has no
// access control.
func loopback(addr string) error {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return err
	}
	if ip := net.ParseIP(host); host != "localhost" && (ip == nil || !ip.IsLoopback()) {
		return fmt.Errorf("--listen %s: not a loopback address; use 127.0.0.1 or localhost", addr)
	}
	return nil
}

// start is New with an error instead of a panic.
func start(opts []kongtest.Option) (srv *kongtest.Server, err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("%v", r)
		}
	}()
	return kongtest.New(opts...), nil
}
