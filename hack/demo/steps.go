package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/client"
)

// applyBindings applies the samples and checks the result.
func (s *walkthrough) applyBindings(ctx context.Context) error {
	s.out.sayf("Kong has the services orders and payments with a route each, and two consumers.")
	if err := s.applySamples(ctx); err != nil {
		return err
	}
	began := s.now()
	err := s.eventually(ctx, readyTimeout, s.allBindingsReady)
	s.show(ctx, "get", "pluginbindings", "-A")
	bindings, listed := s.list(ctx)
	if listed != nil {
		return listed
	}
	s.out.checkf(err, "%d of %d bindings are Ready, after %s", count(bindings, ready), len(bindings), seconds(s.now().Sub(began)))
	s.out.checkf(s.idsMatchKong(ctx, bindings), "each status.pluginID is the ID that Kong assigned to the plugin of that binding")
	return nil
}

// crashOperator kills the operator while it creates plugins.
func (s *walkthrough) crashOperator(ctx context.Context) error {
	watched, err := s.kong.watch(ctx)
	if err != nil {
		return err
	}
	inKong, err := s.killAmidCreates(ctx)
	if err != nil {
		return err
	}
	recorded, err := s.recorded(ctx)
	if err != nil {
		return err
	}
	s.out.sayf("kill -9 meanwhile: Kong has %d of the ten plugins, and the statuses record %d of their IDs.", len(inKong), len(recorded))

	began := s.now()
	if err := s.operator.start(ctx); err != nil {
		return err
	}
	s.out.sayf("Started again, pid %d.", s.operator.cmd.Process.Pid)
	err = s.eventually(ctx, readyTimeout, s.allBindingsReady)
	s.out.checkf(err, "all ten are Ready, %s after the start", seconds(s.now().Sub(began)))
	s.out.checkf(s.onePluginEach(ctx), "Kong has exactly ten plugins for them, one on each route")
	s.out.checkf(s.idsUnchanged(ctx, inKong), "the %d plugins from before the kill have the same IDs, and their bindings record them", len(inKong))
	if lost := unrecorded(inKong, recorded); len(lost) > 0 {
		s.out.checkf(s.recovered(ctx, lost), "the operator found the plugins without a recorded ID by their ownership tags (%s)", strings.Join(lost, ", "))
	}
	return s.checkOneCreateEach(ctx, watched)
}

// killAmidCreates applies ten bindings and kills the operator when Kong has some of their
// plugins. It returns their IDs by the name of the binding.
func (s *walkthrough) killAmidCreates(ctx context.Context) (map[string]string, error) {
	after, undo := s.kong.stallCreates()
	defer undo()
	s.out.command("kubectl apply -f ten-bindings.yaml   # a rate limit for each of ten routes")
	applied := make(chan error, 1)
	go func() {
		_, err := s.cluster.kubectl(ctx, cartManifest(), "apply", "-f", "-")
		applied <- err
	}()
	failed := s.eventuallyEvery(ctx, 5*time.Millisecond, readyTimeout, func(ctx context.Context) error {
		inKong, err := s.cartPlugins(ctx)
		if err == nil && len(inKong) < after {
			err = fmt.Errorf("Kong has %d of the ten plugins", len(inKong))
		}
		return err
	})
	err := errors.Join(failed, s.operator.kill(), <-applied)
	if err != nil {
		return nil, err
	}
	return s.cartPlugins(ctx)
}

// checkOneCreateEach checks what was observed in Kong: one create for each binding, and no
// delete.
func (s *walkthrough) checkOneCreateEach(ctx context.Context, watched func(context.Context) (observation, error)) error {
	seen, err := watched(ctx)
	if err != nil {
		return err
	}
	creates := map[string]int{}
	for _, c := range seen.of("create") {
		creates[c.plugin.tagValue("k8s-name")]++
	}
	for name, n := range creates {
		if n != 1 {
			err = errors.Join(err, fmt.Errorf("%s was created %d times", name, n))
		}
	}
	if n := len(seen.of("delete")); n != 0 || len(creates) != cartCount {
		err = errors.Join(err, fmt.Errorf("plugins of %d bindings were created, and %d plugins were deleted", len(creates), n))
	}
	s.out.checkf(err, "during all this Kong created %d plugins, one for each binding, and deleted %d", len(seen.of("create")), len(seen.of("delete")))
	return nil
}

// restorePlugin deletes a plugin in Kong and waits for it to come back.
func (s *walkthrough) restorePlugin(ctx context.Context) error {
	key := client.ObjectKey{Namespace: cartNamespace, Name: cartName(3)}
	id, was, err := s.pluginOf(ctx, key)
	if err != nil {
		return err
	}
	s.out.command("curl -X DELETE $KONG/plugins/" + id + "   # " + key.Name)
	if err := s.kong.do(ctx, http.MethodDelete, "/plugins/"+id, nil, nil); err != nil {
		return err
	}
	began := s.now()
	if err := s.requestReconcile(ctx, key); err != nil {
		return err
	}
	err = s.eventually(ctx, resyncTimeout, func(ctx context.Context) error { return s.pluginEquals(ctx, id, was) })
	s.out.checkf(err, "plugin %s is back with the same ID and config, after %s", id, seconds(s.now().Sub(began)))
	s.out.checkf(s.eventually(ctx, resyncTimeout, s.allBindingsReady), "its binding is Ready and records that ID")
	s.out.checkf(s.onePluginEach(ctx), "Kong still has ten plugins, one on each route")
	return nil
}

// correctDrift changes the config of a plugin by hand and waits until the operator corrects it.
func (s *walkthrough) correctDrift(ctx context.Context) error {
	key := client.ObjectKey{Namespace: cartNamespace, Name: cartName(4)}
	id, was, err := s.pluginOf(ctx, key)
	if err != nil {
		return err
	}
	s.out.command("curl -X PATCH $KONG/plugins/" + id + " -d config.minute=9999   # " + key.Name)
	edit := entity{"config": entity{"minute": 9999}}
	if err := s.kong.do(ctx, http.MethodPatch, "/plugins/"+id, edit, nil); err != nil {
		return err
	}
	began := s.now()
	if err := s.requestReconcile(ctx, key); err != nil {
		return err
	}
	err = s.eventually(ctx, resyncTimeout, func(ctx context.Context) error { return s.pluginEquals(ctx, id, was) })
	s.out.checkf(err, "config.minute is %v again, with the same ID, after %s", was.config()["minute"], seconds(s.now().Sub(began)))
	var fields []string
	err = s.eventually(ctx, resyncTimeout, func(ctx context.Context) error {
		b, err := s.cluster.binding(ctx, key)
		if err == nil && b.Status.LastDrift == nil {
			err = errors.New("status.lastDrift is empty")
		}
		if err == nil {
			fields = b.Status.LastDrift.Fields
		}
		return err
	})
	s.out.checkf(err, "status.lastDrift names the changed fields: %s", strings.Join(fields, ", "))
	return nil
}

// reportConflict creates a different plugin by hand in the place of a binding, and then the
// binding.
func (s *walkthrough) reportConflict(ctx context.Context) error {
	s.out.command("curl $KONG/services/cart/plugins -d name=rate-limiting -d config.minute=7   # by hand")
	made, err := s.kong.create(ctx, "plugins", entity{
		"name": "rate-limiting", "service": entity{"name": "cart"}, "config": entity{"minute": 7, "policy": "local"},
	})
	if err != nil {
		return err
	}
	watched, err := s.kong.watch(ctx)
	if err != nil {
		return err
	}
	s.out.command("kubectl apply -f " + conflictBinding + ".yaml   # 100 a minute, adoptionPolicy IfIdentical")
	if _, err := s.cluster.kubectl(ctx, rateLimit(conflictBinding, "service", "cart"), "apply", "-f", "-"); err != nil {
		return err
	}
	key := client.ObjectKey{Namespace: cartNamespace, Name: conflictBinding}
	err = s.eventually(ctx, resyncTimeout, func(ctx context.Context) error { return s.conflictReported(ctx, key, made.id()) })
	s.show(ctx, "get", "pluginbinding", "-n", key.Namespace, key.Name)
	s.show(ctx, "get", "pluginbinding", "-n", key.Namespace, key.Name, "-o",
		`jsonpath={.status.conditions[?(@.type=="Programmed")].message}`)
	s.out.checkf(err, "the condition Programmed is False, its reason Conflict, its message names %s", made.id())
	s.out.checkf(s.pluginUnchanged(ctx, made, watched), "the plugin that was created by hand is unchanged, and the operator wrote nothing to Kong")
	return nil
}

// upgradeOperator restarts the operator as a rolling update does, and counts the writes.
func (s *walkthrough) upgradeOperator(ctx context.Context) error {
	if err := s.waitUntilSettled(ctx); err != nil {
		return fmt.Errorf("the operator should have had nothing left to do: %w", err)
	}
	before, err := s.count(ctx)
	if err != nil {
		return err
	}
	watched, err := s.kong.watch(ctx)
	if err != nil {
		return err
	}
	began := s.now()
	s.out.checkf(s.operator.stop(), "after SIGTERM the operator exits by itself, after %s", seconds(s.now().Sub(began)))
	began = s.now()
	if err := s.operator.start(ctx); err != nil {
		return err
	}
	s.out.sayf("Started again, pid %d. It now reconciles everything, and once more at its next resync.", s.operator.cmd.Process.Pid)
	err = s.waitForFullResync(ctx, before.objects)
	s.out.checkf(err, "it has reconciled all %d objects and resynced twice, after %s", before.objects, seconds(s.now().Sub(began)))
	return s.checkNoWrites(ctx, before, watched)
}

func (s *walkthrough) checkNoWrites(ctx context.Context, before counts, watched func(context.Context) (observation, error)) error {
	after, err := s.count(ctx)
	if err != nil {
		return err
	}
	seen, err := watched(ctx)
	if err != nil {
		return err
	}
	s.out.checkf(seen.anyWrite(), "writes in Kong: %d (%s)", len(seen.changes), seen)
	s.out.checkf(after.differenceTo(before), "writes in Kubernetes: %d requests (%d bindings and gateways and %d events are unchanged)",
		after.writes-before.writes, after.objects, len(after.versions)-after.objects)
	return nil
}

// deleteBindings deletes a binding, then the namespace of an application team.
func (s *walkthrough) deleteBindings(ctx context.Context) error {
	key := client.ObjectKey{Namespace: cartNamespace, Name: cartName(cartCount)}
	id, _, err := s.pluginOf(ctx, key)
	if err != nil {
		return err
	}
	delete(s.ids, key)
	s.show(ctx, "delete", "pluginbinding", "-n", key.Namespace, key.Name, "--timeout="+resyncTimeout.String())
	_, err = s.kong.get(ctx, "/plugins/"+id)
	s.out.checkf(expectError(errNotFound, err), "its plugin %s is gone from Kong", id)
	return s.removeNamespace(ctx, "shop")
}

// removeNamespace deletes a namespace. This cluster has no namespace controller, so the demo
// does its part.
func (s *walkthrough) removeNamespace(ctx context.Context, namespace string) error {
	for key := range s.ids {
		if key.Namespace == namespace {
			delete(s.ids, key)
		}
	}
	s.out.command("kubectl delete namespace " + namespace)
	for _, args := range [][]string{
		{"delete", "namespace", namespace, "--wait=false"},
		{"delete", "pluginbindings", "--all", "-n", namespace, "--timeout=" + resyncTimeout.String()},
	} {
		if _, err := s.cluster.kubectl(ctx, "", args...); err != nil {
			return err
		}
	}
	finalized := fmt.Sprintf(`{"apiVersion":"v1","kind":"Namespace","metadata":{"name":%q},"spec":{}}`, namespace)
	_, err := s.cluster.kubectl(ctx, finalized, "replace", "--raw", "/api/v1/namespaces/"+namespace+"/finalize", "-f", "-")
	s.out.checkf(err, "nothing blocks the deletion of the namespace: it is gone")
	left, err := s.kong.owned(ctx, namespace)
	if err == nil && len(left) > 0 {
		err = fmt.Errorf("Kong has %d plugins of this namespace", len(left))
	}
	s.out.checkf(err, "Kong has no plugin of its bindings")
	return nil
}
