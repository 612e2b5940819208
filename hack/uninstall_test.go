// Package hack_test holds the Makefile and the scripts to what they may not do.
package hack_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// kubectl stands in for the real one. The cluster has the CRDs of the kinds in $CRDS and
// objects of the kinds in $HAS. A request for what $FAILS names does not get an answer.
const kubectl = `#!/usr/bin/env bash
set -u
echo "$*" >>"$CALLS"
if [[ $1 == delete ]]; then cat >/dev/null; exit; fi
crds=customresourcedefinitions.apiextensions.k8s.io group=kong.pluginbinding.io
for what in $FAILS; do
	if [[ $2 == "$what" || "$2/$3" == "$what" ]]; then echo "$PRINTS"; echo "$COMPLAINT" >&2; exit 1; fi
done
if [[ $2 == "$crds" ]]; then
	for kind in $CRDS; do if [[ $3 == "$kind.$group" ]]; then echo "customresourcedefinition/$3"; fi; done
	exit
fi
for kind in $CRDS; do
	if [[ $2 != "$kind.$group" ]]; then continue; fi
	for has in $HAS; do if [[ $has == "$kind" ]]; then echo "$2/kong"; fi; done
	exit
done
echo "error: the server doesn't have a resource type \"$2\"" >&2
exit 1
`

// cluster is what the stand-in for kubectl answers.
type cluster struct {
	crds, has string
	// fails names the requests that get no answer: a resource, or a CRD as resource/name.
	fails, complaint string
	// prints is what kubectl has printed when it fails.
	prints string
}

const (
	both        = "pluginbindings konggateways"
	crdRequest  = "customresourcedefinitions.apiextensions.k8s.io"
	bindings    = "pluginbindings.kong.pluginbinding.io"
	gateways    = "konggateways.kong.pluginbinding.io"
	cannotTell  = "Cannot find out whether this cluster has PluginPolicies, PluginBindings or KongGateways"
	policies    = "pluginpolicies"
	policiesNow = "This cluster has pluginpolicies"
	bindingsNow = "This cluster has pluginbindings"
	gatewaysNow = "This cluster has konggateways"
)

// Only a cluster that says itself that it has neither kind, or no object of either, is
// uninstalled from. A request that fails proves nothing.
func TestUninstallIsRefusedUnlessTheClusterSaysThatThereIsNothing(t *testing.T) {
	for name, test := range map[string]struct {
		cluster cluster
		refusal string // empty: uninstalled
	}{
		"no CRDs":           {},
		"CRDs, no objects":  {cluster: cluster{crds: both}},
		"one CRD, none":     {cluster: cluster{crds: "konggateways"}},
		"policies":          {cluster: cluster{crds: policies + " " + both, has: policies}, refusal: policiesNow},
		"all three":         {cluster: cluster{crds: policies + " " + both, has: policies + " " + both}, refusal: policiesNow},
		"bindings":          {cluster: cluster{crds: both, has: "pluginbindings"}, refusal: bindingsNow},
		"gateways":          {cluster: cluster{crds: both, has: "konggateways"}, refusal: gatewaysNow},
		"both":              {cluster: cluster{crds: both, has: both}, refusal: bindingsNow},
		"gateways, one CRD": {cluster: cluster{crds: "konggateways", has: "konggateways"}, refusal: gatewaysNow},
		"no right to get CRDs": {
			cluster: cluster{crds: both, fails: crdRequest, complaint: "Error from server (Forbidden)"}, refusal: cannotTell,
		},
		"no right to get the second CRD": {
			cluster: cluster{crds: both, fails: crdRequest + "/" + gateways, complaint: "Error from server (Forbidden)"}, refusal: cannotTell,
		},
		"no right to list bindings": {
			cluster: cluster{crds: both, has: both, fails: bindings, complaint: "Error from server (Forbidden)"}, refusal: cannotTell,
		},
		"time-out while bindings are listed": {
			cluster: cluster{crds: both, has: both, fails: bindings, complaint: "Unable to connect to the server: net/http: TLS handshake timeout"}, refusal: cannotTell,
		},
		"time-out while gateways are listed": {
			cluster: cluster{crds: both, fails: gateways, complaint: "context deadline exceeded"}, refusal: cannotTell,
		},
		"a list that breaks off": {
			cluster: cluster{crds: both, fails: bindings, complaint: "unexpected EOF", prints: bindings + "/kong"}, refusal: cannotTell,
		},
		"a discovery that fails while the CRD exists": {
			cluster: cluster{crds: both, fails: bindings, complaint: `error: the server doesn't have a resource type "pluginbindings"`}, refusal: cannotTell,
		},
	} {
		for _, target := range []string{"uninstall", "undeploy"} {
			t.Run(target+" with "+name, func(t *testing.T) {
				said, calls, err := runMake(t, target, test.cluster)
				refused := test.refusal != ""
				if (err != nil) != refused {
					t.Errorf("make: %v; it said: %s", err, said)
				}
				deleted := slices.ContainsFunc(calls, func(call string) bool { return strings.HasPrefix(call, "delete") })
				if deleted == refused {
					t.Errorf("kubectl was asked to %q; make said: %s", calls, said)
				}
				if !strings.Contains(said, test.refusal) || !strings.Contains(said, test.cluster.complaint) {
					t.Errorf("make said %q; want %q and %q", said, test.refusal, test.cluster.complaint)
				}
				if refused && !strings.Contains(said, "Nothing was deleted") {
					t.Errorf("make does not say that nothing was deleted: %s", said)
				}
				first, second := strings.Index(said, "get pluginbindings -A"), strings.Index(said, "get konggateways -A")
				if strings.HasPrefix(test.refusal, "This cluster has") && (first < 0 || second < first) {
					t.Errorf("make does not say what goes first: %s", said)
				}
			})
		}
	}
}

// runMake runs a target against the cluster. It returns what make printed and what kubectl
// was asked.
func runMake(t *testing.T, target string, c cluster) (said string, calls []string, err error) {
	t.Helper()
	// Read here so that a cached result does not outlive a change of them.
	for _, name := range []string{"../Makefile", "uninstall-guard.sh"} {
		if _, err := os.ReadFile(name); err != nil {
			t.Fatal(err)
		}
	}
	bin := t.TempDir()
	for name, script := range map[string]string{"kubectl": kubectl, "kustomize": "#!/bin/sh\n"} {
		if err := os.WriteFile(filepath.Join(bin, name), []byte(script), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	log := filepath.Join(bin, "calls")
	cmd := exec.CommandContext(t.Context(), "make", "--silent", target,
		"KUBECTL="+filepath.Join(bin, "kubectl"), "KUSTOMIZE="+filepath.Join(bin, "kustomize"))
	cmd.Dir = ".."
	cmd.Env = append(os.Environ(), "MAKEFLAGS=", // not the flags of a make that runs this
		"CALLS="+log, "CRDS="+c.crds, "HAS="+c.has, "FAILS="+c.fails, "COMPLAINT="+c.complaint, "PRINTS="+c.prints)
	output, err := cmd.CombinedOutput()
	called, readErr := os.ReadFile(log)
	if readErr != nil {
		t.Fatalf("%v; make said: %s", readErr, output)
	}
	return string(output), strings.Split(strings.TrimSpace(string(called)), "\n"), err
}
