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

// firstComplete is the first commit in which the main job is complete: what is installed
// today may be that old.
const firstComplete = "7d6981e"

// TestUpgrade: the first complete version and today's take turns over the same objects,
// as an upgrade and a downgrade do. No ID changes, and nobody writes anything.
func TestUpgrade(t *testing.T) {
	t.Parallel()
	total.plan(t, "upgrade and downgrade")
	old := buildOld(t)
	s := newStage(t, timeout)
	s.createVariety()
	s.main.start(old)
	s.until("the bindings, by the first version", s.bindingsReady)
	s.until("the first look after the start", s.startedUp)
	s.quiet()
	s.main.now().stop(t)
	ids := s.ids()

	for _, turn := range []struct {
		by, binary string
	}{{"today's version", suite.manager}, {"the first version", old}, {"today's version again", suite.manager}} {
		s.takeTurn(turn.by, turn.binary, ids)
	}
	// What today's version writes, the first one leaves as it is.
	s.main.start(suite.manager)
	s.until("the first look after the start", s.startedUp)
	s.edit(theBinding, `{"minute": 7, "policy": "local"}`)
	s.until("the binding as changed", s.bindingsReady)
	s.quiet()
	s.main.now().stop(t)
	s.takeTurn("the first version, after a change by today's", old, ids)
	s.main.start(suite.manager)
	s.until("the first look after the start", s.startedUp)
	s.finish()
	if now := s.ids(); !maps.Equal(now, ids) {
		t.Errorf("the IDs were %v and are %v", ids, now)
	}
}

// createVariety makes bindings of several shapes.
func (s *stage) createVariety() {
	s.t.Helper()
	onRoute := s.bindingOn("on-route", "orders")
	onRoute.Spec.Scope = &v1alpha1.Scope{Route: &v1alpha1.EntityRef{Name: "orders-v1"}}
	named := s.bindingOn("named", "named")
	s.kong.Seed("services", map[string]any{"name": "named", "url": "http://127.0.0.1:9"})
	s.others = s.foreign()
	named.Spec.InstanceName, named.Spec.Tags = "by-hand", []v1alpha1.Tag{"team:orders"}
	named.Spec.Protocols = []v1alpha1.Protocol{"https", "http"}
	named.Spec.Config = &apiextensionsv1.JSON{Raw: []byte(`{"minute": 5, "hour": 100, "policy": "local", "limit_by": "ip"}`)}
	s.create(s.binding(theBinding), onRoute, named)
}

// takeTurn starts a manager over what is in force, has it look at everything, and stops it.
// It must not write anything, but that it has seen the gateway's new generation.
func (s *stage) takeTurn(by, binary string, ids map[string]string) {
	s.t.Helper()
	mark := s.tape.mark()
	s.main.start(binary)
	s.until("the first look after the start", s.startedUp)
	for _, c := range s.tape.since(mark) {
		if c.writes {
			s.t.Errorf("%s writes when it starts: %s", by, &c)
		}
	}
	if written := s.round(); len(written) > 0 {
		s.t.Errorf("%s writes over what is in force:\n%s", by, listed(written))
	}
	s.quiet()
	s.main.now().stop(s.t)
	if now := s.ids(); !maps.Equal(now, ids) {
		s.t.Errorf("after the turn of %s the IDs are %v, and were %v", by, now, ids)
	}
}

// ids are the recorded IDs by binding.
func (s *stage) ids() map[string]string {
	s.t.Helper()
	ids := map[string]string{}
	for _, b := range s.bindings() {
		ids[b.Name] = string(b.Status.PluginID)
	}
	return ids
}

// buildOld builds the manager of the first complete version, from this repository's own
// history.
func buildOld(t *testing.T) string {
	t.Helper()
	var source, problem bytes.Buffer
	cmd := exec.CommandContext(t.Context(), "git", "-c", "safe.directory="+suite.root, "-C", suite.root, "archive", "--format=tar", firstComplete)
	cmd.Stdout, cmd.Stderr = &source, &problem
	if err := cmd.Run(); err != nil {
		t.Fatalf("the version before this one cannot be taken from the history of this checkout, so that upgrades stay untested.\n"+
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
