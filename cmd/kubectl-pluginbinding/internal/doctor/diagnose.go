package doctor

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/pluginbinding/kong-plugin-operator/api/v1alpha1"
)

// Diagnose returns what is wrong.
func Diagnose(facts Facts) []Finding {
	d := &diagnosis{Facts: facts}
	d.problems()
	d.definitions()
	d.operator()
	d.gateways()
	d.ingressController()
	d.bindings()
	d.policies()
	d.drift()
	d.paused()
	for i := range d.Kongs {
		d.kong(&d.Kongs[i])
	}
	return d.found.sorted()
}

type diagnosis struct {
	Facts
	found list
}

func (d *diagnosis) problems() {
	for _, problem := range d.Problems {
		d.found.add(CouldNotLook, Error, "", problem.Object, "could not look: "+problem.Why, problem.Next)
	}
}

const installNext = "Apply the CustomResourceDefinitions of the operator's version: kubectl apply --server-side -k config/crd, or upgrade the Helm chart or the OLM subscription."

func (d *diagnosis) definitions() {
	for _, crd := range d.CRDs {
		object := "CustomResourceDefinition " + crd.Name
		switch {
		case !crd.Served:
			d.found.add(CRDMissing, Error, "", object, "The API server does not serve it in version "+v1alpha1.GroupVersion.Version+".", installNext)
		case len(crd.Missing) > 0:
			d.found.add(CRDOlder, Warning, "", object, "The API server drops fields that this command knows: "+firstOf(crd.Missing)+".", installNext)
		}
	}
}

const podsNext = "Look at its pods: kubectl get pods -A -l app.kubernetes.io/name=kong-plugin-operator"

// operator looks for a leader. Operators that share a fleet have a lease each.
func (d *diagnosis) operator() {
	if !d.LeasesKnown {
		return // a problem says so
	}
	const next = podsNext + "; kubectl logs says why none of them leads."
	if len(d.Leases) == 0 {
		d.withoutLease()
	}
	leading := map[string][]string{} // Leases in force, by what their holders watch
	for _, lease := range d.Leases {
		if lease.inForce(d.Now) {
			leading[lease.Watches] = append(leading[lease.Watches], lease.String())
		}
	}
	for _, lease := range d.Leases {
		switch age := d.Now.Sub(lease.Renewed); {
		case len(leading[lease.Watches]) > 0: // also one that was left by an installation that is gone
		case lease.Holder == "":
			d.found.add(OperatorNotRunning, Error, "", lease.String(), fmt.Sprintf("No operator leads: the last one ended %s ago.", rounded(age)), next)
		default:
			d.found.add(OperatorNotRunning, Error, "", lease.String(), fmt.Sprintf("No operator leads: %s renewed the Lease %s ago.", lease.Holder, rounded(age)), next)
		}
	}
	for _, leases := range leading {
		if len(leases) > 1 {
			d.found.add(SeveralOperators, Error, "", leases[0], "Several operators lead, and watch the same objects: "+firstOf(leases)+". All of them write to Kong.",
				"Keep one, and uninstall the others without the CustomResourceDefinitions.")
		}
	}
}

// withoutLease tells an operator without leader election, which has no Lease, from none at all. Only an operator
// writes statuses, and it writes none while nothing changes. So a recent one proves that it runs, and an old
// one proves nothing.
func (d *diagnosis) withoutLease() {
	last, recent := d.lastStatus()
	switch age := d.Now.Sub(last); {
	case last.IsZero():
		d.found.add(OperatorNotRunning, Error, "", "operator", "No operator has ever run in this cluster: there is no Lease, and no object has a status.", podsNext+"; kubectl logs says why.")
	case age > recent:
		d.found.add(OperatorUnknown, Warning, "", "operator", fmt.Sprintf("There is no Lease, and the last status was written %s ago. Either no operator runs, or one runs without leader election, as with make run, and nothing has changed since.", rounded(age)),
			podsNext+". The metric kong_operator_gateway_last_sweep_timestamp_seconds of a running operator has the time of its last resync. With --leader-elect, also for one replica, its Lease tells.")
	}
}

// Bounds of what counts as a recent status: two resyncs of a gateway.
const (
	defaultResync = time.Minute
	longestRecent = 10 * time.Minute
)

// lastStatus is when a status was written last, and how old it may be to be recent.
func (d *diagnosis) lastStatus() (last time.Time, recent time.Duration) {
	note := func(at time.Time) {
		if at.After(last) {
			last = at
		}
	}
	object := func(o metav1.Object, conditions []metav1.Condition) {
		for _, condition := range conditions {
			note(condition.LastTransitionTime.Time)
		}
		for _, entry := range o.GetManagedFields() {
			if entry.Subresource == "status" && entry.Time != nil {
				note(entry.Time.Time)
			}
		}
	}
	resync := defaultResync
	for i := range d.Gateways {
		status := &d.Gateways[i].Status
		object(&d.Gateways[i], status.Conditions)
		if status.LastResync != nil {
			note(status.LastResync.Time.Time)
		}
		if status.ResyncInterval != nil {
			resync = max(resync, status.ResyncInterval.Duration)
		}
	}
	for i := range d.Bindings {
		object(&d.Bindings[i], d.Bindings[i].Status.Conditions)
	}
	for i := range d.Policies {
		object(&d.Policies[i], d.Policies[i].Status.Conditions)
	}
	return last, min(2*resync, longestRecent)
}

// inForce reports whether its holder leads.
func (l Lease) inForce(now time.Time) bool {
	return l.Holder != "" && now.Sub(l.Renewed) <= l.Duration
}

// String names it for a finding.
func (l Lease) String() string { return "Lease " + l.Namespace + "/" + l.Name }

func rounded(age time.Duration) time.Duration {
	if age > time.Hour {
		return age.Round(time.Minute)
	}
	return age.Round(time.Second)
}

func (d *diagnosis) gateways() {
	used := d.relevant()
	for i := range d.Gateways {
		gateway := &d.Gateways[i]
		if !used[client.ObjectKeyFromObject(gateway)] {
			continue
		}
		name := gateway.Namespace + "/" + gateway.Name
		object := "KongGateway " + name
		ready := meta.FindStatusCondition(gateway.Status.Conditions, v1alpha1.ConditionReady)
		switch {
		case ready == nil || ready.ObservedGeneration < gateway.Generation && ready.Status == metav1.ConditionTrue:
			d.found.add(GatewayNotReady, Error, name, object, "The operator has not said anything about its current spec.",
				"Check that the operator runs and watches namespace "+gateway.Namespace+".")
		case ready.Status != metav1.ConditionTrue:
			d.found.add(GatewayNotReady, Error, name, object, ready.Reason+": "+ready.Message, nextForGateway(ready.Reason, gateway))
		}
		if unstable := meta.FindStatusCondition(gateway.Status.Conditions, v1alpha1.ConditionUnstable); unstable != nil && unstable.Status == metav1.ConditionTrue {
			d.found.add(GatewayUnstable, Warning, name, object, unstable.Message,
				"Look for restarts and time-outs of Kong's Admin API and its database: kubectl get events -n "+gateway.Namespace+" --field-selector involvedObject.name="+gateway.Name)
		}
		d.retained(gateway, name)
	}
}

func nextForGateway(reason string, gateway *v1alpha1.KongGateway) string {
	switch reason {
	case v1alpha1.ReasonUnreachable, v1alpha1.ReasonNotKong, v1alpha1.ReasonTLSFailed:
		return fmt.Sprintf("Check spec.adminURL (%s), spec.tls, and the NetworkPolicies between the operator and Kong.", gateway.Spec.AdminURL)
	case v1alpha1.ReasonDenied:
		return "Give the operator a valid token in spec.auth.tokenSecretRef."
	case v1alpha1.ReasonDatabaseUnreachable, v1alpha1.ReasonWritesFail:
		return "Check Kong's database; curl the path /status of the Admin API."
	case v1alpha1.ReasonDBLess:
		return "Use a Kong with a database; a DB-less Kong takes its plugins from its file."
	case v1alpha1.ReasonSecretNotFound, v1alpha1.ReasonInvalidConnection:
		return "Create or correct the Secrets that spec.auth and spec.tls name, in namespace " + gateway.Namespace + "."
	default:
		return "Do what the message says; kubectl describe konggateway -n " + gateway.Namespace + " " + gateway.Name + " has all conditions."
	}
}

func (d *diagnosis) retained(gateway *v1alpha1.KongGateway, name string) {
	for _, list := range gateway.Status.RetainedPlugins {
		for _, id := range list.PluginIDs {
			d.found.add(RetainedPlugin, Info, name, "plugin "+id,
				"It stays in Kong after its binding in namespace "+list.Namespace+" was deleted under managementPolicy Observe.",
				"Delete it in Kong (DELETE /plugins/"+id+"), or adopt it with a PluginBinding that has spec.pluginID; the next resync takes it off the list.")
		}
	}
}

// paused finds objects whose pause may have been forgotten.
func (d *diagnosis) paused() {
	check := func(object interface {
		metav1.Object
		isPaused() bool
	}, kind string,
	) {
		since, known := pausedSince(object)
		if !d.within(object.GetNamespace()) || !object.isPaused() || d.Now.Sub(since) < d.PausedFor {
			return
		}
		about := "since it was created"
		if known {
			about = "for " + rounded(d.Now.Sub(since)).String()
		}
		d.found.add(PausedLong, Info, "", kind+" "+object.GetNamespace()+"/"+object.GetName(), "It has been paused "+about+": nothing happens to it, deletion included.",
			fmt.Sprintf("If nobody needs the pause: kubectl annotate %s -n %s %s %s-", strings.ToLower(kind), object.GetNamespace(), object.GetName(), v1alpha1.PausedAnnotation))
	}
	for i := range d.Bindings {
		check(pausable{&d.Bindings[i]}, "PluginBinding")
	}
	for i := range d.Policies {
		check(pausable{&d.Policies[i]}, "PluginPolicy")
	}
}

// pausedSince returns when the annotation was set, as managedFields say, or when the object was created.
func pausedSince(object metav1.Object) (since time.Time, known bool) {
	for _, entry := range object.GetManagedFields() {
		if entry.FieldsV1 != nil && entry.Time != nil && strings.Contains(entry.FieldsV1.GetRawString(), `"f:`+v1alpha1.PausedAnnotation+`"`) {
			return entry.Time.Time, true
		}
	}
	return object.GetCreationTimestamp().Time, false
}

func sortedStrings(words []string) []string { return slices.Sorted(slices.Values(words)) }
