package hack_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// kustomizeByPath stands in for kustomize: what it builds is the path.
const kustomizeByPath = `#!/bin/sh
if [ "$1" = build ]; then echo "$2"; fi
`

// applyingKubectl stands in for kubectl in a cluster where somebody else owns fields of what
// is in $CONFLICT, and that has the Deployments $OPERATORS.
const applyingKubectl = `#!/usr/bin/env bash
if [[ $1 == get ]]; then
	if [[ -n $FAILS ]]; then echo "error: $FAILS" >&2; exit 1; fi
	printf '%b' "$OPERATORS"
	exit
fi
manifests=$(cat)
echo "$* $manifests" >>"$CALLS"
if [[ -n $CONFLICT && $manifests == *$CONFLICT* && $* != *--force-conflicts* ]]; then
	echo 'error: Apply failed with 1 conflict: conflict with "kubectl-client-side-apply" using v1: .spec' >&2
	exit 1
fi
if [[ -n $FAILS ]]; then echo "error: $FAILS" >&2; exit 1; fi
`

// No operator is deployed beside another one. The CRDs go first. When they cannot be applied, no Deployment runs ahead of them; and who
// deploys over another way of installing is told why it stopped and how to go on.
func TestDeployStopsAtTheCRDsAndExplains(t *testing.T) {
	const (
		crds, rest = "config/crd", "dist/default"
		own        = "kong-plugin-operator-system/kong-plugin-operator-controller-manager"
	)
	for name, test := range map[string]struct {
		operators, conflict, fails, force string
		applied                           []string
		fail, explains                    bool
		says                              string
	}{
		"nothing in the way":             {applied: []string{crds, rest}},
		"CRDs installed otherwise":       {conflict: crds, applied: []string{crds}, fail: true, explains: true},
		"the Deployment owned otherwise": {conflict: rest, applied: []string{crds, rest}, fail: true, explains: true},
		"taken over":                     {conflict: crds, force: "true", applied: []string{crds, rest}},
		"force is only true":             {conflict: crds, force: "false", applied: []string{crds}, fail: true, explains: true},
		"no cluster":                     {fails: "connection refused", fail: true, says: "Cannot find out"},
		"deployed before":                {operators: own + " 2 \n", applied: []string{crds, rest}},
		"another one, at rest":           {operators: "shop/kong-plugin-operator-controller-manager 0 \n", applied: []string{crds, rest}},
		"another one":                    {operators: own + " 2 \nshop/shard-1-controller-manager 2 \n", fail: true, says: "Deployment shop/shard-1-controller-manager."},
		"one of OLM, whatever is forced": {operators: "operators/kong-plugin-operator-controller-manager 2 kong-plugin-operator.v0.1.0\n", force: "true", fail: true, says: "managed by kong-plugin-operator.v0.1.0"},
		"one of Helm, of the same name":  {operators: own + " 2 Helm\n", fail: true, says: "managed by Helm"},
	} {
		t.Run(name, func(t *testing.T) {
			for _, file := range []string{"../Makefile", "apply.sh", "deploy-guard.sh"} { // a cached result must not outlive them
				if _, err := os.ReadFile(file); err != nil {
					t.Fatal(err)
				}
			}
			bin := t.TempDir()
			for name, script := range map[string]string{"kubectl": applyingKubectl, "kustomize": kustomizeByPath} {
				if err := os.WriteFile(filepath.Join(bin, name), []byte(script), 0o700); err != nil {
					t.Fatal(err)
				}
			}
			log := filepath.Join(bin, "calls")
			cmd := exec.CommandContext(t.Context(), "make", "--silent", "deploy", "FORCE_CONFLICTS="+test.force,
				"KUBECTL="+filepath.Join(bin, "kubectl"), "KUSTOMIZE="+filepath.Join(bin, "kustomize"))
			cmd.Dir = ".."
			cmd.Env = append(os.Environ(), "MAKEFLAGS=", "CALLS="+log, "CONFLICT="+test.conflict, "FAILS="+test.fails, "OPERATORS="+test.operators)
			said, err := cmd.CombinedOutput()
			called, readErr := os.ReadFile(log)
			if readErr != nil && len(test.applied) > 0 {
				t.Fatalf("%v; make said: %s", readErr, said)
			}
			calls := strings.FieldsFunc(string(called), func(r rune) bool { return r == '\n' })
			for i, call := range calls {
				if i >= len(test.applied) || !strings.HasSuffix(call, " "+test.applied[i]) || !strings.HasPrefix(call, "apply --server-side") {
					t.Errorf("call %d: %q; want %q", i, call, test.applied)
				}
			}
			if len(calls) != len(test.applied) || (err != nil) != test.fail {
				t.Errorf("%d calls, want %d; %v; make said: %s", len(calls), len(test.applied), err, said)
			}
			if explains := strings.Contains(string(said), "FORCE_CONFLICTS=true"); explains != test.explains {
				t.Errorf("explains the conflict: %t; make said: %s", explains, said)
			}
			if !strings.Contains(string(said), test.says) {
				t.Errorf("does not say %q: %s", test.says, said)
			}
		})
	}
}
