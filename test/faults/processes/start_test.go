package processes

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/pluginbinding/kong-plugin-operator/api/v1alpha1"
)

// longestWrite is how long a new leader waits that does not know how the last one ended: the request
// timeout and Kong's database timeout. It is much longer than a busy machine takes from leading to the write.
const longestWrite = 14 * time.Second

// deletedName is a binding that is deleted while nobody leads.
const deletedName = "deleted"

// newLeaderEnv is an environment whose replicas elect a leader. None runs.
func newLeaderEnv(t *testing.T) (env *testEnv, a, b *replica) {
	t.Helper()
	env = newEnvWithoutReplica(t, unhurried)
	flags := []string{"--leader-elect=true", "--leader-election-namespace=" + env.namespace}
	a, b = env.newReplica("a", flags...), env.newReplica("b", flags...)
	b.standby = true
	env.main = a
	env.kong.Seed("services", map[string]any{"name": deletedName, "url": "http://127.0.0.1:9"})
	env.unmanagedRows = env.unmanaged()
	return env, a, b
}

// leaveLease creates the Lease as a last holder left it that released it just now: with its word that no
// write is in flight, or without.
func (env *testEnv) leaveLease(word bool) {
	env.t.Helper()
	now := metav1.NowMicro()
	lease := &coordinationv1.Lease{
		ObjectMeta: env.meta("kong-plugin-operator.pluginbinding.io"),
		Spec: coordinationv1.LeaseSpec{
			HolderIdentity: ptr.To(""), LeaseDurationSeconds: ptr.To[int32](1), LeaseTransitions: ptr.To[int32](3), AcquireTime: &now, RenewTime: &now,
		},
	}
	env.create(lease)
	if word {
		base := lease.DeepCopy()
		metav1.SetMetaDataAnnotation(&lease.ObjectMeta, "kong.pluginbinding.io/nothing-in-flight",
			fmt.Sprintf("former 3 %s %s", now.UTC().Format(metav1.RFC3339Micro), lease.UID))
		must(env.t, suite.client.Patch(context.Background(), lease, client.MergeFrom(base)))
	}
}

// leave leaves a binding to create, and one to delete, for a leader that begins after mark.
func (env *testEnv) leave() {
	env.t.Helper()
	env.create(env.binding(bindingName))
	must(env.t, suite.client.Delete(context.Background(), &v1alpha1.PluginBinding{ObjectMeta: env.meta(deletedName)}))
}

// createDeleted creates the binding that is going to be deleted, with the finalizer that an earlier leader
// added.
func (env *testEnv) createDeleted() {
	env.t.Helper()
	binding := env.bindingOn(deletedName, deletedName)
	binding.Finalizers = []string{v1alpha1.PluginFinalizer}
	env.create(binding)
}

// untilFirst returns the time from the moment when the replica leads until its first call of a name.
func (env *testEnv) untilFirst(name string, r *replica, mark int) time.Duration {
	env.t.Helper()
	var leads, first time.Time
	env.eventually("the first "+name, func() error {
		for _, c := range env.calls.since(mark) {
			switch {
			case leads.IsZero() && c.from == r.name && c.name == kubeLease && c.ended && (c.status == http.StatusCreated || c.method == http.MethodPut && c.status == http.StatusOK):
				leads = c.at
			case c.name == name && !leads.IsZero():
				first = c.at
				return nil
			}
		}
		return fmt.Errorf("not yet; %s leads since %v", r.name, leads)
	})
	env.t.Logf("%s: %v after it leads", name, first.Sub(leads).Round(time.Millisecond))
	return first.Sub(leads)
}

// checkStart checks whether the leader waits before it creates and before it deletes. A leader that waits
// cannot be early, whatever the machine does.
func (env *testEnv) checkStart(r *replica, mark int, createWaits, deleteWaits bool) {
	env.t.Helper()
	for name, waits := range map[string]bool{kongCreatePlugin: createWaits, kubeRemoveFinalizer: deleteWaits} {
		if took := env.untilFirst(name, r, mark); took < longestWrite == waits {
			env.t.Errorf("%s: %v after the replica led; does it wait: %v", name, took, waits)
		}
	}
	if says := strings.Contains(r.process().text(), "none: the last leader ended in order"); says == deleteWaits {
		env.t.Errorf("the log says that it need not wait: %v", says)
	}
	r.standby, env.main, env.startMark = false, r, mark
	env.eventually("the bindings", env.bindingsReady)
	env.waitUntilIdle()
	env.finish()
}

// TestStart measures from leading to the first write in Kong, and to the end of a deletion.
func TestStart(t *testing.T) {
	for _, tc := range []struct {
		name                     string
		before                   func(env *testEnv)
		createWaits, deleteWaits bool
	}{
		{name: "fresh install", before: func(*testEnv) {}, deleteWaits: true},
		{name: "after a leader that left its word", before: func(env *testEnv) { env.leaveLease(true) }},
		{name: "after a version that leaves no word", before: func(env *testEnv) { env.leaveLease(false) }, createWaits: true, deleteWaits: true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			total.count(t, "start of a leader")
			env, a, _ := newLeaderEnv(t)
			tc.before(env)
			env.createDeleted()
			env.leave()
			mark := env.calls.mark()
			a.start(suite.manager)
			env.checkStart(a, mark, tc.createWaits, tc.deleteWaits)
		})
	}
	t.Run("after SIGTERM", func(t *testing.T) {
		t.Parallel()
		total.count(t, "start of a leader")
		env, b, mark := newEnvToHandOver(t)
		env.main.process().stop(t)
		env.leave()
		env.checkStart(b, mark, false, false)
	})
	t.Run("after SIGKILL", func(t *testing.T) {
		if !suite.full {
			t.Log("only with FAULTS_FULL=1: a lease takes its time")
			return
		}
		t.Parallel()
		total.count(t, "start of a leader")
		env, b, mark := newEnvToHandOver(t)
		env.main.kill()
		env.leave()
		env.checkStart(b, mark, true, true)
	})
}

// newEnvToHandOver has a leader that has created a plugin, and a replica that waits for the Lease.
func newEnvToHandOver(t *testing.T) (env *testEnv, b *replica, mark int) {
	t.Helper()
	env, a, b := newLeaderEnv(t)
	env.leaveLease(true) // so that the leader may pass the word on at once
	a.start(suite.manager)
	env.eventually("the gateway", env.gatewayReady)
	env.create(env.bindingOn(deletedName, deletedName))
	env.eventually("the binding", env.bindingsReady)
	env.waitUntilIdle()
	b.start(suite.manager)
	mark = env.calls.mark()
	env.eventually("the second replica", func() error { return env.leaseRequested("b", http.MethodGet, 0) })
	return env, b, mark
}
