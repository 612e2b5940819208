package doctor

import (
	"fmt"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/pluginbinding/kong-plugin-operator/api/v1alpha1"
	"github.com/pluginbinding/kong-plugin-operator/internal/reference"
)

// pausable is an object that can carry the paused annotation.
type pausable struct{ client.Object }

func (p pausable) isPaused() bool { return reference.IsPausedBy(p.Object) }

// bindings says what the conditions of bindings say, and what two bindings say together.
func (d *diagnosis) bindings() {
	for i := range d.Bindings {
		binding := &d.Bindings[i]
		gateway := reference.GatewayOf(binding).String()
		if !d.within(binding.Namespace) {
			continue
		}
		d.condition(binding, gateway, v1alpha1.ConditionContested, Contested, Error,
			"kubectl pluginbinding handover kic moves the plugin; or take the KongPlugin's name out of the annotation once the binding is Ready, or delete the binding.")
		d.condition(binding, gateway, v1alpha1.ConditionIneffective, Ineffective, Warning, "Correct spec.scope or spec.protocols, or the route in Kong, as the message says.")
		if !reference.IsPaused(binding) && binding.DeletionTimestamp.IsZero() {
			d.notReady(binding, gateway)
		}
	}
	d.recordedTwice()
}

// recordedTwice finds IDs that several bindings of one Kong have recorded. In different Kongs the same ID is
// no trouble: Kong's ingress controller derives IDs from names.
func (d *diagnosis) recordedTwice() {
	taken, recorded := d.takenOver(), map[v1alpha1.UUID][]*v1alpha1.PluginBinding{}
	for i := range d.Bindings {
		if b := &d.Bindings[i]; b.Status.PluginID != "" && taken[client.ObjectKeyFromObject(b)] != b.Status.PluginID {
			recorded[b.Status.PluginID] = append(recorded[b.Status.PluginID], b)
		}
	}
	for id, bindings := range recorded {
		var names []string
		concerned := false
		for _, b := range bindings {
			if slices.ContainsFunc(bindings, func(other *v1alpha1.PluginBinding) bool { return other != b && d.inOneKong(b, other) }) {
				names = append(names, b.Namespace+"/"+b.Name)
				concerned = concerned || d.within(b.Namespace)
			}
		}
		if concerned {
			d.found.add(IDRecordedTwice, Error, "", "plugin "+string(id), "PluginBindings "+strings.Join(sortedStrings(names), " and ")+" have recorded it; only one of them can own it.",
				"Keep one of them. Set deletionPolicy of the others to Orphan, and delete them; the plugin stays.")
		}
	}
}

// takenOver are the plugins that other bindings have taken over, by the binding that is about to be deleted.
func (d *diagnosis) takenOver() map[types.NamespacedName]v1alpha1.UUID {
	taken := map[types.NamespacedName]v1alpha1.UUID{}
	for i := range d.Bindings {
		if replaced, ok := reference.Replaced(&d.Bindings[i]); ok {
			taken[replaced] = d.Bindings[i].Status.PluginID
		}
	}
	return taken
}

// inOneKong reports whether two bindings name the same Kong, in the same workspace.
func (d *diagnosis) inOneKong(a, b *v1alpha1.PluginBinding) bool {
	of := func(binding *v1alpha1.PluginBinding) *v1alpha1.KongGateway {
		key := reference.GatewayOf(binding)
		i := slices.IndexFunc(d.Gateways, func(g v1alpha1.KongGateway) bool { return client.ObjectKeyFromObject(&g) == key })
		if i < 0 {
			return nil
		}
		return &d.Gateways[i]
	}
	if reference.GatewayOf(a) == reference.GatewayOf(b) {
		return true
	}
	first, second := of(a), of(b)
	return first != nil && second != nil && reference.SameKong(first, second)
}

func (d *diagnosis) condition(binding *v1alpha1.PluginBinding, gateway, condition, kind string, severity Severity, next string) {
	found := meta.FindStatusCondition(binding.Status.Conditions, condition)
	if found != nil && found.Status == metav1.ConditionTrue {
		d.found.add(kind, severity, gateway, "PluginBinding "+binding.Namespace+"/"+binding.Name, found.Message, next)
	}
}

// settling is how long an object may be not Ready before that is a finding.
const settling = 10 * time.Second

func (d *diagnosis) notReady(binding *v1alpha1.PluginBinding, gateway string) {
	ready := meta.FindStatusCondition(binding.Status.Conditions, v1alpha1.ConditionReady)
	object := "PluginBinding " + binding.Namespace + "/" + binding.Name
	if ready == nil {
		if d.Now.Sub(binding.CreationTimestamp.Time) > settling {
			d.found.add(BindingNotReady, Error, gateway, object, "The operator has said nothing about it.", "Check that the operator runs and watches namespace "+binding.Namespace+".")
		}
		return
	}
	switch {
	case ready.Status == metav1.ConditionTrue || ready.Reason == v1alpha1.ReasonObserved:
	case ready.Reason == v1alpha1.ReasonConflict:
		d.found.add(Conflict, Error, gateway, object, ready.Message, nextForConflict(binding))
	case ready.Reason == v1alpha1.ReasonClaimedByKongPlugin:
		d.found.add(ClaimedByKongPlugin, Warning, gateway, object, ready.Message,
			"Use a PluginPolicy, or name both the route and its service in spec.scope; or run kubectl pluginbinding handover kic.")
	case ready.Reason == v1alpha1.ReasonGatewayNotReady || ready.Reason == v1alpha1.ReasonGatewayNotAccepted:
		// The gateway's own finding says it.
	case ready.Reason == v1alpha1.ReasonProgramming && d.Now.Sub(ready.LastTransitionTime.Time) < settling:
	default:
		d.found.add(BindingNotReady, Error, gateway, object, ready.Reason+": "+ready.Message, nextForBinding(ready.Reason, binding))
	}
}

func nextForConflict(binding *v1alpha1.PluginBinding) string {
	owner := ""
	if binding.Status.Conflict != nil {
		owner = binding.Status.Conflict.Owner
	}
	switch {
	case owner == "Kong Ingress Controller":
		return "Run kubectl pluginbinding handover kic -n " + binding.Namespace + "; do not remove the annotation before."
	case strings.HasPrefix(owner, "PluginBinding "):
		return "Decide which of the two bindings keeps the place; delete the other one, or change its scope."
	case strings.HasPrefix(owner, "the tool "):
		return "Take the plugin out of the configuration of " + owner + "."
	default:
		return "Compare the two: kubectl pluginbinding plan shows what differs. Set adoptionPolicy to Override, or delete the plugin in Kong."
	}
}

// nextForBinding says what to do, by the reason of Ready.
func nextForBinding(reason string, binding *v1alpha1.PluginBinding) string {
	switch reason {
	case v1alpha1.ReasonSecretNotFound, v1alpha1.ReasonConfigMapNotFound:
		return "Create the missing object or key in namespace " + binding.Namespace + "."
	case v1alpha1.ReasonScopeNotFound, v1alpha1.ReasonScopeAmbiguous:
		return "Correct spec.scope, or create the service, route or consumer in Kong; the plugin comes back under its ID."
	case v1alpha1.ReasonRejected, v1alpha1.ReasonInvalidConfig, v1alpha1.ReasonUnsupportedField:
		return "Correct the fields that the message names; kubectl pluginbinding validate checks a file against this Kong."
	case v1alpha1.ReasonGatewayNotFound, v1alpha1.ReasonGatewayNotWatched:
		return "Correct spec.gatewayRef, or create the KongGateway in a namespace that the operator watches."
	case v1alpha1.ReasonNotAllowedByGateway:
		return "Ask the owner of the KongGateway to allow it in spec.allowedBindings, or change the binding."
	case v1alpha1.ReasonPluginNotFound:
		return "Set spec.pluginID to a plugin that exists, in a new binding; or create one without pluginID."
	case v1alpha1.ReasonPluginNotInstalled:
		return "Install the plugin in Kong, and add it to Kong's setting plugins; or correct spec.plugin."
	case v1alpha1.ReasonForbidden:
		return "Give the operator's ServiceAccount the right that the message names."
	case v1alpha1.ReasonWouldChange:
		return "Set managementPolicy to Manage, if the operator should do what the message says."
	default:
		return fmt.Sprintf("Do what the message says; kubectl describe pluginbinding -n %s %s has all conditions.", binding.Namespace, binding.Name)
	}
}

func (d *diagnosis) policies() {
	for i := range d.Policies {
		policy := &d.Policies[i]
		ready := meta.FindStatusCondition(policy.Status.Conditions, v1alpha1.ConditionReady)
		if !d.within(policy.Namespace) || reference.IsPausedBy(policy) || ready == nil || !policy.DeletionTimestamp.IsZero() {
			continue
		}
		gateway := reference.GatewayOfPolicy(policy).String()
		object := "PluginPolicy " + policy.Namespace + "/" + policy.Name
		resolved := meta.FindStatusCondition(policy.Status.Conditions, v1alpha1.ConditionResolvedRefs)
		switch {
		case hasNoEntities(policy, ready, resolved):
			message := ready.Message
			if resolved != nil && resolved.Status != metav1.ConditionTrue {
				message = resolved.Message
			}
			d.found.add(PolicyWithoutEntities, Warning, gateway, object, message,
				"Check that the targets exist in namespace "+policy.Namespace+", that Kong's ingress controller makes routes of them, and that the tags of an entitySelector are right.")
		case ready.Status == metav1.ConditionTrue || ready.Reason == v1alpha1.ReasonBindingsNotReady:
			// The findings about its bindings say it.
		case d.Now.Sub(ready.LastTransitionTime.Time) > settling:
			d.found.add(PolicyNotReady, Error, gateway, object, ready.Reason+": "+ready.Message,
				fmt.Sprintf("Do what the message says; kubectl describe pluginpolicy -n %s %s has all conditions.", policy.Namespace, policy.Name))
		}
	}
}

func hasNoEntities(policy *v1alpha1.PluginPolicy, ready, resolved *metav1.Condition) bool {
	for _, condition := range []*metav1.Condition{ready, resolved} {
		if condition != nil && condition.Status != metav1.ConditionTrue {
			switch condition.Reason {
			case v1alpha1.ReasonEntitiesNotFound, v1alpha1.ReasonTargetNotFound, v1alpha1.ReasonTargetKindNotInstalled:
				return true
			}
		}
	}
	for _, target := range policy.Status.Targets {
		if target.Entities > 0 {
			return false
		}
	}
	return len(policy.Status.Targets) > 0
}

// Events that findings are made from.
const (
	eventApplyFailed       = "KongConfigurationApplyFailed"
	eventTranslationFailed = "KongConfigurationTranslationFailed"
	eventSucceeded         = "KongConfigurationSucceeded"
	eventDrift             = "DriftCorrected"

	// recent is how old an event of the ingress controller may be: it repeats what it cannot do.
	recent = 10 * time.Minute
	// driftWindow and manyDrifts say when drift repeats.
	driftWindow = time.Hour
	manyDrifts  = 3
)

func lastSeen(event *corev1.Event) time.Time {
	last := event.LastTimestamp.Time
	if event.Series != nil && event.Series.LastObservedTime.After(last) {
		last = event.Series.LastObservedTime.Time
	}
	if event.EventTime.After(last) {
		last = event.EventTime.Time
	}
	return last
}

func countOf(event *corev1.Event) int {
	n := max(int(event.Count), 1)
	if event.Series != nil {
		n = max(n, int(event.Series.Count))
	}
	return n
}

// ingressController looks for syncs of Kong's ingress controller that fail and that no later sync has
// mended.
func (d *diagnosis) ingressController() {
	var succeeded time.Time
	for i := range d.Events {
		if event := &d.Events[i]; event.Reason == eventSucceeded && lastSeen(event).After(succeeded) {
			succeeded = lastSeen(event)
		}
	}
	for i := range d.Events {
		event := &d.Events[i]
		last := lastSeen(event)
		failed := event.Reason == eventApplyFailed && !last.Before(succeeded)
		if event.Reason == eventTranslationFailed && !d.within(event.InvolvedObject.Namespace) {
			continue
		}
		if !failed && event.Reason != eventTranslationFailed || d.Now.Sub(last) > recent {
			continue
		}
		object := event.InvolvedObject.Kind + " " + event.InvolvedObject.Namespace + "/" + event.InvolvedObject.Name
		next := "Correct the object as the message says: what Kong's ingress controller cannot translate it removes from Kong."
		if failed {
			next = "Nothing that the ingress controller wants reaches Kong until this is over. Correct the object, or free the place in Kong that the message names: findings of the kinds Contested and DuplicatePlugin say who has it."
		}
		d.found.add(IngressControllerStuck, Error, "", object, event.Reason+": "+event.Message, next)
	}
}

// drift looks for bindings whose plugin the operator corrects again and again.
func (d *diagnosis) drift() {
	counts, fields := map[string]int{}, map[string]string{}
	for i := range d.Events {
		event := &d.Events[i]
		if event.Reason == eventDrift && event.InvolvedObject.Kind == "PluginBinding" && d.Now.Sub(lastSeen(event)) <= driftWindow && d.within(event.InvolvedObject.Namespace) {
			name := event.InvolvedObject.Namespace + "/" + event.InvolvedObject.Name
			counts[name] += countOf(event)
			fields[name] = event.Message
		}
	}
	for name, n := range counts {
		if n >= manyDrifts {
			d.found.add(RepeatedDrift, Warning, "", "PluginBinding "+name, fmt.Sprintf("The operator corrected its plugin %d times within an hour: %s.", n, fields[name]),
				"Find out who else writes it: decK, Terraform, a script or a person. Take the plugin out there, or set managementPolicy to Observe.")
		}
	}
}
