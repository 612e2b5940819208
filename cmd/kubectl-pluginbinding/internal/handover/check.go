package handover

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/pluginbinding/kong-plugin-operator/api/v1alpha1"
	"github.com/pluginbinding/kong-plugin-operator/internal/kic"
	"github.com/pluginbinding/kong-plugin-operator/internal/plugin"
	"github.com/pluginbinding/kong-plugin-operator/internal/tenancy"
)

// named is a name that stands for a thing without a type.
type named string

func (n named) String() string { return string(n) }

// checkTenancy asks whether the gateway allows the bindings of the item.
func (p *planner) checkTenancy(ctx context.Context, item *Item) {
	rules, _ := tenancy.NewPolicy(p.gateway) // the gateway's conditions report an invalid selector
	if !rules.Restricts(item.Namespace) {
		return
	}
	namespace := &corev1.Namespace{}
	if err := p.kube.Get(ctx, client.ObjectKey{Name: item.Namespace}, namespace); err != nil {
		p.plan.note("You may not read namespace %s, so that a selector of the KongGateway that names its labels was not checked.", item.Namespace)
	}
	for _, row := range item.Rows {
		live := p.rowByID(row.ID)
		request := tenancy.Request{
			Namespace: tenancy.Namespace{Name: item.Namespace, Labels: namespace.Labels}, Plugin: item.Plugin, Rank: 1,
			Global: item.Object == nil, Operation: tenancy.Create, PluginID: row.ID, ConfigKnown: true, CodeFields: plugin.CodeFields(live, nil),
		}
		if e, known := p.survey.entities[row.Route+row.Service+row.Consumer+row.Group]; known {
			request.Entities = []tenancy.Entity{{Kind: string(e.kind), Name: e.Name, Known: true, Tags: e.Tags}}
		}
		if item.takesOver() {
			request.Operation = tenancy.Acquire
			request.Acquisition = tenancy.Acquisition{Kind: tenancy.TakeOver, Owner: "Kong Ingress Controller"}
		}
		if decision := tenancy.Check(rules, request); !decision.Allowed() {
			p.plan.problem(item, "KongGateway %s/%s does not allow it: %s", p.gateway.Namespace, p.gateway.Name, decision.Message)
			return
		}
	}
}

func (p *planner) rowByID(id string) plugin.Plugin {
	for _, row := range p.survey.plugins {
		if row.ID == id {
			return row
		}
	}
	return plugin.Plugin{}
}

// checkSurroundings checks what concerns every item.
func (p *planner) checkSurroundings(ctx context.Context) error {
	if err := p.checkUser(ctx); err != nil {
		return err
	}
	if err := p.checkSyncs(ctx); err != nil {
		return err
	}
	if p.options.PauseKIC != "" {
		p.checkPause(ctx)
	}
	p.checkOperator(ctx)
	p.checkReverseSync(ctx)
	return nil
}

// access is one thing that somebody has to be allowed.
type access struct{ verb, group, resource, subresource, namespace string }

func (a access) String() string {
	where := " in namespace " + a.namespace
	if a.namespace == "" {
		where = ""
	}
	resource := a.resource
	if a.subresource != "" {
		resource += "/" + a.subresource
	}
	return a.verb + " " + schema.GroupResource{Group: a.group, Resource: resource}.String() + where
}

// userNeeds is what the run does with the rights of the user.
func (p *planner) userNeeds() (needs []access) {
	add := func(group, resource, namespace string, verbs ...string) {
		for _, verb := range verbs {
			need := access{verb: verb, group: group, resource: resource, namespace: namespace}
			if !slices.Contains(needs, need) {
				needs = append(needs, need)
			}
		}
	}
	for _, item := range p.plan.Items {
		add("", "configmaps", item.Namespace, "get", "create", "update", "delete")
		add(v1alpha1.GroupVersion.Group, "pluginbindings", item.Namespace, "get", "list", "create", "patch", "delete")
		add(v1alpha1.GroupVersion.Group, "pluginpolicies", item.Namespace, "get", "list", "create", "delete")
		ref, _, _ := item.carrier()
		mapping, err := p.kube.RESTMapper().RESTMapping(schema.GroupKind{Group: ref.Group, Kind: ref.Kind})
		if err != nil {
			p.plan.problem(item, "the cluster does not serve %s: %v", ref.Kind, err)
			continue
		}
		add(ref.Group, mapping.Resource.Resource, ref.Namespace, "get", "patch")
	}
	if namespace, _, found := strings.Cut(p.options.PauseKIC, "/"); found {
		add("apps", "deployments", namespace, "get", "patch")
		add("", "pods", namespace, "list")
	}
	return needs
}

func (p *planner) checkUser(ctx context.Context) error {
	for _, need := range p.userNeeds() {
		review := &authorizationv1.SelfSubjectAccessReview{Spec: authorizationv1.SelfSubjectAccessReviewSpec{ResourceAttributes: need.attributes()}}
		if err := p.kube.Create(ctx, review); err != nil {
			return fmt.Errorf("your rights cannot be checked: %w", err)
		}
		if !review.Status.Allowed {
			p.plan.problem(named("you"), "you may not %s", need)
		}
	}
	return nil
}

func (a access) attributes() *authorizationv1.ResourceAttributes {
	return &authorizationv1.ResourceAttributes{Verb: a.verb, Group: a.group, Resource: a.resource, Subresource: a.subresource, Namespace: a.namespace}
}

// The reasons of the ingress controller's events.
const (
	reasonApplyFailed       = "KongConfigurationApplyFailed"
	reasonTranslationFailed = "KongConfigurationTranslationFailed"
	reasonSucceeded         = "KongConfigurationSucceeded"
)

// syncSlack is how much older than the end of its sync an event about it may be.
const syncSlack = 3 * time.Second

// checkSyncs refuses while the ingress controller's syncs fail: it would delete nothing. The events about
// its pods say so, and those of one namespace belong together. Of an event about another object nobody
// knows which ingress controller wrote it.
func (p *planner) checkSyncs(ctx context.Context) error {
	succeeded := map[string]time.Time{} // by namespace of the pod; "" has the last of all
	var failures []*corev1.Event
	for _, reason := range []string{reasonSucceeded, reasonApplyFailed, reasonTranslationFailed} {
		list := &corev1.EventList{}
		err := p.kube.List(ctx, list, client.MatchingFieldsSelector{Selector: fields.OneTermEqualSelector("reason", reason)})
		if apierrors.IsForbidden(err) {
			p.plan.note("You may not list events in all namespaces, so that nobody looked whether the ingress controller's syncs succeed.")
			return nil
		}
		if err != nil {
			return fmt.Errorf("the events of the ingress controller cannot be read: %w", err)
		}
		for i := range list.Items {
			event := &list.Items[i]
			if reason != reasonSucceeded {
				failures = append(failures, event)
				continue
			}
			for _, of := range []string{"", event.InvolvedObject.Namespace} {
				if at := timeOf(event); at.After(succeeded[of]) {
					succeeded[of] = at
				}
			}
		}
	}
	p.reportFailures(failures, succeeded)
	return nil
}

// reportFailures reports the last failure of each kind since the last success.
func (p *planner) reportFailures(failures []*corev1.Event, succeeded map[string]time.Time) {
	last := map[string]*corev1.Event{}
	for _, event := range failures {
		of, isPod := "", event.InvolvedObject.Kind == "Pod"
		if isPod {
			of = event.InvolvedObject.Namespace
		}
		key := event.Reason + " " + of
		if timeOf(event).Before(succeeded[of].Add(-syncSlack)) || last[key] != nil && !timeOf(event).After(timeOf(last[key])) {
			continue
		}
		last[key] = event
	}
	for _, key := range slices.Sorted(maps.Keys(last)) {
		failed := last[key]
		p.plan.problem(named("the ingress controller"), "its sync fails (event %s about %s %s/%s): %s. Mend that first",
			failed.Reason, failed.InvolvedObject.Kind, failed.InvolvedObject.Namespace, failed.InvolvedObject.Name, failed.Message)
	}
}

// timeOf is when an event happened last.
func timeOf(e *corev1.Event) time.Time {
	last := e.LastTimestamp.Time
	if e.EventTime.After(last) {
		last = e.EventTime.Time
	}
	if e.Series != nil && e.Series.LastObservedTime.After(last) {
		last = e.Series.LastObservedTime.Time
	}
	return last
}

// operatorName is the label app.kubernetes.io/name of the operator's Deployment.
const operatorName = "kong-plugin-operator"

// leaseGrace is how old the last renewal of the operator's Lease may be, beside its duration.
const leaseGrace = 15 * time.Second

// checkOperator checks that the operator runs and may do what it has to.
func (p *planner) checkOperator(ctx context.Context) {
	ready := meta.FindStatusCondition(p.gateway.Status.Conditions, v1alpha1.ConditionReady)
	gateway := named("KongGateway " + client.ObjectKeyFromObject(p.gateway).String())
	switch {
	case ready == nil:
		p.plan.problem(gateway, "it has no status. Does the operator run, and watch its namespace?")
	case !meta.IsStatusConditionTrue(p.gateway.Status.Conditions, v1alpha1.ConditionReady):
		p.plan.problem(gateway, "it is not Ready: %s: %s", ready.Reason, ready.Message)
	}
	deployments := &appsv1.DeploymentList{}
	if err := p.kube.List(ctx, deployments, client.MatchingLabels{"app.kubernetes.io/name": operatorName}); err != nil || len(deployments.Items) == 0 {
		p.plan.note("No Deployment with the label app.kubernetes.io/name: %s can be read, so that nobody looked whether the operator runs and which rights it has.", operatorName)
		return
	}
	for i := range deployments.Items {
		deployment := &deployments.Items[i]
		name := named("Deployment " + client.ObjectKeyFromObject(deployment).String())
		if deployment.Status.AvailableReplicas == 0 {
			p.plan.problem(name, "no replica of the operator is available")
		}
		p.checkLease(ctx, deployment, name)
		p.checkServiceAccount(ctx, deployment, name)
	}
}

func (p *planner) checkLease(ctx context.Context, deployment *appsv1.Deployment, name named) {
	leases := &coordinationv1.LeaseList{}
	if err := p.kube.List(ctx, leases, client.InNamespace(deployment.Namespace)); err != nil {
		return // its replicas are available
	}
	for i := range leases.Items {
		spec := leases.Items[i].Spec
		if spec.HolderIdentity == nil || spec.RenewTime == nil || spec.LeaseDurationSeconds == nil || !strings.HasPrefix(*spec.HolderIdentity, deployment.Name) {
			continue
		}
		if age := time.Since(spec.RenewTime.Time); age > time.Duration(*spec.LeaseDurationSeconds)*time.Second+leaseGrace {
			p.plan.problem(name, "its leader has not renewed Lease %s for %s", leases.Items[i].Name, age.Round(time.Second))
		}
	}
}

// operatorNeeds is what the operator does for an item.
func (p *planner) operatorNeeds() (needs []access) {
	for _, item := range p.plan.Items {
		ref, _, _ := item.carrier()
		needs = append(needs,
			access{verb: "patch", group: v1alpha1.GroupVersion.Group, resource: "pluginbindings", subresource: "status", namespace: item.Namespace},
			access{verb: "create", group: v1alpha1.GroupVersion.Group, resource: "pluginbindings", namespace: item.Namespace},
			access{verb: "get", resource: "secrets", namespace: item.Namespace},
			access{verb: "get", group: kic.Group, resource: "kongplugins", namespace: item.Namespace},
		)
		if mapping, err := p.kube.RESTMapper().RESTMapping(schema.GroupKind{Group: ref.Group, Kind: ref.Kind}); err == nil {
			needs = append(needs, access{verb: "watch", group: ref.Group, resource: mapping.Resource.Resource, namespace: ref.Namespace})
		}
	}
	return needs
}

func (p *planner) checkServiceAccount(ctx context.Context, deployment *appsv1.Deployment, name named) {
	account := deployment.Spec.Template.Spec.ServiceAccountName
	seen := map[access]bool{}
	for _, need := range p.operatorNeeds() {
		if seen[need] {
			continue
		}
		seen[need] = true
		review := &authorizationv1.SubjectAccessReview{Spec: authorizationv1.SubjectAccessReviewSpec{
			User:               "system:serviceaccount:" + deployment.Namespace + ":" + account,
			Groups:             []string{"system:serviceaccounts", "system:serviceaccounts:" + deployment.Namespace, "system:authenticated"},
			ResourceAttributes: need.attributes(),
		}}
		if err := p.kube.Create(ctx, review); err != nil {
			p.plan.note("You may not ask for the operator's rights (create subjectaccessreviews.authorization.k8s.io), so that nobody looked at them.")
			return
		}
		if !review.Status.Allowed {
			p.plan.problem(name, "its ServiceAccount %s may not %s", account, need)
		}
	}
}

// checkReverseSync warns of an ingress controller that compares Kong with what it wants all the time.
func (p *planner) checkReverseSync(ctx context.Context) {
	deployments := &appsv1.DeploymentList{}
	if err := p.kube.List(ctx, deployments); err != nil {
		p.plan.note("You may not list Deployments, so that nobody looked whether the ingress controller runs with --enable-reverse-sync.")
		return
	}
	for i := range deployments.Items {
		for _, container := range deployments.Items[i].Spec.Template.Spec.Containers {
			if hasReverseSync(container) {
				p.plan.note("Deployment %s/%s runs with --enable-reverse-sync: it writes over a plugin that was taken over within 3 s. The operator takes it back; prefer the way without --keep-ids.",
					deployments.Items[i].Namespace, deployments.Items[i].Name)
			}
		}
	}
}

func hasReverseSync(container corev1.Container) bool {
	isOn := func(value string) bool { return value != "false" && value != "0" }
	for _, arg := range slices.Concat(container.Command, container.Args) {
		if name, value, _ := strings.Cut(arg, "="); name == "--enable-reverse-sync" && isOn(value) {
			return true
		}
	}
	return slices.ContainsFunc(container.Env, func(e corev1.EnvVar) bool {
		return e.Name == "CONTROLLER_ENABLE_REVERSE_SYNC" && isOn(e.Value)
	})
}
