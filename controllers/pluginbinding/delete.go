package controllers

import (
	"context"
	"fmt"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/sets"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/pluginbinding/kong-plugin-operator/api/v1alpha1"
	"github.com/pluginbinding/kong-plugin-operator/internal/identity"
)

// reach takes the gateway's connection for a binding that is being deleted. Whether the
// gateway still allows the binding does not matter: what it made has to go.
func (r *PluginBindingReconciler) reach(ctx context.Context, p *pass) *stop {
	if p.observes() {
		return nil
	}
	if !r.watches(p.gateway.Namespace) {
		return deletionWaits(p, &stop{}, r.unwatched(p))
	}
	gone, err := r.gatewayGone(ctx, p)
	if err != nil {
		return kubernetesStop(err)
	}
	if gone {
		p.gatewayGone = true
		if id := p.binding.Status.PluginID; id != "" {
			p.warn(ctx, "PluginLeft", fmt.Sprintf("KongGateway %s is gone, so that plugin %s could not be removed from its Kong; if that Kong still runs, remove it there", p.gateway, id))
		}
		return nil
	}
	if s := r.unlabelled(p); s != nil {
		return s
	}
	s := r.connect(p)
	if s == nil {
		return nil
	}
	// A refused gateway keeps the finalizer just like one that is down.
	return deletionWaits(p, s, s.message)
}

// unlabelled waits for a gateway that is there, and is not this operator's by its labels.
func (r *PluginBindingReconciler) unlabelled(p *pass) *stop {
	if r.Selector == nil || r.Selector.Matches(labels.Set(p.kgw.Labels)) {
		return nil
	}
	return deletionWaits(p, &stop{after: slowRetry}, r.noGateway(p))
}

// deletionWaits makes a stop of a deletion tell what it waits for, if that is known.
func deletionWaits(p *pass, s *stop, what string) *stop {
	if what == "" {
		return &stop{}
	}
	s.condition, s.unknown, s.transient = v1alpha1.ConditionProgrammed, true, false
	s.reason = v1alpha1.ReasonDeleting
	s.message = p.waitsTo() + what
	return s
}

// waitsTo says what a deletion has still to do in Kong.
func (p *pass) waitsTo() string {
	if p.observes() {
		return "waiting to look in Kong for a plugin to keep note of: "
	}
	return "waiting to remove the plugin from Kong: "
}

// gatewayGone is believed only from the API server itself.
func (r *PluginBindingReconciler) gatewayGone(ctx context.Context, p *pass) (bool, error) {
	gw := &v1alpha1.KongGateway{}
	err := r.Client.Get(ctx, p.gateway, gw)
	if apierrors.IsNotFound(err) {
		err = r.Live.Get(ctx, p.gateway, gw)
	}
	if apierrors.IsNotFound(err) {
		return true, nil
	}
	p.kgw = gw
	return false, err
}

// mostLeft bounds the list of plugins left on purpose: an annotation can hold some more.
const mostLeft = 5000

// leave is for a binding whose plugin the operator may only look at: it stays, with its
// marks, which nobody may take off. The gateway keeps its ID, lest a sweep remove it as an
// orphan.
func (r *PluginBindingReconciler) leave(ctx context.Context, p *pass) *stop {
	if !p.observes() {
		return nil
	}
	if !r.watches(p.gateway.Namespace) {
		return deletionWaits(p, &stop{}, r.unwatched(p))
	}
	gone, err := r.gatewayGone(ctx, p)
	if err != nil {
		return kubernetesStop(err)
	}
	if gone {
		return nil // and with it goes the sweep
	}
	if s := r.unlabelled(p); s != nil {
		return s
	}
	id, s := r.leftID(ctx, p)
	if s != nil || id == "" {
		return s
	}
	left := leftPlugins(p.kgw)
	switch {
	case left.Has(id):
		return nil
	case left.Len() >= mostLeft:
		return deletionWaits(p, &stop{after: slowRetry}, fmt.Sprintf("KongGateway %s keeps note of %d plugins that were left, and of no more; take those that are gone out of its annotation %s",
			p.gateway, mostLeft, v1alpha1.RetainedPluginsAnnotation))
	}
	if err := noteLeft(ctx, r.Client, p.kgw, left.Insert(id)); err != nil {
		return kubernetesStop(err)
	}
	p.tell(ctx, "PluginLeft", fmt.Sprintf("plugin %s stays in Kong with this binding's marks, as managementPolicy Observe says", id))
	return nil
}

// leftID is the ID of the plugin that stays, empty if there is none. An ID that was never
// recorded, or was lost with the status, is looked for by the binding's marks.
func (r *PluginBindingReconciler) leftID(ctx context.Context, p *pass) (string, *stop) {
	if id := string(p.binding.Status.PluginID); id != "" {
		return id, nil
	}
	if s := r.connect(p); s != nil {
		return "", deletionWaits(p, s, s.message)
	}
	if s := r.lookForOurs(ctx, p); s != nil {
		return "", s
	}
	switch p.action.Operation {
	case identity.RemoveFinalizer:
		return "", nil
	case identity.Wait:
		return "", lookAgain()
	default:
		return p.action.ID, nil
	}
}

// noteLeft writes the IDs of plugins that are to stay into the gateway's annotation.
func noteLeft(ctx context.Context, c client.Client, gw *v1alpha1.KongGateway, ids sets.Set[string]) error {
	base := gw.DeepCopy()
	if ids.Len() == 0 {
		delete(gw.Annotations, v1alpha1.RetainedPluginsAnnotation)
	} else {
		metav1.SetMetaDataAnnotation(&gw.ObjectMeta, v1alpha1.RetainedPluginsAnnotation, strings.Join(sets.List(ids), ","))
	}
	return c.Patch(ctx, gw, client.MergeFromWithOptions(base, client.MergeFromWithOptimisticLock{}))
}

// leftPlugins are the IDs of plugins of bindings that are gone and that are to stay.
func leftPlugins(gw *v1alpha1.KongGateway) sets.Set[string] {
	left := sets.New(strings.Split(gw.Annotations[v1alpha1.RetainedPluginsAnnotation], ",")...)
	return left.Delete("")
}

// outwait lets earlier writes land before anything is looked at: a late PUT would bring a
// deleted plugin back. Without a write of unknown outcome by this process, and once it has
// led for so long that none of the leader before it can be under way, there is nothing to
// wait for.
func (r *PluginBindingReconciler) outwait(_ context.Context, p *pass) *stop {
	if p.gatewayGone || p.observes() {
		return nil
	}
	wait := r.quietIn(p)
	if wait <= 0 {
		return nil
	}
	ready := meta.FindStatusCondition(p.binding.Status.Conditions, v1alpha1.ConditionReady)
	if ready != nil && ready.Reason == v1alpha1.ReasonDeleting && ready.ObservedGeneration == p.binding.Generation {
		return &stop{again: true, after: wait} // why it takes so long has been said
	}
	return &stop{
		condition: v1alpha1.ConditionProgrammed,
		unknown:   true,
		reason:    v1alpha1.ReasonDeleting,
		message:   "waiting until no earlier write to Kong can still be done, before the plugin is removed",
		after:     wait,
	}
}

// quietIn is how long an earlier write for this binding can still be done.
func (r *PluginBindingReconciler) quietIn(p *pass) time.Duration {
	return r.Ledger.QuietIn(p.binding, longestWrite(p))
}

// takeAway removes what is ours and looks again, until a look finds nothing of ours.
func (r *PluginBindingReconciler) takeAway(ctx context.Context, p *pass) *stop {
	if p.gatewayGone || p.observes() {
		return nil
	}
	if s := r.lookForOurs(ctx, p); s != nil {
		return s
	}
	if p.action.Operation != identity.RemoveFinalizer {
		if s := r.stillDeleting(ctx, p); s != nil {
			return s
		}
	}
	switch p.action.Operation {
	case identity.RemoveFinalizer:
		p.tellLeft(ctx)
		return nil
	case identity.Delete:
		if s := r.remove(ctx, p, "delete", r.deleteOurs); s != nil {
			return s
		}
	case identity.Release:
		if s := r.remove(ctx, p, "orphan", r.unmark); s != nil {
			return s
		}
	default:
		return lookAgain()
	}
	if s := r.lookForOurs(ctx, p); s != nil {
		return s
	}
	if p.action.Operation != identity.RemoveFinalizer {
		return lookAgain()
	}
	return nil
}

// tellLeft says that the recorded plugin was left alone because it is not this binding's.
func (p *pass) tellLeft(ctx context.Context) {
	if is := p.facts.ByID; is.Ownership.Found() && is.Ownership != identity.Owned {
		p.warn(ctx, "PluginLeft", fmt.Sprintf("plugin %s does not bear this binding's marks any more and was left in Kong; if nobody wants it, delete it there", is.ID))
	}
}

// stillDeleting is one live look before something is removed: when the finalizer was taken
// away by force and a binding of the same name was made since, the plugin is that one's.
func (r *PluginBindingReconciler) stillDeleting(ctx context.Context, p *pass) *stop {
	live := &v1alpha1.PluginBinding{}
	if err := r.Live.Get(ctx, client.ObjectKeyFromObject(p.binding), live); err != nil {
		return kubernetesStop(err)
	}
	if live.UID != p.binding.UID || live.DeletionTimestamp.IsZero() {
		return lookAgain()
	}
	return nil
}

// lookForOurs asks Kong under the recorded ID and under the name, and decides.
func (r *PluginBindingReconciler) lookForOurs(ctx context.Context, p *pass) *stop {
	var err error
	p.facts = identity.Facts{Recorded: string(p.binding.Status.PluginID)}
	if p.facts.Recorded != "" {
		if p.facts.ByID, err = p.lookByID(ctx, p.facts.Recorded); err != nil {
			return r.deletionFailed(p, err)
		}
	}
	if p.facts.ByID.Ownership != identity.Owned {
		if p.facts.ByName, err = p.lookByName(ctx); err != nil {
			return r.deletionFailed(p, err)
		}
	}
	p.action = identity.DecideDeletion(p.facts, p.binding.Spec.DeletionPolicy == v1alpha1.OrphanPlugin)
	return nil
}

func (r *PluginBindingReconciler) remove(ctx context.Context, p *pass, action string, write func(context.Context, *pass) error) *stop {
	if s := r.written(ctx, p, action, write(ctx, p)); s != nil {
		if p.action.Operation == identity.Release && s.reason == v1alpha1.ReasonRejected {
			s.message += "; correct the plugin in Kong, or set deletionPolicy to Delete"
		}
		return deleting(p, s)
	}
	return nil
}

func (r *PluginBindingReconciler) deleteOurs(ctx context.Context, p *pass) error {
	if err := p.connection.Kong.Delete(ctx, p.action.ID); err != nil {
		return err
	}
	p.tell(ctx, "Deleted", fmt.Sprintf("plugin %s was removed from Kong", p.action.ID))
	return nil
}

// unmark leaves the plugin as Kong has it, without what makes it this binding's.
func (r *PluginBindingReconciler) unmark(ctx context.Context, p *pass) error {
	left := p.seen[p.action.ID]
	left.Tags = identity.WithoutOwnershipTags(left.Tags)
	if left.InstanceName == p.identity.InstanceName() {
		left.InstanceName = ""
	}
	if _, err := p.connection.Kong.Put(ctx, left); err != nil {
		return err
	}
	p.tell(ctx, "Orphaned", fmt.Sprintf("plugin %s stays in Kong without this binding's marks, as deletionPolicy Orphan says", p.action.ID))
	return nil
}

func (r *PluginBindingReconciler) deletionFailed(p *pass, err error) *stop {
	return deleting(p, r.kongFailed(p, err))
}

// deleting makes a stop speak of a deletion that cannot go on now.
func deleting(p *pass, s *stop) *stop {
	s.condition, s.unknown, s.transient = v1alpha1.ConditionProgrammed, true, false
	if s.message != "" {
		s.reason = v1alpha1.ReasonDeleting
		s.message = p.waitsTo() + s.message
	} else {
		s.condition = ""
	}
	if s.after == slowRetry {
		s.after = 0 // nobody is going to correct a binding that is being deleted
	}
	s.again = s.after == 0
	return s
}
