package processes

import (
	"archive/tar"
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"

	"github.com/pluginbinding/kong-plugin-operator/api/v1alpha1"
)

// firstComplete is the first commit with the complete main function. An installation may be
// that old.
const firstComplete = "7d6981e"

// TestUpgrade runs the first complete version and the current one in turn on the same objects,
// as an upgrade and a downgrade do. No ID changes, and nothing is written.
func TestUpgrade(t *testing.T) {
	t.Parallel()
	total.count(t, "upgrade and downgrade")
	old := buildOld(t)
	env := newTestEnv(t, unhurried)
	env.createBindings()
	env.main.start(old)
	env.eventually("the bindings, by the first version", env.bindingsReady)
	env.eventually("the first resync after the start", env.initialSyncDone)
	env.waitUntilIdle()
	env.main.process().stop(t)
	ids := env.ids()

	for _, turn := range []struct {
		by, binary string
	}{{"today's version", suite.manager}, {"the first version", old}, {"today's version again", suite.manager}} {
		env.runVersion(turn.by, turn.binary, ids)
	}
	// The first version must not change what the current version writes.
	env.main.start(suite.manager)
	env.eventually("the first resync after the start", env.initialSyncDone)
	env.edit(bindingName, `{"minute": 7, "policy": "local"}`)
	env.eventually("the binding as changed", env.bindingsReady)
	env.waitUntilIdle()
	env.main.process().stop(t)
	env.runVersion("the first version, after a change by today's", old, ids)
	env.main.start(suite.manager)
	env.eventually("the first resync after the start", env.initialSyncDone)
	env.finish()
	if now := env.ids(); !maps.Equal(now, ids) {
		t.Errorf("the IDs were %v and are %v", ids, now)
	}
}

// createBindings creates bindings of several shapes.
func (env *testEnv) createBindings() {
	env.t.Helper()
	onRoute := env.bindingOn("on-route", "orders")
	onRoute.Spec.Scope = &v1alpha1.Scope{Route: &v1alpha1.EntityRef{Name: "orders-v1"}}
	named := env.bindingOn("named", "named")
	env.kong.Seed("services", map[string]any{"name": "named", "url": "http://127.0.0.1:9"})
	env.unmanagedRows = env.unmanaged()
	named.Spec.InstanceName, named.Spec.Tags = "by-hand", []v1alpha1.Tag{"team:orders"}
	named.Spec.Protocols = []v1alpha1.Protocol{"https", "http"}
	named.Spec.Config = &apiextensionsv1.JSON{Raw: []byte(`{"minute": 5, "hour": 100, "policy": "local", "limit_by": "ip"}`)}
	env.create(env.binding(bindingName), onRoute, named)
}

// runVersion starts a manager on objects that are in sync, lets it reconcile everything, and
// stops it. It may write the status of the gateway, about which one version has more to say than
// another: that is one write per gateway, and none per binding.
func (env *testEnv) runVersion(by, binary string, ids map[string]string) {
	env.t.Helper()
	mark := env.calls.mark()
	env.main.start(binary)
	env.eventually("the first resync after the start", env.initialSyncDone)
	for _, c := range env.calls.since(mark) {
		if c.writes && c.name != kubePatchGatewayStatus {
			env.t.Errorf("%s writes when it starts: %s", by, &c)
		}
	}
	if written := env.reconcileAll(); len(written) > 0 {
		env.t.Errorf("%s writes although everything is in sync:\n%s", by, formatCalls(written))
	}
	env.waitUntilIdle()
	env.main.process().stop(env.t)
	if now := env.ids(); !maps.Equal(now, ids) {
		env.t.Errorf("after the turn of %s the IDs are %v, and were %v", by, now, ids)
	}
}

// ids returns the recorded plugin IDs by binding.
func (env *testEnv) ids() map[string]string {
	env.t.Helper()
	ids := map[string]string{}
	for _, b := range env.bindings() {
		ids[b.Name] = string(b.Status.PluginID)
	}
	return ids
}

// buildOld builds the manager of the first complete version, from the history of this
// repository.
func buildOld(t *testing.T) string {
	t.Helper()
	var source, problem bytes.Buffer
	cmd := exec.CommandContext(t.Context(), "git", "-c", "safe.directory="+suite.root, "-C", suite.root, "archive", "--format=tar", firstComplete)
	cmd.Stdout, cmd.Stderr = &source, &problem
	if err := cmd.Run(); err != nil {
		t.Fatalf("The history of this checkout does not contain the former version, so upgrades cannot be tested.\n"+
			"Commit %s is needed. In a shallow clone, fetch the whole history: git fetch --unshallow "+
			"(in CI: a checkout with fetch depth 0).\ngit archive: %v: %s", firstComplete, err, problem.String())
	}
	dir := t.TempDir()
	must(t, unpack(&source, dir))
	binary := filepath.Join(dir, "manager-"+firstComplete)
	must(t, build(dir, binary, false))
	return binary
}

// unpack writes a tar of regular files to a directory.
func unpack(from io.Reader, dir string) error {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer root.Close()
	for archive := tar.NewReader(from); ; {
		header, err := archive.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		switch header.Typeflag {
		case tar.TypeDir:
			err = root.MkdirAll(filepath.Clean(header.Name), 0o755)
		case tar.TypeReg:
			err = unpackFile(root, archive, filepath.Clean(header.Name))
		}
		if err != nil {
			return fmt.Errorf("%s: %w", header.Name, err)
		}
	}
}

func unpackFile(root *os.Root, from io.Reader, name string) error {
	file, err := root.Create(name)
	if err != nil {
		return err
	}
	_, err = io.Copy(file, from)
	return errors.Join(err, file.Close())
}
