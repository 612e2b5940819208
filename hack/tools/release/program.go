package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"

	"sigs.k8s.io/yaml"
)

const (
	module = "github.com/pluginbinding/kong-plugin-operator"
	plugin = "kubectl-pluginbinding"
)

// platform is what a program is built for.
type platform struct{ os, arch string }

// platforms of the kubectl plugin: what people sit in front of.
var platforms = []platform{
	{"darwin", "amd64"}, {"darwin", "arm64"},
	{"linux", "amd64"}, {"linux", "arm64"},
	{"windows", "amd64"}, {"windows", "arm64"},
}

// build compiles cmd/NAME of the tree and returns the program's file. Paths of this machine,
// its time and its checkout are not in it.
func (r release) build(name string, p platform, directory string) (string, error) {
	output := filepath.Join(directory, name)
	if p.os == "windows" {
		output += ".exe"
	}
	// The tag is the Makefile's.
	cmd := exec.Command("go", "build", "-trimpath", "-buildvcs=false", "-tags", "grpcnotrace",
		"-ldflags", "-s -w -buildid= -X "+module+"/internal/version.Version="+r.version, "-o", output, "./cmd/"+name)
	cmd.Dir = r.source
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS="+p.os, "GOARCH="+p.arch)
	cmd.Stderr = os.Stderr
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("build %s for %s/%s: %w", name, p.os, p.arch, err)
	}
	return output, nil
}

// writeManagerSBOM tells what the manager in the image is made of. The image is built and
// published apart.
func (r release) writeManagerSBOM() error {
	work, err := os.MkdirTemp("", "release-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(work)
	program, err := r.build("manager", platform{"linux", "amd64"}, work)
	if err != nil {
		return err
	}
	return r.writeSBOM(program, product)
}

// writePlugin builds the kubectl plugin for every platform, if the tree has one.
func (r release) writePlugin() error {
	if _, err := os.Stat(filepath.Join(r.source, "cmd", plugin)); errors.Is(err, fs.ErrNotExist) {
		return nil
	} else if err != nil {
		return err
	}
	license, err := os.ReadFile(filepath.Join(r.source, "LICENSE"))
	if err != nil {
		return err
	}
	manifest := newKrewPlugin(r.version)
	for _, p := range platforms {
		name, err := r.writePluginFor(p, license)
		if err != nil {
			return err
		}
		sum, err := sha256Of(filepath.Join(r.output, name))
		if err != nil {
			return err
		}
		manifest.add(p, name, sum)
	}
	content, err := yaml.Marshal(manifest)
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(r.output, "pluginbinding.yaml"), content, 0o644)
}

func (r release) writePluginFor(p platform, license []byte) (string, error) {
	work, err := os.MkdirTemp("", "release-")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(work)
	program, err := r.build(plugin, p, work)
	if err != nil {
		return "", err
	}
	content, err := os.ReadFile(program)
	if err != nil {
		return "", err
	}
	if p == (platform{"linux", "amd64"}) {
		if err := r.writeSBOM(program, plugin); err != nil {
			return "", err
		}
	}
	name := fmt.Sprintf("%s_%s_%s_%s.tar.gz", plugin, r.version, p.os, p.arch)
	return name, r.writeArchive(name, []file{
		{name: "LICENSE", content: license, mode: 0o644},
		{name: filepath.Base(program), content: content, mode: 0o755},
	})
}
