package faults

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/pluginbinding/kong-plugin-operator/api/v1alpha1"
	"github.com/pluginbinding/kong-plugin-operator/controllers"
	"github.com/pluginbinding/kong-plugin-operator/internal/kstatus"
)

// objects is what an API server, or a cache, holds.
type objects map[objectID]client.Object

// indexes holds the field indexes of the cache, by kind and field.
type indexes map[string]map[string]client.IndexerFunc

// IndexField implements client.FieldIndexer.
func (x indexes) IndexField(_ context.Context, object client.Object, field string, values client.IndexerFunc) error {
	kind := kindOf(object)
	if x[kind] == nil {
		x[kind] = map[string]client.IndexerFunc{}
	}
	x[kind][field] = values
	return nil
}

// cacheIndexes holds the indexes that the operator registers with its manager.
var cacheIndexes = func() indexes {
	x := indexes{}
	if err := controllers.AddIndexes(context.Background(), x); err != nil {
		panic(err)
	}
	return x
}()

func kindOf(object any) string {
	switch object.(type) {
	case *v1alpha1.PluginBinding, *v1alpha1.PluginBindingList:
		return kindBinding
	case *v1alpha1.KongGateway, *v1alpha1.KongGatewayList:
		return kindGateway
	case *v1alpha1.PluginPolicy, *v1alpha1.PluginPolicyList:
		return kindPolicy
	case *corev1.Secret:
		return kindSecret
	case *corev1.Namespace:
		return kindNamespace
	default:
		panic(fmt.Sprintf("faults: the operator does not read a %T", object))
	}
}

func idOf(object client.Object) objectID {
	return objectID{kindOf(object), client.ObjectKeyFromObject(object)}
}

func newObject(kind string) client.Object {
	switch kind {
	case kindBinding:
		return &v1alpha1.PluginBinding{}
	case kindGateway:
		return &v1alpha1.KongGateway{}
	case kindSecret:
		return &corev1.Secret{}
	default:
		return &corev1.Namespace{}
	}
}

// sorted returns the IDs of a kind, in order.
func (o objects) sorted(kind string) []objectID {
	var ids []objectID
	for _, id := range slices.SortedFunc(maps.Keys(o), compareIDs) {
		if id.kind == kind {
			ids = append(ids, id)
		}
	}
	return ids
}

func compareIDs(a, b objectID) int {
	return cmp.Compare(a.kind+"/"+a.String(), b.kind+"/"+b.String())
}

// get copies an object into another of its type.
func (o objects) get(key types.NamespacedName, into client.Object) error {
	kind := kindOf(into)
	have, ok := o[objectID{kind, key}]
	if !ok {
		return apierrors.NewNotFound(schema.GroupResource{Group: v1alpha1.GroupVersion.Group, Resource: kind}, key.Name)
	}
	switch into := into.(type) {
	case *v1alpha1.PluginBinding:
		have.(*v1alpha1.PluginBinding).DeepCopyInto(into)
	case *v1alpha1.KongGateway:
		have.(*v1alpha1.KongGateway).DeepCopyInto(into)
	case *corev1.Namespace:
		have.(*corev1.Namespace).DeepCopyInto(into)
	default:
		panic("faults: Secrets are not cached")
	}
	return nil
}

// list copies the matching objects into a list. It filters by namespace and by one indexed
// field.
func (o objects) list(into client.ObjectList, options client.ListOptions) error {
	kind := kindOf(into)
	var items []client.Object
	for _, id := range o.sorted(kind) {
		if options.Namespace != "" && options.Namespace != id.Namespace {
			continue
		}
		matches, err := matchesField(o[id], kind, options)
		if err != nil {
			return err
		}
		if matches {
			items = append(items, o[id])
		}
	}
	switch into := into.(type) {
	case *v1alpha1.PluginBindingList:
		into.Items = nil
		for _, item := range items {
			into.Items = append(into.Items, *item.(*v1alpha1.PluginBinding).DeepCopy())
		}
	case *v1alpha1.KongGatewayList:
		into.Items = nil
		for _, item := range items {
			into.Items = append(into.Items, *item.(*v1alpha1.KongGateway).DeepCopy())
		}
	}
	return nil
}

func matchesField(object client.Object, kind string, options client.ListOptions) (bool, error) {
	if options.FieldSelector == nil {
		return true, nil
	}
	for _, requirement := range options.FieldSelector.Requirements() {
		values := cacheIndexes[kind][requirement.Field]
		if values == nil {
			return false, fmt.Errorf("the cache has no index %s of %s", requirement.Field, kind)
		}
		if !slices.Contains(values(object), requirement.Value) {
			return false, nil
		}
	}
	return true, nil
}

// notifyWatches enqueues what the operator's watches would enqueue for a change. It repeats the
// predicates and handlers of SetupWithManager. was or is may be nil.
func (sim *simulation) notifyWatches(id objectID, was, is client.Object) {
	switch id.kind {
	case kindBinding:
		sim.notifyBindingWatch(id, asBinding(was), asBinding(is))
	case kindGateway:
		sim.notifyGatewayWatch(id, was, is)
	case kindSecret:
		sim.enqueueWhere(kindBinding, client.InNamespace(id.Namespace), client.MatchingFields{"spec.secrets": id.Name})
		sim.enqueueWhere(kindGateway, client.InNamespace(id.Namespace), client.MatchingFields{"spec.secrets": id.Name})
	}
}

func asBinding(object client.Object) *v1alpha1.PluginBinding {
	if object == nil {
		return nil
	}
	return object.(*v1alpha1.PluginBinding)
}

func (sim *simulation) notifyBindingWatch(id objectID, was, is *v1alpha1.PluginBinding) {
	some := is
	if some == nil {
		some = was
	}
	gateway := objectID{kindGateway, types.NamespacedName{Namespace: id.Namespace, Name: some.Spec.GatewayRef.Name}}
	switch {
	case was == nil:
		sim.enqueue(id)
		sim.enqueueAfter(gateway, countDebounce)
	case is == nil:
		sim.enqueue(id)
		sim.enqueueAfter(gateway, countDebounce)
		sim.enqueueWhere(kindBinding, client.MatchingFields{"status.conflict.gateway": gateway.String()})
	default:
		if was.Generation != is.Generation || !maps.Equal(was.Annotations, is.Annotations) ||
			len(was.Finalizers) > len(is.Finalizers) || kstatus.CountLasting(was.Status.Conditions) > kstatus.CountLasting(is.Status.Conditions) {
			sim.enqueue(id)
		}
		if readyStatus(was) != readyStatus(is) || was.DeletionTimestamp.IsZero() != is.DeletionTimestamp.IsZero() {
			sim.enqueueAfter(gateway, countDebounce)
		}
	}
}

func (sim *simulation) notifyGatewayWatch(id objectID, was, is client.Object) {
	if was == nil || is == nil || was.GetGeneration() != is.GetGeneration() {
		sim.enqueue(id)
		sim.enqueueWhere(kindBinding, client.MatchingFields{"spec.gatewayRef": id.String()})
		return
	}
	if !maps.Equal(was.GetAnnotations(), is.GetAnnotations()) {
		sim.enqueue(id)
	}
}

func readyStatus(binding *v1alpha1.PluginBinding) string {
	condition := meta.FindStatusCondition(binding.Status.Conditions, v1alpha1.ConditionReady)
	if condition == nil {
		return ""
	}
	return string(condition.Status)
}

// enqueueWhere enqueues the matching objects of the cache.
func (sim *simulation) enqueueWhere(kind string, options ...client.ListOption) {
	o := client.ListOptions{}
	o.ApplyOptions(options)
	for _, id := range sim.cache.sorted(kind) {
		if o.Namespace != "" && o.Namespace != id.Namespace {
			continue
		}
		if matches, err := matchesField(sim.cache[id], kind, o); err != nil {
			panic(err)
		} else if matches {
			sim.enqueue(id)
		}
	}
}
