package handover

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	utilnet "k8s.io/apimachinery/pkg/util/net"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/pluginbinding/kong-plugin-operator/api/v1alpha1"
	"github.com/pluginbinding/kong-plugin-operator/internal/adminapi"
	"github.com/pluginbinding/kong-plugin-operator/internal/identity"
	"github.com/pluginbinding/kong-plugin-operator/internal/plugin"
)

// mover takes the steps of items.
type mover struct {
	kube    client.Client
	kong    Kong
	journal *journal
	timing  Timing
	tag     string
	// workspace of Kong, which is part of the IDs that the ingress controller chooses.
	workspace string
	// say tells people what happens.
	say func(format string, args ...any)
	// attaching is held while an annotation changes.
	attaching sync.Mutex
}

// step is one step of an item. It can be taken again after it was interrupted anywhere.
type step struct {
	name string
	take func(context.Context, *Item) error
}

// take takes steps from the one that the journal names, each after the journal names it.
func (m *mover) take(ctx context.Context, i *Item, steps []step) error {
	at := max(slices.IndexFunc(steps, func(s step) bool { return s.name == i.Step }), 0)
	for _, s := range steps[at:] {
		if err := m.journal.change(ctx, func(*content) { i.Step = s.name }); err != nil {
			return err
		}
		bounded, cancel := context.WithTimeoutCause(ctx, m.timing.Step, fmt.Errorf("not done within %s", m.timing.Step))
		err := s.take(bounded, i)
		cancel()
		if err != nil {
			return fmt.Errorf("%s: %w", s.name, err)
		}
	}
	return nil
}

// errPending is returned by a condition that may become true.
type pendingError struct{ what string }

func (e *pendingError) Error() string { return e.what }

func pending(format string, args ...any) error { return &pendingError{fmt.Sprintf(format, args...)} }

// wait asks until the condition holds. Any error but that of pending ends it. When the time is over, the
// error says what was still missing at the last answer.
func (m *mover) wait(ctx context.Context, holds func(context.Context) error) error {
	var open *pendingError
	for {
		err := holds(ctx)
		switch {
		case errors.As(err, &open):
		case err != nil && ctx.Err() != nil && open != nil:
			return fmt.Errorf("%w: %s", context.Cause(ctx), open.what)
		case isTransient(err) && ctx.Err() == nil:
			open = &pendingError{err.Error()}
		default:
			return err
		}
		switch err := m.journal.renew(ctx); {
		case err == nil:
		case ctx.Err() != nil && !errors.Is(err, errLost):
			return fmt.Errorf("%w: %s", context.Cause(ctx), open.what)
		default:
			return err
		}
		if failed := sleep(ctx, m.timing.Poll); failed != nil {
			return fmt.Errorf("%w: %s", failed, open.what)
		}
	}
}

// isTransient reports whether the API server or Kong may answer otherwise in a moment.
func isTransient(err error) bool {
	var kong *adminapi.Error
	switch {
	case errors.As(err, &kong):
		return slices.Contains([]adminapi.Reason{adminapi.Unavailable, adminapi.UnknownOutcome, adminapi.Throttled}, kong.Reason)
	default:
		return apierrors.IsServerTimeout(err) || apierrors.IsTimeout(err) || apierrors.IsTooManyRequests(err) ||
			apierrors.IsServiceUnavailable(err) || apierrors.IsInternalError(err) || utilnet.IsConnectionRefused(err) || utilnet.IsConnectionReset(err)
	}
}

// pause waits for a fixed time.
func (m *mover) pause(ctx context.Context, d time.Duration) error {
	for end := time.Now().Add(d); ; {
		left := time.Until(end)
		if left <= 0 {
			return nil
		}
		if err := m.journal.renew(ctx); err != nil {
			return err
		}
		if err := sleep(ctx, min(left, m.timing.Lease/4)); err != nil {
			return err
		}
	}
}

// kongPluginOf reads the KongPlugin or KongClusterPlugin.
func (m *mover) kongPluginOf(ctx context.Context, i *Item) (*unstructured.Unstructured, error) {
	return readKongPlugin(ctx, m.kube, i.KongPlugin)
}

func readKongPlugin(ctx context.Context, kube client.Client, ref Ref) (*unstructured.Unstructured, error) {
	object := &unstructured.Unstructured{}
	object.SetGroupVersionKind(schema.GroupVersionKind{Group: ref.Group, Version: ref.Version, Kind: ref.Kind})
	if err := kube.Get(ctx, ref.object().Key(), object); err != nil {
		return nil, fmt.Errorf("%s cannot be read: %w", ref.object(), err)
	}
	return object, nil
}

// template is what the KongPlugin declares.
func (m *mover) template(ctx context.Context, i *Item) (*v1alpha1.PluginTemplateSpec, error) {
	object, err := m.kongPluginOf(ctx, i)
	if err != nil {
		return nil, err
	}
	template, _, err := translate(object, i.Namespace)
	return &template, err
}

// entities are what the ingress controller made of the item's object.
func (m *mover) entities(ctx context.Context, i *Item) (found []adminapi.Entity, err error) {
	if i.Object == nil {
		return nil, nil
	}
	err = m.kong.EntitiesByTags(ctx, i.kindOf(), adminapi.NewTagSet(tagsOf(i.Object.object())...), func(e adminapi.Entity) { found = append(found, e) })
	return found, err
}

// scopeOn is the scope of the ingress controller's plugin on an entity.
func scopeOn(kind adminapi.EntityKind, id string) plugin.Scope {
	switch kind {
	case adminapi.Route:
		return plugin.Scope{RouteID: id}
	case adminapi.Service:
		return plugin.Scope{ServiceID: id}
	case adminapi.Consumer:
		return plugin.Scope{ConsumerID: id}
	case adminapi.ConsumerGroup:
		return plugin.Scope{ConsumerGroupID: id}
	default:
		return plugin.Scope{}
	}
}

// ingressRows are the ingress controller's plugins of the item, as Kong has them now.
func (m *mover) ingressRows(ctx context.Context, i *Item) ([]plugin.Plugin, []adminapi.Entity, error) {
	entities, err := m.entities(ctx, i)
	if err != nil {
		return nil, nil, err
	}
	all, err := m.kong.PluginsByTags(ctx, append(tagsOf(i.KongPlugin.object()), m.tag))
	if err != nil {
		return nil, nil, err
	}
	wanted := map[plugin.Scope]bool{}
	if i.Object == nil {
		wanted[plugin.Scope{}] = true
	}
	for _, e := range entities {
		wanted[scopeOn(i.kindOf(), e.ID)] = true
	}
	return slices.DeleteFunc(all, func(p plugin.Plugin) bool { return !wanted[p.Scope] }), entities, nil
}

// create creates an object of the hand-over, or finds the one that an interrupted run created.
func (m *mover) create(ctx context.Context, i *Item, object client.Object) error {
	err := m.kube.Create(ctx, object)
	if !apierrors.IsAlreadyExists(err) {
		return err
	}
	existing := object.DeepCopyObject().(client.Object)
	err = m.kube.Get(ctx, client.ObjectKeyFromObject(object), existing)
	if apierrors.IsNotFound(err) {
		return pending("%s %s/%s was deleted just now", kindName(object), object.GetNamespace(), object.GetName())
	}
	if err != nil {
		return err
	}
	if !belongsTo(existing, i) {
		return fmt.Errorf("%s %s/%s exists, and is not of this hand-over", kindName(object), object.GetNamespace(), object.GetName())
	}
	if existing.GetDeletionTimestamp() != nil {
		return pending("%s %s/%s is being deleted", kindName(object), object.GetNamespace(), object.GetName())
	}
	return nil
}

func kindName(object client.Object) string {
	if _, is := object.(*v1alpha1.PluginPolicy); is {
		return "PluginPolicy"
	}
	return "PluginBinding"
}

// belongsTo reports whether an object is of the item, by its record.
func belongsTo(object client.Object, i *Item) bool {
	other, ok := recordOf(object)
	return ok && other.key() == i.key()
}

// readiness is an error until the object is Ready as it is declared now. It is not pending if the operator
// can do no more.
func readiness(object client.Object, conditions []metav1.Condition) error {
	name := fmt.Sprintf("%s %s/%s", kindName(object), object.GetNamespace(), object.GetName())
	ready := meta.FindStatusCondition(conditions, v1alpha1.ConditionReady)
	switch {
	case ready == nil || ready.ObservedGeneration != object.GetGeneration():
		return pending("%s has no status yet; is the operator running?", name)
	case ready.Status == metav1.ConditionTrue:
		return nil
	case meta.IsStatusConditionTrue(conditions, v1alpha1.ConditionStalled) && ready.Reason != v1alpha1.ReasonClaimedByKongPlugin && ready.Reason != v1alpha1.ReasonConflict:
		return fmt.Errorf("%s is not Ready: %s: %s", name, ready.Reason, ready.Message)
	default:
		return pending("%s is not Ready: %s: %s", name, ready.Reason, ready.Message)
	}
}

// policyReady waits for the PluginPolicy of that name.
func (m *mover) policyReady(ctx context.Context, i *Item, name string) error {
	return m.wait(ctx, func(ctx context.Context) error {
		policy := &v1alpha1.PluginPolicy{}
		if err := m.kube.Get(ctx, client.ObjectKey{Namespace: i.Namespace, Name: name}, policy); err != nil {
			return err
		}
		return readiness(policy, policy.Status.Conditions)
	})
}

// owned reports whether a binding of the operator owns the plugin in Kong.
func owned(p plugin.Plugin) bool { return identity.OwnerOf(p.Tags).Binding != nil }

// inForce is pending until Kong has an owned plugin of the item in each of the scopes.
func (m *mover) inForce(ctx context.Context, i *Item, scopes []plugin.Scope) error {
	for _, scope := range scopes {
		p, err := m.kong.PluginAt(ctx, i.Plugin, scope)
		switch {
		case adminapi.IsNotFound(err) || err == nil && !owned(p):
			return pending("Kong has no plugin %s of the operator on route %s, service %s", i.Plugin, scope.RouteID, scope.ServiceID)
		case err != nil:
			return err
		}
	}
	return nil
}

// attachedNow reads whether the object attaches the plugin.
func (m *mover) attachedNow(ctx context.Context, i *Item) (bool, error) {
	object, err := m.readCarrier(ctx, i)
	if err != nil {
		return false, err
	}
	return i.isAttached(i.valueOn(object)), nil
}

// remove deletes an object and waits until it is gone.
func (m *mover) remove(ctx context.Context, object client.Object) error {
	if err := m.kube.Delete(ctx, object); err != nil {
		return client.IgnoreNotFound(err)
	}
	return m.wait(ctx, func(ctx context.Context) error {
		err := m.kube.Get(ctx, client.ObjectKeyFromObject(object), object)
		if err == nil {
			return pending("%s %s/%s is still there", kindName(object), object.GetNamespace(), object.GetName())
		}
		return client.IgnoreNotFound(err)
	})
}
