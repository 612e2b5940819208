package main

import (
	"bytes"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"text/template"
)

const committed = "../../../bundle"

// variant copies the committed bundle with some words of its ClusterServiceVersion replaced.
func variant(t *testing.T, oldnew ...string) string {
	t.Helper()
	directory := t.TempDir()
	replacer := strings.NewReplacer(oldnew...)
	err := filepath.WalkDir(committed, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		relative, err := filepath.Rel(committed, path)
		if err != nil {
			return err
		}
		target := filepath.Join(directory, relative)
		if entry.IsDir() {
			return os.MkdirAll(target, 0o755)
		}
		content, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		if strings.HasSuffix(path, ".clusterserviceversion.yaml") {
			changed := []byte(replacer.Replace(string(content)))
			if len(oldnew) > 0 && bytes.Equal(changed, content) {
				t.Fatalf("%s has none of %q", path, oldnew)
			}
			content = changed
		}
		return os.WriteFile(target, content, 0o600)
	})
	if err != nil {
		t.Fatal(err)
	}
	return directory
}

// version is the committed bundle as another version that may replace one.
func version(t *testing.T, number, replaces string) string {
	t.Helper()
	current := loaded(t, committed)[0].CSV.Spec.Version.String()
	if number == current && replaces == "" {
		return variant(t)
	}
	after := "\n  version: " + number + "\n"
	if replaces != "" {
		after = "\n  replaces: kong-plugin-operator.v" + replaces + after
	}
	return variant(t, "kong-plugin-operator.v"+current+"\n", "kong-plugin-operator.v"+number+"\n", "\n  version: "+current+"\n", after)
}

func loaded(t *testing.T, directories ...string) []bundle {
	t.Helper()
	bundles, err := load(directories)
	if err != nil {
		t.Fatal(err)
	}
	return bundles
}

// The committed bundle passes what OperatorHub asks for, without a warning.
func TestTheBundleIsValid(t *testing.T) {
	if err := validate(loaded(t, committed)); err != nil {
		t.Error(err)
	}
}

func TestWhatIsWrongWithABundleIsFound(t *testing.T) {
	for name, test := range map[string]struct {
		oldnew []string
		want   string
	}{
		"a capability that there is not":   {[]string{"capabilities: Seamless Upgrades", "capabilities: Everything"}, "capabilities"},
		"a category that there is not":     {[]string{"categories: Networking", "categories: Plumbing"}, "categor"},
		"an owned kind without an example": {[]string{`"kind": "KongGateway"`, `"kind": "Gateway"`}, "example"},
		"a provider without a name":        {[]string{"name: The Kong Plugin Operator Authors\n    url", "url"}, "rovider"},
	} {
		t.Run(name, func(t *testing.T) {
			err := validate(loaded(t, variant(t, test.oldnew...)))
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got %v, want %q", err, test.want)
			}
		})
	}
}

// A second version that replaces the first is where its channel ends, and OLM reaches it
// from the first.
func TestTheNextVersionIsAnUpgrade(t *testing.T) {
	bundles := loaded(t, version(t, "0.1.0", ""), version(t, "0.2.0", "0.1.0"), version(t, "0.3.0", "0.2.0"))
	if err := validate(bundles); err != nil {
		t.Error(err)
	}
	output := t.TempDir()
	if err := writeCatalog(t.Context(), output, "example.com/bundle:v{{.Version}}", bundles); err != nil {
		t.Fatal(err)
	}
	content, err := os.ReadFile(filepath.Join(output, "kong-plugin-operator", "catalog.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"- name: kong-plugin-operator.v0.2.0\n  replaces: kong-plugin-operator.v0.1.0\n",
		"- name: kong-plugin-operator.v0.3.0\n  replaces: kong-plugin-operator.v0.2.0\n",
		"image: example.com/bundle:v0.3.0\n",
		"defaultChannel: candidate\n",
	} {
		if !strings.Contains(string(content), want) {
			t.Errorf("the catalog lacks %q", want)
		}
	}
}

func TestTheSameBundlesMakeTheSameCatalog(t *testing.T) {
	bundles := loaded(t, version(t, "0.1.0", ""), version(t, "0.2.0", "0.1.0"))
	var contents [][]byte
	for range 2 {
		output := t.TempDir()
		if err := writeCatalog(t.Context(), output, "example.com/bundle:v{{.Version}}", bundles); err != nil {
			t.Fatal(err)
		}
		content, err := os.ReadFile(filepath.Join(output, "kong-plugin-operator", "catalog.yaml"))
		if err != nil {
			t.Fatal(err)
		}
		contents = append(contents, content)
	}
	if !bytes.Equal(contents[0], contents[1]) {
		t.Error("two catalogs of the same bundles differ")
	}
}

// A version from which OLM finds no way to the newest is not published.
func TestACatalogWithoutAWayToTheNewestIsRefused(t *testing.T) {
	first, second := version(t, "0.1.0", ""), version(t, "0.2.0", "0.1.0")
	for name, directories := range map[string][]string{
		"a version that replaces nothing":             {first, version(t, "0.2.0", "")},
		"the newest is not the last":                  {second, first},
		"a replaced version is missing in the middle": {first, version(t, "0.3.0", "0.2.0")},
	} {
		t.Run(name, func(t *testing.T) {
			images := template.Must(template.New("image").Parse("example.com/bundle:v{{.Version}}"))
			if _, err := compose(t.Context(), images, loaded(t, slices.Clone(directories)...)); err == nil {
				t.Error("the catalog was composed")
			}
		})
	}
}
