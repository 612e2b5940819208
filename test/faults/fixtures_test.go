package faults

import (
	"slices"
	"strings"

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

// withGateway creates a gateway and waits until it is ready.
func withGateway(sim *simulation) {
	sim.create(newGateway())
	sim.runUntilCalm()
}

func withMinute(n string) func(*v1alpha1.PluginBinding) {
	return func(b *v1alpha1.PluginBinding) { b.Spec.Config = jsonOf(`{"minute": ` + n + `, "policy": "local"}`) }
}

// recordedID is the plugin ID in the status of the binding limit.
func recordedID(sim *simulation) string {
	return string(asBinding(sim.stored[sim.bindingID("limit")]).Status.PluginID)
}

func newSecret(name string, values map[string]string) *corev1.Secret {
	return &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: name}, StringData: values}
}

// withReadyBinding creates a gateway and a binding, and waits until both are ready.
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

// seedPlugin creates a rate-limiting plugin on the service orders, in the place of the binding
// limit.
func seedPlugin(sim *simulation, minute int, tags ...any) string {
	row := sim.kong.server.Seed("plugins", map[string]any{
		"name": "rate-limiting", "service": map[string]any{"id": ordersID}, "tags": tags,
		"config": map[string]any{"minute": minute, "policy": "local"},
	})
	id := row["id"].(string)
	sim.replacements = append(sim.replacements, id, "ID of the seeded plugin")
	return id
}

// seedOrphan creates a plugin that carries the ownership tags of a binding.
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

// recreateUnderAnotherID replaces the plugin of the binding limit by one with the same tags and
// instance name, another ID, and that service as its scope.
func recreateUnderAnotherID(sim *simulation, serviceID string) {
	row := sim.kong.server.Plugin(recordedID(sim))
	sim.kong.server.DeletePlugin(recordedID(sim))
	copied := sim.kong.server.Seed("plugins", map[string]any{
		"name": row["name"], "service": map[string]any{"id": serviceID}, "tags": row["tags"],
		"instance_name": row["instance_name"], "config": map[string]any{"minute": 5, "policy": "local"},
	})
	sim.replacements = append(sim.replacements, copied["id"].(string), "the other ID")
}

// callMade reports whether a call was made since the simulation was armed.
func callMade(sim *simulation, name string) func() bool {
	return func() bool { return sim.counts[name] > 0 }
}

// restoreFromBackup creates the binding limit as a restored backup of etcd would: as another
// object, with the status of the deleted one.
func restoreFromBackup(sim *simulation, old *v1alpha1.PluginBinding) {
	back := newBinding("limit", func(b *v1alpha1.PluginBinding) { b.Finalizers = []string{v1alpha1.PluginFinalizer} })
	sim.create(back)
	back.Status = old.Status
	sim.must(apiServer.Status().Update(sim.ctx, back))
	sim.store(back)
	sim.recordChange("etcd restores the status of", back)
}

func removeOrphans(o *controllers.Options) { o.RemoveOrphans = true }

// The values of Secrets. They must appear nowhere.
const (
	plantedConfig  = "planted-5f3a9c-in-a-config"
	plantedRotated = "planted-77e1d0-in-a-config-later"
	plantedToken   = "planted-c0ffee-token"
	plantedNext    = "planted-decade-token-later"
)

// fromSecret declares the plugin session, whose config takes a value from a Secret.
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
		sim.violation("%d writes to Kubernetes, expected none", sim.kubeWrites-sim.kubeWritesBeforeArm)
	}
}

// expectRetained checks that the plugin stays, without the operator's ownership tags.
func expectRetained(minuteWanted float64) func(*simulation) {
	return func(sim *simulation) {
		for _, row := range sim.kong.server.Plugins() {
			config, _ := row["config"].(map[string]any)
			if row["name"] != "rate-limiting" {
				continue
			}
			if row["instance_name"] != nil || len(identity.WithoutOwnershipTags(texts(row["tags"]))) != len(texts(row["tags"])) {
				sim.violation("the retained plugin has ownership tags: %v %v", row["instance_name"], row["tags"])
			}
			if config["minute"] != minuteWanted {
				sim.violation("the retained plugin has minute %v", config["minute"])
			}
			return
		}
		sim.violation("the plugin should have been retained, and is gone")
	}
}

func expectNothingLeft(sim *simulation) {
	for _, row := range sim.kong.server.Plugins() {
		if id := row["id"]; id != corsID && id != ingressID {
			sim.violation("plugin %v was not deleted: %v", id, row["tags"])
		}
	}
	if binding := sim.stored[sim.bindingID("limit")]; binding != nil {
		sim.violation("the binding is still there")
	}
}

// expectOneCreate checks that there was only one POST. A fault may make a second one necessary.
func expectOneCreate(sim *simulation) {
	if n := sim.counts[kongCreatePlugin]; len(sim.faults) == 0 && n != 1 {
		sim.violation("%d plugins were created", n)
	}
}

// expectReplaced checks that Kong holds the binding's plugin under the recorded ID only. The DELETE
// comes after a validation, and nothing else happens between it and the PUT.
func expectReplaced(sim *simulation) {
	for _, row := range sim.kong.server.Plugins() {
		if sim.ownerOf(row) == "limit" && row["id"] != recordedID(sim) {
			sim.violation("plugin %v is not the recorded one", row["id"])
		}
	}
	for i, made := range sim.calls {
		switch {
		case made.name != kongDeletePlugin:
		case !slices.ContainsFunc(sim.calls[:i], func(before call) bool { return before.reconcile == made.reconcile && before.name == kongValidatePlugin }):
			sim.violation("%s was sent before Kong validated the plugin in its place", made)
		case len(sim.faults) == 0 && (i+1 == len(sim.calls) || sim.calls[i+1].name != kongPutPlugin):
			sim.violation("%s is not followed by a PUT", made)
		}
	}
}

func rememberID(sim *simulation) {
	sim.replacements = append(sim.replacements, recordedID(sim), "ID of limit")
}

func expectOrphanReported(sim *simulation) {
	output := strings.Join(sim.outputs, "\n")
	// An event is lost with the process, or with the status update that it belongs to.
	if len(sim.faults) == 0 && !strings.Contains(output, "OrphanedPlugins") {
		sim.violation("no event reported the orphan")
	}
	if !strings.Contains(output, `name:"kong_operator_orphaned_plugins"`) {
		sim.violation("no metric reported the orphan")
	}
}
