// Command olm validates bundles and composes a file-based catalog from them.
//
//	go run . validate BUNDLE...
//	go run . catalog --output=DIR --image=TEMPLATE BUNDLE...
//
// A BUNDLE is a directory with manifests/ and metadata/. A catalog gets one channel, whose
// upgrade edges are what the bundles say (replaces, skips, olm.skipRange), and is refused if
// a version in it cannot be upgraded to the newest.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
)

func main() {
	if err := run(context.Background(), os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "olm:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	if len(args) == 0 {
		return errors.New("use: validate BUNDLE..., or catalog --output=DIR --image=TEMPLATE BUNDLE...")
	}
	flags := flag.NewFlagSet(args[0], flag.ContinueOnError)
	output := flags.String("output", "", "`directory` of the catalog")
	image := flags.String("image", "", "`template` of the bundles' images, with {{.Version}}")
	if err := flags.Parse(args[1:]); err != nil {
		return err
	}
	if flags.NArg() == 0 {
		return errors.New("name a bundle")
	}
	bundles, err := load(flags.Args())
	if err != nil {
		return err
	}
	switch args[0] {
	case "validate":
		return validate(bundles)
	case "catalog":
		return writeCatalog(ctx, *output, *image, bundles)
	}
	return fmt.Errorf("%q is neither validate nor catalog", args[0])
}
