package pluginbinding

import (
	"context"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/labels"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/pluginbinding/kong-plugin-operator/api/v1alpha1"
	"github.com/pluginbinding/kong-plugin-operator/internal/identity"
	"github.com/pluginbinding/kong-plugin-operator/internal/plugin"
	"github.com/pluginbinding/kong-plugin-operator/internal/reference"
	"github.com/pluginbinding/kong-plugin-operator/internal/tenancy"
)

// resolveGatewayForDelete returns the gateway's connection for a binding that is being deleted.
// It does not matter whether the gateway still allows the binding: the plugin has to go.
func (r *Reconciler) resolveGatewayForDelete(ctx context.Context, s *state) (access, *stepResult) {
	a, result := r.findGatewayForDelete(ctx, s)
	if result != nil {
		return a, result
	}
	if a.gone {
		if id := s.binding.Status.PluginID; id != "" {
			s.warningf(ctx, "PluginLeft", "KongGateway %s no longer exists, so the operator could not delete plugin %s from its Kong; if that Kong still runs, delete the plugin there", s.gatewayKey, id)
		}
		return a, nil
	}
	if a.connection, result = r.getConnection(s); result != nil {
		// A refused gateway keeps the finalizer just like one that is down.
		return a, deletionWaits(s, result, result.message)
	}
	return a, nil
}

// findGatewayForDelete returns the gateway of a binding that is being deleted, or that it does
// not exist any more.
func (r *Reconciler) findGatewayForDelete(ctx context.Context, s *state) (access, *stepResult) {
	if !r.watches(s.gatewayKey.Namespace) {
		return access{}, deletionWaits(s, done(), r.notWatchedMessage(s))
	}
	gateway, err := r.getGatewayLive(ctx, s)
	switch {
	case err != nil:
		return access{}, kubernetesError(err)
	case gateway == nil:
		return access{gone: true}, nil
	case r.Selector != nil && !r.Selector.Matches(labels.Set(gateway.Labels)):
		// It exists, and by its labels another operator serves it.
		return access{gateway: gateway}, deletionWaits(s, &stepResult{requeueAfter: slowRetry}, r.notFoundMessage(s))
	default:
		return access{gateway: gateway}, nil
	}
}

// getGatewayLive returns nil only if the API server itself says that the gateway does not exist.
func (r *Reconciler) getGatewayLive(ctx context.Context, s *state) (*v1alpha1.KongGateway, error) {
	gateway := &v1alpha1.KongGateway{}
	err := r.Client.Get(ctx, s.gatewayKey, gateway)
	if apierrors.IsNotFound(err) {
		err = r.APIReader.Get(ctx, s.gatewayKey, gateway)
	}
	if apierrors.IsNotFound(err) {
		return nil, nil //nolint:nilnil // no gateway is an answer
	}
	return gateway, err
}

// deletionWaits turns a result into one that says what the deletion waits for. Of a result that says
// nothing only its delay stays.
func deletionWaits(s *state, result *stepResult, what string) *stepResult {
	if what == "" {
		return result
	}
	result.condition, result.unknown, result.keepConditions = v1alpha1.ConditionProgrammed, true, false
	result.reason = v1alpha1.ReasonDeleting
	result.message = s.pendingDeletion() + what
	return result
}

// pendingDeletion says what a deletion still has to do in Kong.
func (s *state) pendingDeletion() string {
	if reference.IsObserved(s.binding) {
		return "waiting to look for a plugin to retain in Kong: "
	}
	return "waiting to remove the plugin from Kong: "
}

// waitForInFlightWrites waits until Kong can no longer apply an earlier write: a late PUT would
// bring a deleted plugin back. There is nothing to wait for without a write of unknown outcome by
// this process, once it has led for so long that no write of an earlier leader can be in flight.
func (r *Reconciler) waitForInFlightWrites(s *state) *stepResult {
	wait := r.inFlightFor(s)
	if wait <= 0 {
		return nil
	}
	ready := meta.FindStatusCondition(s.binding.Status.Conditions, v1alpha1.ConditionReady)
	if ready != nil && ready.Reason == v1alpha1.ReasonDeleting && ready.ObservedGeneration == s.binding.Generation {
		return &stepResult{requeueWithBackoff: true, requeueAfter: wait} // the status says already why it takes so long
	}
	return &stepResult{
		condition:    v1alpha1.ConditionProgrammed,
		unknown:      true,
		reason:       v1alpha1.ReasonDeleting,
		message:      s.pendingDeletion() + earlierWrite,
		requeueAfter: wait,
	}
}

// deleteOwnedPlugin deletes or releases what the binding owns. From the look on, no other binding looks at
// the place of that plugin or writes there: one with adoptionPolicy Override would take the plugin over in
// between, and lose it.
func (r *Reconciler) deleteOwnedPlugin(ctx context.Context, s *state) *stepResult {
	recorded, known := s.recordedPlace()
	if known {
		if !r.places.tryLock(recorded) {
			return &stepResult{requeueAfter: exclusiveRetry}
		}
		defer r.places.unlock(recorded)
	}
	if passes, result := r.passesOn(ctx, s); passes || result != nil {
		return result
	}
	found, exists := s.removedPlace()
	if !exists || known && found == recorded {
		return r.deleteInPlace(ctx, s)
	}
	if !r.places.tryLock(found) { // the status does not say where it is
		return &stepResult{requeueAfter: exclusiveRetry}
	}
	defer r.places.unlock(found)
	if result := r.lookupWhatToDelete(ctx, s); result != nil {
		return result
	}
	if again, exists := s.removedPlace(); exists && again != found {
		return requeue()
	}
	return r.deleteInPlace(ctx, s)
}

// recordedPlace is where the plugin of the binding is as far as the status says.
func (s *state) recordedPlace() (at place, known bool) {
	if s.binding.Status.PluginID == "" || s.binding.Status.Scope == nil {
		return place{}, false
	}
	return place{s.gatewayKey, string(s.binding.Spec.Plugin), reference.BoundScope(s.binding.Status.Scope)}, true
}

// removedPlace is where the plugin is that the deletion is about to remove.
func (s *state) removedPlace() (at place, exists bool) {
	live, exists := s.observed.plugins[s.action.ID]
	if s.action.Operation == identity.RemoveFinalizer {
		exists = false
	}
	return place{s.gatewayKey, live.Name, live.Scope}, exists
}

// deleteInPlace removes what was found. Unless the look showed that this is all, it looks again, until a look
// finds nothing.
func (r *Reconciler) deleteInPlace(ctx context.Context, s *state) *stepResult {
	if result := r.keepIfAcquired(ctx, s); result != nil {
		return result
	}
	if s.action.Operation != identity.RemoveFinalizer {
		if result := r.waitForWrites(s); result != nil {
			return deletionWaits(s, result, result.message)
		}
		if result := r.recheckDeleting(ctx, s); result != nil {
			return result
		}
	}
	switch s.action.Operation {
	case identity.RemoveFinalizer:
		s.reportForeignPlugin(ctx)
		return nil
	case identity.Delete:
		if result := r.removeWith(ctx, s, "delete", r.deletePlugin); result != nil {
			return result
		}
	case identity.Release:
		if result := r.removeWith(ctx, s, "orphan", r.releasePlugin); result != nil {
			return result
		}
	default:
		return requeue()
	}
	if s.observed.ownsOne {
		return nil // Kong confirmed the write, and none is in flight: nothing can come after it
	}
	if result := r.lookupOwned(ctx, s); result != nil {
		return result
	}
	if s.action.Operation != identity.RemoveFinalizer {
		return requeue()
	}
	return nil
}

// keepIfAcquired turns a deletion into a release if the binding acquired the plugin, and the gateway
// does not allow its namespace to delete such a plugin.
func (r *Reconciler) keepIfAcquired(ctx context.Context, s *state) *stepResult {
	if s.action.Operation != identity.Delete {
		return nil
	}
	a, live := &s.access, s.observed.plugins[s.action.ID]
	var err error
	if a.policy, a.request, err = r.tenancyOf(ctx, s, a.gateway); err != nil {
		return kubernetesError(err)
	}
	a.request.Global, a.request.PluginID = live.Scope == (plugin.Scope{}), live.ID
	a.request.Acquired = a.request.Acquired || identity.IsAcquired(live.Tags)
	if a.request.Acquired && a.policy.Restricts(s.binding.Namespace) && a.policy.NeedsTags() {
		if a.request.Entities, err = s.lookupEntitiesOf(ctx, live); err != nil {
			return r.deletionFailed(s, err)
		}
	}
	refused := checkTenancy(a, tenancy.Delete)
	if refused == nil {
		return nil
	}
	s.action.Operation = identity.Release
	s.warningf(ctx, "PluginKept", "%s", refused.message)
	return nil
}

// lookupEntitiesOf returns the entities to which a plugin in Kong applies, with their tags.
func (s *state) lookupEntitiesOf(ctx context.Context, live plugin.Plugin) ([]tenancy.Entity, error) {
	var entities []tenancy.Entity
	for _, entity := range reference.EntitiesOf(live.Scope) {
		found, err := s.client().Resolve(ctx, entity.Kind, entity.Ref)
		if err != nil {
			return nil, err
		}
		entities = append(entities, tenancyEntity(entity, found))
	}
	return entities, nil
}

// reportForeignPlugin says that the recorded plugin stays because it is not this binding's.
func (s *state) reportForeignPlugin(ctx context.Context) {
	if live := s.observed.facts.ByID; live.Ownership.Found() && live.Ownership != identity.Owned {
		if s.replacedBy(live.Owner) {
			s.eventf(ctx, "Replaced", "plugin %s belongs to %s now, which replaces this binding", live.ID, live.Owner.Describe(s.identity.Cluster))
			return
		}
		s.warningf(ctx, "PluginLeft", "plugin %s no longer carries this binding's ownership tags, so the operator left it in Kong; if nobody needs it, delete it there", live.ID)
	}
}

// recheckDeleting reads the binding from the API server before something is removed. If somebody
// removed the finalizer by force and created a binding of the same name, the plugin belongs to
// that one. And somebody may have just paused it, or changed one of its policies.
func (r *Reconciler) recheckDeleting(ctx context.Context, s *state) *stepResult {
	live := &v1alpha1.PluginBinding{}
	if err := r.APIReader.Get(ctx, client.ObjectKeyFromObject(s.binding), live); err != nil {
		return kubernetesError(err)
	}
	if live.UID != s.binding.UID || live.DeletionTimestamp.IsZero() || live.Generation != s.binding.Generation || reference.IsPaused(live) {
		return requeue()
	}
	return nil
}

// lookupWhatToDelete asks Kong for the plugins with the ownership tags. If the recorded one is not among
// them, it asks under the ID and under the name.
func (r *Reconciler) lookupWhatToDelete(ctx context.Context, s *state) *stepResult {
	f := &s.observed.facts
	*f = identity.Facts{Recorded: string(s.binding.Status.PluginID)}
	if f.Recorded == "" {
		return r.lookupOwned(ctx, s)
	}
	var err error
	if f.ByID, err = s.lookupRecordedByTags(ctx); err != nil {
		return r.deletionFailed(s, err)
	}
	if f.ByID.Ownership != identity.Owned {
		return r.lookupOwned(ctx, s)
	}
	s.decideDeletion()
	return nil
}

func (s *state) decideDeletion() {
	s.action = identity.DecideDeletion(s.observed.facts, s.binding.Spec.DeletionPolicy == v1alpha1.OrphanPlugin)
}

// lookupOwned asks Kong under the recorded ID and under the name, and decides.
func (r *Reconciler) lookupOwned(ctx context.Context, s *state) *stepResult {
	var err error
	f := &s.observed.facts
	*f = identity.Facts{Recorded: string(s.binding.Status.PluginID)}
	if f.Recorded != "" {
		if f.ByID, err = s.lookupByID(ctx, f.Recorded); err != nil {
			return r.deletionFailed(s, err)
		}
	}
	if f.ByID.Ownership != identity.Owned {
		if f.ByName, err = s.lookupByName(ctx); err != nil {
			return r.deletionFailed(s, err)
		}
	}
	s.decideDeletion()
	return nil
}

// lookupRecordedByTags finds the recorded plugin among those with the ownership tags. One request shows
// the plugin, and whether the binding owns another one: by its tags, or by the generated instance name, which
// is unique. A list may lack a row, so it proves nothing about a plugin that it does not show.
func (s *state) lookupRecordedByTags(ctx context.Context) (identity.Observation, error) {
	tagged, err := s.client().PluginsByTags(ctx, s.identity.LookupTags())
	if err != nil {
		return identity.Observation{}, err
	}
	recorded, owned := identity.Observation{}, 0
	for _, live := range tagged {
		observation, _ := s.observation(live, nil)
		if observation.Ownership != identity.Owned {
			continue
		}
		owned++
		if live.ID == s.observed.facts.Recorded {
			recorded = observation
		}
	}
	named := s.observed.plugins[s.observed.facts.Recorded].InstanceName == s.identity.InstanceName()
	s.observed.ownsOne = recorded.Ownership == identity.Owned && owned == 1 && named
	return recorded, nil
}

func (r *Reconciler) removeWith(ctx context.Context, s *state, action string, write func(context.Context, *state) error) *stepResult {
	a, result := r.handleWriteResult(ctx, s, action, write(ctx, s))
	if result == nil {
		s.applied.wrote = true
		return nil
	}
	s.applied.conflict = a.conflict
	if s.action.Operation == identity.Release && result.reason == v1alpha1.ReasonRejected {
		result.message += "; correct the plugin in Kong, or set deletionPolicy to Delete"
	}
	return deletionBlocked(s, result)
}

func (r *Reconciler) deletePlugin(ctx context.Context, s *state) error {
	if err := s.client().Delete(ctx, s.action.ID); err != nil {
		return err
	}
	s.eventf(ctx, "Deleted", "the operator deleted plugin %s from Kong", s.action.ID)
	return nil
}

// releasePlugin keeps the plugin as Kong has it, without what makes it this binding's.
func (r *Reconciler) releasePlugin(ctx context.Context, s *state) error {
	released := s.observed.plugins[s.action.ID]
	released.Tags = identity.WithoutOwnershipTags(released.Tags)
	if released.InstanceName == s.identity.InstanceName() {
		released.InstanceName = ""
	}
	if _, err := s.client().Put(ctx, released); err != nil {
		return err
	}
	s.eventf(ctx, "Orphaned", "plugin %s stays in Kong without this binding's ownership tags, as deletionPolicy Orphan says", s.action.ID)
	return nil
}

func (r *Reconciler) deletionFailed(s *state, err error) *stepResult {
	return deletionBlocked(s, r.handleKongError(s, &s.desired, err))
}

// deletionBlocked turns a result into one of a deletion that cannot go on now.
func deletionBlocked(s *state, result *stepResult) *stepResult {
	result.condition, result.unknown, result.keepConditions = v1alpha1.ConditionProgrammed, true, false
	if result.message != "" {
		result.reason = v1alpha1.ReasonDeleting
		result.message = s.pendingDeletion() + result.message
	} else {
		result.condition = ""
	}
	if result.requeueAfter == slowRetry {
		result.requeueAfter = 0 // nobody is going to correct a binding that is being deleted
	}
	result.requeueWithBackoff = result.requeueAfter == 0
	return result
}
