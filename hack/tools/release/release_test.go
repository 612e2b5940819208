package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	cyclonedx "github.com/CycloneDX/cyclonedx-go"
	"sigs.k8s.io/yaml"
)

// tree writes a small source tree, with or without the kubectl plugin.
func tree(t *testing.T, withPlugin bool) string {
	t.Helper()
	const program = "package main\n\nfunc main() { println(version.Version) }\n"
	main := strings.Replace(program, "main\n", "main\n\nimport \""+module+"/internal/version\"\n", 1)
	files := map[string]string{
		"go.mod":                      "module " + module + "\n\ngo 1.26.0\n",
		"LICENSE":                     "Do what you like.\n",
		"cmd/manager/main.go":         main,
		"internal/version/version.go": "package version\n\nvar Version = \"dev\"\n",
		"bundle/metadata/a.yaml":      "a: 1\n",
		"bundle/manifests/b.yaml":     "b: 2\n",
	}
	if withPlugin {
		files["cmd/"+plugin+"/main.go"] = main
	}
	directory := t.TempDir()
	for name, content := range files {
		path := filepath.Join(directory, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return directory
}

// released makes a release and returns its files.
func released(t *testing.T, source string) map[string][]byte {
	t.Helper()
	r := release{version: "1.2.3", source: source, bundle: filepath.Join(source, "bundle"), output: t.TempDir()}
	if err := os.WriteFile(filepath.Join(r.output, "install.yaml"), []byte("kind: List\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := r.run(); err != nil {
		t.Fatal(err)
	}
	entries, err := os.ReadDir(r.output)
	if err != nil {
		t.Fatal(err)
	}
	files := map[string][]byte{}
	for _, entry := range entries {
		if files[entry.Name()], err = os.ReadFile(filepath.Join(r.output, entry.Name())); err != nil {
			t.Fatal(err)
		}
	}
	return files
}

func TestARelease(t *testing.T) {
	for _, withPlugin := range []bool{false, true} {
		files := released(t, tree(t, withPlugin))
		want := []string{checksums, "install.yaml", "kong-plugin-operator-1.2.3.cdx.json", "kong-plugin-operator-bundle-1.2.3.tar.gz"}
		if withPlugin {
			want = append(want, "kubectl-pluginbinding-1.2.3.cdx.json", "pluginbinding.yaml")
			for _, p := range platforms {
				want = append(want, "kubectl-pluginbinding_1.2.3_"+p.os+"_"+p.arch+".tar.gz")
			}
		}
		slices.Sort(want)
		if got := slices.Sorted(maps.Keys(files)); !slices.Equal(got, want) {
			t.Errorf("with plugin %t: %q, want %q", withPlugin, got, want)
		}
		for name := range files {
			if listed := strings.Contains(string(files[checksums]), "  "+name+"\n"); listed == (name == checksums) {
				t.Errorf("%s in %s: %t", name, checksums, listed)
			}
		}
	}
}

func TestTheSameTreeMakesTheSameBytes(t *testing.T) {
	one, other := released(t, tree(t, true)), released(t, tree(t, true)) // in two directories
	for name := range one {
		if !bytes.Equal(one[name], other[name]) {
			t.Errorf("%s differs", name)
		}
	}
}

func TestThePluginsArchives(t *testing.T) {
	files := released(t, tree(t, true))
	var manifest krewPlugin
	if err := yaml.UnmarshalStrict(files["pluginbinding.yaml"], &manifest); err != nil {
		t.Fatal(err)
	}
	if manifest.Metadata["name"] != "pluginbinding" || manifest.Spec.Version != "v1.2.3" || len(manifest.Spec.Platforms) != len(platforms) {
		t.Errorf("krew manifest %+v", manifest)
	}
	for _, p := range manifest.Spec.Platforms {
		name := p.URI[strings.LastIndex(p.URI, "/")+1:]
		if !strings.Contains(string(files[checksums]), p.SHA256+"  "+name+"\n") {
			t.Errorf("%s: the sum is not that of the file", name)
		}
		modes := unpack(t, files[name])
		if modes[p.Bin] != 0o755 || modes["LICENSE"] != 0o644 || len(modes) != 2 {
			t.Errorf("%s: files %v, want %s and LICENSE", name, modes, p.Bin)
		}
	}
}

func unpack(t *testing.T, content []byte) map[string]int64 {
	t.Helper()
	zip, err := gzip.NewReader(bytes.NewReader(content))
	if err != nil {
		t.Fatal(err)
	}
	modes := map[string]int64{}
	for tape := tar.NewReader(zip); ; {
		header, err := tape.Next()
		if errors.Is(err, io.EOF) {
			return modes
		}
		if err != nil {
			t.Fatal(err)
		}
		if !header.ModTime.IsZero() && header.ModTime.Unix() != 0 {
			t.Errorf("%s bears the time %v", header.Name, header.ModTime)
		}
		modes[header.Name] = header.Mode
	}
}

// The SBOM names the modules that the program says it was linked from; this test's own are.
func TestSBOMNamesTheModules(t *testing.T) {
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	r := release{version: "1.2.3", output: t.TempDir()}
	if err := r.writeSBOM(program, "test"); err != nil {
		t.Fatal(err)
	}
	file, err := os.Open(filepath.Join(r.output, "test-1.2.3.cdx.json"))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	var bom cyclonedx.BOM
	if err := cyclonedx.NewBOMDecoder(file, cyclonedx.BOMFileFormatJSON).Decode(&bom); err != nil {
		t.Fatal(err)
	}
	var purls []string
	for _, one := range *bom.Components {
		purls = append(purls, one.PackageURL)
	}
	for _, want := range []string{"pkg:golang/github.com/CycloneDX/cyclonedx-go@v", "pkg:golang/sigs.k8s.io/yaml@v"} {
		if !slices.ContainsFunc(purls, func(purl string) bool { return strings.HasPrefix(purl, want) }) {
			t.Errorf("%s is not among %q", want, purls)
		}
	}
	if !slices.ContainsFunc(purls, func(purl string) bool { return strings.HasPrefix(purl, "pkg:golang/std@go1.") }) {
		t.Errorf("the standard library is not among %q", purls)
	}
	if root := bom.Metadata.Component; root.Version != "v1.2.3" || bom.SerialNumber != "" || bom.Metadata.Timestamp != "" {
		t.Errorf("root %+v, serial number %q, time %q", root, bom.SerialNumber, bom.Metadata.Timestamp)
	}
}

func TestAReleaseIsRefused(t *testing.T) {
	source := tree(t, false)
	for name, r := range map[string]release{
		"a version that is none":   {version: "v1", source: source, bundle: filepath.Join(source, "bundle"), output: t.TempDir()},
		"no bundle":                {version: "1.2.3", source: source, bundle: t.TempDir(), output: t.TempDir()},
		"a tree without manager":   {version: "1.2.3", source: t.TempDir(), bundle: filepath.Join(source, "bundle"), output: t.TempDir()},
		"no directory to write to": {version: "1.2.3", source: source, bundle: filepath.Join(source, "bundle")},
	} {
		if err := r.run(); err == nil {
			t.Errorf("%s: released", name)
		}
	}
}
