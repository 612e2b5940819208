// Package hack_test holds the Makefile to what it may not do.
package hack_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// kubectl stands in for the real one in a cluster that has the kinds in $HAS.
const kubectl = `#!/usr/bin/env bash
echo "$1" >>"$CALLS"
for kind in $HAS; do if [[ $1 == get && $2 == "$kind".* ]]; then echo "$2/kong"; fi; done
`

func TestNothingIsUninstalledWhileItIsInUse(t *testing.T) {
	bin := t.TempDir()
	for name, script := range map[string]string{"kubectl": kubectl, "kustomize": "#!/bin/sh\n"} {
		if err := os.WriteFile(filepath.Join(bin, name), []byte(script), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	for _, target := range []string{"uninstall", "undeploy"} {
		for has, refused := range map[string]bool{"": false, "pluginbindings": true, "konggateways": true, "pluginbindings konggateways": true} {
			calls := filepath.Join(t.TempDir(), "calls")
			cmd := exec.CommandContext(t.Context(), "make", "--silent", target,
				"KUBECTL="+filepath.Join(bin, "kubectl"), "KUSTOMIZE="+filepath.Join(bin, "kustomize"))
			cmd.Dir = ".."
			cmd.Env = append(os.Environ(), "MAKEFLAGS=", "CALLS="+calls, "HAS="+has) // not the flags of a make that runs this
			said, err := cmd.CombinedOutput()
			called, readErr := os.ReadFile(calls)
			if readErr != nil {
				t.Fatalf("%v; make said: %s", readErr, said)
			}
			if (err != nil) != refused || strings.Contains(string(called), "delete") == refused {
				t.Errorf("%s with %q in the cluster: %v, kubectl was asked to %q; make said: %s", target, has, err, strings.Fields(string(called)), said)
			}
			bindings, gateways := strings.Index(string(said), "get pluginbindings -A"), strings.Index(string(said), "get konggateways -A")
			if refused && (bindings < 0 || gateways < bindings) {
				t.Errorf("%s does not say what goes first: %s", target, said)
			}
		}
	}
}
