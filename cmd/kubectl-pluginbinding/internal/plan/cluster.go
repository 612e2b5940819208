package plan

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"sync"

	jsonpatch "gopkg.in/evanphx/json-patch.v4"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/pluginbinding/kong-plugin-operator/api/v1alpha1"
)

// kinds are those that the reconcilers list by the indexes of their cache.
var kinds = []string{"KongGateway", "PluginBinding", "PluginPolicy"}

// draftCluster is a cluster as it would be: it reads the live one and keeps what is written. Whatever
// it does not keep is a dry run.
type draftCluster struct {
	client.Client // a dry-run client
	live          client.Client
	clock         clock.PassiveClock
	notef         func(format string, args ...any)
	// namespaces are listed if the user may not list all of them.
	namespaces []string
	// changed is called for each object that changes.
	changed func(kind string, key types.NamespacedName)

	mu      sync.Mutex
	objects map[objectKey]client.Object // nil for one that is deleted
	loaded  map[string]bool             // by kind
	indexes map[string]client.IndexerFunc
	version int
}

type objectKey struct {
	kind string
	types.NamespacedName
}

func newDraftCluster(live client.Client, c clock.PassiveClock) *draftCluster {
	return &draftCluster{
		Client: client.NewDryRunClient(live), live: live, clock: c,
		objects: map[objectKey]client.Object{}, loaded: map[string]bool{}, indexes: map[string]client.IndexerFunc{},
	}
}

// IndexField implements client.FieldIndexer.
func (d *draftCluster) IndexField(_ context.Context, object client.Object, field string, values client.IndexerFunc) error {
	gvk, err := d.live.GroupVersionKindFor(object)
	d.indexes[gvk.Kind+"/"+field] = values
	return err
}

func (d *draftCluster) keyOf(object client.Object) (objectKey, error) {
	gvk, err := d.live.GroupVersionKindFor(object)
	return objectKey{gvk.Kind, client.ObjectKeyFromObject(object)}, err
}

// put keeps an object as it would be, and gives it the version that an optimistic lock needs.
func (d *draftCluster) put(object client.Object) error {
	key, err := d.keyOf(object)
	if err != nil {
		return err
	}
	d.mu.Lock()
	d.version++
	object.SetResourceVersion(fmt.Sprintf("draft-%d", d.version))
	d.objects[key] = object.DeepCopyObject().(client.Object)
	d.mu.Unlock()
	d.changed(key.kind, key.NamespacedName)
	return nil
}

// remove keeps that an object does not exist.
func (d *draftCluster) remove(key objectKey) {
	d.mu.Lock()
	d.objects[key] = nil
	d.mu.Unlock()
	d.changed(key.kind, key.NamespacedName)
}

// Get implements client.Reader.
func (d *draftCluster) Get(ctx context.Context, key client.ObjectKey, to client.Object, _ ...client.GetOption) error {
	if _, partial := to.(*metav1.PartialObjectMetadata); partial {
		return d.live.Get(ctx, key, to)
	}
	gvk, err := d.live.GroupVersionKindFor(to)
	if err != nil {
		return err
	}
	d.mu.Lock()
	kept, ok := d.objects[objectKey{gvk.Kind, key}]
	d.mu.Unlock()
	switch {
	case !ok:
		return d.live.Get(ctx, key, to)
	case kept == nil || reflect.TypeOf(kept) != reflect.TypeOf(to):
		return apierrors.NewNotFound(schema.GroupResource{Group: gvk.Group, Resource: strings.ToLower(gvk.Kind) + "s"}, key.Name)
	default:
		copyInto(to, kept)
		return nil
	}
}

func copyInto(to, from client.Object) {
	reflect.ValueOf(to).Elem().Set(reflect.ValueOf(from.DeepCopyObject()).Elem())
}

// List implements client.Reader.
func (d *draftCluster) List(ctx context.Context, list client.ObjectList, opts ...client.ListOption) error {
	gvk, err := d.live.GroupVersionKindFor(list)
	if err != nil {
		return err
	}
	kind := strings.TrimSuffix(gvk.Kind, "List")
	if !slices.Contains(kinds, kind) {
		return d.live.List(ctx, list, opts...)
	}
	if err := d.load(ctx, kind); err != nil {
		return err
	}
	options := (&client.ListOptions{}).ApplyOptions(opts)
	var items []runtime.Object
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, key := range slices.SortedFunc(maps.Keys(d.objects), func(a, b objectKey) int { return strings.Compare(a.String(), b.String()) }) {
		if object := d.objects[key]; key.kind == kind && object != nil && d.selects(kind, object, options) {
			items = append(items, object.DeepCopyObject())
		}
	}
	return meta.SetList(list, items)
}

// selects reports whether a list has an object.
func (d *draftCluster) selects(kind string, object client.Object, options *client.ListOptions) bool {
	if options.Namespace != "" && options.Namespace != object.GetNamespace() {
		return false
	}
	if options.LabelSelector != nil && !options.LabelSelector.Matches(labelsOf(object)) {
		return false
	}
	if options.FieldSelector == nil {
		return true
	}
	for _, requirement := range options.FieldSelector.Requirements() {
		values := d.indexes[kind+"/"+requirement.Field]
		if values == nil || !slices.Contains(values(object), requirement.Value) {
			return false
		}
	}
	return true
}

// load reads all objects of a kind, once.
func (d *draftCluster) load(ctx context.Context, kind string) error {
	d.mu.Lock()
	loaded := d.loaded[kind]
	d.loaded[kind] = true
	d.mu.Unlock()
	if loaded {
		return nil
	}
	err := d.loadFrom(ctx, kind, "")
	if !apierrors.IsForbidden(err) {
		return err
	}
	d.notef("you may not list the objects of kind %s in all namespaces; the plan knows only those in %s", kind, strings.Join(d.namespaces, ", "))
	for _, namespace := range d.namespaces {
		if err := d.loadFrom(ctx, kind, namespace); err != nil && !apierrors.IsForbidden(err) {
			return err
		}
	}
	return nil
}

// pageSize bounds one page of a list.
const pageSize = 500

func (d *draftCluster) loadFrom(ctx context.Context, kind, namespace string) error {
	object, err := d.live.Scheme().New(v1alpha1.GroupVersion.WithKind(kind + "List"))
	if err != nil {
		return err
	}
	list := object.(client.ObjectList)
	for {
		err := d.live.List(ctx, list, client.InNamespace(namespace), client.Limit(pageSize), client.Continue(list.GetContinue()))
		if err != nil {
			return err
		}
		items, err := meta.ExtractList(list)
		if err != nil {
			return err
		}
		d.mu.Lock()
		for _, item := range items {
			object := item.(client.Object)
			key := objectKey{kind, client.ObjectKeyFromObject(object)}
			if _, known := d.objects[key]; !known {
				d.objects[key] = object
			}
		}
		d.mu.Unlock()
		if list.GetContinue() == "" {
			return nil
		}
	}
}

// Patch implements client.Writer.
func (d *draftCluster) Patch(ctx context.Context, object client.Object, patch client.Patch, _ ...client.PatchOption) error {
	return d.merge(ctx, object, patch)
}

// merge applies a merge patch to the object as it would be.
func (d *draftCluster) merge(ctx context.Context, object client.Object, patch client.Patch) error {
	if patch.Type() != types.MergePatchType {
		return fmt.Errorf("a plan cannot apply a patch of type %s", patch.Type())
	}
	data, err := patch.Data(object)
	if err != nil {
		return err
	}
	current := reflect.New(reflect.TypeOf(object).Elem()).Interface().(client.Object)
	if err := d.Get(ctx, client.ObjectKeyFromObject(object), current); err != nil {
		return err
	}
	before, err := json.Marshal(current)
	if err != nil {
		return err
	}
	after, err := jsonpatch.MergePatch(before, data)
	if err != nil {
		return err
	}
	next := reflect.New(reflect.TypeOf(object).Elem()).Interface().(client.Object)
	if err := json.Unmarshal(after, next); err != nil {
		return err
	}
	copyInto(object, next)
	if next.GetDeletionTimestamp() != nil && len(next.GetFinalizers()) == 0 {
		key, err := d.keyOf(next)
		d.remove(key)
		return err
	}
	return d.put(object)
}

// Apply implements client.Writer. The API server says, in a dry run, what it would make of it.
func (d *draftCluster) Apply(ctx context.Context, applied runtime.ApplyConfiguration, opts ...client.ApplyOption) error {
	if err := d.Client.Apply(ctx, applied, opts...); err != nil {
		return err
	}
	raw, err := json.Marshal(applied)
	if err != nil {
		return err
	}
	content := &unstructured.Unstructured{}
	if err := content.UnmarshalJSON(raw); err != nil {
		return err
	}
	binding := &v1alpha1.PluginBinding{}
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(content.Object, binding); err != nil {
		return err
	}
	kept := &v1alpha1.PluginBinding{}
	if err := d.Get(ctx, client.ObjectKeyFromObject(binding), kept); err == nil {
		// The dry run knows neither the object, if it is new, nor what the operator wrote to it.
		binding.UID, binding.CreationTimestamp, binding.Finalizers, binding.Status = kept.UID, kept.CreationTimestamp, kept.Finalizers, kept.Status
	} else if !apierrors.IsNotFound(err) {
		return err
	}
	return d.put(binding)
}

// Delete implements client.Writer.
func (d *draftCluster) Delete(ctx context.Context, object client.Object, _ ...client.DeleteOption) error {
	current := reflect.New(reflect.TypeOf(object).Elem()).Interface().(client.Object)
	if err := d.Get(ctx, client.ObjectKeyFromObject(object), current); err != nil {
		return err
	}
	if len(current.GetFinalizers()) == 0 {
		key, err := d.keyOf(current)
		d.remove(key)
		return err
	}
	if current.GetDeletionTimestamp() == nil {
		now := metav1.NewTime(d.clock.Now())
		current.SetDeletionTimestamp(&now)
	}
	return d.put(current)
}

// Status implements client.StatusClient.
func (d *draftCluster) Status() client.SubResourceWriter {
	return draftStatus{d.Client.Status(), d}
}

// draftStatus keeps patches of the status.
type draftStatus struct {
	client.SubResourceWriter // a dry-run client's
	cluster                  *draftCluster
}

// Patch implements client.SubResourceWriter.
func (s draftStatus) Patch(ctx context.Context, object client.Object, patch client.Patch, _ ...client.SubResourcePatchOption) error {
	return s.cluster.merge(ctx, object, patch)
}
