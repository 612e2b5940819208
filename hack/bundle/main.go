// Command bundle assembles the OLM bundle: it reads what kustomize makes of
// config/manifests from stdin and writes bundle/ and bundle.Dockerfile below --output.
// The same input gives the same files, so that a stale bundle shows as a difference.
//
//	kustomize build config/manifests | go run ./hack/bundle --version=0.2.0 --replaces=0.1.0
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
	var r release
	flag.StringVar(&r.version, "version", "", "`version` of the operator; by default the one in the base")
	flag.StringVar(&r.replaces, "replaces", "", "`version` that an upgrade to this one starts from")
	flag.StringVar(&r.skipRange, "skip-range", "", "`range` of versions that may be left out on the way, such as \">=0.1.0 <0.2.0\"")
	flag.StringVar(&r.createdAt, "created-at", "", "`time` of the bundle as in RFC 3339; by default the one in the base")
	flag.Parse()

	if err := run(os.Stdin, *output, r); err != nil {
		fmt.Fprintln(os.Stderr, "bundle:", err)
		os.Exit(1)
	}
}

func run(manifests io.Reader, output string, r release) error {
	objects, err := parse(manifests)
	if err != nil {
		return err
	}
	files, err := assemble(objects, r)
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
