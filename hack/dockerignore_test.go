package hack_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/moby/patternmatcher"
	"github.com/moby/patternmatcher/ignorefile"
)

const root = ".."

// What a Dockerfile copies reaches the builder, all but tests; and nothing else does.
func TestDockerignoreLetsThroughWhatTheDockerfilesCopy(t *testing.T) {
	dockerfiles, err := filepath.Glob(filepath.Join(root, "*Dockerfile"))
	if err != nil {
		t.Fatal(err)
	}
	if len(dockerfiles) < 2 {
		t.Fatalf("found %q; want the operator's and the bundle's Dockerfile", dockerfiles)
	}
	ignored := dockerignore(t)

	var copied []string
	for _, dockerfile := range dockerfiles {
		sources := copySources(t, dockerfile)
		if len(sources) == 0 {
			t.Errorf("%s copies nothing from the context", dockerfile)
		}
		for _, source := range sources {
			reach := 0
			for _, file := range filesBelow(t, source) {
				switch isTest := strings.HasSuffix(file, "_test.go") || strings.Contains("/"+file, "/testdata/"); {
				case ignored(file) != isTest:
					t.Errorf("%s copies %s: %s is ignored: %t", dockerfile, source, file, !isTest)
				case !isTest:
					reach++
				}
			}
			if reach == 0 {
				t.Errorf("%s copies %s, of which nothing reaches the builder", dockerfile, source)
			}
		}
		copied = append(copied, sources...)
	}

	entries, err := os.ReadDir(root)
	if err != nil {
		t.Fatal(err)
	}
	for _, entry := range entries {
		wanted := slices.ContainsFunc(copied, func(source string) bool {
			return source == entry.Name() || strings.HasPrefix(source, entry.Name()+"/")
		})
		if !wanted && !ignored(entry.Name()) {
			t.Errorf("%s reaches the builder, and no Dockerfile copies it", entry.Name())
		}
	}
}

// dockerignore reports whether a file of the context is filtered, as Docker decides it.
func dockerignore(t *testing.T) func(string) bool {
	t.Helper()
	file, err := os.Open(filepath.Join(root, ".dockerignore"))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	patterns, err := ignorefile.ReadAll(file)
	if err != nil {
		t.Fatal(err)
	}
	matcher, err := patternmatcher.New(patterns)
	if err != nil {
		t.Fatal(err)
	}
	return func(name string) bool {
		matched, err := matcher.MatchesOrParentMatches(name)
		if err != nil {
			t.Fatal(err)
		}
		return matched
	}
}

// copySources are the files and directories that a Dockerfile copies from the context.
func copySources(t *testing.T, dockerfile string) []string {
	t.Helper()
	content, err := os.ReadFile(dockerfile)
	if err != nil {
		t.Fatal(err)
	}
	var sources []string
	for line := range strings.Lines(strings.ReplaceAll(string(content), "\\\n", " ")) {
		words := strings.Fields(line)
		if len(words) < 3 || (words[0] != "COPY" && words[0] != "ADD") {
			continue
		}
		arguments := slices.DeleteFunc(words[1:], func(word string) bool { return strings.HasPrefix(word, "--") && !strings.HasPrefix(word, "--from=") })
		if strings.HasPrefix(arguments[0], "--from=") {
			continue
		}
		for _, source := range arguments[:len(arguments)-1] {
			sources = append(sources, filepath.Clean(source))
		}
	}
	return sources
}

// filesBelow lists the files of the context below a path, or the file itself.
func filesBelow(t *testing.T, path string) []string {
	t.Helper()
	var files []string
	err := filepath.WalkDir(filepath.Join(root, path), func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		relative, err := filepath.Rel(root, name)
		files = append(files, filepath.ToSlash(relative))
		return err
	})
	if err != nil {
		t.Fatalf("COPY %s: %v", path, err)
	}
	return files
}
