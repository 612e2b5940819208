package kic

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	networkingv1 "k8s.io/api/networking/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	utilruntime "k8s.io/apimachinery/pkg/util/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"sigs.k8s.io/controller-runtime/pkg/client"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"
)

// Group and version of KIC's own kinds.
var groupVersion = schema.GroupVersion{Group: "configuration.konghq.com", Version: "v1"}

// The kinds that are read without Go types in the scheme.
var (
	kongPluginKind        = groupVersion.WithKind("KongPlugin")
	kongClusterPluginKind = groupVersion.WithKind("KongClusterPlugin")
	kongConsumerKind      = groupVersion.WithKind("KongConsumer")
)

// kongPlugin has the fields of KongPlugin and KongClusterPlugin that KIC reads.
// Namespaces of Secrets occur in a KongClusterPlugin only.
type kongPlugin struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata"`
	Plugin            string         `json:"plugin"`
	InstanceName      string         `json:"instance_name"`
	Disabled          bool           `json:"disabled"`
	Protocols         []string       `json:"protocols"`
	Config            map[string]any `json:"config"`
	ConfigFrom        *valueFrom     `json:"configFrom"`
	ConfigPatches     []configPatch  `json:"configPatches"`
}

// reference is the object for an event about the plugin.
func (p *kongPlugin) reference() client.Object {
	u := &unstructured.Unstructured{}
	u.SetNamespace(p.Namespace)
	u.SetName(p.Name)
	u.SetUID(p.UID)
	return u
}

type configPatch struct {
	Path      string    `json:"path"`
	ValueFrom valueFrom `json:"valueFrom"`
}

type valueFrom struct {
	SecretKeyRef struct {
		Namespace string `json:"namespace"`
		Name      string `json:"name"`
		Key       string `json:"key"`
	} `json:"secretKeyRef"`
}

// kongConsumer has the fields of KongConsumer that KIC reads.
type kongConsumer struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata"`
	Username          string `json:"username"`
	CustomID          string `json:"custom_id"`
}

// objects are all objects that KIC translates, each kind by namespace and name.
type objects struct {
	ingresses      []networkingv1.Ingress
	services       []corev1.Service
	slices         []discoveryv1.EndpointSlice
	secrets        []corev1.Secret
	httpRoutes     []gatewayv1.HTTPRoute
	plugins        []kongPlugin
	clusterPlugins []kongPlugin
	consumers      []kongConsumer
}

func newScheme() *runtime.Scheme {
	scheme := runtime.NewScheme()
	utilruntime.Must(clientgoscheme.AddToScheme(scheme))
	utilruntime.Must(gatewayv1.Install(scheme))
	return scheme
}

// load lists the objects of these namespaces, or of all, and the cluster-scoped ones. A kind that the API
// server does not know has none.
func load(ctx context.Context, r client.Reader, namespaces []string) (*objects, error) {
	var (
		ingresses networkingv1.IngressList
		services  corev1.ServiceList
		slices    discoveryv1.EndpointSliceList
		secrets   corev1.SecretList
		routes    gatewayv1.HTTPRouteList
	)
	for _, list := range []client.ObjectList{&ingresses, &services, &slices, &secrets, &routes} {
		if err := listIn(ctx, r, list, namespaces); err != nil && !meta.IsNoMatchError(err) {
			return nil, fmt.Errorf("list %T: %w", list, err)
		}
	}
	o := &objects{
		ingresses: ingresses.Items, services: services.Items, slices: slices.Items,
		secrets: secrets.Items, httpRoutes: routes.Items,
	}
	var err error
	if o.plugins, err = loadKong[kongPlugin](ctx, r, kongPluginKind, namespaces); err != nil {
		return nil, err
	}
	if o.clusterPlugins, err = loadKong[kongPlugin](ctx, r, kongClusterPluginKind, nil); err != nil {
		return nil, err
	}
	o.consumers, err = loadKong[kongConsumer](ctx, r, kongConsumerKind, namespaces)
	return o, err
}

// listIn lists the objects of these namespaces; of all without one.
func listIn(ctx context.Context, r client.Reader, list client.ObjectList, namespaces []string) error {
	if len(namespaces) == 0 {
		return r.List(ctx, list)
	}
	var all []runtime.Object
	for _, namespace := range namespaces {
		if err := r.List(ctx, list, client.InNamespace(namespace)); err != nil {
			return err
		}
		items, err := meta.ExtractList(list)
		if err != nil {
			return err
		}
		all = append(all, items...)
	}
	return meta.SetList(list, all)
}

func loadKong[T any](ctx context.Context, r client.Reader, kind schema.GroupVersionKind, namespaces []string) ([]T, error) {
	list := &unstructured.UnstructuredList{}
	list.SetGroupVersionKind(kind.GroupVersion().WithKind(kind.Kind + "List"))
	if err := listIn(ctx, r, list, namespaces); err != nil {
		if meta.IsNoMatchError(err) {
			return nil, nil
		}
		return nil, fmt.Errorf("list %s: %w", kind.Kind, err)
	}
	out := make([]T, len(list.Items))
	for i := range list.Items {
		if err := runtime.DefaultUnstructuredConverter.FromUnstructured(list.Items[i].Object, &out[i]); err != nil {
			return nil, fmt.Errorf("%s %s/%s: %w", kind.Kind, list.Items[i].GetNamespace(), list.Items[i].GetName(), err)
		}
	}
	return out, nil
}

// of returns the object with this key, or nil.
func of[T any, P interface {
	*T
	metav1.Object
}](all []T, namespace, name string) P {
	for i := range all {
		if o := P(&all[i]); o.GetNamespace() == namespace && o.GetName() == name {
			return o
		}
	}
	return nil
}
