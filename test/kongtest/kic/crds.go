package kic

import (
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
)

// CRDs are the CRDs of KongPlugin, KongClusterPlugin and KongConsumer, for envtest's
// CRDDirectoryPaths. They have only the fields that this package reads.
func CRDs() (string, error) {
	_, file, _, ok := runtime.Caller(0)
	if !ok {
		return "", errors.New("the place of this package's sources is unknown: build without -trimpath")
	}
	return filepath.Join(filepath.Dir(file), "crds"), nil
}

// GatewayAPICRDs are the CRDs of the Gateway API's standard channel, from the module
// that go.mod names.
func GatewayAPICRDs() (string, error) {
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
