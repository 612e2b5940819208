package pluginbinding

import (
	"context"
	"fmt"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/pluginbinding/kong-plugin-operator/api/v1alpha1"
	"github.com/pluginbinding/kong-plugin-operator/internal/adminapi"
	"github.com/pluginbinding/kong-plugin-operator/internal/identity"
	"github.com/pluginbinding/kong-plugin-operator/internal/message"
	"github.com/pluginbinding/kong-plugin-operator/internal/plugin"
	"github.com/pluginbinding/kong-plugin-operator/internal/reference"
)

// apply does what was decided: at most one write to Kong.
func (r *Reconciler) apply(ctx context.Context, s *state) (applied, *stepResult) {
	if reference.IsObserved(s.binding) && s.ownsPlugin() {
		// Its plugin stays when the binding is deleted, and that must not go unseen.
		if result := r.addFinalizer(ctx, s); result != nil {
			return applied{}, result
		}
	}
	if s.action.Operation == identity.Conflict {
		return r.conflict(s, s.action.ID, s.action.Owner)
	}
	if result := r.recheckOwner(ctx, s); result != nil {
		return applied{}, result
	}
	if reference.IsObserved(s.binding) {
		return r.reportObserved(ctx, s)
	}
	if result := r.waitForWrites(s); result != nil {
		return applied{}, result
	}
	return r.execute(ctx, s)
}

// execute runs the operation that was decided.
func (r *Reconciler) execute(ctx context.Context, s *state) (applied, *stepResult) {
	switch s.action.Operation {
	case identity.None:
		return s.programmed(s.observed.plugins[s.action.ID]), nil
	case identity.Put:
		return r.put(ctx, s)
	case identity.Create:
		return r.create(ctx, s)
	case identity.RecordID:
		s.eventf(ctx, "Recovered", "plugin %s carries this binding's ownership tags; its ID is recorded again", s.action.ID)
		if identity.IsAcquired(s.observed.plugins[s.action.ID].Tags) {
			return s.recordID(v1alpha1.PluginIDAdopted)
		}
		return s.recordID(v1alpha1.PluginIDRecovered)
	case identity.Adopt:
		s.eventf(ctx, "Adopted", "plugin %s existed before this binding and now belongs to it", s.action.ID)
		return s.recordID(v1alpha1.PluginIDAdopted)
	case identity.TakeOver:
		return r.takeOver(ctx, s)
	case identity.Replace:
		return r.replace(ctx, s)
	case identity.Delete:
		return r.deleteOwned(ctx, s)
	case identity.MoveAside:
		return r.moveAside(ctx, s)
	case identity.MoveBack:
		return r.moveBack(ctx, s)
	default:
		return r.wait(ctx, s)
	}
}

// wait waits for what was decided: another plugin that is going to move, the plugin to import, or
// lookups that agree with each other.
func (r *Reconciler) wait(ctx context.Context, s *state) (applied, *stepResult) {
	switch {
	case s.action.ID == "":
		return applied{}, requeue()
	case s.observed.facts.Recorded != "":
		return r.waitForTurn(ctx, s)
	default:
		return applied{}, s.waitForImport()
	}
}

// ownsPlugin reports whether a plugin with the binding's ownership tags was observed.
func (s *state) ownsPlugin() bool {
	f := s.observed.facts
	return f.ByID.Ownership == identity.Owned || f.ByName.Ownership == identity.Owned || f.ByKey.Ownership == identity.Owned
}

// programmed is the result for a plugin that is as declared, or as Kong keeps it.
func (s *state) programmed(live plugin.Plugin) applied {
	return applied{programmed: &live, acceptedDifferences: s.differences(live)}
}

// written is the result of a confirmed write. Kong resolved the names of the scope itself.
func (s *state) written(live plugin.Plugin) applied {
	s.desired.plugin.Scope = live.Scope
	a := s.programmed(live)
	a.wrote = true
	return a
}

// put writes the whole plugin under the recorded ID: over the live one, or anew.
func (r *Reconciler) put(ctx context.Context, s *state) (applied, *stepResult) {
	live, exists := s.observed.plugins[s.action.ID]
	if !exists || live.Scope != s.desired.plugin.Scope || s.action.Adopts == identity.OwnedByOther {
		// A restore, a move, or another owner's plugin. An update where the plugin is needs no read of the API server: what the
		// cache does not show yet follows in another reconcile.
		if result := r.recheckLive(ctx, s); result != nil {
			return applied{}, result
		}
	}
	target := s.desired.plugin
	target.ID = s.action.ID
	if exists {
		target = plugin.PreserveServerFields(s.withoutForeignFields(target, live), live, s.desired.schema)
	}
	if result := r.refusedBefore(ctx, s, target); result != nil {
		return applied{}, result
	}
	stored, err := s.client().Put(ctx, target)
	if a, result := r.handleWriteResult(ctx, s, "put", err); result != nil {
		return a, result
	}
	a := s.written(stored)
	r.reportPut(ctx, s, live, exists, &a)
	if exists && (live.Scope != stored.Scope || live.InstanceName != stored.InstanceName) {
		r.wakeWaiting(ctx, s, stored.ID)
	}
	return a, nil
}

// withoutForeignFields unsets the fields that somebody added to an owned plugin and that the operator
// does not know, such as a condition. It keeps those that the plugin had when it was adopted.
func (s *state) withoutForeignFields(target, live plugin.Plugin) plugin.Plugin {
	if s.observed.facts.ByID.Ownership != identity.Owned {
		return target
	}
	var keep []string
	if accepted := s.binding.Status.AcceptedDifferences; accepted != nil {
		keep = accepted.Fields
	}
	return target.WithoutUnknown(live, keep)
}

// reportPut says why a plugin was written.
func (r *Reconciler) reportPut(ctx context.Context, s *state, live plugin.Plugin, existed bool, a *applied) {
	differences := message.FieldNames(s.differences(live))
	fields := strings.Join(differences, ", ")
	switch {
	case !existed:
		s.eventf(ctx, "Restored", "Kong no longer had plugin %s; the operator recreated it under the same ID", s.action.ID)
	case s.action.Adopts == identity.OwnedByOther:
		s.eventf(ctx, "TakenBack", "%s had written over plugin %s, which it hands over to this binding; the plugin is as declared again",
			s.action.Owner.Describe(r.ClusterID), s.action.ID)
	case r.isDeclarationUnchanged(s) && s.binding.Status.Scope != nil && s.desired.plugin.Scope == reference.BoundScope(s.binding.Status.Scope):
		a.drifted = differences
		r.Metrics.CountDrift(s.gatewayKey)
		s.eventf(ctx, "DriftCorrected", "plugin %s differed in %s and is as declared again", s.action.ID, fields)
	case live.Scope != s.desired.plugin.Scope:
		s.eventf(ctx, "Moved", "plugin %s now applies to %s", s.action.ID, reference.ScopeSummary(s.binding.Spec.Scope))
	default:
		s.eventf(ctx, "Updated", "plugin %s was updated in %s", s.action.ID, fields)
	}
}

// isDeclarationUnchanged reports whether the binding, its Secrets included, was programmed as it
// is declared now. Then somebody made the difference in Kong.
func (r *Reconciler) isDeclarationUnchanged(s *state) bool {
	ready := meta.FindStatusCondition(s.binding.Status.Conditions, v1alpha1.ConditionProgrammed)
	if ready == nil || ready.Status != metav1.ConditionTrue || ready.ObservedGeneration != s.binding.Generation {
		return false
	}
	if len(s.desired.secretVersions) == 0 {
		return true
	}
	last, known := r.Programmed.Get(s.binding)
	return known && last.Secrets == strings.Join(s.desired.secretVersions, ",")
}

// create posts the plugin. Kong assigns the ID.
func (r *Reconciler) create(ctx context.Context, s *state) (applied, *stepResult) {
	if !r.hasLiveLook(s) {
		if result := r.recheckLive(ctx, s); result != nil {
			return applied{}, result
		}
	}
	if result := r.refusedBefore(ctx, s, s.desired.plugin); result != nil {
		return applied{}, result
	}
	stored, err := s.client().Create(ctx, s.desired.plugin)
	if a, result := r.handleWriteResult(ctx, s, "create", err); result != nil {
		return a, result
	}
	a := s.written(stored)
	a.recordID, a.source = stored.ID, v1alpha1.PluginIDCreated
	s.eventf(ctx, "Created", "Kong created plugin %s", stored.ID)
	return a, nil
}

// takeOver writes over another owner's plugin, because adoptionPolicy says so, and then records
// it. If the ID is lost before it is recorded, the ownership tags identify the plugin.
func (r *Reconciler) takeOver(ctx context.Context, s *state) (applied, *stepResult) {
	if result := r.recheckLive(ctx, s); result != nil {
		return applied{}, result
	}
	if s.isAcquiredBy(s.action) {
		s.desired.plugin.Tags = identity.WithAcquired(s.desired.plugin.Tags)
	}
	target := plugin.PreserveServerFields(s.desired.plugin, s.observed.plugins[s.action.ID], s.desired.schema)
	if result := r.refusedBefore(ctx, s, target); result != nil {
		return applied{}, result
	}
	stored, err := s.client().Put(ctx, target)
	if a, result := r.handleWriteResult(ctx, s, "takeover", err); result != nil {
		return a, result
	}
	a := s.written(stored)
	a.recordID, a.source = stored.ID, v1alpha1.PluginIDAdopted
	how := "adoptionPolicy Override says"
	if s.replaced != nil {
		how = "replaces says"
		if !identity.IsAcquired(s.desired.plugin.Tags) {
			a.source = v1alpha1.PluginIDReplaced
		}
	}
	s.eventf(ctx, "Adopted", "the operator took plugin %s over from %s, as %s", stored.ID, s.action.Owner.Describe(r.ClusterID), how)
	return a, nil
}

// replace deletes a plugin of this binding that is not the recorded one, and writes the recorded
// one in the same reconcile, so that its place is empty for one request. Kong has to accept the
// plugin before anything is deleted, and a shutdown does not come in between.
func (r *Reconciler) replace(ctx context.Context, s *state) (applied, *stepResult) {
	if result := r.recheckLive(ctx, s); result != nil {
		return applied{}, result
	}
	target := plugin.PreserveServerFields(s.desired.plugin, s.observed.plugins[s.action.DeleteID], s.desired.schema)
	target.ID = s.action.ID
	if result := r.validate(ctx, s, target); result != nil {
		return applied{}, result
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*s.access.connection.RequestTimeout)
	defer cancel()
	if a, result := r.handleWriteResult(ctx, s, "delete", s.client().Delete(ctx, s.action.DeleteID)); result != nil {
		return a, result
	}
	stored, err := s.client().Put(ctx, target)
	if a, result := r.handleWriteResult(ctx, s, "put", err); result != nil {
		a.wrote = true
		return a, s.missing(s.action.DeleteID, result)
	}
	a := s.written(stored)
	r.wakeWaiting(ctx, s, s.action.DeleteID)
	s.eventf(ctx, "Restored", "plugin %s carried this binding's ownership tags under another ID; the operator replaced it with plugin %s, the recorded ID",
		s.action.DeleteID, s.action.ID)
	return a, nil
}

// missing makes a result without a condition say that Kong has no plugin under the recorded ID. After
// the operator deleted another plugin of this binding, the status must not stay Ready.
func (s *state) missing(deletedID string, result *stepResult) *stepResult {
	if result.condition == "" {
		result.condition, result.reason = v1alpha1.ConditionProgrammed, v1alpha1.ReasonProgramming
		result.message = fmt.Sprintf("Kong has no plugin %s, the recorded ID. The operator deleted plugin %s, which carried this binding's ownership tags under another ID, and writes plugin %s next.",
			s.observed.facts.Recorded, deletedID, s.observed.facts.Recorded)
	}
	return result
}

// validate asks Kong whether it would accept the plugin.
func (r *Reconciler) validate(ctx context.Context, s *state, target plugin.Plugin) *stepResult {
	if result := r.refusedBefore(ctx, s, target); result != nil {
		return result
	}
	err := s.client().ValidateConfig(ctx, target)
	if err == nil {
		return nil
	}
	result := r.handleKongError(s, &s.desired, err)
	r.noteRefusal(ctx, s, err, result)
	return result
}

// recheckLive reads the binding from the API server right before a write that creates, moves or takes
// a plugin over: the cache may lag.
func (r *Reconciler) recheckLive(ctx context.Context, s *state) *stepResult {
	live := &v1alpha1.PluginBinding{}
	err := r.APIReader.Get(ctx, client.ObjectKeyFromObject(s.binding), live)
	if apierrors.IsNotFound(err) {
		return done()
	}
	if err != nil {
		return kubernetesError(err)
	}
	if !isAsCached(live, s.binding) {
		return requeue()
	}
	return nil
}

// handleWriteResult tracks a write that has ended. It returns nil for a write that Kong
// confirmed.
func (r *Reconciler) handleWriteResult(ctx context.Context, s *state, action string, err error) (applied, *stepResult) {
	r.InFlight.MarkWritten(s.binding)
	if err == nil {
		r.Metrics.CountWrite(s.gatewayKey, action)
		r.refusals.forget(client.ObjectKeyFromObject(s.binding))
		r.noteWrite(ctx, s)
		return applied{}, nil
	}
	s.writeFailed = true
	switch adminapi.ReasonForError(err) {
	case adminapi.UnknownOutcome:
		r.InFlight.MarkInFlight(s.binding, r.Clock.Now().Add(s.access.connection.LongestWrite()))
	case adminapi.Conflict:
		r.InFlight.InvalidateScope(s.binding)
		return r.handleConflict(ctx, s)
	default:
	}
	if result := r.noteFailedWrite(ctx, s, err); result != nil {
		return applied{}, result
	}
	result := r.handleKongError(s, &s.desired, err)
	recorded := s.observed.facts.Recorded
	if _, active := s.observed.plugins[recorded]; active && (result.reason == v1alpha1.ReasonRejected || result.reason == v1alpha1.ReasonDenied) {
		result.message += "; the last accepted version of plugin " + recorded + " remains active in Kong"
		if s.observed.facts.ByID.Aside {
			result.message += ", and applies to " + describeScope(s.observed.plugins[recorded].Scope)
		}
	}
	r.noteRefusal(ctx, s, err, result)
	return applied{}, result
}

// handleConflict is for a write that Kong refused because another plugin holds the scope or the
// instance name. That decides nothing: the next reconcile sees who holds the scope. The facts
// do not say who holds the instance name of a plugin that exists, so that is looked up here.
func (r *Reconciler) handleConflict(ctx context.Context, s *state) (applied, *stepResult) {
	holder, err := s.observation(s.client().PluginByInstanceName(ctx, s.instanceName()))
	recorded := s.observed.facts.Recorded
	if err == nil && holder.Ownership.Found() && holder.ID != recorded && recorded != "" {
		return r.conflict(s, holder.ID, holder.Owner)
	}
	return applied{}, &stepResult{keepConditions: true, requeueWithBackoff: true}
}

// recordID ends a reconcile that only records an ID. Whatever has to be written is the next
// reconcile's.
func (s *state) recordID(source v1alpha1.PluginIDSource) (applied, *stepResult) {
	id, f := s.action.ID, s.observed.facts
	for _, observation := range []identity.Observation{f.ByName, f.ByKey, f.ByID} {
		if observation.ID == id && observation.Equal {
			a := s.programmed(s.observed.plugins[id])
			a.recordID, a.source = id, source
			return a, nil
		}
	}
	return applied{recordID: id, source: source}, &stepResult{
		condition:    v1alpha1.ConditionProgrammed,
		reason:       v1alpha1.ReasonProgramming,
		message:      fmt.Sprintf("plugin %s is recorded; the operator updates it next", id),
		requeueAfter: time.Millisecond,
	}
}

func (s *state) waitForImport() *stepResult {
	return &stepResult{
		condition: v1alpha1.ConditionProgrammed,
		reason:    v1alpha1.ReasonPluginNotFound,
		message: fmt.Sprintf("KongGateway %s has no plugin %s (spec.pluginID). The operator creates nothing in its place. Create a new binding with the right ID, or without one.",
			s.gatewayKey, s.binding.Spec.PluginID),
		requeueAfter: s.untilFirstResync(),
	}
}
