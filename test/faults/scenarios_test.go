package faults

import (
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/pluginbinding/kong-plugin-operator/api/v1alpha1"
	"github.com/pluginbinding/kong-plugin-operator/controllers"
	"github.com/pluginbinding/kong-plugin-operator/internal/identity"
)

func jsonOf(text string) *apiextensionsv1.JSON { return &apiextensionsv1.JSON{Raw: []byte(text)} }

// newBinding declares rate-limiting on the service orders.
func newBinding(name string, edits ...func(*v1alpha1.PluginBinding)) *v1alpha1.PluginBinding {
	binding := &v1alpha1.PluginBinding{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec: v1alpha1.PluginBindingSpec{
			GatewayRef: v1alpha1.GatewayRef{Name: "kong"},
			Plugin:     "rate-limiting",
			Scope:      &v1alpha1.Scope{Service: &v1alpha1.EntityRef{Name: "orders"}},
			Config:     jsonOf(`{"minute": 5, "policy": "local"}`),
		},
	}
	for _, edit := range edits {
		edit(binding)
	}
	return binding
}

func newGateway() *v1alpha1.KongGateway {
	return &v1alpha1.KongGateway{
		ObjectMeta: metav1.ObjectMeta{Name: "kong"},
		Spec: v1alpha1.KongGatewaySpec{
			AdminURL: "http://kong.test:8001",
			Limits:   &v1alpha1.GatewayLimits{RequestsPerSecond: 10000, Burst: 10000},
		},
	}
}

// withGateway makes a gateway that is looked at.
func withGateway(sim *simulation) {
	sim.create(newGateway())
	sim.runUntilCalm()
}

func withMinute(n string) func(*v1alpha1.PluginBinding) {
	return func(b *v1alpha1.PluginBinding) { b.Spec.Config = jsonOf(`{"minute": ` + n + `, "policy": "local"}`) }
}

// recordedID is the ID of the binding limit.
func recordedID(sim *simulation) string {
	return string(asBinding(sim.stored[sim.bindingID("limit")]).Status.PluginID)
}

func newSecret(name string, values map[string]string) *corev1.Secret {
	return &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: name}, StringData: values}
}

// withReadyBinding makes a gateway and a binding in force.
func withReadyBinding(edits ...func(*v1alpha1.PluginBinding)) func(*simulation) {
	return func(sim *simulation) {
		withGateway(sim)
		sim.create(newBinding("limit", edits...))
		sim.runUntilCalm()
		sim.resync()
	}
}

func orphanOnDelete(b *v1alpha1.PluginBinding)   { b.Spec.DeletionPolicy = v1alpha1.OrphanPlugin }
func overrideAdoption(b *v1alpha1.PluginBinding) { b.Spec.AdoptionPolicy = v1alpha1.AdoptOverride }

func onService(name string) func(*v1alpha1.PluginBinding) {
	return func(b *v1alpha1.PluginBinding) {
		b.Spec.Scope = &v1alpha1.Scope{Service: &v1alpha1.EntityRef{Name: v1alpha1.Name(name)}}
	}
}

// editBinding changes the binding limit.
func editBinding(sim *simulation, how func(*v1alpha1.PluginBinding)) {
	change(sim, &v1alpha1.PluginBinding{ObjectMeta: metav1.ObjectMeta{Name: "limit"}}, how)
}

func limitBinding() *v1alpha1.PluginBinding {
	return &v1alpha1.PluginBinding{ObjectMeta: metav1.ObjectMeta{Name: "limit"}}
}

// seedPlugin puts a rate-limiting on the service orders into Kong that the binding limit
// may take.
func seedPlugin(sim *simulation, minute int, tags ...any) string {
	row := sim.kong.server.Seed("plugins", map[string]any{
		"name": "rate-limiting", "service": map[string]any{"id": ordersID}, "tags": tags,
		"config": map[string]any{"minute": minute, "policy": "local"},
	})
	id := row["id"].(string)
	sim.replacements = append(sim.replacements, id, "ID of the seeded plugin")
	return id
}

// seedOrphan puts a plugin with the marks of a binding into Kong.
func seedOrphan(sim *simulation, namespace, name string) string {
	self := identity.Binding{Cluster: cluster, Namespace: namespace, Name: name, UID: "00000000-0000-4000-8000-000000000000"}
	row := sim.kong.server.Seed("plugins", map[string]any{
		"name": "rate-limiting", "service": map[string]any{"id": ordersID}, "tags": self.OwnershipTags(),
		"instance_name": self.InstanceName(), "config": map[string]any{"minute": 5, "policy": "local"},
	})
	id := row["id"].(string)
	sim.replacements = append(sim.replacements, id, "ID of the orphan")
	return id
}

// callMade says whether a call was made since the play was armed.
func callMade(sim *simulation, name string) func() bool {
	return func() bool { return sim.counts[name] > 0 }
}

// restoreFromBackup is what etcd has of the binding limit when it is restored from before a
// deletion: another object, with the status of the old one.
func restoreFromBackup(sim *simulation, old *v1alpha1.PluginBinding) {
	back := newBinding("limit", func(b *v1alpha1.PluginBinding) { b.Finalizers = []string{v1alpha1.PluginFinalizer} })
	sim.create(back)
	back.Status = old.Status
	sim.must(apiServer.Status().Update(sim.ctx, back))
	sim.store(back)
	sim.recordChange("etcd has the status of", back)
}

func removeOrphans(o *controllers.Options) { o.RemoveOrphans = true }

// planted must appear nowhere.
const (
	plantedConfig  = "planted-5f3a9c-in-a-config"
	plantedRotated = "planted-77e1d0-in-a-config-later"
	plantedToken   = "planted-c0ffee-token"
	plantedNext    = "planted-decade-token-later"
)

// fromSecret declares the plugin session, whose secret comes from a Secret.
func fromSecret(b *v1alpha1.PluginBinding) {
	b.Spec.Plugin = "session"
	b.Spec.Config = jsonOf(`{"cookie_name": "s"}`)
	b.Spec.ConfigPatches = []v1alpha1.ConfigPatch{{
		Path:      "/secret",
		ValueFrom: v1alpha1.ConfigSource{SecretKeyRef: v1alpha1.SecretKeyRef{Name: "keys", Key: "session"}},
	}}
}

func withSecrets(sim *simulation) {
	sim.secrets = []string{plantedConfig, plantedRotated, plantedToken, plantedNext}
	sim.create(newSecret("keys", map[string]string{"session": plantedConfig, "token": plantedToken}))
	gw := newGateway()
	gw.Spec.Auth = &v1alpha1.GatewayAuth{TokenSecretRef: v1alpha1.SecretKeyRef{Name: "keys", Key: "token"}}
	sim.kongToken = plantedToken
	sim.create(gw)
	sim.runUntilCalm()
	sim.create(newBinding("limit", fromSecret))
	sim.runUntilCalm()
	sim.resync()
}

func rotateSecret(sim *simulation, key, value string) {
	change(sim, &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: "keys"}}, func(s *corev1.Secret) {
		s.Data[key] = []byte(value)
	})
}

func expectNoKubeWrites(sim *simulation) {
	if len(sim.faults) == 0 && sim.kubeWrites != sim.kubeWritesBeforeArm {
		sim.violation("%d writes to Kubernetes, and there is nothing to be written", sim.kubeWrites-sim.kubeWritesBeforeArm)
	}
}

// expectRetained wants the plugin to be there at the end, without our marks.
func expectRetained(minuteWanted float64) func(*simulation) {
	return func(sim *simulation) {
		for _, row := range sim.kong.server.Plugins() {
			config, _ := row["config"].(map[string]any)
			if row["name"] != "rate-limiting" {
				continue
			}
			if row["instance_name"] != nil || len(identity.WithoutOwnershipTags(texts(row["tags"]))) != len(texts(row["tags"])) {
				sim.violation("the plugin that was left has marks of ours: %v %v", row["instance_name"], row["tags"])
			}
			if config["minute"] != minuteWanted {
				sim.violation("the plugin that was left has minute %v", config["minute"])
			}
			return
		}
		sim.violation("the plugin was to be left, and it is gone")
	}
}

func expectNothingLeft(sim *simulation) {
	for _, row := range sim.kong.server.Plugins() {
		if id := row["id"]; id != corsID && id != ingressID {
			sim.violation("plugin %v is left: %v", id, row["tags"])
		}
	}
	if binding := sim.stored[sim.bindingID("limit")]; binding != nil {
		sim.violation("the binding is still there")
	}
}

// expectOneCreate wants no second POST, unless a fault called for one.
func expectOneCreate(sim *simulation) {
	if n := sim.counts[kongCreatePlugin]; len(sim.faults) == 0 && n != 1 {
		sim.violation("%d times a plugin was made", n)
	}
}

func rememberID(sim *simulation) {
	sim.replacements = append(sim.replacements, recordedID(sim), "ID of limit")
}

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
		// What the first POST makes has another name and another place than what is looked for
		// afterwards.
		name: "create-changed-in-doubt", setup: withGateway,
		act: func(sim *simulation) {
			sim.create(newBinding("limit"))
			sim.stepUntil(callMade(sim, kongCreatePlugin))
			editBinding(sim, func(b *v1alpha1.PluginBinding) { onService("payments")(b); b.Spec.InstanceName = "other-name" })
		},
	},
	{
		// The same, and it is another object.
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
		// The API server knows the ID, the cache does not yet: what is missing in Kong is to
		// be put back under it, and not to be made once more.
		name: "restore-with-an-id-unseen", setup: withGateway, check: expectOneCreate,
		act: func(sim *simulation) {
			sim.create(newBinding("limit", func(b *v1alpha1.PluginBinding) { b.Finalizers = []string{v1alpha1.PluginFinalizer} }))
			sim.staleReconciles = 8
			sim.stepUntil(callMade(sim, kongCreatePlugin))
			sim.kong.server.DeletePlugin(recordedID(sim))
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
			// etcd is restored from before the deletion: the object is back, ID included.
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
				sim.violation("an orphan was removed at its first sight")
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
		// It is an orphan only in the cache, which is behind.
		// (That the API server does not know the binding either would be two lies at once.)
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

func expectOrphanReported(sim *simulation) {
	told := strings.Join(sim.outputs, "\n")
	// An event is lost with the process, or with the status that it goes with.
	if len(sim.faults) == 0 && !strings.Contains(told, "OrphanedPlugins") {
		sim.violation("no event told of the orphan")
	}
	if !strings.Contains(told, `name:"kong_operator_orphaned_plugins"`) {
		sim.violation("no metric told of the orphan")
	}
}
