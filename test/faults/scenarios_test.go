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

// ready makes a gateway that is looked at.
func ready(w *world) {
	w.create(newGateway())
	w.calm()
}

func minute(n string) func(*v1alpha1.PluginBinding) {
	return func(b *v1alpha1.PluginBinding) { b.Spec.Config = jsonOf(`{"minute": ` + n + `, "policy": "local"}`) }
}

// recorded is the ID of the binding limit.
func recorded(w *world) string {
	return string(asBinding(w.truth[w.bindingID("limit")]).Status.PluginID)
}

func newSecret(name string, values map[string]string) *corev1.Secret {
	return &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: name}, StringData: values}
}

// boundAs makes a gateway and a binding in force.
func boundAs(edits ...func(*v1alpha1.PluginBinding)) func(*world) {
	return func(w *world) {
		ready(w)
		w.create(newBinding("limit", edits...))
		w.calm()
		w.sweep()
	}
}

func orphaning(b *v1alpha1.PluginBinding)  { b.Spec.DeletionPolicy = v1alpha1.OrphanPlugin }
func overriding(b *v1alpha1.PluginBinding) { b.Spec.AdoptionPolicy = v1alpha1.AdoptOverride }

func onService(name string) func(*v1alpha1.PluginBinding) {
	return func(b *v1alpha1.PluginBinding) {
		b.Spec.Scope = &v1alpha1.Scope{Service: &v1alpha1.EntityRef{Name: v1alpha1.Name(name)}}
	}
}

// edit changes the binding limit.
func edit(w *world, how func(*v1alpha1.PluginBinding)) {
	change(w, &v1alpha1.PluginBinding{ObjectMeta: metav1.ObjectMeta{Name: "limit"}}, how)
}

func limit() *v1alpha1.PluginBinding {
	return &v1alpha1.PluginBinding{ObjectMeta: metav1.ObjectMeta{Name: "limit"}}
}

// seedPlugin puts a rate-limiting on the service orders into Kong that the binding limit
// may take.
func seedPlugin(w *world, minute int, tags ...any) string {
	row := w.bench.server.Seed("plugins", map[string]any{
		"name": "rate-limiting", "service": map[string]any{"id": ordersID}, "tags": tags,
		"config": map[string]any{"minute": minute, "policy": "local"},
	})
	id := row["id"].(string)
	w.random = append(w.random, id, "ID of the seeded plugin")
	return id
}

// seedOrphan puts a plugin with the marks of a binding into Kong.
func seedOrphan(w *world, namespace, name string) string {
	self := identity.Binding{Cluster: cluster, Namespace: namespace, Name: name, UID: "00000000-0000-4000-8000-000000000000"}
	row := w.bench.server.Seed("plugins", map[string]any{
		"name": "rate-limiting", "service": map[string]any{"id": ordersID}, "tags": self.OwnershipTags(),
		"instance_name": self.InstanceName(), "config": map[string]any{"minute": 5, "policy": "local"},
	})
	id := row["id"].(string)
	w.random = append(w.random, id, "ID of the orphan")
	return id
}

// called says whether a call was made since the play was armed.
func called(w *world, name string) func() bool {
	return func() bool { return w.counts[name] > 0 }
}

// fromBackup is what etcd has of the binding limit when it is restored from before a
// deletion: another object, with the status of the old one.
func fromBackup(w *world, old *v1alpha1.PluginBinding) {
	back := newBinding("limit", func(b *v1alpha1.PluginBinding) { b.Finalizers = []string{v1alpha1.PluginFinalizer} })
	w.create(back)
	back.Status = old.Status
	w.must(apiServer.Status().Update(w.ctx, back))
	w.holds(back)
	w.happened("etcd has the status of", back)
}

func removing(o *controllers.Options) { o.RemoveOrphans = true }

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

func secretly(w *world) {
	w.secrets = []string{plantedConfig, plantedRotated, plantedToken, plantedNext}
	w.create(newSecret("keys", map[string]string{"session": plantedConfig, "token": plantedToken}))
	gw := newGateway()
	gw.Spec.Auth = &v1alpha1.GatewayAuth{TokenSecretRef: v1alpha1.SecretKeyRef{Name: "keys", Key: "token"}}
	w.token = plantedToken
	w.create(gw)
	w.calm()
	w.create(newBinding("limit", fromSecret))
	w.calm()
	w.sweep()
}

func rotate(w *world, key, value string) {
	change(w, &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: "keys"}}, func(s *corev1.Secret) {
		s.Data[key] = []byte(value)
	})
}

func noWritesAtAll(w *world) {
	if len(w.faults) == 0 && w.kubeWrites != w.kubeWritesBefore {
		w.violation("%d writes to Kubernetes, and there is nothing to be written", w.kubeWrites-w.kubeWritesBefore)
	}
}

// leftWith wants the plugin to be there at the end, without our marks.
func leftWith(minuteWanted float64) func(*world) {
	return func(w *world) {
		for _, row := range w.bench.server.Plugins() {
			config, _ := row["config"].(map[string]any)
			if row["name"] != "rate-limiting" {
				continue
			}
			if row["instance_name"] != nil || len(identity.WithoutOwnershipTags(texts(row["tags"]))) != len(texts(row["tags"])) {
				w.violation("the plugin that was left has marks of ours: %v %v", row["instance_name"], row["tags"])
			}
			if config["minute"] != minuteWanted {
				w.violation("the plugin that was left has minute %v", config["minute"])
			}
			return
		}
		w.violation("the plugin was to be left, and it is gone")
	}
}

func nothingOfOurs(w *world) {
	for _, row := range w.bench.server.Plugins() {
		if id := row["id"]; id != corsID && id != ingressID {
			w.violation("plugin %v is left: %v", id, row["tags"])
		}
	}
	if binding := w.truth[w.bindingID("limit")]; binding != nil {
		w.violation("the binding is still there")
	}
}

// madeOnce wants no second POST, unless a fault called for one.
func madeOnce(w *world) {
	if n := w.counts["G4"]; len(w.faults) == 0 && n != 1 {
		w.violation("%d times a plugin was made", n)
	}
}

func remember(w *world) { w.random = append(w.random, recorded(w), "ID of limit") }

var scenarios = []scenario{
	{
		name: "first", before: func(*world) {},
		act: func(w *world) {
			w.create(newGateway())
			w.create(newBinding("limit"))
		},
	},
	{
		name: "create", paired: true, before: ready,
		act: func(w *world) { w.create(newBinding("limit")) },
	},
	{
		name: "create-delete", before: ready, check: nothingOfOurs,
		act: func(w *world) {
			w.create(newBinding("limit"))
			w.run(w.clock.Now())
			w.delete(limit())
		},
	},
	{
		name: "create-delete-in-doubt", before: ready, check: nothingOfOurs,
		act: func(w *world) {
			w.create(newBinding("limit"))
			w.step(called(w, "G4"))
			w.delete(limit())
		},
	},
	{
		// What the first POST makes has another name and another place than what is looked for
		// afterwards.
		name: "create-changed-in-doubt", before: ready,
		act: func(w *world) {
			w.create(newBinding("limit"))
			w.step(called(w, "G4"))
			edit(w, func(b *v1alpha1.PluginBinding) { onService("payments")(b); b.Spec.InstanceName = "other-name" })
		},
	},
	{
		// The same, and it is another object.
		name: "create-recreated-in-doubt", before: ready,
		act: func(w *world) {
			w.create(newBinding("limit"))
			w.step(called(w, "G4"))
			w.strip(limit())
			w.create(newBinding("limit", onService("payments"), func(b *v1alpha1.PluginBinding) { b.Spec.InstanceName = "other-name" }))
		},
	},
	{
		name: "update-delete-in-doubt", before: boundAs(), check: nothingOfOurs,
		act: func(w *world) {
			edit(w, minute("9"))
			w.step(called(w, "G5"))
			w.delete(limit())
		},
	},
	{
		name: "restore-delete-in-doubt", before: boundAs(), check: nothingOfOurs,
		act: func(w *world) {
			w.bench.server.DeletePlugin(recorded(w))
			w.sweepUntil(called(w, "G5"))
			w.delete(limit())
		},
	},
	{
		name: "update", before: boundAs(),
		act: func(w *world) { edit(w, minute("9")) },
	},
	{
		name: "move-scope", before: boundAs(),
		act: func(w *world) { edit(w, onService("payments")) },
	},
	{
		name: "delete", paired: true, before: boundAs(), check: nothingOfOurs,
		act: func(w *world) { w.delete(limit()) },
	},
	{
		name: "delete-after-restart", before: boundAs(), check: nothingOfOurs,
		act: func(w *world) {
			w.kill()
			w.delete(limit())
		},
	},
	{
		name: "delete-orphan", before: func(w *world) { boundAs(orphaning)(w); remember(w) }, check: leftWith(5),
		act: func(w *world) { w.delete(limit()) },
	},
	{
		name: "restart", before: boundAs(), readOnly: true, check: noWritesAtAll,
		act: func(w *world) {
			w.kill()
			w.calm()
			w.sweep()
		},
	},
	{
		name: "restore", paired: true, before: boundAs(),
		act: func(w *world) {
			w.bench.server.DeletePlugin(recorded(w))
			w.sweep()
		},
	},
	{
		name: "restore-after-restart", before: boundAs(),
		act: func(w *world) {
			w.kill()
			w.bench.server.DeletePlugin(recorded(w))
		},
	},
	{
		// The API server knows the ID, the cache does not yet: what is missing in Kong is to
		// be put back under it, and not to be made once more.
		name: "restore-with-an-id-unseen", before: ready, check: madeOnce,
		act: func(w *world) {
			w.create(newBinding("limit", func(b *v1alpha1.PluginBinding) { b.Finalizers = []string{v1alpha1.PluginFinalizer} }))
			w.stale = 8
			w.step(called(w, "G4"))
			w.bench.server.DeletePlugin(recorded(w))
		},
	},
	{
		name: "drift", before: boundAs(),
		act: func(w *world) {
			w.bench.server.EditPlugin(recorded(w), map[string]any{"config": map[string]any{"minute": 99}, "enabled": false, "tags": []any{}})
			w.sweep()
		},
	},
	{
		name: "status-lost", before: boundAs(),
		act: func(w *world) {
			w.kill()
			w.strip(limit())
			w.create(newBinding("limit", func(b *v1alpha1.PluginBinding) { b.Finalizers = []string{v1alpha1.PluginFinalizer} }))
		},
	},
	{
		name: "status-lost-running", before: boundAs(),
		act: func(w *world) {
			w.strip(limit())
			w.create(newBinding("limit", minute("9")))
		},
	},
	{
		name: "deleted-binding-back", before: func(w *world) {
			boundAs()(w)
			remember(w)
		},
		act: func(w *world) {
			// etcd is restored from before the deletion: the object is back, ID included.
			old := asBinding(w.truth[w.bindingID("limit")]).DeepCopy()
			w.delete(limit())
			w.step(func() bool { return w.truth[w.bindingID("limit")] == nil })
			w.kill()
			fromBackup(w, old)
		},
	},
	{
		name: "adopt-identical", before: func(w *world) {
			w.taken[seedPlugin(w, 5)] = true
			ready(w)
		},
		act: func(w *world) { w.create(newBinding("limit")) },
	},
	{
		name: "adopt-override", before: func(w *world) {
			w.taken[seedPlugin(w, 77)] = true
			ready(w)
		},
		act: func(w *world) { w.create(newBinding("limit", overriding)) },
	},
	{
		name: "take-over", before: func(w *world) {
			w.taken[seedPlugin(w, 77, "managed-by:deck")] = true
			ready(w)
		},
		act: func(w *world) { w.create(newBinding("limit", overriding)) },
	},
	{
		name: "conflict", readOnly: true, before: func(w *world) {
			seedPlugin(w, 77)
			ready(w)
		},
		act: func(w *world) { w.create(newBinding("limit")) },
	},
	{
		name: "conflict-solved", before: func(w *world) {
			seedPlugin(w, 77)
			ready(w)
			w.create(newBinding("limit"))
			w.calm()
		},
		act: func(w *world) {
			for _, row := range w.bench.server.Plugins() {
				if row["name"] == "rate-limiting" {
					w.bench.server.DeletePlugin(row["id"].(string))
				}
			}
			w.sweep()
			w.sweep()
		},
	},
	{
		name: "two-bindings", before: func(w *world) {
			boundAs()(w)
			remember(w)
		},
		act: func(w *world) {
			w.create(newBinding("other"))
			w.calm()
			w.delete(limit())
		},
	},
	{
		name: "scope-missing", before: ready,
		act: func(w *world) {
			w.create(newBinding("limit", onService("later")))
			w.calm()
			w.bench.server.Seed("services", map[string]any{"id": "66666666-6666-4666-8666-666666666666", "name": "later", "url": "http://127.0.0.1:9"})
			w.sweep()
			w.sweep()
		},
	},
	{
		name: "scope-recreated", before: boundAs(onService("payments")),
		act: func(w *world) {
			w.bench.server.Delete("services", paymentsID)
			w.sweep()
			w.bench.server.Seed("services", map[string]any{"id": "77777777-7777-4777-8777-777777777777", "name": "payments", "url": "http://127.0.0.1:9"})
			w.sweep()
			w.sweep()
		},
	},
	{
		name: "secret-rotated", before: secretly,
		act: func(w *world) { rotate(w, "session", plantedRotated) },
	},
	{
		name: "secret-missing", before: secretly,
		act: func(w *world) {
			w.delete(newSecret("keys", nil))
			w.calm()
			w.create(newSecret("keys", map[string]string{"session": plantedRotated, "token": plantedToken}))
		},
	},
	{
		name: "token-revoked", before: secretly,
		act: func(w *world) {
			w.token = plantedNext
			w.sweep()
			edit(w, func(b *v1alpha1.PluginBinding) { b.Spec.Config = jsonOf(`{"cookie_name": "t"}`) })
			w.runFor(3 * time.Second)
			rotate(w, "token", plantedNext)
		},
	},
	{
		name: "gateway-down", before: boundAs(),
		act: func(w *world) {
			w.down = true
			edit(w, minute("9"))
			w.runFor(8 * time.Second)
			w.down = false
			w.calm()
			w.runFor(20 * time.Second)
		},
	},
	{
		name: "database-down", before: boundAs(),
		act: func(w *world) {
			w.bench.server.SetDatabaseDown(true)
			edit(w, minute("9"))
			w.runFor(8 * time.Second)
			w.bench.server.SetDatabaseDown(false)
			w.calm()
			w.runFor(20 * time.Second)
		},
	},
	{
		name: "database-emptied", before: boundAs(),
		act: func(w *world) {
			w.bench.server.Truncate()
			w.sweep()
			w.bench.server.Seed("services", map[string]any{"id": "88888888-8888-4888-8888-888888888888", "name": "orders", "url": "http://127.0.0.1:9"})
			w.sweep()
			w.sweep()
		},
	},
	{
		name: "database-older", before: func(w *world) {
			boundAs()(w)
			w.older = w.bench.server.Snapshot()
			edit(w, minute("9"))
			w.calm()
			w.sweep()
		},
		act: func(w *world) {
			w.bench.server.Restore(w.older)
			w.sweep()
		},
	},
	{
		name: "database-before-create", before: boundAs(),
		act: func(w *world) {
			w.bench.server.Restore(w.bench.fresh)
			w.sweep()
		},
	},
	{
		name: "recreate", madeAgain: true, before: func(w *world) { boundAs()(w); remember(w) },
		act: func(w *world) {
			w.delete(limit())
			w.step(func() bool { return w.truth[w.bindingID("limit")] == nil })
			w.create(newBinding("limit", minute("9")))
		},
	},
	{
		name: "gateway-deleted", before: boundAs(), check: nothingOfOurs,
		act: func(w *world) {
			w.delete(newGateway())
			w.calm()
			w.delete(limit())
		},
	},
	{
		name: "orphan-reported", readOnly: true, before: ready,
		act: func(w *world) {
			seedOrphan(w, w.namespace, "ghost")
			w.sweep()
			w.sweep()
			w.sweep()
		},
		check: orphanReported,
	},
	{
		name: "orphan-removed", configure: removing, before: ready,
		act: func(w *world) {
			w.ghosts[seedOrphan(w, w.namespace, "ghost")] = true
			w.sweep()
			if len(w.bench.server.Plugins()) != 3 {
				w.violation("an orphan was removed at its first sight")
			}
			w.sweep()
			w.sweep()
		},
		check: func(w *world) { orphanReported(w); nothingOfOurs(w) },
	},
	{
		name: "orphan-elsewhere", configure: removing, readOnly: true, before: ready,
		act: func(w *world) {
			seedOrphan(w, "elsewhere", "ghost")
			w.sweep()
			w.sweep()
			w.sweep()
		},
	},
	{
		// It is an orphan only in the cache, which is behind.
		// (That the API server does not know the binding either would be two lies at once.)
		name: "orphan-with-binding", configure: removing, before: ready, spared: []string{"K4/not-found-there"},
		act: func(w *world) {
			seedOrphan(w, w.namespace, "limit")
			w.frozen = kindBinding
			w.create(newBinding("limit"))
			w.sweep()
			w.sweep()
			w.sweep()
			w.thaw()
		},
	},
}

func orphanReported(w *world) {
	told := strings.Join(w.texts, "\n")
	// An event is lost with the process, or with the status that it goes with.
	if len(w.faults) == 0 && !strings.Contains(told, "OrphanedPlugins") {
		w.violation("no event told of the orphan")
	}
	if !strings.Contains(told, `name:"kong_operator_orphaned_plugins"`) {
		w.violation("no metric told of the orphan")
	}
}
