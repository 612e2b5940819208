package kic

import (
	"bytes"
	"embed"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
)

//go:embed crds/*.yaml
var crds embed.FS

// CRDs are the CRDs of KongPlugin, KongClusterPlugin and KongConsumer as YAML. They
// have only the fields that this package reads.
func CRDs() []byte {
	var all [][]byte
	for _, name := range []string{"kongclusterplugins", "kongconsumers", "kongplugins"} {
		b, err := crds.ReadFile("crds/" + name + ".yaml")
		if err != nil {
			panic(fmt.Sprintf("kic: %v", err)) // embedded
		}
		all = append(all, b)
	}
	return bytes.Join(all, []byte("---\n"))
}

// CRDPaths are the directories of the CRDs of KIC's own kinds and of the Gateway API,
// for envtest's CRDDirectoryPaths.
func CRDPaths() ([]string, error) {
	own, err := CRDPath()
	if err != nil {
		return nil, err
	}
	gateway, err := GatewayAPICRDPath()
	if err != nil {
		return nil, err
	}
	return []string{own, gateway}, nil
}

// CRDPath is the directory of the CRDs of KIC's own kinds.
func CRDPath() (string, error) {
	_, file, _, ok := runtime.Caller(0)
	if !ok {
		return "", errors.New("the place of this package's sources is unknown: build without -trimpath")
	}
	return filepath.Join(filepath.Dir(file), "crds"), nil
}

// GatewayAPICRDPath is the directory of the CRDs of the Gateway API's standard channel,
// in the module that go.mod names.
func GatewayAPICRDPath() (string, error) {
	out, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "sigs.k8s.io/gateway-api").Output()
	if err != nil {
		var exit *exec.ExitError
		if errors.As(err, &exit) {
			err = fmt.Errorf("%w: %s", err, exit.Stderr)
		}
		return "", fmt.Errorf("find the module sigs.k8s.io/gateway-api: %w", err)
	}
	dir := strings.TrimSpace(string(out))
	if dir == "" {
		return "", errors.New("the module sigs.k8s.io/gateway-api is not in the module cache: run go mod download")
	}
	return filepath.Join(dir, "config", "crd", "standard"), nil
}
