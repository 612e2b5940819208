package controllers

import (
	"cmp"
	"context"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
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
	gone, err := r.gatewayGone(ctx, p)
	if err != nil {
		return kubernetesStop(err)
	}
	if gone {
		p.gatewayGone = true
		if id := p.binding.Status.PluginID; id != "" {
			p.happened = append(p.happened, happening{corev1.EventTypeWarning, "PluginLeft",
				fmt.Sprintf("KongGateway %s is gone, so that plugin %s could not be removed from its Kong; if that Kong still runs, remove it there", p.gateway, id)})
		}
		return nil
	}
	s := r.connect(p)
	if s == nil {
		return nil
	}
	// A refused gateway keeps the finalizer just like one that is down.
	s.condition, s.unknown, s.transient = v1alpha1.ConditionProgrammed, true, false
	s.reason = v1alpha1.ReasonDeleting
	s.message = "waiting to remove the plugin from Kong: " + cmp.Or(s.message,
		fmt.Sprintf("this operator has not looked at KongGateway %s", p.gateway))
	return s
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
	return r.Ledger.QuietIn(client.ObjectKeyFromObject(p.binding), longestWrite(p))
}

// takeAway removes what is ours and looks again, until a look finds nothing of ours.
func (r *PluginBindingReconciler) takeAway(ctx context.Context, p *pass) *stop {
	if p.gatewayGone || p.observes() {
		return nil
	}
	if s := r.lookForOurs(ctx, p); s != nil {
		return s
	}
	if p.action.Verb != identity.Release {
		if s := r.stillDeleting(ctx, p); s != nil {
			return s
		}
	}
	switch p.action.Verb {
	case identity.Release:
		return nil
	case identity.Delete:
		if s := r.remove(ctx, p, "delete", r.deleteOurs); s != nil {
			return s
		}
	case identity.Unmark:
		if s := r.remove(ctx, p, "orphan", r.unmark); s != nil {
			return s
		}
	default:
		return lookAgain()
	}
	if s := r.lookForOurs(ctx, p); s != nil {
		return s
	}
	if p.action.Verb != identity.Release {
		return lookAgain()
	}
	return nil
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
	if p.facts.ByID.Standing != identity.Ours {
		if p.facts.ByName, err = p.lookByName(ctx); err != nil {
			return r.deletionFailed(p, err)
		}
	}
	p.action = identity.DecideDeletion(p.facts, p.binding.Spec.DeletionPolicy == v1alpha1.OrphanPlugin)
	return nil
}

func (r *PluginBindingReconciler) remove(ctx context.Context, p *pass, action string, write func(context.Context, *pass) error) *stop {
	if s := r.written(ctx, p, action, write(ctx, p)); s != nil {
		return deleting(s)
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
	left.Tags = identity.Unmarked(left.Tags)
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
	return deleting(r.kongFailed(p, err))
}

// deleting makes a stop speak of a deletion that cannot go on now.
func deleting(s *stop) *stop {
	s.condition, s.unknown, s.transient = v1alpha1.ConditionProgrammed, true, false
	if s.message != "" {
		s.reason = v1alpha1.ReasonDeleting
		s.message = "waiting to remove the plugin from Kong: " + s.message
	} else {
		s.condition = ""
	}
	s.again = s.after == 0
	return s
}
