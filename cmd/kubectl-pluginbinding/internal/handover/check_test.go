package handover

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/pluginbinding/kong-plugin-operator/api/v1alpha1"
	"github.com/pluginbinding/kong-plugin-operator/cmd/kubectl-pluginbinding/internal/cli"
)

// surroundings are a cluster in which nothing keeps a hand-over from being carried out.
type surroundings struct {
	objects []client.Object
	// refused are the rights that the user, or the operator, does not have, as "verb resource".
	refusedUser, refusedOperator string
	// forbidden is a kind of list that the user may not read.
	forbidden string
	options   Options
	stopped   string
	ready     metav1.ConditionStatus
}

const operatorDeployment = "kong-plugin-operator-controller-manager"

func deployment(namespace, name string, container corev1.Container) *appsv1.Deployment {
	return &appsv1.Deployment{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name},
		Spec:       appsv1.DeploymentSpec{Template: corev1.PodTemplateSpec{Spec: corev1.PodSpec{ServiceAccountName: "sa", Containers: []corev1.Container{container}}}},
		Status:     appsv1.DeploymentStatus{Replicas: 1, AvailableReplicas: 1},
	}
}

func quiet() *surroundings {
	operator := deployment("system", operatorDeployment, corev1.Container{Name: "manager", Image: "operator"})
	operator.Labels = map[string]string{"app.kubernetes.io/name": operatorName}
	return &surroundings{
		ready: metav1.ConditionTrue,
		objects: []client.Object{
			operator,
			deployment("kong", "kic", corev1.Container{Name: "controller", Image: "kong/kubernetes-ingress-controller:3.5.13"}),
			lease(operatorDeployment+"-1", time.Second),
		},
	}
}

func lease(holder string, age time.Duration) *coordinationv1.Lease {
	return &coordinationv1.Lease{
		ObjectMeta: metav1.ObjectMeta{Namespace: "system", Name: "leader"},
		Spec: coordinationv1.LeaseSpec{
			HolderIdentity: &holder, LeaseDurationSeconds: ptr.To[int32](15), RenewTime: ptr.To(metav1.NewMicroTime(time.Now().Add(-age))),
		},
	}
}

func event(reason, kind, namespace, name string, age time.Duration) *corev1.Event {
	return &corev1.Event{
		ObjectMeta:     metav1.ObjectMeta{Namespace: namespace, Name: strings.ToLower(reason + "-" + kind + "-" + name)},
		InvolvedObject: corev1.ObjectReference{Kind: kind, Namespace: namespace, Name: name},
		Reason:         reason, Message: "about " + name, LastTimestamp: metav1.NewTime(time.Now().Add(-age)),
	}
}

func (s *surroundings) client() client.Client {
	mapper := meta.NewDefaultRESTMapper([]schema.GroupVersion{{Group: "networking.k8s.io", Version: "v1"}})
	mapper.Add(schema.GroupVersionKind{Group: "networking.k8s.io", Version: "v1", Kind: "Ingress"}, meta.RESTScopeNamespace)
	review := func(attributes *authorizationv1.ResourceAttributes, refused string) bool {
		return refused == "" || attributes.Verb+" "+attributes.Resource != refused
	}
	return fake.NewClientBuilder().WithScheme(cli.Scheme).WithRESTMapper(mapper).WithObjects(s.objects...).
		WithIndex(&corev1.Event{}, "reason", func(o client.Object) []string { return []string{o.(*corev1.Event).Reason} }).
		WithInterceptorFuncs(interceptor.Funcs{
			Create: func(_ context.Context, _ client.WithWatch, object client.Object, _ ...client.CreateOption) error {
				switch r := object.(type) {
				case *authorizationv1.SelfSubjectAccessReview:
					r.Status.Allowed = review(r.Spec.ResourceAttributes, s.refusedUser)
				case *authorizationv1.SubjectAccessReview:
					if s.forbidden == "reviews" {
						return apierrors.NewForbidden(schema.GroupResource{}, "", nil)
					}
					r.Status.Allowed = review(r.Spec.ResourceAttributes, s.refusedOperator) && r.Spec.User == "system:serviceaccount:system:sa"
				}
				return nil
			},
			List: func(ctx context.Context, c client.WithWatch, list client.ObjectList, options ...client.ListOption) error {
				kinds := map[string]bool{}
				switch list.(type) {
				case *corev1.EventList:
					kinds["events"] = true
				case *appsv1.DeploymentList:
					kinds["deployments"] = true
				case *coordinationv1.LeaseList:
					kinds["leases"] = true
				}
				if kinds[s.forbidden] {
					return apierrors.NewForbidden(schema.GroupResource{Resource: s.forbidden}, "", nil)
				}
				return c.List(ctx, list, options...)
			},
		}).Build()
}

// check returns what is said about the surroundings of one item.
func (s *surroundings) check(t *testing.T) (problems, notes []string) {
	t.Helper()
	gateway := &v1alpha1.KongGateway{ObjectMeta: metav1.ObjectMeta{Namespace: "kong", Name: "kong"}}
	if s.ready != "" {
		gateway.Status.Conditions = []metav1.Condition{{Type: v1alpha1.ConditionReady, Status: s.ready, Reason: "Because", Message: "of this"}}
	}
	item := &Item{KongPlugin: Ref{Kind: "KongPlugin", Namespace: "shop", Name: "auth"}, Object: &Ref{Group: "networking.k8s.io", Kind: "Ingress", Namespace: "shop", Name: "web"}, Namespace: "shop"}
	p := &planner{kube: s.client(), gateway: gateway, options: s.options, plan: &Plan{Items: []*Item{item}, Stopped: s.stopped}}
	if err := p.checkSurroundings(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, problem := range p.plan.Problems {
		problems = append(problems, problem.String())
	}
	return problems, p.plan.Notes
}

func TestSurroundings(t *testing.T) {
	type change func(*surroundings)
	add := func(objects ...client.Object) change {
		return func(s *surroundings) { s.objects = append(s.objects, objects...) }
	}
	// kic replaces the ingress controller's container, and names its Deployment with --pause-kic.
	kic := func(edit func(*appsv1.Deployment)) change {
		return func(s *surroundings) {
			s.options.PauseKIC = "kong/kic"
			edit(s.objects[1].(*appsv1.Deployment))
		}
	}
	container := func(edit func(*corev1.Container)) change {
		return kic(func(d *appsv1.Deployment) { edit(&d.Spec.Template.Spec.Containers[0]) })
	}
	beside := func(c corev1.Container) change {
		return kic(func(d *appsv1.Deployment) {
			d.Spec.Template.Spec.Containers = append(d.Spec.Template.Spec.Containers, c)
		})
	}
	const second = time.Second
	for name, c := range map[string]struct {
		change  change
		problem string // the only one; empty for none
		note    string // the only one; empty for none
	}{
		"nothing":             {add(), "", ""},
		"a right of the user": {func(s *surroundings) { s.refusedUser = "patch ingresses" }, "you may not patch ingresses.networking.k8s.io in namespace shop", ""},

		"a failing sync":                   {add(event(reasonApplyFailed, "Pod", "kong", "kic-1", second)), "event KongConfigurationApplyFailed about Pod kong/kic-1", ""},
		"a sync that succeeded since":      {add(event(reasonApplyFailed, "Pod", "kong", "kic-1", 10*second), event(reasonSucceeded, "Pod", "kong", "kic-2", second)), "", ""},
		"a sync that failed since":         {add(event(reasonApplyFailed, "Pod", "kong", "kic-1", second), event(reasonSucceeded, "Pod", "kong", "kic-1", 10*second)), "about kic-1. Mend that first", ""},
		"another controller's success":     {add(event(reasonApplyFailed, "Pod", "kong", "kic-1", 10*second), event(reasonSucceeded, "Pod", "other", "kic-2", second)), "Pod kong/kic-1", ""},
		"an object that is not translated": {add(event(reasonTranslationFailed, "Ingress", "shop", "web", second)), "event KongConfigurationTranslationFailed about Ingress shop/web", ""},
		"one that was mended":              {add(event(reasonTranslationFailed, "Ingress", "shop", "web", 10*second), event(reasonSucceeded, "Pod", "kong", "kic-1", second)), "", ""},
		"the last of several failures":     {add(event(reasonTranslationFailed, "Ingress", "shop", "first", 9*second), event(reasonTranslationFailed, "Ingress", "shop", "last", second)), "Ingress shop/last", ""},
		"events that cannot be read":       {func(s *surroundings) { s.forbidden = "events" }, "", "nobody looked whether the ingress controller's syncs succeed"},
		"an event with a series": {add(func() client.Object {
			e := event(reasonApplyFailed, "Pod", "kong", "kic-1", time.Hour)
			e.Series = &corev1.EventSeries{LastObservedTime: metav1.NowMicro()}
			return e
		}(), event(reasonSucceeded, "Pod", "kong", "kic-1", time.Minute)), "Pod kong/kic-1", ""},

		"a gateway without status":                 {func(s *surroundings) { s.ready = "" }, "it has no status. Does the operator run", ""},
		"a gateway that is not Ready":              {func(s *surroundings) { s.ready = metav1.ConditionFalse }, "it is not Ready: Because: of this", ""},
		"no Deployment of the operator":            {func(s *surroundings) { s.objects = s.objects[1:] }, "", "nobody looked whether the operator runs"},
		"no replica of the operator":               {func(s *surroundings) { s.objects[0].(*appsv1.Deployment).Status.AvailableReplicas = 0 }, "no replica of the operator is available", ""},
		"a leader that is gone":                    {func(s *surroundings) { s.objects[2] = lease(operatorDeployment+"-1", time.Minute) }, "its leader has not renewed Lease leader for 1m", ""},
		"somebody else's old Lease":                {func(s *surroundings) { s.objects[2] = lease("other-1", time.Minute) }, "", ""},
		"Leases that cannot be read":               {func(s *surroundings) { s.forbidden = "leases" }, "", ""},
		"a right of the operator":                  {func(s *surroundings) { s.refusedOperator = "watch ingresses" }, "its ServiceAccount sa may not watch ingresses.networking.k8s.io in namespace shop", ""},
		"rights of the operator that nobody tells": {func(s *surroundings) { s.forbidden = "reviews" }, "", "nobody looked at them"},

		"reverse sync": {container(func(c *corev1.Container) { c.Args = []string{"--enable-reverse-sync"} }), "", "Deployment kong/kic runs with --enable-reverse-sync"},
		"reverse sync, by its variable": {container(func(c *corev1.Container) {
			c.Env = []corev1.EnvVar{{Name: "CONTROLLER_ENABLE_REVERSE_SYNC", Value: "true"}}
		}), "", "--enable-reverse-sync"},
		"no reverse sync": {container(func(c *corev1.Container) {
			c.Args, c.Env = []string{"--enable-reverse-sync=false"}, []corev1.EnvVar{{Name: "CONTROLLER_ENABLE_REVERSE_SYNC", Value: "false"}}
		}), "", ""},

		"a pause":                          {kic(func(*appsv1.Deployment) {}), "", ""},
		"a pause of no Deployment":         {func(s *surroundings) { s.options.PauseKIC = "kong/none" }, "the Deployment cannot be read", ""},
		"a pause without a namespace":      {func(s *surroundings) { s.options.PauseKIC = "kic" }, "it must be NAMESPACE/NAME", ""},
		"a pause of something else":        {container(func(c *corev1.Container) { c.Image = "registry/ingress-controller/nginx" }), "none of its containers is the ingress controller", ""},
		"a pause of Kong, too":             {beside(corev1.Container{Name: "proxy", Image: "registry:5000/kong:3.9@sha256:1"}), "its pods also run Kong", ""},
		"a pause of Kong, by its settings": {beside(corev1.Container{Name: "proxy", Image: "own", Env: []corev1.EnvVar{{Name: "KONG_DATABASE"}}}), "its pods also run Kong", ""},
		"a pause with a sidecar":           {beside(corev1.Container{Name: "istio-proxy", Image: "istio/proxyv2"}), "", ""},
		"a pause of an own image": {container(func(c *corev1.Container) {
			c.Image, c.Env = "own", []corev1.EnvVar{{Name: "CONTROLLER_KONG_ADMIN_URL", Value: "http://kong"}}
		}), "", ""},
		"a pause of one without replicas": {kic(func(d *appsv1.Deployment) { d.Spec.Replicas = ptr.To[int32](0) }), "it has no replicas", ""},
		"a pause that was interrupted": {func(s *surroundings) {
			kic(func(d *appsv1.Deployment) { d.Spec.Replicas = ptr.To[int32](0) })(s)
			s.stopped = "kong/kic"
		}, "", ""},
		"a pause without the right": {func(s *surroundings) { s.options.PauseKIC, s.refusedUser = "kong/kic", "list pods" }, "you may not list pods in namespace kong", ""},
	} {
		t.Run(name, func(t *testing.T) {
			s := quiet()
			c.change(s)
			problems, notes := s.check(t)
			for _, said := range []struct {
				what string
				got  []string
				want string
			}{{"problems", problems, c.problem}, {"notes", notes, c.note}} {
				isWanted := func(text string) bool { return said.want != "" && strings.Contains(text, said.want) }
				if (said.want != "") != slices.ContainsFunc(said.got, isWanted) || len(said.got) > 1 {
					t.Errorf("the %s are %q, want %q", said.what, said.got, said.want)
				}
			}
		})
	}
}
