package controllers

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	toolscache "k8s.io/client-go/tools/cache"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/pluginbinding/kong-plugin-operator/controllers/pluginbinding"
	"github.com/pluginbinding/kong-plugin-operator/internal/kic"
)

// +kubebuilder:rbac:groups="",resources=services,verbs=get;list;watch
// +kubebuilder:rbac:groups=networking.k8s.io,resources=ingresses,verbs=get;list;watch
// +kubebuilder:rbac:groups=gateway.networking.k8s.io,resources=httproutes;grpcroutes;tcproutes;tlsroutes;udproutes,verbs=get;list;watch
// +kubebuilder:rbac:groups=configuration.konghq.com,resources=kongplugins;kongclusterplugins;kongconsumers;kongconsumergroups;tcpingresses;udpingresses,verbs=get;list;watch

const (
	// syncTimeout bounds the wait for the first list of a kind.
	syncTimeout = 5 * time.Second
	// unavailableFor is how long the answer counts that a kind is not served, or cannot be listed.
	unavailableFor = 30 * time.Second
)

// annotatedKinds are the kinds whose objects may have KIC's annotation. What the tags of an entity in
// Kong say beyond them starts no watch: whoever writes to Kong could name any kind.
var annotatedKinds = map[schema.GroupKind]bool{
	{Kind: "Service"}: true,
	{Group: "networking.k8s.io", Kind: "Ingress"}:           true,
	{Group: "gateway.networking.k8s.io", Kind: "HTTPRoute"}: true,
	{Group: "gateway.networking.k8s.io", Kind: "GRPCRoute"}: true,
	{Group: "gateway.networking.k8s.io", Kind: "TCPRoute"}:  true,
	{Group: "gateway.networking.k8s.io", Kind: "TLSRoute"}:  true,
	{Group: "gateway.networking.k8s.io", Kind: "UDPRoute"}:  true,
	{Group: kic.Group, Kind: "KongConsumer"}:                true,
	{Group: kic.Group, Kind: "KongConsumerGroup"}:           true,
	{Group: kic.Group, Kind: "TCPIngress"}:                  true,
	{Group: kic.Group, Kind: "UDPIngress"}:                  true,
}

// errNotServed: the cluster has no such kind.
var errNotServed = errors.New("the cluster does not serve the kind")

// ingressObjects reads the objects of Kong's ingress controller from the manager's cache, and tells
// when one changes. It lists and watches a kind from the first time that somebody asks for it: a
// cluster without the ingress controller costs nothing.
type ingressObjects struct {
	cache  cache.Cache
	mapper meta.RESTMapper
	clock  clock.PassiveClock
	// changed is called for each binding that depends on an object that changed; nil if nobody needs it.
	changed func(binding types.NamespacedName)

	interests kic.Interests

	mu    sync.Mutex
	kinds map[schema.GroupKind]*kindState
	// missingAt is when the cluster last did not serve the ingress controller's kinds.
	missingAt time.Time
}

var _ pluginbinding.IngressObjects = &ingressObjects{}

// kindState is what is known about a kind.
type kindState struct {
	mu       sync.Mutex
	gvk      schema.GroupVersionKind
	watched  bool
	err      error
	failedAt time.Time
}

// AnnotationsOf implements pluginbinding.IngressObjects.
func (o *ingressObjects) AnnotationsOf(ctx context.Context, object kic.Object, uid types.UID) (map[string]string, bool, error) {
	kind := schema.GroupKind{Group: object.Group, Kind: object.Kind}
	if !annotatedKinds[kind] {
		return nil, false, nil
	}
	found := &metav1.PartialObjectMetadata{}
	exists, err := o.get(ctx, kind, found, object.Key())
	if !exists || uid != "" && found.UID != uid { // another cluster's
		return nil, false, err
	}
	return found.Annotations, true, nil
}

// PluginOf implements pluginbinding.IngressObjects.
func (o *ingressObjects) PluginOf(ctx context.Context, key types.NamespacedName) (kic.Object, string, bool, error) {
	for _, object := range []kic.Object{
		{Group: kic.Group, Kind: kic.KongPlugin, Namespace: key.Namespace, Name: key.Name},
		{Group: kic.Group, Kind: kic.KongClusterPlugin, Name: key.Name},
	} {
		found := &unstructured.Unstructured{}
		exists, err := o.get(ctx, schema.GroupKind{Group: object.Group, Kind: object.Kind}, found, object.Key())
		if err != nil {
			return kic.Object{}, "", false, err
		}
		if exists {
			return object, pluginOf(found), true, nil
		}
	}
	return kic.Object{}, "", false, nil
}

// GlobalPlugins implements pluginbinding.IngressObjects.
func (o *ingressObjects) GlobalPlugins(ctx context.Context, plugin string) ([]kic.Object, error) {
	kind := schema.GroupKind{Group: kic.Group, Kind: kic.KongClusterPlugin}
	gvk, err := o.watch(ctx, kind, &unstructured.Unstructured{})
	if err != nil {
		return nil, ignoreNotServed(err)
	}
	list := &unstructured.UnstructuredList{}
	list.SetGroupVersionKind(gvk.GroupVersion().WithKind(gvk.Kind + "List"))
	// The items are only read.
	if err := o.cache.List(ctx, list, client.MatchingLabels{kic.GlobalLabel: "true"}, client.UnsafeDisableDeepCopy); err != nil {
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

// Installed reports whether the cluster serves the ingress controller's kinds. It watches nothing for
// that.
func (o *ingressObjects) Installed() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.clock.Since(o.missingAt) < unavailableFor {
		return false
	}
	if _, err := o.mapper.RESTMapping(schema.GroupKind{Group: kic.Group, Kind: kic.KongPlugin}); err != nil {
		o.missingAt = o.clock.Now()
		return false
	}
	return true
}

// Watch implements pluginbinding.IngressObjects.
func (o *ingressObjects) Watch(binding types.NamespacedName, objects []kic.Object) {
	o.interests.Note(binding, objects)
}

func pluginOf(object *unstructured.Unstructured) string {
	plugin, _, _ := unstructured.NestedString(object.Object, "plugin")
	return plugin
}

// get reads an object. A kind that the cluster does not serve has no objects.
func (o *ingressObjects) get(ctx context.Context, kind schema.GroupKind, into client.Object, key types.NamespacedName) (bool, error) {
	if _, err := o.watch(ctx, kind, into); err != nil {
		return false, ignoreNotServed(err)
	}
	if err := o.cache.Get(ctx, key, into); err != nil {
		return false, client.IgnoreNotFound(err)
	}
	return true, nil
}

func ignoreNotServed(err error) error {
	if errors.Is(err, errNotServed) {
		return nil
	}
	return err
}

// watch makes the cache list and watch a kind, once, and waits for the list. It sets the kind of the
// object, which says how the cache keeps it.
func (o *ingressObjects) watch(ctx context.Context, kind schema.GroupKind, object client.Object) (schema.GroupVersionKind, error) {
	state := o.stateOf(kind)
	state.mu.Lock()
	defer state.mu.Unlock()
	if !state.watched && (state.err == nil || o.clock.Since(state.failedAt) >= unavailableFor) {
		state.err = o.start(ctx, kind, object, state)
		state.failedAt = o.clock.Now()
	}
	object.GetObjectKind().SetGroupVersionKind(state.gvk)
	return state.gvk, state.err
}

func (o *ingressObjects) stateOf(kind schema.GroupKind) *kindState {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.kinds == nil {
		o.kinds = map[schema.GroupKind]*kindState{}
	}
	if o.kinds[kind] == nil {
		o.kinds[kind] = &kindState{}
	}
	return o.kinds[kind]
}

func (o *ingressObjects) start(ctx context.Context, kind schema.GroupKind, object client.Object, state *kindState) error {
	mapping, err := o.mapper.RESTMapping(kind)
	switch {
	case meta.IsNoMatchError(err) || apierrors.IsNotFound(err):
		return errNotServed
	case err != nil:
		return err
	}
	object.GetObjectKind().SetGroupVersionKind(mapping.GroupVersionKind)
	ctx, cancel := context.WithTimeout(ctx, syncTimeout)
	defer cancel()
	informer, err := o.cache.GetInformer(ctx, object)
	if err != nil {
		return fmt.Errorf("cannot list the objects of kind %s: %w", kind, err)
	}
	if o.changed != nil {
		if _, err := informer.AddEventHandler(o.handler(kind)); err != nil {
			return err
		}
	}
	state.gvk, state.watched = mapping.GroupVersionKind, true
	return nil
}

func (o *ingressObjects) handler(kind schema.GroupKind) toolscache.ResourceEventHandler {
	return toolscache.ResourceEventHandlerDetailedFuncs{
		AddFunc: func(object any, initial bool) {
			if !initial {
				o.tell(kind, object)
			}
		},
		UpdateFunc: func(was, is any) {
			if changesKong(was, is) {
				o.tell(kind, is)
			}
		},
		DeleteFunc: func(object any) {
			if last, ok := object.(toolscache.DeletedFinalStateUnknown); ok {
				object = last.Obj
			}
			o.tell(kind, object)
		},
	}
}

// changesKong reports whether the ingress controller may write something for the change.
func changesKong(was, is any) bool {
	before, err := meta.Accessor(was)
	if err != nil {
		return true
	}
	after, err := meta.Accessor(is)
	if err != nil {
		return true
	}
	if after.GetGeneration() == 0 { // a Service has none
		return before.GetResourceVersion() != after.GetResourceVersion()
	}
	return before.GetUID() != after.GetUID() || before.GetGeneration() != after.GetGeneration() ||
		before.GetAnnotations()[kic.PluginsAnnotation] != after.GetAnnotations()[kic.PluginsAnnotation] ||
		before.GetLabels()[kic.GlobalLabel] != after.GetLabels()[kic.GlobalLabel]
}

// tell tells the bindings that depend on an object.
func (o *ingressObjects) tell(kind schema.GroupKind, changed any) {
	object, err := meta.Accessor(changed)
	if err != nil {
		return
	}
	key := kic.Object{Group: kind.Group, Kind: kind.Kind, Namespace: object.GetNamespace(), Name: object.GetName()}
	bindings := o.interests.BindingsOf(key)
	if kind.Kind == kic.KongClusterPlugin {
		bindings = append(bindings, o.interests.BindingsOf(kic.Object{Group: kind.Group, Kind: kind.Kind})...)
	}
	slices.SortFunc(bindings, compareKeys)
	for _, binding := range slices.Compact(bindings) {
		o.changed(binding)
	}
}

func compareKeys(a, b types.NamespacedName) int { return strings.Compare(a.String(), b.String()) }
