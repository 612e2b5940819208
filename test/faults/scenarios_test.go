package faults

import (
	"time"

	"github.com/pluginbinding/kong-plugin-operator/api/v1alpha1"
)

var scenarios = []scenario{
	{
		name: "first", setup: func(*simulation) {},
		act: func(sim *simulation) {
			sim.create(newGateway())
			sim.create(newBinding("limit"))
		},
	},
	{
		name: "create", paired: true, setup: withGateway,
		act: func(sim *simulation) { sim.create(newBinding("limit")) },
	},
	{
		name: "create-delete", setup: withGateway, check: expectNothingLeft,
		act: func(sim *simulation) {
			sim.create(newBinding("limit"))
			sim.runUntil(sim.clock.Now())
			sim.delete(limitBinding())
		},
	},
	{
		name: "create-delete-in-doubt", setup: withGateway, check: expectNothingLeft,
		act: func(sim *simulation) {
			sim.create(newBinding("limit"))
			sim.stepUntil(callMade(sim, kongCreatePlugin))
			sim.delete(limitBinding())
		},
	},
	{
		// The plugin of the first POST has another instance name and another scope than those
		// that the operator looks up afterwards.
		name: "create-changed-in-doubt", setup: withGateway,
		act: func(sim *simulation) {
			sim.create(newBinding("limit"))
			sim.stepUntil(callMade(sim, kongCreatePlugin))
			editBinding(sim, func(b *v1alpha1.PluginBinding) { onService("payments")(b); b.Spec.InstanceName = "other-name" })
		},
	},
	{
		// The same, but the binding is also another object.
		name: "create-recreated-in-doubt", setup: withGateway,
		act: func(sim *simulation) {
			sim.create(newBinding("limit"))
			sim.stepUntil(callMade(sim, kongCreatePlugin))
			sim.removeForcibly(limitBinding())
			sim.create(newBinding("limit", onService("payments"), func(b *v1alpha1.PluginBinding) { b.Spec.InstanceName = "other-name" }))
		},
	},
	{
		name: "update-delete-in-doubt", setup: withReadyBinding(), check: expectNothingLeft,
		act: func(sim *simulation) {
			editBinding(sim, withMinute("9"))
			sim.stepUntil(callMade(sim, kongPutPlugin))
			sim.delete(limitBinding())
		},
	},
	{
		name: "restore-delete-in-doubt", setup: withReadyBinding(), check: expectNothingLeft,
		act: func(sim *simulation) {
			sim.kong.server.DeletePlugin(recordedID(sim))
			sim.resyncUntil(callMade(sim, kongPutPlugin))
			sim.delete(limitBinding())
		},
	},
	{
		name: "update", setup: withReadyBinding(),
		act: func(sim *simulation) { editBinding(sim, withMinute("9")) },
	},
	{
		name: "move-scope", setup: withReadyBinding(),
		act: func(sim *simulation) { editBinding(sim, onService("payments")) },
	},
	{
		name: "delete", paired: true, setup: withReadyBinding(), check: expectNothingLeft,
		act: func(sim *simulation) { sim.delete(limitBinding()) },
	},
	{
		name: "delete-after-restart", setup: withReadyBinding(), check: expectNothingLeft,
		act: func(sim *simulation) {
			sim.kill()
			sim.delete(limitBinding())
		},
	},
	{
		name: "create-after-hand-over", setup: withGateway,
		act: func(sim *simulation) {
			sim.endInOrder()
			sim.create(newBinding("limit"))
		},
	},
	{
		name: "delete-after-hand-over", setup: withReadyBinding(), check: expectNothingLeft,
		act: func(sim *simulation) {
			sim.endInOrder()
			sim.delete(limitBinding())
		},
	},
	{
		name: "delete-orphan", setup: func(sim *simulation) { withReadyBinding(orphanOnDelete)(sim); rememberID(sim) }, check: expectRetained(5),
		act: func(sim *simulation) { sim.delete(limitBinding()) },
	},
	{
		name: "restart", setup: withReadyBinding(), readOnly: true, check: expectNoKubeWrites,
		act: func(sim *simulation) {
			sim.kill()
			sim.runUntilCalm()
			sim.resync()
		},
	},
	{
		name: "restore", paired: true, setup: withReadyBinding(),
		act: func(sim *simulation) {
			sim.kong.server.DeletePlugin(recordedID(sim))
			sim.resync()
		},
	},
	{
		name: "restore-after-restart", setup: withReadyBinding(),
		act: func(sim *simulation) {
			sim.kill()
			sim.kong.server.DeletePlugin(recordedID(sim))
		},
	},
	{
		// The API server knows the ID and the cache does not. The operator must recreate the
		// plugin under the recorded ID, and not create another one.
		name: "restore-with-an-id-unseen", setup: withGateway, check: expectOneCreate,
		act: func(sim *simulation) {
			sim.create(newBinding("limit", func(b *v1alpha1.PluginBinding) { b.Finalizers = []string{v1alpha1.PluginFinalizer} }))
			sim.staleReconciles = 8
			sim.stepUntil(callMade(sim, kongCreatePlugin))
			sim.kong.server.DeletePlugin(recordedID(sim))
		},
	},
	{
		// Somebody recreated the plugin under another ID. The operator replaces it: a DELETE and a
		// PUT in one reconcile.
		name: "replace", paired: true, setup: withReadyBinding(), check: expectReplaced,
		act: func(sim *simulation) {
			recreateUnderAnotherID(sim, ordersID)
			sim.resync()
		},
	},
	{
		// The plugin with the other ID has another scope, so the place of the recorded one is free.
		name: "replace-elsewhere", setup: withReadyBinding(), check: expectReplaced,
		act: func(sim *simulation) {
			recreateUnderAnotherID(sim, paymentsID)
			sim.resync()
		},
	},
	{
		name: "replace-delete-in-doubt", setup: withReadyBinding(), check: expectNothingLeft,
		act: func(sim *simulation) {
			recreateUnderAnotherID(sim, ordersID)
			sim.resyncUntil(callMade(sim, kongDeletePlugin))
			sim.delete(limitBinding())
		},
	},
	{
		name: "drift", setup: withReadyBinding(),
		act: func(sim *simulation) {
			sim.kong.server.EditPlugin(recordedID(sim), map[string]any{"config": map[string]any{"minute": 99}, "enabled": false, "tags": []any{}})
			sim.resync()
		},
	},
	{
		name: "status-lost", setup: withReadyBinding(),
		act: func(sim *simulation) {
			sim.kill()
			sim.removeForcibly(limitBinding())
			sim.create(newBinding("limit", func(b *v1alpha1.PluginBinding) { b.Finalizers = []string{v1alpha1.PluginFinalizer} }))
		},
	},
	{
		name: "status-lost-running", setup: withReadyBinding(),
		act: func(sim *simulation) {
			sim.removeForcibly(limitBinding())
			sim.create(newBinding("limit", withMinute("9")))
		},
	},
	{
		name: "deleted-binding-back", setup: func(sim *simulation) {
			withReadyBinding()(sim)
			rememberID(sim)
		},
		act: func(sim *simulation) {
			// etcd is restored to a state before the deletion: the object is back with its ID.
			old := asBinding(sim.stored[sim.bindingID("limit")]).DeepCopy()
			sim.delete(limitBinding())
			sim.stepUntil(func() bool { return sim.stored[sim.bindingID("limit")] == nil })
			sim.kill()
			restoreFromBackup(sim, old)
		},
	},
	{
		name: "adopt-identical", setup: func(sim *simulation) {
			sim.adoptable[seedPlugin(sim, 5)] = true
			withGateway(sim)
		},
		act: func(sim *simulation) { sim.create(newBinding("limit")) },
	},
	{
		name: "adopt-override", setup: func(sim *simulation) {
			sim.adoptable[seedPlugin(sim, 77)] = true
			withGateway(sim)
		},
		act: func(sim *simulation) { sim.create(newBinding("limit", overrideAdoption)) },
	},
	{
		name: "take-over", setup: func(sim *simulation) {
			sim.adoptable[seedPlugin(sim, 77, "managed-by:deck")] = true
			withGateway(sim)
		},
		act: func(sim *simulation) { sim.create(newBinding("limit", overrideAdoption)) },
	},
	{
		name: "conflict", readOnly: true, setup: func(sim *simulation) {
			seedPlugin(sim, 77)
			withGateway(sim)
		},
		act: func(sim *simulation) { sim.create(newBinding("limit")) },
	},
	{
		name: "conflict-solved", setup: func(sim *simulation) {
			seedPlugin(sim, 77)
			withGateway(sim)
			sim.create(newBinding("limit"))
			sim.runUntilCalm()
		},
		act: func(sim *simulation) {
			for _, row := range sim.kong.server.Plugins() {
				if row["name"] == "rate-limiting" {
					sim.kong.server.DeletePlugin(row["id"].(string))
				}
			}
			sim.resync()
			sim.resync()
		},
	},
	{
		name: "two-bindings", setup: func(sim *simulation) {
			withReadyBinding()(sim)
			rememberID(sim)
		},
		act: func(sim *simulation) {
			sim.create(newBinding("other"))
			sim.runUntilCalm()
			sim.delete(limitBinding())
		},
	},
	{
		name: "scope-missing", setup: withGateway,
		act: func(sim *simulation) {
			sim.create(newBinding("limit", onService("later")))
			sim.runUntilCalm()
			sim.kong.server.Seed("services", map[string]any{"id": "66666666-6666-4666-8666-666666666666", "name": "later", "url": "http://127.0.0.1:9"})
			sim.resync()
			sim.resync()
		},
	},
	{
		name: "scope-recreated", setup: withReadyBinding(onService("payments")),
		act: func(sim *simulation) {
			sim.kong.server.Delete("services", paymentsID)
			sim.resync()
			sim.kong.server.Seed("services", map[string]any{"id": "77777777-7777-4777-8777-777777777777", "name": "payments", "url": "http://127.0.0.1:9"})
			sim.resync()
			sim.resync()
		},
	},
	{
		name: "secret-rotated", setup: withSecrets,
		act: func(sim *simulation) { rotateSecret(sim, "session", plantedRotated) },
	},
	{
		name: "secret-missing", setup: withSecrets,
		act: func(sim *simulation) {
			sim.delete(newSecret("keys", nil))
			sim.runUntilCalm()
			sim.create(newSecret("keys", map[string]string{"session": plantedRotated, "token": plantedToken}))
		},
	},
	{
		name: "token-revoked", setup: withSecrets,
		act: func(sim *simulation) {
			sim.kongToken = plantedNext
			sim.resync()
			editBinding(sim, func(b *v1alpha1.PluginBinding) { b.Spec.Config = jsonOf(`{"cookie_name": "t"}`) })
			sim.runFor(3 * time.Second)
			rotateSecret(sim, "token", plantedNext)
		},
	},
	{
		name: "gateway-down", setup: withReadyBinding(),
		act: func(sim *simulation) {
			sim.kongDown = true
			editBinding(sim, withMinute("9"))
			sim.runFor(8 * time.Second)
			sim.kongDown = false
			sim.runUntilCalm()
			sim.runFor(20 * time.Second)
		},
	},
	{
		name: "database-down", setup: withReadyBinding(),
		act: func(sim *simulation) {
			sim.kong.server.SetDatabaseDown(true)
			editBinding(sim, withMinute("9"))
			sim.runFor(8 * time.Second)
			sim.kong.server.SetDatabaseDown(false)
			sim.runUntilCalm()
			sim.runFor(20 * time.Second)
		},
	},
	{
		name: "database-emptied", setup: withReadyBinding(),
		act: func(sim *simulation) {
			sim.kong.server.Truncate()
			sim.resync()
			sim.kong.server.Seed("services", map[string]any{"id": "88888888-8888-4888-8888-888888888888", "name": "orders", "url": "http://127.0.0.1:9"})
			sim.resync()
			sim.resync()
		},
	},
	{
		name: "database-older", setup: func(sim *simulation) {
			withReadyBinding()(sim)
			sim.backup = sim.kong.server.Snapshot()
			editBinding(sim, withMinute("9"))
			sim.runUntilCalm()
			sim.resync()
		},
		act: func(sim *simulation) {
			sim.kong.server.Restore(sim.backup)
			sim.resync()
		},
	},
	{
		name: "database-before-create", setup: withReadyBinding(),
		act: func(sim *simulation) {
			sim.kong.server.Restore(sim.kong.fresh)
			sim.resync()
		},
	},
	{
		name: "recreate", recreated: true, setup: func(sim *simulation) { withReadyBinding()(sim); rememberID(sim) },
		act: func(sim *simulation) {
			sim.delete(limitBinding())
			sim.stepUntil(func() bool { return sim.stored[sim.bindingID("limit")] == nil })
			sim.create(newBinding("limit", withMinute("9")))
		},
	},
	{
		name: "gateway-deleted", setup: withReadyBinding(), check: expectNothingLeft,
		act: func(sim *simulation) {
			sim.delete(newGateway())
			sim.runUntilCalm()
			sim.delete(limitBinding())
		},
	},
	{
		name: "orphan-reported", readOnly: true, setup: withGateway,
		act: func(sim *simulation) {
			seedOrphan(sim, sim.namespace, "ghost")
			sim.resync()
			sim.resync()
			sim.resync()
		},
		check: expectOrphanReported,
	},
	{
		name: "orphan-removed", configure: removeOrphans, setup: withGateway,
		act: func(sim *simulation) {
			sim.removableOrphans[seedOrphan(sim, sim.namespace, "ghost")] = true
			sim.resync()
			if len(sim.kong.server.Plugins()) != 3 {
				sim.violation("an orphan was removed when it was first seen")
			}
			sim.resync()
			sim.resync()
		},
		check: func(sim *simulation) { expectOrphanReported(sim); expectNothingLeft(sim) },
	},
	{
		name: "orphan-elsewhere", configure: removeOrphans, readOnly: true, setup: withGateway,
		act: func(sim *simulation) {
			seedOrphan(sim, "elsewhere", "ghost")
			sim.resync()
			sim.resync()
			sim.resync()
		},
	},
	{
		// The plugin is an orphan only in the cache, which is behind. (If the API server
		// reported no binding either, that would be two faults at the same time.)
		name: "orphan-with-binding", configure: removeOrphans, setup: withGateway, skip: []string{kubeGetBinding + "/not-found-there"},
		act: func(sim *simulation) {
			seedOrphan(sim, sim.namespace, "limit")
			sim.frozenKind = kindBinding
			sim.create(newBinding("limit"))
			sim.resync()
			sim.resync()
			sim.resync()
			sim.unfreezeCache()
		},
	},
}
