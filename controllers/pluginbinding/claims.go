package pluginbinding

import (
	"context"
	"fmt"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/pluginbinding/kong-plugin-operator/api/v1alpha1"
	"github.com/pluginbinding/kong-plugin-operator/internal/identity"
	"github.com/pluginbinding/kong-plugin-operator/internal/kic"
	"github.com/pluginbinding/kong-plugin-operator/internal/message"
)

// maxReadError bounds an error of the API server in a message, in bytes.
const maxReadError = 256

// IngressObjects are the Kubernetes objects from which Kong's ingress controller makes what it makes.
type IngressObjects interface {
	kic.Objects
	// Watch says on which objects a binding depends. The binding is reconciled when one changes.
	Watch(binding types.NamespacedName, objects []kic.Object)
}

// claims is what is known about a KongPlugin that makes the ingress controller want the place of the
// binding's plugin.
type claims struct {
	// claim is nil if there is none.
	claim *kic.Claim
	// unknown says why the operator could not look, as a sentence; empty if it could.
	unknown string
}

// resolveClaims finds out whether the ingress controller wants a plugin of this name in the declared
// scope. A second one there would end all of its syncs: Kong refuses its insert.
func (r *Reconciler) resolveClaims(ctx context.Context, s *state) {
	if r.Ingress == nil || !s.desired.refsResolved {
		return
	}
	self := client.ObjectKeyFromObject(s.binding)
	if s.desired.plugin.Scope.RouteID != "" && s.desired.plugin.Scope.ServiceID != "" {
		r.Ingress.Watch(self, objectsOf(s.sources()))
		return // the ingress controller puts no plugin on a route and its service
	}
	look := r.lookForClaim
	if len(s.access.request.Entities) == 0 {
		look = r.lookForGlobalClaim
	}
	var err error
	if s.claims.claim, err = look(ctx, s); err != nil {
		s.claims.unknown = "The operator cannot read the objects of Kong's ingress controller: " + message.Truncate(err.Error(), maxReadError) + "."
	}
}

// sources are the objects behind the entities of the scope.
func (s *state) sources() (sources []kic.Source) {
	for _, entity := range s.access.request.Entities {
		if object, uid, ok := kic.ObjectOf(entity.Tags); ok {
			sources = append(sources, kic.Source{Object: object, UID: uid})
		}
	}
	return sources
}

func objectsOf(sources []kic.Source) (objects []kic.Object) {
	for _, source := range sources {
		objects = append(objects, source.Object)
	}
	return objects
}

// lookForClaim looks for a KongPlugin on the objects behind all entities of the scope.
func (r *Reconciler) lookForClaim(ctx context.Context, s *state) (claim *kic.Claim, err error) {
	sources := s.sources()
	watched := objectsOf(sources)
	if len(sources) == len(s.access.request.Entities) { // otherwise somebody else made one of the entities: no claim
		claim, watched, err = kic.ClaimOn(ctx, r.Ingress, string(s.binding.Spec.Plugin), sources)
	}
	r.Ingress.Watch(client.ObjectKeyFromObject(s.binding), watched)
	return claim, err
}

// lookForGlobalClaim looks for a global KongClusterPlugin. Two of one Kong plugin make none.
func (r *Reconciler) lookForGlobalClaim(ctx context.Context, s *state) (*kic.Claim, error) {
	r.Ingress.Watch(client.ObjectKeyFromObject(s.binding), []kic.Object{{Group: kic.Group, Kind: kic.KongClusterPlugin}})
	return kic.GlobalClaim(ctx, r.Ingress, string(s.binding.Spec.Plugin))
}

// takesPlace reports whether the action puts a plugin into the declared scope where the binding has
// none now.
func (s *state) takesPlace(action identity.Action) bool {
	switch action.Operation {
	case identity.Create:
		return true
	case identity.Put, identity.TakeOver:
		live, exists := s.observed.plugins[action.ID]
		return !exists || live.Scope != s.desired.plugin.Scope
	default:
		return false
	}
}

// checkClaims refuses to put a plugin where the ingress controller wants one of its own. A guard that
// cannot look refuses.
func (s *state) checkClaims(action identity.Action) *stepResult {
	const nothing = " The operator writes no second one: it would end all syncs of the ingress controller."
	if !s.takesPlace(action) {
		return nil
	}
	switch {
	case s.claims.claim != nil && s.restoresHandedOver(action):
		return nil
	case s.claims.claim != nil:
		return &stepResult{
			condition: v1alpha1.ConditionProgrammed, reason: v1alpha1.ReasonClaimedByKongPlugin,
			message: fmt.Sprintf("%s, and so Kong's ingress controller wants the plugin %s in this scope.%s %s",
				s.claims.claim, s.binding.Spec.Plugin, nothing, claimRemediation(s.claims.claim)),
		}
	case s.claims.unknown != "":
		return &stepResult{
			condition: v1alpha1.ConditionProgrammed, unknown: true, keepConditions: true, reason: v1alpha1.ReasonProgramming,
			message:            s.claims.unknown + " It does not know whether the ingress controller wants the plugin in this scope, and writes nothing. Permit it to read them, or name both the route and its service in spec.scope, where the ingress controller puts no plugin.",
			requeueWithBackoff: true,
		}
	default:
		return nil
	}
}

func claimRemediation(claim *kic.Claim) string {
	if claim.Object == (kic.Object{}) {
		return "Run kubectl pluginbinding handover kic, which moves the plugin without a gap, and delete this binding; or delete the KongClusterPlugin."
	}
	return "Delete this binding, and run kubectl pluginbinding handover kic, which moves the plugin without a gap. Or name both the route and its service in spec.scope, where the ingress controller puts no plugin; once this binding is Ready and 6 s more have passed, remove the name from the annotation."
}

// isContested reports whether the status says that the ingress controller wants the plugin's place.
func (s *state) isContested() bool {
	return meta.IsStatusConditionTrue(s.binding.Status.Conditions, v1alpha1.ConditionContested)
}

// setContested sets the condition while the ingress controller wants the place of a plugin that the
// binding has in Kong, and removes it otherwise. What could not be looked up stays.
func setContested(next *v1alpha1.PluginBindingStatus, s *state) {
	switch {
	case s.claims.unknown != "":
	case s.applied.programmed != nil && s.claims.claim != nil:
		meta.SetStatusCondition(&next.Conditions, metav1.Condition{
			Type: v1alpha1.ConditionContested, Status: metav1.ConditionTrue, Reason: v1alpha1.ReasonClaimedByKongPlugin,
			Message: message.Truncate(fmt.Sprintf("%s, and so Kong's ingress controller wants a plugin %s of its own in this scope. Kong refuses it, and all syncs of the ingress controller fail. %s",
				s.claims.claim, s.binding.Spec.Plugin, claimRemediation(s.claims.claim)), message.MaxCondition),
			ObservedGeneration: s.binding.Generation,
		})
	case s.desired.refsResolved:
		meta.RemoveStatusCondition(&next.Conditions, v1alpha1.ConditionContested)
	}
}
