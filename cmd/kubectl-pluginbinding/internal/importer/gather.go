package importer

import (
	"context"
	"encoding/json"
	"fmt"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/pluginbinding/kong-plugin-operator/api/v1alpha1"
	"github.com/pluginbinding/kong-plugin-operator/cmd/kubectl-pluginbinding/internal/kong"
	"github.com/pluginbinding/kong-plugin-operator/internal/adminapi"
	"github.com/pluginbinding/kong-plugin-operator/internal/identity"
	"github.com/pluginbinding/kong-plugin-operator/internal/kic"
	"github.com/pluginbinding/kong-plugin-operator/internal/plugin"
	"github.com/pluginbinding/kong-plugin-operator/internal/reference"
)

// EntityKinds are all kinds of entities that a plugin can apply to.
var EntityKinds = []adminapi.EntityKind{adminapi.Service, adminapi.Route, adminapi.Consumer, adminapi.ConsumerGroup}

// ReadKong reads everything that an import needs of Kong.
func ReadKong(ctx context.Context, connection *kong.Connection) (Kong, error) {
	read := Kong{Entities: map[adminapi.EntityKind]map[string]adminapi.Entity{}, Schemas: map[string]*plugin.Schema{}}
	if err := connection.VisitAll(ctx, func(row plugin.Plugin) { read.Plugins = append(read.Plugins, row) }); err != nil {
		return read, err
	}
	for _, kind := range EntityKinds {
		read.Entities[kind] = map[string]adminapi.Entity{}
		if err := connection.VisitEntities(ctx, kind, func(entity adminapi.Entity) { read.Entities[kind][entity.ID] = entity }); err != nil {
			return read, err
		}
	}
	for _, row := range read.Plugins {
		if _, known := read.Schemas[row.Name]; known {
			continue
		}
		parsed, err := connection.Schema(ctx, row.Name)
		if err != nil && !adminapi.IsNotFound(err) {
			return read, err
		}
		read.Schemas[row.Name] = parsed
	}
	return read, nil
}

// ReadBindings reads the bindings and policies of all gateways that lead to the same Kong.
func ReadBindings(ctx context.Context, reader client.Reader, gateway *v1alpha1.KongGateway) (Kube, error) {
	var (
		read     Kube
		gateways v1alpha1.KongGatewayList
		bindings v1alpha1.PluginBindingList
		policies v1alpha1.PluginPolicyList
	)
	for _, list := range []client.ObjectList{&gateways, &bindings, &policies} {
		if err := reader.List(ctx, list); err != nil {
			return read, fmt.Errorf("the import needs the objects of all namespaces, because any of them may hold a plugin already: %w", err)
		}
	}
	same := map[client.ObjectKey]bool{client.ObjectKeyFromObject(gateway): true}
	for i := range gateways.Items {
		if reference.SameKong(&gateways.Items[i], gateway) {
			same[client.ObjectKeyFromObject(&gateways.Items[i])] = true
		}
	}
	for i := range bindings.Items {
		if same[reference.GatewayOf(&bindings.Items[i])] {
			read.Bindings = append(read.Bindings, bindings.Items[i])
		}
	}
	for i := range policies.Items {
		if same[reference.GatewayOfPolicy(&policies.Items[i])] {
			read.Policies = append(read.Policies, policies.Items[i])
		}
	}
	return read, nil
}

// ReadIngressObjects reads the objects behind what the ingress controller made in Kong, and its
// KongPlugins. What cannot be read becomes Kube.Problem.
func (k *Kube) ReadIngressObjects(ctx context.Context, reader client.Reader, inKong *Kong) {
	k.Objects, k.KongPlugins = map[kic.Object]Object{}, map[kic.Object]*KongPlugin{}
	kinds := map[schema.GroupVersionKind]map[kic.Object]bool{}
	for _, row := range inKong.Plugins {
		objects, all := objectsBehind(row.Scope, inKong)
		if !all {
			continue
		}
		for _, object := range objects {
			kind := schema.GroupVersionKind{Group: object.Group, Version: object.version, Kind: object.Kind}
			if kinds[kind] == nil {
				kinds[kind] = map[kic.Object]bool{}
			}
			kinds[kind][object.Object] = true
		}
	}
	for kind, wanted := range kinds {
		k.problem(k.readObjects(ctx, reader, kind, wanted))
	}
	k.problem(k.readKongPlugins(ctx, reader, kic.KongPlugin))
	k.problem(k.readKongPlugins(ctx, reader, kic.KongClusterPlugin))
}

func (k *Kube) problem(err error) {
	if err != nil && k.Problem == "" {
		k.Problem = err.Error()
	}
}

// readObjects reads the metadata of the wanted objects of a kind. One list costs less than many requests.
func (k *Kube) readObjects(ctx context.Context, reader client.Reader, kind schema.GroupVersionKind, wanted map[kic.Object]bool) error {
	list := &metav1.PartialObjectMetadataList{}
	list.SetGroupVersionKind(kind.GroupVersion().WithKind(kind.Kind + "List"))
	if err := reader.List(ctx, list); err != nil {
		if meta.IsNoMatchError(err) {
			return nil // this cluster has no such objects
		}
		return fmt.Errorf("the objects of kind %s cannot be read: %w", kind.Kind, err)
	}
	for i := range list.Items {
		item := &list.Items[i]
		object := kic.Object{Group: kind.Group, Kind: kind.Kind, Namespace: item.Namespace, Name: item.Name}
		if wanted[object] {
			k.Objects[object] = Object{UID: item.UID, Annotations: item.Annotations}
		}
	}
	return nil
}

func (k *Kube) readKongPlugins(ctx context.Context, reader client.Reader, kind string) error {
	list := &unstructured.UnstructuredList{}
	list.SetGroupVersionKind(schema.GroupVersionKind{Group: kic.Group, Version: kic.Version, Kind: kind + "List"})
	if err := reader.List(ctx, list); err != nil {
		if meta.IsNoMatchError(err) {
			return nil
		}
		return fmt.Errorf("the objects of kind %s cannot be read: %w", kind, err)
	}
	for i := range list.Items {
		item := &list.Items[i]
		from := &KongPlugin{Namespace: item.GetNamespace(), Global: kind == kic.KongClusterPlugin && item.GetLabels()[kic.GlobalLabel] == "true"}
		raw, err := json.Marshal(item.Object)
		if err != nil {
			return err
		}
		if err := json.Unmarshal(raw, from); err != nil {
			return fmt.Errorf("%s %s/%s is not as this command knows it: %w", kind, item.GetNamespace(), item.GetName(), err)
		}
		k.KongPlugins[kic.Object{Group: kic.Group, Kind: kind, Namespace: item.GetNamespace(), Name: item.GetName()}] = from
	}
	return nil
}

// ClusterOf is the cluster ID in the ownership tags of this cluster's plugins: that of a plugin that a
// binding has recorded, or else the operator's default, the UID of the namespace kube-system.
func ClusterOf(ctx context.Context, reader client.Reader, plugins []plugin.Plugin, bindings []v1alpha1.PluginBinding) (string, error) {
	recorded := map[string]*v1alpha1.PluginBinding{}
	for i := range bindings {
		recorded[string(bindings[i].Status.PluginID)] = &bindings[i]
	}
	for _, row := range plugins {
		binding, owner := recorded[row.ID], identity.OwnerOf(row.Tags).Binding
		if binding != nil && owner != nil && owner.Namespace == binding.Namespace && owner.Name == binding.Name {
			return owner.Cluster, nil
		}
	}
	namespace := &metav1.PartialObjectMetadata{}
	namespace.SetGroupVersionKind(schema.GroupVersionKind{Version: "v1", Kind: "Namespace"})
	if err := reader.Get(ctx, client.ObjectKey{Name: metav1.NamespaceSystem}, namespace); err != nil {
		return "", fmt.Errorf("the cluster ID is unknown; set --cluster-id: %w", err)
	}
	return string(namespace.UID), nil
}
