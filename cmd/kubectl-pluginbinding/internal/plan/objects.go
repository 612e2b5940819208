package plan

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/jsonmergepatch"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/pluginbinding/kong-plugin-operator/internal/kic"
	"github.com/pluginbinding/kong-plugin-operator/internal/policy"
)

// labelsOf returns the labels of an object as a selector takes them.
func labelsOf(object client.Object) labels.Labels { return labels.Set(object.GetLabels()) }

// defaultManager is the field manager of kubectl apply --server-side.
const defaultManager = "kubectl"

// dryRun returns an object of a file as the API server would have it after an apply: with defaults, and
// checked by its rules. An object that kubectl applied before is patched as kubectl would; every other
// one is applied with the field manager that applied it before.
func dryRun(ctx context.Context, c client.Client, object *unstructured.Unstructured, manager string) (*unstructured.Unstructured, error) {
	live := &unstructured.Unstructured{}
	live.SetGroupVersionKind(object.GroupVersionKind())
	err := c.Get(ctx, client.ObjectKeyFromObject(object), live)
	if err != nil && !apierrors.IsNotFound(err) {
		return nil, err
	}
	if last := live.GetAnnotations()[corev1.LastAppliedConfigAnnotation]; err == nil && last != "" && manager == "" {
		return mergeApplied(ctx, c, live, object, []byte(last))
	}
	if manager == "" {
		manager = managerOf(live)
	}
	applied := object.DeepCopy()
	applied.SetManagedFields(nil)
	err = c.Apply(ctx, client.ApplyConfigurationFromUnstructured(applied), client.DryRunAll, client.ForceOwnership, client.FieldOwner(manager))
	return applied, err
}

// mergeApplied is what kubectl apply does to an object that it has applied before.
func mergeApplied(ctx context.Context, c client.Client, live, object *unstructured.Unstructured, last []byte) (*unstructured.Unstructured, error) {
	modified, err := json.Marshal(object)
	if err != nil {
		return nil, err
	}
	current, err := json.Marshal(live)
	if err != nil {
		return nil, err
	}
	patch, err := jsonmergepatch.CreateThreeWayJSONMergePatch(last, modified, current)
	if err != nil {
		return nil, err
	}
	patched := live.DeepCopy()
	err = c.Patch(ctx, patched, client.RawPatch(types.MergePatchType, patch), client.DryRunAll)
	return patched, err
}

// managerOf is the field manager that applied an object, if there is exactly one.
func managerOf(live *unstructured.Unstructured) string {
	found := ""
	for _, entry := range live.GetManagedFields() {
		if entry.Operation != metav1.ManagedFieldsOperationApply || entry.Subresource != "" {
			continue
		}
		if found != "" {
			return defaultManager
		}
		found = entry.Manager
	}
	if found == "" {
		return defaultManager
	}
	return found
}

// typed converts an object of a file to the type of the scheme.
func typed(scheme *runtime.Scheme, object *unstructured.Unstructured) (client.Object, error) {
	created, err := scheme.New(object.GroupVersionKind())
	if err != nil {
		return nil, err
	}
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(object.Object, created); err != nil {
		return nil, err
	}
	result, ok := created.(client.Object)
	if !ok {
		return nil, fmt.Errorf("%s is no object", object.GroupVersionKind())
	}
	return result, nil
}

// ingressObjects reads the objects of Kong's ingress controller from the API server. It implements
// pluginbinding.IngressObjects.
type ingressObjects struct {
	reader client.Reader
	mapper meta.RESTMapper
}

// get reads an object, false if it or its kind does not exist.
func (o ingressObjects) get(ctx context.Context, object kic.Object, to client.Object) (bool, error) {
	mapping, err := o.mapper.RESTMapping(schema.GroupKind{Group: object.Group, Kind: object.Kind})
	if meta.IsNoMatchError(err) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	to.GetObjectKind().SetGroupVersionKind(mapping.GroupVersionKind)
	err = o.reader.Get(ctx, object.Key(), to)
	return err == nil, client.IgnoreNotFound(err)
}

// AnnotationsOf implements pluginbinding.IngressObjects.
func (o ingressObjects) AnnotationsOf(ctx context.Context, object kic.Object, uid types.UID) (map[string]string, bool, error) {
	found := &metav1.PartialObjectMetadata{}
	exists, err := o.get(ctx, object, found)
	if !exists || uid != "" && found.UID != uid {
		return nil, false, err
	}
	return found.Annotations, true, nil
}

// PluginOf implements pluginbinding.IngressObjects.
func (o ingressObjects) PluginOf(ctx context.Context, key types.NamespacedName) (kic.Object, string, bool, error) {
	for _, object := range []kic.Object{
		{Group: kic.Group, Kind: kic.KongPlugin, Namespace: key.Namespace, Name: key.Name},
		{Group: kic.Group, Kind: kic.KongClusterPlugin, Name: key.Name},
	} {
		found := &unstructured.Unstructured{}
		exists, err := o.get(ctx, object, found)
		if err != nil {
			return kic.Object{}, "", false, err
		}
		if exists {
			return object, pluginOf(found), true, nil
		}
	}
	return kic.Object{}, "", false, nil
}

func pluginOf(object *unstructured.Unstructured) string {
	name, _, _ := unstructured.NestedString(object.Object, "plugin")
	return name
}

// GlobalPlugins implements pluginbinding.IngressObjects.
func (o ingressObjects) GlobalPlugins(ctx context.Context, plugin string) ([]kic.Object, error) {
	mapping, err := o.mapper.RESTMapping(schema.GroupKind{Group: kic.Group, Kind: kic.KongClusterPlugin})
	if meta.IsNoMatchError(err) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	list := &unstructured.UnstructuredList{}
	list.SetGroupVersionKind(mapping.GroupVersionKind)
	if err := o.reader.List(ctx, list, client.MatchingLabels{kic.GlobalLabel: "true"}); err != nil {
		return nil, err
	}
	var global []kic.Object
	for i := range list.Items {
		if pluginOf(&list.Items[i]) == plugin {
			global = append(global, kic.Object{Group: kic.Group, Kind: kic.KongClusterPlugin, Name: list.Items[i].GetName()})
		}
	}
	return global, nil
}

// Watch implements pluginbinding.IngressObjects: a plan ends before anything changes.
func (o ingressObjects) Watch(types.NamespacedName, []kic.Object) {}

// targetObjects finds the targets of policies on the API server. It implements pluginpolicy.Objects.
type targetObjects struct{ ingressObjects }

// Presence implements pluginpolicy.Objects.
func (o targetObjects) Presence(ctx context.Context, kind schema.GroupKind, key types.NamespacedName) (policy.Presence, time.Duration, error) {
	if _, err := o.mapper.RESTMapping(kind); meta.IsNoMatchError(err) {
		return policy.NotInstalled, 0, nil
	}
	exists, err := o.get(ctx, kic.Object{Group: kind.Group, Kind: kind.Kind, Namespace: key.Namespace, Name: key.Name}, &metav1.PartialObjectMetadata{})
	switch {
	case err != nil:
		return policy.Missing, 0, err
	case exists:
		return policy.Present, 0, nil
	default:
		return policy.Missing, 0, nil
	}
}
