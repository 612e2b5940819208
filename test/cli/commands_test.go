package cli

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	authorizationv1 "k8s.io/api/authorization/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/envtest"

	"github.com/pluginbinding/kong-plugin-operator/api/v1alpha1"
)

// user is a kubeconfig for somebody with these rights in the namespace.
func (env *testEnv) user(name string, rules ...rbacv1.PolicyRule) string {
	GinkgoHelper()
	added, err := environment.AddUser(envtest.User{Name: env.namespace + "-" + name}, restConfig)
	Expect(err).NotTo(HaveOccurred())
	config, err := added.KubeConfig()
	Expect(err).NotTo(HaveOccurred())
	file := filepath.Join(env.home, name)
	Expect(os.WriteFile(file, config, 0o600)).To(Succeed())
	env.create(
		&rbacv1.Role{ObjectMeta: metav1.ObjectMeta{Namespace: env.namespace, Name: name}, Rules: rules},
		&rbacv1.RoleBinding{
			ObjectMeta: metav1.ObjectMeta{Namespace: env.namespace, Name: name},
			RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: name},
			Subjects:   []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: "User", Name: env.namespace + "-" + name}},
		})
	for _, rule := range rules {
		env.allowed(env.namespace+"-"+name, rule)
	}
	return file
}

// allowed waits until the API server has noticed the right: it reads the roles from a cache.
func (env *testEnv) allowed(user string, rule rbacv1.PolicyRule) {
	GinkgoHelper()
	Eventually(func(g Gomega) {
		review := &authorizationv1.SubjectAccessReview{Spec: authorizationv1.SubjectAccessReviewSpec{
			User: user,
			ResourceAttributes: &authorizationv1.ResourceAttributes{
				Namespace: env.namespace, Group: rule.APIGroups[0], Resource: rule.Resources[0], Verb: rule.Verbs[0],
			},
		}}
		g.Expect(k8s.Create(env.ctx, review)).To(Succeed())
		g.Expect(review.Status.Allowed).To(BeTrue(), "%s", review.Status.Reason)
	}).Should(Succeed())
}

// tenant are the rights of somebody who works with bindings.
var tenant = rbacv1.PolicyRule{APIGroups: []string{v1alpha1.GroupVersion.Group}, Resources: []string{"*"}, Verbs: []string{"get", "list", "watch", "create", "update", "patch", "delete"}}

var _ = Describe("tree", func() {
	It("shows gateways, bindings, IDs and reasons", func() {
		env := newTestEnv()
		good, bad := env.binding("good"), env.binding("bad", onService("nowhere"))
		env.create(good, bad)
		env.ready(good, metav1.ConditionTrue)
		env.ready(bad, metav1.ConditionFalse)

		out := env.run("tree", "-n", env.namespace)
		Expect(out.code).To(BeZero(), out.stderr)
		Expect(out.stdout).To(MatchRegexp(`gateway ` + env.namespace + `/kong .*True +Ready\n`))
		Expect(out.stdout).To(MatchRegexp(`├─ binding ` + env.namespace + `/bad +rate-limiting +service/nowhere +False +ScopeNotFound`))
		Expect(out.stdout).To(MatchRegexp(`└─ binding ` + env.namespace + `/good +rate-limiting +service/orders +` + string(good.Status.PluginID) + ` +True +Ready`))
		Expect(out.stdout).NotTo(ContainSubstring("\x1b"), "colours without a terminal")

		out = env.run("tree", "kong", "-n", env.namespace, "-o", "jsonpath={.gateways[*].bindings[*].pluginID}")
		Expect(out.stdout).To(Equal(string(good.Status.PluginID)))
		out = env.run("tree", "-n", env.namespace, "-o", "name")
		Expect(strings.Fields(out.stdout)).To(ConsistOf("konggateway.kong.pluginbinding.io/kong", "pluginbinding.kong.pluginbinding.io/good", "pluginbinding.kong.pluginbinding.io/bad"))
	})
})

var _ = Describe("validate", func() {
	It("names the field and the line, and writes nothing", func() {
		env := newTestEnv()
		file := filepath.Join(env.home, "bindings.yaml")
		Expect(os.WriteFile(file, []byte(fmt.Sprintf(`apiVersion: kong.pluginbinding.io/v1alpha1
kind: PluginBinding
metadata: {namespace: %[1]s, name: good}
spec:
  gatewayRef: {name: kong}
  plugin: rate-limiting
  config: {minute: 5}
---
apiVersion: kong.pluginbinding.io/v1alpha1
kind: PluginBinding
metadata: {namespace: %[1]s, name: bad}
spec:
  gatewayRef: {name: kong}
  plugin: rate-limiting
  config:
    policy: local
    minute: many
`, env.namespace)), 0o600)).To(Succeed())
		mark := env.kong.Journal().Mark()
		out := env.run("validate", "-f", file)
		Expect(out.code).To(Equal(1), out.stderr)
		Expect(out.stdout).To(MatchRegexp(`bindings.yaml:17 +` + env.namespace + ` pluginbinding/bad +spec.config.minute +`))
		Expect(out.stdout).NotTo(ContainSubstring("/good"))
		Expect(env.kong.Journal().Since(mark).Changes).To(BeEmpty())
	})

	It("shows no value of a Secret, and leaves out what the user may not read", func() {
		env := newTestEnv()
		env.create(&corev1.Secret{
			ObjectMeta: metav1.ObjectMeta{Namespace: env.namespace, Name: "limits"},
			StringData: map[string]string{"config": `{"minute": "hunter2"}`},
		})
		file := env.file(env.binding("b", fromSecret("limits")))
		out := env.run("validate", "-f", file, "-o", "json")
		Expect(out.code).To(Equal(1), out.stderr)
		Expect(out.stdout + out.stderr).NotTo(ContainSubstring("hunter2"))
		var found struct {
			Findings []struct{ Field string }
			Skipped  []string
		}
		Expect(json.Unmarshal([]byte(out.stdout), &found)).To(Succeed())
		Expect(found.Findings).To(HaveLen(1))

		out = env.runAs(env.user("tenant", tenant), "validate", "-f", file, "-o", "json")
		Expect(out.code).To(BeZero(), out.stdout+out.stderr)
		Expect(json.Unmarshal([]byte(out.stdout), &found)).To(Succeed())
		Expect(found.Skipped).To(HaveLen(1))
		Expect(out.stderr).To(ContainSubstring("you may not read it"))
	})
})

var _ = Describe("rename", func() {
	It("keeps the plugin and its ID, without a moment without it", func() {
		env := newTestEnv()
		old := env.binding("old")
		env.create(old)
		id := env.ready(old, metav1.ConditionTrue).Status.PluginID
		mark := env.kong.Journal().Mark()

		out := env.run("rename", "old", "new", "-n", env.namespace, "--dry-run")
		Expect(out.code).To(Equal(2), out.stderr)
		Expect(k8s.Get(env.ctx, client.ObjectKey{Namespace: env.namespace, Name: "new"}, &v1alpha1.PluginBinding{})).NotTo(Succeed())

		out = env.run("rename", "old", "new", "-n", env.namespace)
		Expect(out.code).To(BeZero(), out.stdout+out.stderr)
		renamed := env.ready(env.binding("new"), metav1.ConditionTrue)
		Expect(renamed.Status.PluginID).To(Equal(id))
		Expect(apierrors.IsNotFound(k8s.Get(env.ctx, client.ObjectKeyFromObject(old), old))).To(BeTrue())
		for _, change := range env.kong.Journal().Since(mark).Changes {
			Expect(change.Kind).To(Equal("update"))
			Expect(change.ID).To(Equal(string(id)))
		}
	})

	It("goes on after an interruption, and refuses a name that is taken", func() {
		env := newTestEnv()
		old, other := env.binding("old"), env.binding("other", onService("users"))
		env.create(old, other)
		id := env.ready(old, metav1.ConditionTrue).Status.PluginID
		env.ready(other, metav1.ConditionTrue)
		out := env.run("rename", "old", "other", "-n", env.namespace)
		Expect(out.code).To(Equal(1))
		Expect(out.stderr).To(ContainSubstring("exists already and does not replace"))

		// Someone stopped it after the new binding was created.
		renamed := env.binding("new", func(b *v1alpha1.PluginBinding) { b.Spec.Replaces = &v1alpha1.BindingRef{Name: "old"} })
		env.create(renamed)
		env.ready(renamed, metav1.ConditionTrue)
		out = env.run("rename", "old", "new", "-n", env.namespace)
		Expect(out.code).To(BeZero(), out.stdout+out.stderr)
		Expect(env.ready(env.binding("new"), metav1.ConditionTrue).Status.PluginID).To(Equal(id))
	})
})
