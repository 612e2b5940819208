// Command release completes the directory of a release: the bundle as an archive, the kubectl
// plugin for every platform and its krew manifest if the tree has one, an SBOM per program,
// and SHA256SUMS over all files in the directory. The same tree makes the same bytes.
//
//	go run . --version=1.2.3 --source=TREE --bundle=DIR --output=DIR
package main

import (
	"crypto/sha256"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
)

// product begins the names of all files but the plugin's.
const product = "kong-plugin-operator"

var semver = regexp.MustCompile(`^\d+\.\d+\.\d+(-[0-9A-Za-z.-]+)?$`)

// release is what is being made.
type release struct {
	version string
	source  string // the tree
	bundle  string // the OLM bundle of this version
	output  string
}

func main() {
	var r release
	flag.StringVar(&r.version, "version", "", "`version` of the release, such as 1.2.3")
	flag.StringVar(&r.source, "source", ".", "`directory` of the source tree")
	flag.StringVar(&r.bundle, "bundle", "", "`directory` of the OLM bundle")
	flag.StringVar(&r.output, "output", "", "`directory` of the release")
	flag.Parse()
	if err := r.run(); err != nil {
		fmt.Fprintln(os.Stderr, "release:", err)
		os.Exit(1)
	}
}

func (r release) run() error {
	if !semver.MatchString(r.version) {
		return fmt.Errorf("version %q: must be like 1.2.3", r.version)
	}
	if r.output == "" || r.bundle == "" {
		return errors.New("--output and --bundle are needed")
	}
	if err := os.MkdirAll(r.output, 0o755); err != nil {
		return err
	}
	for _, step := range []func() error{r.writeBundle, r.writeManagerSBOM, r.writePlugin, r.writeChecksums} {
		if err := step(); err != nil {
			return err
		}
	}
	return nil
}

// writeBundle packs the bundle's directory.
func (r release) writeBundle() error {
	files, err := filesOf(r.bundle, "bundle")
	if err != nil {
		return err
	}
	if len(files) == 0 {
		return fmt.Errorf("%s is empty", r.bundle)
	}
	return r.writeArchive(fmt.Sprintf("%s-bundle-%s.tar.gz", product, r.version), files)
}

func (r release) writeArchive(name string, files []file) error {
	content, err := archive(files)
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(r.output, name), content, 0o644)
}

const checksums = "SHA256SUMS"

// writeChecksums goes last: it is about every file of the release.
func (r release) writeChecksums() error {
	entries, err := os.ReadDir(r.output) // sorted by name
	if err != nil {
		return err
	}
	var sums strings.Builder
	for _, entry := range entries {
		if entry.IsDir() {
			return fmt.Errorf("%s is a directory; a release is files", entry.Name())
		}
		if entry.Name() == checksums {
			continue
		}
		sum, err := sha256Of(filepath.Join(r.output, entry.Name()))
		if err != nil {
			return err
		}
		fmt.Fprintf(&sums, "%s  %s\n", sum, entry.Name())
	}
	return os.WriteFile(filepath.Join(r.output, checksums), []byte(sums.String()), 0o644)
}

func sha256Of(name string) (string, error) {
	content, err := os.ReadFile(name)
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("%x", sha256.Sum256(content)), nil
}
