package cli

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/pluginbinding/kong-plugin-operator/api/v1alpha1"
	"github.com/pluginbinding/kong-plugin-operator/test/kongtest"
	"github.com/pluginbinding/kong-plugin-operator/test/kongtest/kic"
)

// applyText applies the documents of a text, as kubectl apply does.
func (env *testEnv) applyText(text string) (objects []*unstructured.Unstructured) {
	GinkgoHelper()
	for document := range strings.SplitSeq("\n"+text, "\n---\n") {
		object := &unstructured.Unstructured{}
		Expect(yaml.Unmarshal([]byte(document), &object.Object)).To(Succeed(), "%s", document)
		if len(object.Object) == 0 {
			continue
		}
		applied := object.DeepCopy()
		Expect(k8s.Apply(env.ctx, client.ApplyConfigurationFromUnstructured(applied), client.FieldOwner("kubectl"), client.ForceOwnership)).To(Succeed(), "%s", document)
		objects = append(objects, object)
	}
	return objects
}

// becomesReady waits until all imported objects are Ready, and returns the bindings.
func (env *testEnv) becomesReady(objects []*unstructured.Unstructured) map[string]*v1alpha1.PluginBinding {
	GinkgoHelper()
	for _, object := range objects {
		Eventually(func(g Gomega) {
			var conditions []metav1.Condition
			switch object.GetKind() {
			case "PluginBinding":
				binding := &v1alpha1.PluginBinding{}
				g.Expect(k8s.Get(env.ctx, client.ObjectKeyFromObject(object), binding)).To(Succeed())
				conditions = binding.Status.Conditions
			case "PluginPolicy":
				policy := &v1alpha1.PluginPolicy{}
				g.Expect(k8s.Get(env.ctx, client.ObjectKeyFromObject(object), policy)).To(Succeed())
				conditions = policy.Status.Conditions
			default:
				return
			}
			g.Expect(meta.IsStatusConditionTrue(conditions, v1alpha1.ConditionReady)).To(BeTrue(), "%s %+v", object.GetName(), conditions)
		}).Should(Succeed())
	}
	list := &v1alpha1.PluginBindingList{}
	Expect(k8s.List(env.ctx, list, client.InNamespace(env.namespace))).To(Succeed())
	bindings := map[string]*v1alpha1.PluginBinding{}
	for i := range list.Items {
		bindings[string(list.Items[i].Status.PluginID)] = &list.Items[i]
	}
	return bindings
}

// unchangedConfigs checks that no write since the mark changed a plugin that was there but for its tags, and
// that none was refused.
func (env *testEnv) unchangedConfigs(mark int) {
	GinkgoHelper()
	records := env.kong.Journal().Since(mark)
	for _, change := range records.Changes {
		if change.Entity != "plugins" || change.Before == nil {
			continue
		}
		Expect(change.Kind).To(Equal("update"))
		for field := range change.Before {
			switch {
			case field == "tags" || field == "updated_at":
			case field == "instance_name" && change.Before[field] == nil: // the operator gives one to what has none
			default:
				Expect(fmt.Sprint(change.After[field])).To(Equal(fmt.Sprint(change.Before[field])), "%s of %s", field, change.ID)
			}
		}
	}
	for _, request := range records.Requests {
		Expect(request.Status).NotTo(Equal(409), "%s %s", request.Method, request.Path)
	}
}

// secret is the password in Kong.
const secret = "hunter2-in-kong"

func (env *testEnv) seedRedis(scope map[string]any, tags ...string) string {
	GinkgoHelper()
	body := map[string]any{"name": "rate-limiting", "tags": tags, "config": map[string]any{
		"minute": 5, "policy": "redis", "redis": map[string]any{"host": "redis.shop", "password": secret},
	}}
	for key, value := range scope {
		body[key] = value
	}
	return fmt.Sprint(env.kong.Seed("plugins", body)["id"])
}

var orders = map[string]any{"service": map[string]any{"name": "orders"}}

var _ = Describe("import", func() {
	It("gives plugins without an owner to bindings under their IDs", func() {
		env := newTestEnv()
		ids := []string{
			env.seedRedis(orders, "team-a"),
			fmt.Sprint(env.kong.Seed("plugins", map[string]any{"name": "key-auth", "route": map[string]any{"name": "orders-v1"}, "enabled": false, "instance_name": "guard"})["id"]),
			fmt.Sprint(env.kong.Seed("plugins", map[string]any{"name": "cors", "consumer": nil, "protocols": []string{"http"}})["id"]),
			fmt.Sprint(env.kong.Seed("plugins", map[string]any{"name": "pre-function", "config": map[string]any{"access": []string{"return"}}, "service": map[string]any{"name": "users"}})["id"]),
			fmt.Sprint(env.kong.Seed("plugins", map[string]any{"name": "request-termination", "consumer": map[string]any{"username": "alice"}, "config": map[string]any{"status_code": 403}})["id"]),
		}
		secrets := filepath.Join(env.home, "secrets.yaml")
		out := env.run("import", "--from", "unowned", "-n", env.namespace, "--gateway", "kong", "--secrets-file", secrets, "--cluster-id", clusterID, "--strict")
		Expect(out.code).To(BeZero(), out.stderr)
		Expect(out.stdout).NotTo(ContainSubstring(secret))
		Expect(out.stderr).To(ContainSubstring("5 objects for 5 plugins; 0 plugins are bound already."))
		Expect(out.stderr).To(ContainSubstring("terraform state list -id=" + ids[0]))
		info, err := os.Stat(secrets)
		Expect(err).NotTo(HaveOccurred())
		Expect(info.Mode().Perm()).To(Equal(os.FileMode(0o600)))
		values, err := os.ReadFile(secrets)
		Expect(err).NotTo(HaveOccurred())

		mark := env.kong.Journal().Mark()
		env.applyText(string(values))
		bindings := env.becomesReady(env.applyText(out.stdout))
		for _, id := range ids {
			Expect(bindings).To(HaveKey(id))
			Expect(string(bindings[id].Spec.PluginID)).To(Equal(id))
		}
		env.unchangedConfigs(mark)
		Expect(env.kong.Plugins()).To(HaveLen(len(ids)))

		again := env.run("import", "--from", "unowned", "-n", env.namespace, "--gateway", "kong")
		Expect(again.stdout).To(BeEmpty())
		Expect(again.stderr).To(ContainSubstring("0 objects for 0 plugins; 5 plugins are bound already."))
		Expect(env.run("import", "--from", "unowned", "-n", env.namespace, "--gateway", "kong", "--secrets-file", secrets).code).To(BeZero(), "it has no Secret to write")
	})

	It("gives the fields of Kong Enterprise to bindings as well", func() {
		env := newTestEnv(kongtest.WithEnterprise(), kongtest.WithVersion("3.14.0.0-enterprise-edition"))
		env.kong.Seed("consumer_groups", map[string]any{"name": "gold"})
		ids := []string{
			fmt.Sprint(env.kong.Seed("plugins", map[string]any{
				"name": "rate-limiting", "consumer_group": map[string]any{"name": "gold"}, "config": map[string]any{"minute": 5},
				"ordering": map[string]any{"before": map[string]any{"access": []any{"key-auth", "acl"}}}, "condition": `http.method == "GET"`,
			})["id"]),
			fmt.Sprint(env.kong.Seed("plugins", map[string]any{
				"name": "request-termination", "service": map[string]any{"name": "orders"}, "route": map[string]any{"name": "orders-v1"},
				"consumer": map[string]any{"username": "alice"}, "protocols": []string{"https"}, "enabled": false,
			})["id"]),
		}
		out := env.run("import", "--from", "unowned", "-n", env.namespace, "--gateway", "kong", "--cluster-id", clusterID, "--strict")
		Expect(out.code).To(BeZero(), out.stderr)
		mark := env.kong.Journal().Mark()
		bindings := env.becomesReady(env.applyText(out.stdout))
		for _, id := range ids {
			Expect(bindings).To(HaveKey(id))
		}
		env.unchangedConfigs(mark)
	})

	It("writes nothing to Kong before the Secrets are filled in", func() {
		env := newTestEnv()
		id := env.seedRedis(orders)
		out := env.run("import", "-n", env.namespace, "--gateway", "kong", "--cluster-id", clusterID)
		Expect(out.code).To(BeZero(), out.stderr)
		Expect(out.stdout + out.stderr).NotTo(ContainSubstring(secret))
		Expect(out.stdout).To(ContainSubstring("#  redis.password: the value of config.redis.password"))
		mark := env.kong.Journal().Mark()
		objects := env.applyText(out.stdout)
		binding := &v1alpha1.PluginBinding{ObjectMeta: metav1.ObjectMeta{Namespace: env.namespace, Name: "rate-limiting-orders"}}
		env.ready(binding, metav1.ConditionFalse)
		Expect(meta.FindStatusCondition(binding.Status.Conditions, v1alpha1.ConditionReady).Reason).To(Equal(v1alpha1.ReasonSecretNotFound))
		Expect(env.kong.Journal().Since(mark).Changes).To(BeEmpty())

		filled := &corev1.Secret{}
		Expect(k8s.Get(env.ctx, client.ObjectKey{Namespace: env.namespace, Name: objects[0].GetName()}, filled)).To(Succeed())
		filled.StringData = map[string]string{"redis.password": secret}
		Expect(k8s.Update(env.ctx, filled)).To(Succeed())
		Expect(env.becomesReady(objects)).To(HaveKey(id))
		env.unchangedConfigs(mark)
	})

	It("refuses what the next run of decK would delete, and then keeps its ID", func() {
		env := newTestEnv()
		limit := env.seedRedis(orders, "team-a", "gold")
		guard := fmt.Sprint(env.kong.Seed("plugins", map[string]any{"name": "key-auth", "route": map[string]any{"name": "orders-v1"}, "tags": []string{"team-a"}})["id"])
		file := filepath.Join(env.home, "kong.yaml")
		Expect(os.WriteFile(file, []byte(`
_format_version: "3.0"
_info: {select_tags: [team-a]}
services:
- name: orders
  plugins: [{name: rate-limiting}]
  routes:
  - name: orders-v1
    plugins: [{name: key-auth}]
`), 0o600)).To(Succeed())
		out := env.run("import", "--from", "deck", "-f", file, "-n", env.namespace, "--gateway", "kong", "--cluster-id", clusterID)
		Expect(out.code).To(Equal(1))
		Expect(out.stdout).To(BeEmpty())
		for _, line := range []string{
			"services[orders].plugins[rate-limiting]  # plugin " + limit + "  ->  refused",
			"services[orders].routes[orders-v1].plugins[key-auth]  # plugin " + guard + "  ->  refused",
			"Do not run `deck gateway sync " + file + "` before",
		} {
			Expect(out.stderr).To(ContainSubstring(line))
		}
		Expect(os.WriteFile(file, []byte("_format_version: \"3.0\"\n_info: {select_tags: [team-a]}\nservices: [{name: orders, routes: [{name: orders-v1}]}]\n"), 0o600)).To(Succeed())
		secrets := filepath.Join(env.home, "deck-secrets.yaml")
		out = env.run("import", "--from", "deck", "-f", file, "-n", env.namespace, "--gateway", "kong", "--cluster-id", clusterID, "--i-removed-it", "--secrets-file", secrets)
		Expect(out.code).To(BeZero(), out.stderr)
		values, err := os.ReadFile(secrets)
		Expect(err).NotTo(HaveOccurred())
		mark := env.kong.Journal().Mark()
		env.applyText(string(values))
		bindings := env.becomesReady(env.applyText(out.stdout))
		Expect(bindings).To(And(HaveKey(limit), HaveKey(guard), HaveLen(2)))
		env.unchangedConfigs(mark)
		// What decK goes by is off, so that it does not delete the plugins; the user's own tag stays.
		Expect(env.kong.Plugin(limit)["tags"]).To(And(ContainElement("gold"), Not(ContainElement("team-a"))))
	})

	DescribeTable("takes the plugins of Kong's ingress controller", func(policies string, shadows int) {
		env := newTestEnv()
		env.applyText(strings.ReplaceAll(shop, "NAMESPACE", env.namespace))
		ctx, cancel := context.WithTimeout(env.ctx, 5*patience) // the ingress controller's life, too
		DeferCleanup(cancel)
		controller, err := kic.Start(ctx, restConfig, kic.Options{AdminURL: env.kong.URL(), Interval: 30 * time.Millisecond, Namespace: env.namespace, IngressClass: env.namespace})
		Expect(err).NotTo(HaveOccurred())
		DeferCleanup(controller.Stop)
		Expect(controller.WaitSynced(ctx)).To(Succeed())
		rows := env.rowsOfKIC()
		Expect(rows).To(HaveLen(5))

		out := env.run("import", "--from", "kic", "-n", env.namespace, "--gateway", "kong", "--policies", policies, "--cluster-id", clusterID, "--strict")
		Expect(out.code).To(BeZero(), out.stderr)
		Expect(out.stdout).NotTo(ContainSubstring(secret))
		Expect(out.stderr).To(ContainSubstring("for 5 plugins; 0 plugins are bound already."))
		mark := env.kong.Journal().Mark()
		bindings := env.becomesReady(env.applyText(out.stdout))
		kept := 0
		for id := range rows {
			if bindings[id] != nil {
				kept++
			}
		}
		Expect(kept).To(Equal(5-shadows), "plugins that keep their IDs")
		Expect(env.kong.Plugins()).To(HaveLen(5+shadows), "the others stand beside those of the ingress controller")
		env.unchangedConfigs(mark)
		Expect(controller.WaitTicks(ctx, 3)).To(Succeed())
		stats := controller.Stats()
		Expect(stats.LastError).NotTo(HaveOccurred())
		Expect(stats.Failed).To(BeZero())

		again := env.run("import", "--from", "kic", "-n", env.namespace, "--gateway", "kong", "--policies", policies)
		Expect(again.stderr).To(ContainSubstring("0 objects for 0 plugins"))
	},
		Entry("one binding for each, so that all keep their IDs", "never", 0),
		Entry("with policies, whose plugins on routes stand beside them", "auto", 2),
	)
})

// rowsOfKIC are the plugins that the ingress controller made of KongPlugins of the namespace.
func (env *testEnv) rowsOfKIC() map[string]bool {
	rows := map[string]bool{}
	for _, row := range env.kong.Plugins() {
		if tags, _ := row["tags"].([]any); strings.Contains(fmt.Sprint(tags), kic.DefaultTag) && strings.Contains(fmt.Sprint(tags), "k8s-namespace:"+env.namespace) {
			rows[fmt.Sprint(row["id"])] = true
		}
	}
	return rows
}

// shop is an Ingress of two hosts, a Service of two ports and a KongConsumer, each with a KongPlugin.
const shop = `
apiVersion: v1
kind: Secret
metadata: {name: redis, namespace: NAMESPACE}
stringData: {password: '"` + secret + `"'}
---
apiVersion: configuration.konghq.com/v1
kind: KongPlugin
metadata: {name: guard, namespace: NAMESPACE}
plugin: key-auth
config: {key_names: [apikey]}
---
apiVersion: configuration.konghq.com/v1
kind: KongPlugin
metadata: {name: limit, namespace: NAMESPACE}
plugin: rate-limiting
config: {minute: 5, policy: redis, redis: {host: redis.shop}}
configPatches: [{path: /redis/password, valueFrom: {secretKeyRef: {name: redis, key: password}}}]
---
apiVersion: configuration.konghq.com/v1
kind: KongConsumer
metadata: {name: bob, namespace: NAMESPACE, annotations: {konghq.com/plugins: bye, kubernetes.io/ingress.class: NAMESPACE}}
username: bob
---
apiVersion: configuration.konghq.com/v1
kind: KongPlugin
metadata: {name: bye, namespace: NAMESPACE}
plugin: request-termination
config: {status_code: 410}
---
apiVersion: v1
kind: Service
metadata: {name: api, namespace: NAMESPACE, annotations: {konghq.com/plugins: limit}}
spec: {ports: [{name: a, port: 80}, {name: b, port: 81}]}
---
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {name: web, namespace: NAMESPACE, annotations: {konghq.com/plugins: guard}}
spec:
  ingressClassName: NAMESPACE
  rules:
  - {host: a.example.com, http: {paths: [{path: /, pathType: Prefix, backend: {service: {name: api, port: {number: 80}}}}]}}
  - {host: b.example.com, http: {paths: [{path: /, pathType: Prefix, backend: {service: {name: api, port: {number: 81}}}}]}}
`
