// Command bundle assembles the OLM bundle: it reads what kustomize makes of
// config/manifests from stdin and writes bundle/ and bundle.Dockerfile below --output.
// The same input gives the same files, so that a stale bundle shows as a difference.
//
//	kustomize build config/manifests | VERSION=0.1.0 go run ./hack/bundle
package main

import (
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
)

func main() {
	output := flag.String("output", ".", "directory that gets bundle/ and bundle.Dockerfile")
	version := flag.String("version", os.Getenv("VERSION"), "version of the operator; default $VERSION")
	flag.Parse()

	if err := run(os.Stdin, *output, *version); err != nil {
		fmt.Fprintln(os.Stderr, "bundle:", err)
		os.Exit(1)
	}
}

func run(manifests io.Reader, output, version string) error {
	objects, err := parse(manifests)
	if err != nil {
		return err
	}
	files, err := assemble(objects, version)
	if err != nil {
		return err
	}
	// What an earlier run wrote and this one does not must not stay in the bundle.
	if err := os.RemoveAll(filepath.Join(output, "bundle")); err != nil {
		return err
	}
	for name, content := range files {
		path := filepath.Join(output, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(path, content, 0o644); err != nil {
			return err
		}
	}
	return nil
}
