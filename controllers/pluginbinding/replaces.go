package pluginbinding

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/sets"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/pluginbinding/kong-plugin-operator/api/v1alpha1"
	"github.com/pluginbinding/kong-plugin-operator/internal/identity"
	"github.com/pluginbinding/kong-plugin-operator/internal/plugin"
	"github.com/pluginbinding/kong-plugin-operator/internal/policy"
	"github.com/pluginbinding/kong-plugin-operator/internal/reference"
)

const (
	// replacementTimeout bounds how long a deletion waits until another binding has taken the plugin
	// over. Then the deletion policy applies: a deletion ends.
	replacementTimeout = 5 * time.Minute
	// replacementGrace is how long the deletion of a binding with allowReplacementFrom waits for a
	// binding that replaces it.
	replacementGrace = 30 * time.Second
	// policyGrace is how long a deletion waits for a policy that may take the plugin over. The policy
	// hears of the deletion at once.
	policyGrace = 5 * time.Second
	// exclusiveRetry is when to try again while another worker has one of the bindings.
	exclusiveRetry = 50 * time.Millisecond
)

// exclusive keeps two workers apart: those that reconcile a binding and the one that it replaces, and
// those of two bindings for one place. Else one could delete or write a plugin between the other one's
// look and its write.
type exclusive[K comparable] struct {
	mu     sync.Mutex
	locked sets.Set[K]
}

// tryLock locks all of the keys or none.
func (e *exclusive[K]) tryLock(keys ...K) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.locked.HasAny(keys...) {
		return false
	}
	if e.locked == nil {
		e.locked = sets.New[K]()
	}
	e.locked.Insert(keys...)
	return true
}

func (e *exclusive[K]) unlock(keys ...K) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.locked.Delete(keys...)
}

// place is what one plugin at a time can have.
type place struct {
	gateway types.NamespacedName
	plugin  string
	scope   plugin.Scope
}

func (s *state) place() place {
	return place{gateway: s.gatewayKey, plugin: s.desired.plugin.Name, scope: s.desired.plugin.Scope}
}

// keysOf returns the bindings that a reconcile of this one may write for: itself and the one that it
// replaces, if that one allows it. Nobody locks a binding that does not.
func (r *Reconciler) keysOf(ctx context.Context, binding *v1alpha1.PluginBinding) []types.NamespacedName {
	keys := []types.NamespacedName{client.ObjectKeyFromObject(binding)}
	key, ok := reference.Replaced(binding)
	if !ok || binding.Status.PluginID != "" || key == keys[0] {
		return keys
	}
	replaced := &v1alpha1.PluginBinding{}
	if err := r.Client.Get(ctx, key, replaced, client.UnsafeDisableDeepCopy); err != nil || !reference.AllowsReplacement(replaced, binding.Namespace) {
		return keys
	}
	return append(keys, key)
}

// resolveReplaced returns the binding whose plugin this one takes over, nil if there is none: it has a
// plugin already, or the API server says that the other binding does not exist.
func (r *Reconciler) resolveReplaced(ctx context.Context, s *state) (*v1alpha1.PluginBinding, *stepResult) {
	key, ok := reference.Replaced(s.binding)
	if !ok || s.binding.Status.PluginID != "" {
		return nil, nil
	}
	replaced := &v1alpha1.PluginBinding{}
	err := r.APIReader.Get(ctx, key, replaced)
	switch {
	case apierrors.IsNotFound(err):
		return nil, nil
	case err != nil:
		return nil, kubernetesError(err)
	case reference.GatewayOf(replaced) != s.gatewayKey || replaced.Spec.Plugin != s.binding.Spec.Plugin:
		return nil, notAccepted(v1alpha1.ReasonReplacementNotAllowed, fmt.Sprintf(
			"PluginBinding %s, which spec.replaces names, has another gateway or another plugin. The operator changed nothing. Remove spec.replaces to create a new plugin.", key))
	case key == client.ObjectKeyFromObject(s.binding):
		return nil, notAccepted(v1alpha1.ReasonReplacementNotAllowed,
			"spec.replaces names this binding itself. The operator changed nothing. Name the binding that this one replaces, or remove spec.replaces.")
	case !reference.AllowsReplacement(replaced, s.binding.Namespace):
		return nil, notAccepted(v1alpha1.ReasonReplacementNotAllowed, fmt.Sprintf(
			"PluginBinding %s does not allow bindings of namespace %s to replace it. The operator changed nothing. Have its owner add the namespace to spec.allowReplacementFrom.", key, s.binding.Namespace))
	case replaced.Status.PluginID == "":
		return nil, &stepResult{
			condition: v1alpha1.ConditionProgrammed, unknown: true, reason: v1alpha1.ReasonProgramming,
			message: fmt.Sprintf("PluginBinding %s, which spec.replaces names, has no plugin yet. The operator waits until it has one, or is deleted.", key),
		}
	case !s.locksReplaced:
		return nil, requeue() // the cache does not show yet what the API server says
	}
	return replaced, nil
}

// observeReplaced looks at the plugin of the binding that this one replaces.
func (s *state) observeReplaced(ctx context.Context) (err error) {
	f := &s.observed.facts
	f.Replaces = string(s.replaced.Status.PluginID)
	if f.ByID, err = s.lookupByID(ctx, f.Replaces); err != nil {
		return err
	}
	if owner := f.ByID.Owner.Binding; f.ByID.Ownership == identity.OwnedByOther && owner != nil &&
		owner.Same(identity.Binding{Cluster: s.identity.Cluster, Namespace: s.replaced.Namespace, Name: s.replaced.Name}) {
		f.ByID.OwnerState = identity.OwnerReplaced
	}
	f.ByKey, err = s.lookupByKey(ctx)
	return err
}

// inFlightForReplaced is how long Kong may still apply an earlier write for the binding that this one
// replaces.
func (r *Reconciler) inFlightForReplaced(s *state) time.Duration {
	if s.replaced == nil {
		return 0
	}
	return r.InFlight.InFlightFor(s.replaced, s.access.connection.LongestWrite())
}

// isAcquiredBy reports whether the plugin that the action takes over counts as one that existed before
// its binding.
func (s *state) isAcquiredBy(action identity.Action) bool {
	if s.replaced != nil {
		return identity.IsAcquired(s.observed.plugins[action.ID].Tags)
	}
	return s.access.policy.Restricts(s.binding.Namespace)
}

// passesOn looks for the plugin of a binding that is being deleted, and reports whether it stays for the
// next binding of this name. It waits for a binding that takes the plugin over.
func (r *Reconciler) passesOn(ctx context.Context, s *state) (bool, *stepResult) {
	if result := r.lookupWhatToDelete(ctx, s); result != nil {
		return false, result
	}
	if passes, result := r.passesToSuccessor(ctx, s); passes || result != nil {
		return passes, result
	}
	return false, r.waitForReplacement(ctx, s)
}

// waitForReplacement waits, before a plugin is deleted, for a binding that takes it over. If Kong has
// no plugin of this binding any more, there is nothing to wait for, and the other one may wait for this
// one to go.
func (r *Reconciler) waitForReplacement(ctx context.Context, s *state) *stepResult {
	replacements := &v1alpha1.PluginBindingList{}
	key := client.ObjectKeyFromObject(s.binding)
	// The items are only read.
	if err := r.Client.List(ctx, replacements, client.MatchingFields{reference.IndexReplaces: key.String()}, client.UnsafeDisableDeepCopy); err != nil {
		return kubernetesError(err)
	}
	deleted, nothingLeft := r.Clock.Since(s.binding.DeletionTimestamp.Time), s.action.Operation == identity.RemoveFinalizer
	for i := range replacements.Items {
		other := &replacements.Items[i]
		if !reference.AllowsReplacement(s.binding, other.Namespace) {
			continue
		}
		s.replacements = append(s.replacements, client.ObjectKeyFromObject(other))
		if wait := replacementTimeout - deleted; wait > 0 && !nothingLeft && isGoingToReplace(other, s.binding) {
			return s.waitToBeReplaced("PluginBinding "+client.ObjectKeyFromObject(other).String()+" is going to take it over, as its spec.replaces says", wait)
		}
	}
	if nothingLeft || s.binding.Status.PluginID == "" {
		return nil
	}
	if result := r.waitForFormer(ctx, s, replacementTimeout-deleted); result != nil {
		return result
	}
	if len(s.replacements) > 0 {
		return nil
	}
	if wait := replacementGrace - deleted; wait > 0 && len(s.binding.Spec.AllowReplacementFrom) > 0 {
		return s.waitToBeReplaced("spec.allowReplacementFrom is set, and another binding may take it over", wait)
	}
	return r.waitForPolicy(ctx, s, policyGrace-deleted)
}

// passesToSuccessor reports whether the plugin stays in Kong for the next binding of this name. The policy
// that controls the binding was made again, as a restore does it, and the garbage collector deletes what
// the former one owned. The policy makes the binding again, which finds the plugin by its ownership tags.
func (r *Reconciler) passesToSuccessor(ctx context.Context, s *state) (bool, *stepResult) {
	owner := reference.PolicyOf(s.binding)
	if owner == nil || s.action.Operation != identity.Delete {
		return false, nil
	}
	successor, key := &v1alpha1.PluginPolicy{}, types.NamespacedName{Namespace: s.binding.Namespace, Name: owner.Name}
	if r.Client.Get(ctx, key, successor) == nil && successor.UID == owner.UID {
		return false, nil // it is the policy that deletes its binding
	}
	err := r.APIReader.Get(ctx, key, successor)
	switch {
	case apierrors.IsNotFound(err):
		return false, nil
	case err != nil:
		return false, kubernetesError(err)
	default:
		return successor.UID != owner.UID && successor.DeletionTimestamp.IsZero() && successor.Spec.Template.Spec.Plugin == s.binding.Spec.Plugin &&
			reference.GatewayOfPolicy(successor) == s.gatewayKey && namesTargetOf(successor, s.binding), nil
	}
}

// namesTargetOf reports whether a policy has the target for which a binding was made. Otherwise it does not
// make the binding again.
func namesTargetOf(p *v1alpha1.PluginPolicy, binding *v1alpha1.PluginBinding) bool {
	return slices.ContainsFunc(policy.Targets(p), func(t policy.Target) bool { return t.Name == binding.Annotations[v1alpha1.TargetAnnotation] })
}

// waitForFormer waits for a binding from which this one took the plugin over: it takes it back.
func (r *Reconciler) waitForFormer(ctx context.Context, s *state, wait time.Duration) *stepResult {
	other, err := r.recordedBy(ctx, s, string(s.binding.Status.PluginID))
	if err != nil {
		return kubernetesError(err)
	}
	if wait > 0 && other != nil && isGivenBack(s.binding, other) {
		return s.waitToBeReplaced("PluginBinding "+client.ObjectKeyFromObject(other).String()+" has recorded its ID, too, and takes it back", wait)
	}
	return nil
}

// waitForPolicy waits, before a plugin is deleted, for a policy that wants this plugin in the place of
// an older object. Its binding takes the plugin over, and the entity is not without it.
func (r *Reconciler) waitForPolicy(ctx context.Context, s *state, wait time.Duration) *stepResult {
	if wait <= 0 || s.binding.Spec.DeletionPolicy == v1alpha1.OrphanPlugin {
		return nil
	}
	policies := &v1alpha1.PluginPolicyList{}
	// The items are only read.
	if err := r.Client.List(ctx, policies, client.MatchingFields{reference.IndexConflict: s.gatewayKey.String()}, client.UnsafeDisableDeepCopy); err != nil {
		return kubernetesError(err)
	}
	for i := range policies.Items {
		other := &policies.Items[i]
		if other.Spec.Template.Spec.Plugin == s.binding.Spec.Plugin && other.DeletionTimestamp.IsZero() && !reference.IsPausedBy(other) &&
			reference.AllowsReplacement(s.binding, other.Namespace) && !metav1.IsControlledBy(s.binding, other) {
			return s.waitToBeReplaced("PluginPolicy "+client.ObjectKeyFromObject(other).String()+" waits for a place of this plugin and may take it over", wait)
		}
	}
	return r.waitForPolicyOf(ctx, s, wait)
}

// waitForPolicyOf waits for the policy of a binding that is in conflict with the plugin: it lets the
// binding take the plugin over.
func (r *Reconciler) waitForPolicyOf(ctx context.Context, s *state, wait time.Duration) *stepResult {
	bindings := &v1alpha1.PluginBindingList{}
	// The items are only read.
	if err := r.Client.List(ctx, bindings, client.MatchingFields{reference.IndexConflict: s.gatewayKey.String()}, client.UnsafeDisableDeepCopy); err != nil {
		return kubernetesError(err)
	}
	for i := range bindings.Items {
		other := &bindings.Items[i]
		if reference.PolicyOf(other) != nil && other.Status.PluginID == "" && other.Status.Conflict.PluginID == string(s.binding.Status.PluginID) &&
			other.DeletionTimestamp.IsZero() && reference.AllowsWrites(other) && reference.AllowsReplacement(s.binding, other.Namespace) {
			return s.waitToBeReplaced("PluginBinding "+client.ObjectKeyFromObject(other).String()+" waits for its place and may take it over", wait)
		}
	}
	return nil
}

// isGoingToReplace reports whether a binding has not taken the plugin over yet, and nothing keeps it
// from that but time.
func isGoingToReplace(replacement, replaced *v1alpha1.PluginBinding) bool {
	return replacement.Status.PluginID == "" && replaced.Status.PluginID != "" && replacement.DeletionTimestamp.IsZero() &&
		reference.AllowsWrites(replacement) && replacement.Spec.Plugin == replaced.Spec.Plugin &&
		reference.GatewayOf(replacement) == reference.GatewayOf(replaced)
}

func (s *state) waitToBeReplaced(why string, wait time.Duration) *stepResult {
	return &stepResult{
		condition: v1alpha1.ConditionProgrammed, unknown: true, reason: v1alpha1.ReasonDeleting,
		message: s.pendingDeletion() + why, requeueAfter: wait,
	}
}

// replacedBy reports whether the owner of a plugin is a binding that replaces this one.
func (s *state) replacedBy(owner identity.Owner) bool {
	for _, key := range s.replacements {
		if owner.Binding != nil && owner.Binding.Same(identity.Binding{Cluster: s.identity.Cluster, Namespace: key.Namespace, Name: key.Name}) {
			return true
		}
	}
	return false
}

// noteReplacement remembers whether the owner of an observed plugin replaces this binding.
func (r *Reconciler) noteReplacement(ctx context.Context, s *state, owner types.NamespacedName) {
	other := &v1alpha1.PluginBinding{}
	if err := r.Client.Get(ctx, owner, other, client.UnsafeDisableDeepCopy); err != nil {
		return // only a message depends on it
	}
	if key, ok := reference.Replaced(other); ok && key == client.ObjectKeyFromObject(s.binding) {
		s.replacements = append(s.replacements, owner)
	}
}
