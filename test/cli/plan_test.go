package cli

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/pluginbinding/kong-plugin-operator/api/v1alpha1"
	"github.com/pluginbinding/kong-plugin-operator/internal/identity"
	"github.com/pluginbinding/kong-plugin-operator/test/kongtest"
)

// planned is what the plan says about one object.
type planned struct {
	Kind     string   `json:"objectKind"`
	Name     string   `json:"name"`
	Action   string   `json:"action"`
	PluginID string   `json:"pluginID"`
	Fields   []string `json:"fields"`
	Reason   string   `json:"reason"`
	Message  string   `json:"message"`
}

// plan plans a file, and checks that nothing was written to Kong or to the bindings.
func (env *testEnv) plan(file string) (items map[string]planned, code int) {
	GinkgoHelper()
	mark, versions := env.kong.Journal().Mark(), env.versions()
	out := env.run("plan", "-f", file, "-o", "json", "--cluster-id", clusterID)
	Expect(env.kong.Journal().Since(mark).Changes).To(BeEmpty(), "the plan wrote to Kong")
	Expect(env.versions()).To(Equal(versions), "the plan wrote to the cluster")
	var result struct{ Items []planned }
	Expect(json.Unmarshal([]byte(out.stdout), &result)).To(Succeed(), "%d %s %s", out.code, out.stdout, out.stderr)
	items = map[string]planned{}
	for _, item := range result.Items {
		items[item.Name] = item
	}
	return items, out.code
}

// versions are the generations, finalizers and plugin IDs of all bindings.
func (env *testEnv) versions() map[string]string {
	GinkgoHelper()
	list := &v1alpha1.PluginBindingList{}
	Expect(k8s.List(env.ctx, list, client.InNamespace(env.namespace))).To(Succeed())
	versions := map[string]string{}
	for i := range list.Items {
		binding := &list.Items[i]
		versions[binding.Name] = fmt.Sprint(binding.UID, binding.Generation, binding.Finalizers, binding.Status.PluginID)
	}
	return versions
}

// happened is what became of a binding, from what Kong and the API server hold.
func happened(rowsBefore, rowsAfter map[string]map[string]any, before, after *v1alpha1.PluginBinding) string {
	ready := meta.FindStatusCondition(after.Status.Conditions, v1alpha1.ConditionReady)
	switch {
	case ready.Status == metav1.ConditionTrue || ready.Reason == v1alpha1.ReasonPaused || ready.Reason == v1alpha1.ReasonWouldChange:
	case ready.Reason == v1alpha1.ReasonConflict:
		return "conflict"
	case slices.Contains([]string{v1alpha1.ReasonScopeNotFound, v1alpha1.ReasonSecretNotFound, v1alpha1.ReasonGatewayNotFound, v1alpha1.ReasonProgramming, v1alpha1.ReasonPluginNotFound}, ready.Reason):
		return "wait"
	default:
		return "refused"
	}
	id := string(after.Status.PluginID)
	was, is := rowsBefore[id], rowsAfter[id]
	switch {
	case id == "" || is == nil:
		return "none"
	case was == nil && before.Status.PluginID == "":
		return "create"
	case was == nil:
		return "restore"
	case before.Status.PluginID == "":
		instance, _ := was["instance_name"].(string)
		switch ownership, _ := identity.OwnershipOf(identity.Binding{Cluster: clusterID, Namespace: after.Namespace, Name: after.Name}, texts(was["tags"]), instance); ownership {
		case identity.OwnedByOther:
			return "takeover"
		default:
			return "adopt"
		}
	case fmt.Sprint(scopeOf(was)) != fmt.Sprint(scopeOf(is)):
		return "move"
	case fmt.Sprint(was["config"], was["tags"], was["enabled"]) != fmt.Sprint(is["config"], is["tags"], is["enabled"]):
		return "update"
	default:
		return "none"
	}
}

func scopeOf(row map[string]any) []any {
	return []any{row["service"], row["route"], row["consumer"], row["consumer_group"]}
}

func texts(value any) (found []string) {
	list, _ := value.([]any)
	for _, v := range list {
		found = append(found, fmt.Sprint(v))
	}
	return found
}

func (env *testEnv) rows() map[string]map[string]any {
	rows := map[string]map[string]any{}
	for _, row := range env.kong.Plugins() {
		rows[fmt.Sprint(row["id"])] = row
	}
	return rows
}

// story is one change that somebody plans and then applies.
type story struct {
	options []kongtest.Option
	// before makes what is there before.
	before func(*testEnv)
	// objects are in the file.
	objects func(*testEnv) []client.Object
	// want are the actions by name.
	want map[string]string
	// fields are those of the binding b.
	fields []string
}

// fits is the binding b with a change.
func fits(change ...func(*v1alpha1.PluginBinding)) func(*testEnv) []client.Object {
	return func(env *testEnv) []client.Object { return []client.Object{env.binding("b", change...)} }
}

// existing makes the binding b Ready first.
func existing(change ...func(*v1alpha1.PluginBinding)) func(*testEnv) {
	return func(env *testEnv) {
		binding := env.binding("b", change...)
		env.apply(binding)
		env.ready(binding, metav1.ConditionTrue)
	}
}

func withConfig(text string) func(*v1alpha1.PluginBinding) {
	return func(b *v1alpha1.PluginBinding) { b.Spec.Config = jsonOf(text) }
}

func onService(name string) func(*v1alpha1.PluginBinding) {
	return func(b *v1alpha1.PluginBinding) {
		b.Spec.Scope = &v1alpha1.Scope{Service: &v1alpha1.EntityRef{Name: v1alpha1.Name(name)}}
	}
}

func adopts(policy v1alpha1.AdoptionPolicy) func(*v1alpha1.PluginBinding) {
	return func(b *v1alpha1.PluginBinding) { b.Spec.AdoptionPolicy = policy }
}

func seeded(minute int, tags ...any) func(*testEnv) {
	return func(env *testEnv) {
		env.kong.Seed("plugins", map[string]any{
			"name": "rate-limiting", "service": map[string]any{"name": "orders"}, "tags": tags,
			"config": map[string]any{"minute": minute, "policy": "local"},
		})
	}
}

var stories = map[string]story{
	"a new binding":                       {objects: fits(), want: map[string]string{"b": "create"}},
	"the same again":                      {before: existing(), objects: fits(), want: map[string]string{"b": "none"}},
	"another config":                      {before: existing(), objects: fits(withConfig(`{"minute": 9, "policy": "local"}`)), want: map[string]string{"b": "update"}, fields: []string{"config.minute"}},
	"a field of the config less":          {before: existing(withConfig(`{"minute": 5, "hour": 50, "policy": "local"}`)), objects: fits(), want: map[string]string{"b": "update"}, fields: []string{"config.hour"}},
	"another scope":                       {before: existing(), objects: fits(onService("users")), want: map[string]string{"b": "move"}},
	"a plugin of nobody, the same":        {before: seeded(5), objects: fits(), want: map[string]string{"b": "adopt"}},
	"a plugin of nobody, another config":  {before: seeded(7), objects: fits(), want: map[string]string{"b": "conflict"}},
	"the same, with Override":             {before: seeded(7), objects: fits(adopts(v1alpha1.AdoptOverride)), want: map[string]string{"b": "adopt"}},
	"a plugin of nobody, and Never":       {before: seeded(5), objects: fits(adopts(v1alpha1.AdoptNever)), want: map[string]string{"b": "conflict"}},
	"a plugin of another tool":            {before: seeded(5, "managed-by:deck"), objects: fits(), want: map[string]string{"b": "conflict"}},
	"the same tool, with Override":        {before: seeded(7, "managed-by:deck"), objects: fits(adopts(v1alpha1.AdoptOverride)), want: map[string]string{"b": "takeover"}},
	"a service that is not there":         {objects: fits(onService("nowhere")), want: map[string]string{"b": "wait"}},
	"a config that Kong refuses":          {objects: fits(withConfig(`{"minute": "many"}`)), want: map[string]string{"b": "refused"}},
	"a bad config for a plugin in force":  {before: existing(), objects: fits(withConfig(`{"minute": -1, "policy": "nowhere"}`)), want: map[string]string{"b": "refused"}},
	"a plugin that Kong does not have":    {objects: fits(func(b *v1alpha1.PluginBinding) { b.Spec.Plugin = "no-such-plugin" }), want: map[string]string{"b": "refused"}},
	"a gateway that is not there":         {objects: fits(func(b *v1alpha1.PluginBinding) { b.Spec.GatewayRef.Name = "nowhere" }), want: map[string]string{"b": "wait"}},
	"a Secret that is not there":          {objects: fits(fromSecret("absent")), want: map[string]string{"b": "wait"}},
	"an import of a plugin that is there": {before: seeded(5), objects: imported, want: map[string]string{"b": "adopt"}},
	"a binding that only observes":        {objects: fits(func(b *v1alpha1.PluginBinding) { b.Spec.ManagementPolicy = v1alpha1.ObservePlugin }), want: map[string]string{"b": "none"}},
	"a paused binding": {objects: fits(func(b *v1alpha1.PluginBinding) {
		b.Annotations = map[string]string{v1alpha1.PausedAnnotation: "true"}
	}), want: map[string]string{"b": "none"}},
	"a Secret in the same file": {
		objects: func(env *testEnv) []client.Object {
			return []client.Object{env.secret("limits"), env.binding("b", fromSecret("limits"))}
		},
		want: map[string]string{"b": "create"},
	},
	"the place of another binding": {
		before:  existing(),
		objects: func(env *testEnv) []client.Object { return []client.Object{env.binding("c")} },
		want:    map[string]string{"c": "conflict"},
	},
	"two bindings that exchange their places": {
		before: func(env *testEnv) {
			for name, service := range map[string]string{"b": "orders", "c": "users"} {
				binding := env.binding(name, onService(service))
				env.apply(binding)
				env.ready(binding, metav1.ConditionTrue)
			}
		},
		objects: func(env *testEnv) []client.Object {
			return []client.Object{env.binding("b", onService("users")), env.binding("c", onService("orders"))}
		},
		want: map[string]string{"b": "move", "c": "move"},
	},
	"a binding that replaces another": {
		before: existing(),
		objects: func(env *testEnv) []client.Object {
			return []client.Object{env.binding("c", func(b *v1alpha1.PluginBinding) { b.Spec.Replaces = &v1alpha1.BindingRef{Name: "b"} })}
		},
		want: map[string]string{"c": "takeover"},
	},
	"a place that becomes free in the same apply": {
		before: existing(),
		objects: func(env *testEnv) []client.Object {
			return []client.Object{env.binding("a", onService("orders")), env.binding("b", onService("users"))}
		},
		want: map[string]string{"a": "create", "b": "move"},
	},
}

func fromSecret(name string) func(*v1alpha1.PluginBinding) {
	return func(b *v1alpha1.PluginBinding) {
		b.Spec.Config = nil
		b.Spec.ConfigFrom = &v1alpha1.ConfigSource{SecretKeyRef: v1alpha1.SecretKeyRef{Name: name, Key: "config"}}
	}
}

func (env *testEnv) secret(name string) *corev1.Secret {
	return &corev1.Secret{
		TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Secret"}, ObjectMeta: metav1.ObjectMeta{Namespace: env.namespace, Name: name},
		StringData: map[string]string{"config": `{"minute": 3, "policy": "local"}`},
	}
}

func imported(env *testEnv) []client.Object {
	id := fmt.Sprint(env.kong.Plugins()[0]["id"])
	return []client.Object{env.binding("b", func(b *v1alpha1.PluginBinding) { b.Spec.PluginID = v1alpha1.UUID(id) })}
}

var _ = Describe("plan", func() {
	for _, name := range slices.Sorted(maps.Keys(stories)) {
		s := stories[name]
		It("says what the operator does with "+name, func() {
			env := newTestEnv(s.options...)
			if s.before != nil {
				s.before(env)
			}
			objects := s.objects(env)
			items, code := env.plan(env.file(objects...))
			Expect(code).To(Equal(codeFor(s.want)))

			rows, before := env.rows(), map[string]*v1alpha1.PluginBinding{}
			for name := range s.want {
				before[name] = env.read(name)
			}
			env.apply(objects...)
			for name, want := range s.want {
				item, found := items[name]
				Expect(found).To(BeTrue(), "%v", items)
				Expect(item.Action).To(Equal(want), "%+v", item)
				Eventually(func(g Gomega) {
					after := env.read(name)
					ready := meta.FindStatusCondition(after.Status.Conditions, v1alpha1.ConditionReady)
					g.Expect(ready).NotTo(BeNil())
					g.Expect(ready.ObservedGeneration).To(Equal(after.Generation))
					g.Expect(ready.Reason).To(Equal(item.Reason), "%s", ready.Message)
					g.Expect(ready.Message).To(Equal(cmpMessage(item.Message, ready.Message)))
					g.Expect(happened(rows, env.rows(), before[name], after)).To(Equal(want))
					if item.PluginID != "" {
						g.Expect(string(after.Status.PluginID)).To(Equal(item.PluginID))
					}
				}).Should(Succeed())
			}
			if s.fields != nil {
				Expect(items["b"].Fields).To(Equal(s.fields))
				// The operator writes an event after the status, in its own time.
				Eventually(env.notes).WithArguments("b", "Updated").Should(ContainElement(HaveSuffix(" was updated in " + strings.Join(s.fields, ", "))))
			}
		})
	}

	It("says which bindings a policy makes, and what they do", func() {
		env := newTestEnv()
		objects := env.policyOnService("limit", "shop")
		env.create(objects[0])
		env.kong.Seed("services", map[string]any{"name": "shop", "url": "http://127.0.0.1:9", "tags": []any{
			"k8s-name:shop", "k8s-namespace:" + env.namespace, "k8s-kind:Service", "k8s-uid:1", "k8s-version:v1", "managed-by-ingress-controller",
		}})
		items, code := env.plan(env.file(objects[1]))
		Expect(code).To(Equal(2))
		Expect(items["limit"].Action).To(Equal("expand"), "%+v", items)
		Expect(items).To(HaveLen(2))

		env.apply(objects[1])
		for name, item := range items {
			if name == "limit" {
				continue
			}
			Expect(item.Action).To(Equal("create"), "%+v", item)
			env.ready(env.binding(name), metav1.ConditionTrue)
		}
		Expect(env.versions()).To(HaveLen(1), "the policy has other bindings than planned")
		items, code = env.plan(env.file(objects[1]))
		Expect(code).To(BeZero(), "%+v", items)
	})

	It("looks ahead to when the operator takes the plugin of a binding that is gone", func() {
		env := newTestEnv()
		env.kong.Seed("plugins", map[string]any{
			"name": "rate-limiting", "service": map[string]any{"name": "orders"}, "config": map[string]any{"minute": 5, "policy": "local"},
			"tags": anyOf(identity.Binding{Cluster: clusterID, Namespace: env.namespace, Name: "ghost", UID: "1"}.OwnershipTags()),
		})
		items, code := env.plan(env.file(env.binding("b")))
		Expect(items["b"].Action).To(Equal("takeover"), "%+v", items)
		Expect(code).To(Equal(2))
	})

	It("probes a gateway that is only in the file, and says what the API server refuses", func() {
		env := newTestEnv()
		second := env.gateway("second")
		onSecond := env.binding("b", func(b *v1alpha1.PluginBinding) { b.Spec.GatewayRef.Name = "second" })
		invalid := env.binding("invalid", func(b *v1alpha1.PluginBinding) { b.Spec.Plugin = "NOT a name" })
		items, code := env.plan(env.file(second, onSecond, invalid))
		Expect(code).To(Equal(1))
		Expect(items["second"].Action).To(Equal("none"), "%+v", items)
		Expect(items["second"].Message).To(HavePrefix("Kong 3"))
		Expect(items["b"].Action).To(Equal("create"), "%+v", items)
		Expect(items["invalid"].Action).To(Equal("refused"), "%+v", items)
		Expect(items["invalid"].Reason).To(Equal("Invalid"))
	})

	It("says which bindings a changed Secret, ConfigMap or gateway changes that are not in the files", func() {
		env := newTestEnv()
		limits := env.secret("limits")
		settings := &corev1.ConfigMap{
			TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "ConfigMap"}, ObjectMeta: metav1.ObjectMeta{Namespace: env.namespace, Name: "settings"},
			Data: map[string]string{"config": `{"minute": 4, "policy": "local"}`},
		}
		fromMap := func(b *v1alpha1.PluginBinding) {
			b.Spec.Config, b.Spec.ConfigFrom = nil, &v1alpha1.ConfigSource{ConfigMapKeyRef: v1alpha1.ConfigMapKeyRef{Name: "settings", Key: "config"}}
		}
		env.apply(limits, settings)
		for _, binding := range []*v1alpha1.PluginBinding{env.binding("secret", fromSecret("limits")), env.binding("map", onService("users"), fromMap)} {
			env.apply(binding)
			env.ready(binding, metav1.ConditionTrue)
		}
		items, code := env.plan(env.file(limits, settings))
		Expect(items).To(BeEmpty(), "what stays as it is concerns nobody")
		Expect(code).To(BeZero())

		limits.StringData["config"] = `{"minute": 8, "policy": "local"}`
		settings.Data["config"] = `{"minute": 9, "policy": "local"}`
		items, code = env.plan(env.file(limits, settings))
		Expect(code).To(Equal(2))
		Expect(items["secret"].Action).To(Equal("update"), "%+v", items)
		Expect(items["map"].Fields).To(Equal([]string{"config.minute"}), "%+v", items)

		limits.StringData["config"] = `{"minute": "many"}`
		items, code = env.plan(env.file(limits))
		Expect(code).To(Equal(1))
		Expect(items["secret"].Action).To(Equal("refused"), "%+v", items)

		// Another Kong does not have the plugins: they would come back there under their IDs.
		other := kongtest.New()
		DeferCleanup(other.Close)
		for _, name := range []string{"orders", "users"} {
			other.Seed("services", map[string]any{"name": name, "url": "http://127.0.0.1:9"})
		}
		gateway := env.gateway("kong")
		gateway.Spec.AdminURL = other.URL()
		items, code = env.plan(env.file(gateway))
		Expect(code).To(Equal(2), "%+v", items)
		Expect(items["map"].Action).To(Equal("restore"), "%+v", items)
		Expect(items["secret"].Action).To(Equal("restore"), "%+v", items)
	})

	It("knows that an older gateway of the same Kong does not allow another one", func() {
		env := newTestEnv()
		other := env.gateway("second")
		other.Namespace = env.newNamespace()
		items, code := env.plan(env.file(other))
		Expect(code).To(Equal(1))
		Expect(items["second"].Action).To(Equal("refused"), "%+v", items)
		Expect(items["second"].Message).To(ContainSubstring("governs this Kong"))
	})

	It("applies as kubectl does, which removes what the file no longer has", func() {
		env := newTestEnv()
		binding := env.binding("b", withConfig(`{"minute": 5, "hour": 50, "policy": "local"}`))
		raw, err := json.Marshal(env.content(binding))
		Expect(err).NotTo(HaveOccurred())
		binding.Annotations = map[string]string{corev1.LastAppliedConfigAnnotation: string(raw)}
		env.create(binding)
		env.ready(binding, metav1.ConditionTrue)
		items, code := env.plan(env.file(env.binding("b")))
		Expect(items["b"].Action).To(Equal("update"), "%+v", items)
		Expect(items["b"].Fields).To(Equal([]string{"config.hour"}))
		Expect(code).To(Equal(2))
	})
})

// cmpMessage is the message of the plan; a plan gives none for a binding that becomes Ready.
func cmpMessage(planned, actual string) string {
	if planned == "" {
		return actual
	}
	return planned
}

// codeFor is the exit code for these actions.
func codeFor(actions map[string]string) int {
	code := 0
	for _, action := range actions {
		switch action {
		case "conflict", "refused", "wait":
			return 1
		case "none":
		default:
			code = 2
		}
	}
	return code
}

func (env *testEnv) read(name string) *v1alpha1.PluginBinding {
	GinkgoHelper()
	binding := env.binding(name)
	err := k8s.Get(env.ctx, client.ObjectKeyFromObject(binding), binding)
	if !apierrors.IsNotFound(err) {
		Expect(err).NotTo(HaveOccurred())
	}
	return binding
}

// notes are the texts of the events of one reason about a binding.
func (env *testEnv) notes(name, reason string) (notes []string) {
	GinkgoHelper()
	list := &eventsv1.EventList{}
	Expect(k8s.List(env.ctx, list, client.InNamespace(env.namespace))).To(Succeed())
	for i := range list.Items {
		if event := &list.Items[i]; event.Regarding.Name == name && event.Reason == reason {
			notes = append(notes, event.Note)
		}
	}
	return notes
}

func anyOf(tags []string) (list []any) {
	for _, tag := range tags {
		list = append(list, tag)
	}
	return list
}

// policyOnService is a Service, and a policy of rate-limiting on it.
func (env *testEnv) policyOnService(name, target string) []client.Object {
	return []client.Object{
		&corev1.Service{
			ObjectMeta: metav1.ObjectMeta{Namespace: env.namespace, Name: target},
			Spec:       corev1.ServiceSpec{Ports: []corev1.ServicePort{{Port: 80}}},
		},
		&v1alpha1.PluginPolicy{
			TypeMeta:   metav1.TypeMeta{APIVersion: v1alpha1.GroupVersion.String(), Kind: "PluginPolicy"},
			ObjectMeta: metav1.ObjectMeta{Namespace: env.namespace, Name: name},
			Spec: v1alpha1.PluginPolicySpec{
				GatewayRef: v1alpha1.GatewayRef{Name: "kong"},
				TargetRefs: []v1alpha1.PolicyTargetRef{{Kind: "Service", Name: target}},
				Template: v1alpha1.PluginBindingTemplate{Spec: v1alpha1.PluginTemplateSpec{
					Plugin: "rate-limiting", Config: jsonOf(`{"minute": 5, "policy": "local"}`),
				}},
			},
		},
	}
}
