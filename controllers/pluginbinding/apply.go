package controllers

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/pluginbinding/kong-plugin-operator/api/v1alpha1"
	"github.com/pluginbinding/kong-plugin-operator/internal/adminapi"
	"github.com/pluginbinding/kong-plugin-operator/internal/identity"
	"github.com/pluginbinding/kong-plugin-operator/internal/plugin"
)

// slowRetry is for situations that no event announces and that last.
const slowRetry = 5 * time.Minute

// act does what was decided: at most one write to Kong.
func (r *PluginBindingReconciler) act(ctx context.Context, p *pass) *stop {
	if p.observes() && p.ownsOne() {
		// Its plugin stays when the binding goes, and that must not go unseen.
		if s := r.putFinalizer(ctx, p); s != nil {
			return s
		}
	}
	if p.action.Operation == identity.Conflict {
		return r.conflicted(p, p.action.ID, p.action.Owner)
	}
	if p.observes() {
		return r.onlyLook(p)
	}
	switch p.action.Operation {
	case identity.None:
		p.found(p.seen[p.action.ID])
		return nil
	case identity.Put:
		return r.put(ctx, p)
	case identity.Create:
		return r.create(ctx, p)
	case identity.RecordID:
		return r.recover(p)
	case identity.Adopt:
		return r.adopt(p)
	case identity.TakeOver:
		return r.takeOver(ctx, p)
	case identity.Delete:
		return r.deleteStray(ctx, p)
	default:
		return r.waitForImport(p)
	}
}

// ownsOne reports whether a plugin with the binding's marks was seen.
func (p *pass) ownsOne() bool {
	return p.facts.ByID.Ownership == identity.Owned || p.facts.ByName.Ownership == identity.Owned || p.facts.ByKey.Ownership == identity.Owned
}

// found notes a plugin that is as declared, or that Kong keeps as it will.
func (p *pass) found(have plugin.Plugin) {
	p.inForce = &have
	p.unsettled = p.differences(have)
}

// madeOf notes what Kong made of a write. It resolved the names of the scope itself.
func (p *pass) madeOf(got plugin.Plugin) {
	p.want.Scope = got.Scope
	p.found(got)
}

// put writes the whole plugin under the recorded ID: over what is there, or anew.
func (r *PluginBindingReconciler) put(ctx context.Context, p *pass) *stop {
	have, exists := p.seen[p.action.ID]
	if !exists {
		if s := r.stillWanted(ctx, p); s != nil {
			return s
		}
	}
	want := p.want
	want.ID = p.action.ID
	if exists {
		want = plugin.PreserveServerFields(want, have, p.schema)
	}
	if exists && have.InstanceName != want.InstanceName {
		// Who holds it already is not in the facts, and Kong would have to refuse the write.
		if named, err := p.lookByInstanceName(ctx, want.InstanceName); err != nil {
			return r.kongFailed(p, err)
		} else if named.Ownership.Found() && named.ID != want.ID {
			return r.conflicted(p, named.ID, named.Owner)
		}
	}
	got, err := p.connection.Kong.Put(ctx, want)
	if s := r.written(ctx, p, "put", err); s != nil {
		return s
	}
	p.madeOf(got)
	r.tellPut(ctx, p, have, exists)
	return nil
}

// tellPut says why a plugin was written.
func (r *PluginBindingReconciler) tellPut(ctx context.Context, p *pass, have plugin.Plugin, exists bool) {
	differences := p.differences(have)
	switch {
	case !exists:
		p.tell(ctx, "Restored", fmt.Sprintf("Kong no longer had plugin %s; it is back under the same ID", p.action.ID))
	case r.declarationUnchanged(p) && p.binding.Status.Scope != nil && p.want.Scope == boundScope(p.binding.Status.Scope):
		p.drifted = bounded(differences)
		r.Metrics.drift(p.gateway)
		p.tell(ctx, "DriftCorrected", fmt.Sprintf("plugin %s differed in %s and is as declared again", p.action.ID, strings.Join(p.drifted, ", ")))
	case have.Scope != p.want.Scope:
		p.tell(ctx, "Moved", fmt.Sprintf("plugin %s now applies to %s", p.action.ID, scopeSummary(p.binding.Spec.Scope)))
	default:
		p.tell(ctx, "Updated", fmt.Sprintf("plugin %s was brought in line in %s", p.action.ID, strings.Join(bounded(differences), ", ")))
	}
}

// declarationUnchanged reports whether the binding, its Secrets included, was in force as
// it is declared now, so that a difference was made in Kong.
func (r *PluginBindingReconciler) declarationUnchanged(p *pass) bool {
	programmed := meta.FindStatusCondition(p.binding.Status.Conditions, v1alpha1.ConditionProgrammed)
	if programmed == nil || programmed.Status != metav1.ConditionTrue || programmed.ObservedGeneration != p.binding.Generation {
		return false
	}
	return len(p.secretVersions) == 0 || r.Ledger.SameSecrets(p.binding, strings.Join(p.secretVersions, ","))
}

// create posts the plugin; Kong assigns the ID.
func (r *PluginBindingReconciler) create(ctx context.Context, p *pass) *stop {
	if s := r.stillWanted(ctx, p); s != nil {
		return s
	}
	got, err := p.connection.Kong.Create(ctx, p.want)
	if s := r.written(ctx, p, "create", err); s != nil {
		return s
	}
	p.recordID, p.source = got.ID, v1alpha1.PluginIDCreated
	p.madeOf(got)
	p.tell(ctx, "Created", fmt.Sprintf("Kong made plugin %s", got.ID))
	return nil
}

// stillWanted is one live look at the binding before something is made for it: a cache
// may lag behind a deletion, a new object of the same name, or an ID that is recorded.
func (r *PluginBindingReconciler) stillWanted(ctx context.Context, p *pass) *stop {
	live := &v1alpha1.PluginBinding{}
	err := r.Live.Get(ctx, client.ObjectKeyFromObject(p.binding), live)
	if apierrors.IsNotFound(err) {
		return &stop{}
	}
	if err != nil {
		return kubernetesStop(err)
	}
	same := live.UID == p.binding.UID &&
		live.DeletionTimestamp.IsZero() &&
		live.Generation == p.binding.Generation &&
		live.Status.PluginID == p.binding.Status.PluginID
	if !same {
		return lookAgain()
	}
	return nil
}

// written looks at the outcome of a write.
func (r *PluginBindingReconciler) written(ctx context.Context, p *pass, action string, err error) *stop {
	r.Ledger.Wrote(p.binding)
	if err == nil {
		p.wrote = true
		r.Metrics.wrote(p.gateway, action)
		return nil
	}
	switch adminapi.ReasonForError(err) {
	case adminapi.UnknownOutcome:
		r.Ledger.MayLand(p.binding, r.Clock.Now().Add(longestWrite(p)))
	case adminapi.Conflict:
		r.Ledger.Misled(p.binding)
		return r.lostTo(ctx, p)
	default:
	}
	s := r.kongFailed(p, err)
	if _, serves := p.seen[p.facts.Recorded]; serves && (s.reason == v1alpha1.ReasonRejected || s.reason == v1alpha1.ReasonDenied) {
		s.message += "; Kong keeps plugin " + p.facts.Recorded + " as it last was, and that still serves"
	}
	return s
}

// longestWrite is how long after its start a write may still be done by Kong.
func longestWrite(p *pass) time.Duration {
	return p.connection.RequestTimeout + databaseTimeout
}

// lostTo is for a write that Kong refused because another plugin holds the scope or the
// instance name. That decides nothing: the next pass sees who holds the scope. Only who
// holds the instance name of a plugin that exists is not in the facts, so it is asked here.
func (r *PluginBindingReconciler) lostTo(ctx context.Context, p *pass) *stop {
	named, err := p.sighting(p.connection.Kong.PluginByInstanceName(ctx, p.instanceName()))
	if err == nil && named.Ownership.Found() && named.ID != p.facts.Recorded && p.facts.Recorded != "" {
		return r.conflicted(p, named.ID, named.Owner)
	}
	return &stop{transient: true, again: true}
}

// recover records the ID of a plugin that is this binding's already.
func (r *PluginBindingReconciler) recover(p *pass) *stop {
	p.recordID, p.source = p.action.ID, v1alpha1.PluginIDRecovered
	p.happened = append(p.happened, happening{corev1.EventTypeNormal, "Recovered",
		fmt.Sprintf("plugin %s bears this binding's marks; its ID is recorded again", p.action.ID)})
	return p.inLineOrNext()
}

// adopt records the ID of a plugin that was nobody's.
func (r *PluginBindingReconciler) adopt(p *pass) *stop {
	p.recordID, p.source = p.action.ID, v1alpha1.PluginIDAdopted
	p.happened = append(p.happened, happening{corev1.EventTypeNormal, "Adopted",
		fmt.Sprintf("plugin %s was there before this binding and is now its own", p.action.ID)})
	return p.inLineOrNext()
}

// inLineOrNext ends a pass that recorded an ID: what is still to be written is the next
// pass's.
func (p *pass) inLineOrNext() *stop {
	for _, sighting := range []identity.Observation{p.facts.ByName, p.facts.ByKey, p.facts.ByID} {
		if sighting.ID == p.recordID && sighting.Equal {
			p.found(p.seen[p.recordID])
			return nil
		}
	}
	return &stop{
		condition: v1alpha1.ConditionProgrammed,
		reason:    v1alpha1.ReasonProgramming,
		message:   fmt.Sprintf("plugin %s is recorded and will be brought in line", p.recordID),
		after:     time.Millisecond,
	}
}

// takeOver writes over another owner's plugin, because adoptionPolicy says so, and then
// records it. Should the record be lost, the marks tell the next pass.
func (r *PluginBindingReconciler) takeOver(ctx context.Context, p *pass) *stop {
	if s := r.stillWanted(ctx, p); s != nil {
		return s
	}
	want := p.want
	want.ID = p.action.ID
	got, err := p.connection.Kong.Put(ctx, plugin.PreserveServerFields(want, p.seen[p.action.ID], p.schema))
	if s := r.written(ctx, p, "takeover", err); s != nil {
		return s
	}
	p.recordID, p.source = got.ID, v1alpha1.PluginIDAdopted
	p.madeOf(got)
	p.tell(ctx, "Adopted", fmt.Sprintf("plugin %s was taken over from %s, as adoptionPolicy Override says", got.ID, p.facts.ByKey.Owner.Describe(r.Cluster)))
	return nil
}

// deleteStray removes a plugin of this binding that is not the recorded one, so that the
// recorded ID can come back.
func (r *PluginBindingReconciler) deleteStray(ctx context.Context, p *pass) *stop {
	if s := r.stillWanted(ctx, p); s != nil {
		return s
	}
	if s := r.written(ctx, p, "delete", p.connection.Kong.Delete(ctx, p.action.ID)); s != nil {
		return s
	}
	log.FromContext(ctx).Info("deleted a plugin of this binding under another ID than the recorded one",
		"plugin", p.action.ID, "recorded", p.facts.Recorded)
	return lookAgain()
}

func (r *PluginBindingReconciler) waitForImport(p *pass) *stop {
	return &stop{
		condition: v1alpha1.ConditionProgrammed,
		reason:    v1alpha1.ReasonPluginNotFound,
		message: fmt.Sprintf("KongGateway %s has no plugin %s, which spec.pluginID asks for, and nothing is created in its stead; make a new binding with the right ID, or without one",
			p.gateway, p.binding.Spec.PluginID),
		after: resyncOf(p.kgw),
	}
}

// conflicted names the plugin in the way and whose it is.
func (r *PluginBindingReconciler) conflicted(p *pass, id string, owner identity.Owner) *stop {
	whose := owner.Describe(r.Cluster)
	p.conflict = &v1alpha1.ConflictStatus{PluginID: id, Owner: truncate(whose, 512)}
	return &stop{
		condition: v1alpha1.ConditionProgrammed,
		reason:    v1alpha1.ReasonConflict,
		message:   fmt.Sprintf("plugin %s of %s is in the way; nothing was changed. %s", id, whose, r.wayOut(p, id, owner)),
		after:     resyncOf(p.kgw),
	}
}

// wayOut is the next thing to do about a conflict.
func (r *PluginBindingReconciler) wayOut(p *pass, id string, owner identity.Owner) string {
	recorded, have := p.facts.Recorded, p.seen[id]
	switch {
	case recorded == "" && p.facts.Import == id:
		return wayToImport(p, have)
	case recorded != id && have.InstanceName == p.instanceName() && (have.Name != p.want.Name || have.Scope != p.want.Scope):
		return fmt.Sprintf("It has the instance name %s, and Kong takes each only once: set another spec.instanceName, or change that plugin's", have.InstanceName)
	case recorded == id:
		return wayBack(p, owner)
	case owner.Tool == "ingress-controller":
		return "Remove the KongPlugin or its annotation from the resource it is attached to, so that the ingress controller deletes its plugin, and this one is made"
	case owner.Tool != "":
		return "Remove it from that tool's configuration, and this one is made; adoptionPolicy Override takes it, but two tools would then write to it"
	case owner.Binding != nil && owner.Binding.Cluster == r.Cluster:
		return "Delete that binding or give one of the two another scope; this one is programmed when the other goes"
	case owner.Binding != nil:
		return "Only one cluster can own it: delete the binding there, or set adoptionPolicy Override here"
	case recorded != "":
		return "Delete that plugin in Kong, and this binding's comes back under its ID"
	case p.binding.Spec.AdoptionPolicy == v1alpha1.AdoptNever:
		return "adoptionPolicy is Never: delete that plugin in Kong, or set adoptionPolicy to IfIdentical or Override"
	default:
		return "Its settings differ from this binding's" + differing(p, id) + ": set adoptionPolicy to Override to adopt it and make it as declared, or delete it in Kong"
	}
}

// wayBack is the next thing to do about a plugin that has the recorded ID and other marks.
func wayBack(p *pass, owner identity.Owner) string {
	former := p.identity
	if owner.Binding != nil {
		former.Cluster = owner.Binding.Cluster
	}
	if former.Cluster != p.identity.Cluster && former.Namespace == owner.Binding.Namespace && former.Name == owner.Binding.Name {
		return fmt.Sprintf("It is this binding's, with the marks of cluster %s: if that is this one, start the operator with --cluster-id=%s again", former.Cluster, former.Cluster)
	}
	if owner.Binding != nil && former.Cluster == p.identity.Cluster && !owner.Binding.Same(p.identity) {
		return "That binding has taken it over, with adoptionPolicy Override: delete one of the two"
	}
	return "It has the ID of this binding's plugin: give it back its tags and plugin name, or delete it in Kong"
}

// wayToImport is the next thing to do about a plugin that spec.pluginID names in vain.
func wayToImport(p *pass, have plugin.Plugin) string {
	if have.Name != p.want.Name {
		return fmt.Sprintf("spec.pluginID names a plugin %s and this binding declares %s: make a new binding with the right ID, or without one", have.Name, p.want.Name)
	}
	return "spec.pluginID takes only what belongs to nobody: have its owner let it go (a PluginBinding that is deleted with deletionPolicy Orphan does), or make a new binding without pluginID"
}

func differing(p *pass, id string) string {
	have, ok := p.seen[id]
	if !ok || have.Name != p.want.Name {
		return ""
	}
	fields := slices.DeleteFunc(p.differences(have), func(field string) bool { return !touchesTraffic(field) })
	return " in " + strings.Join(bounded(fields), ", ")
}

// onlyLook reports what managementPolicy Observe keeps from being done.
func (r *PluginBindingReconciler) onlyLook(p *pass) *stop {
	would := map[identity.Operation]string{
		identity.Put:      "write plugin %s",
		identity.Create:   "create the plugin%s",
		identity.RecordID: "record plugin %s, which bears this binding's marks",
		identity.Adopt:    "adopt plugin %s",
		identity.TakeOver: "take plugin %s over from its owner",
		identity.Delete:   "delete plugin %s, which has this binding's marks and not the recorded ID",
		identity.Wait:     "wait for plugin %s to exist",
	}
	if p.action.Operation == identity.None {
		p.found(p.seen[p.action.ID])
		return nil
	}
	message := "managementPolicy is Observe; with Manage the operator would " + fmt.Sprintf(would[p.action.Operation], p.action.ID)
	if have, ok := p.seen[p.action.ID]; ok {
		if differences := bounded(p.differences(have)); len(differences) > 0 {
			message += " and change " + strings.Join(differences, ", ")
		}
	}
	return &stop{
		condition: v1alpha1.ConditionProgrammed,
		reason:    v1alpha1.ReasonWouldChange,
		message:   message,
		after:     resyncOf(p.kgw),
	}
}

// kongFailed notes an error of Kong. When Kong did not answer as it should, its gateway is
// probed at once, so that the other bindings need not find out for themselves.
func (r *PluginBindingReconciler) kongFailed(p *pass, err error) *stop {
	redactor := p.redactor
	if redactor == nil { // a deletion reads no Secrets, and what it writes may hold some
		redactor = plugin.RedactAll(p.seen[p.action.ID].Config)
	}
	s := kongStop(err, redactor)
	if adminapi.ReasonForError(err) == adminapi.ReferenceMissing {
		// The view, or what was resolved a moment ago, is behind: the next pass asks Kong.
		r.Ledger.Misled(p.binding)
		if p.mayResolve {
			return lookAgain() // it says which part of the scope is missing
		}
	}
	if s.transient && adminapi.ReasonForError(err) != adminapi.Conflict && adminapi.ReasonForError(err) != adminapi.Throttled {
		r.Connections.suspect(p.gateway)
	}
	return s
}

// tell notes something for an event, and for the log.
func (p *pass) tell(ctx context.Context, reason, note string) {
	p.note(ctx, corev1.EventTypeNormal, reason, note)
}

// warn is tell for what somebody may have to do something about. In a namespace that is going
// no event can be made, and the log is all that is left.
func (p *pass) warn(ctx context.Context, reason, note string) {
	p.note(ctx, corev1.EventTypeWarning, reason, note)
}

func (p *pass) note(ctx context.Context, kind, reason, note string) {
	p.happened = append(p.happened, happening{kind, reason, note})
	log.FromContext(ctx).Info(note, "action", reason, "gateway", p.gateway.String(), "plugin", p.binding.Spec.Plugin)
}
