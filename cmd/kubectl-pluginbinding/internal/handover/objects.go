package handover

import (
	"cmp"
	"context"
	"encoding/json"
	"regexp"
	"slices"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/pluginbinding/kong-plugin-operator/api/v1alpha1"
	"github.com/pluginbinding/kong-plugin-operator/internal/adminapi"
	"github.com/pluginbinding/kong-plugin-operator/internal/plugin"
	"github.com/pluginbinding/kong-plugin-operator/internal/reference"
)

// takeBackFor is how long the operator guards a plugin at most after the last step that asked for it.
const takeBackFor = 5 * time.Minute

// recordOf returns the item that was handed over to an object.
func recordOf(object client.Object) (*Item, bool) {
	text, found := object.GetAnnotations()[RecordAnnotation]
	item := &Item{}
	if !found || json.Unmarshal([]byte(text), item) != nil || item.KongPlugin.Name == "" {
		return nil, false
	}
	return item, true
}

func (i *Item) meta(name string, shadow bool) metav1.ObjectMeta {
	meta := metav1.ObjectMeta{Namespace: i.Namespace, Name: name, Annotations: map[string]string{RecordAnnotation: i.record()}}
	if shadow {
		meta.Labels = map[string]string{ShadowLabel: "true"}
	}
	return meta
}

// policy is a PluginPolicy on the item's object. On routes its plugins are beside the ingress
// controller's.
func (i *Item) policy(name string, template *v1alpha1.PluginTemplateSpec, shadow bool) *v1alpha1.PluginPolicy {
	return &v1alpha1.PluginPolicy{
		ObjectMeta: i.meta(name, shadow),
		Spec: v1alpha1.PluginPolicySpec{
			GatewayRef: i.gateway(),
			TargetRefs: []v1alpha1.PolicyTargetRef{{Group: i.Object.Group, Kind: i.Object.Kind, Name: i.Object.Name}},
			Template:   v1alpha1.PluginBindingTemplate{Spec: *template.DeepCopy()},
		},
	}
}

// shadowName is the name of the policy beside the ingress controller's plugins.
func (i *Item) shadowName() string {
	if i.Way == Beside {
		return i.Name // it stays
	}
	return i.Name + "-shadow"
}

// binding is a PluginBinding of the item.
func (i *Item) binding(name string, template *v1alpha1.PluginTemplateSpec, scope *v1alpha1.Scope, shadow bool) *v1alpha1.PluginBinding {
	return &v1alpha1.PluginBinding{ObjectMeta: i.meta(name, shadow), Spec: bindingSpec(template, i.gateway(), scope)}
}

// scopeOfRow is the scope of the ingress controller's plugin: by name where the operator accepts the name,
// so that the plugin follows an entity that is made again.
func scopeOfRow(row Row) *v1alpha1.Scope {
	ref := &v1alpha1.EntityRef{ID: v1alpha1.UUID(cmp.Or(row.Route, row.Service, row.Group))}
	if entityName.MatchString(row.Entity) {
		ref = &v1alpha1.EntityRef{Name: v1alpha1.Name(row.Entity)}
	}
	switch {
	case row.Route != "":
		return &v1alpha1.Scope{Route: ref}
	case row.Service != "":
		return &v1alpha1.Scope{Service: ref}
	case row.Group != "":
		return &v1alpha1.Scope{ConsumerGroup: ref}
	case row.Consumer != "" && username.MatchString(row.Entity):
		return &v1alpha1.Scope{Consumer: &v1alpha1.ConsumerRef{Username: row.Entity}}
	case row.Consumer != "":
		return &v1alpha1.Scope{Consumer: &v1alpha1.ConsumerRef{ID: v1alpha1.UUID(row.Consumer)}}
	default:
		return nil
	}
}

// What the API accepts as a name of an entity; one that looks like a UUID is none.
var (
	entityName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._~-]*[._~][A-Za-z0-9._~-]*$`)
	username   = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._~@+=:-]{0,30}$`)
)

// finals are the bindings that take the plugins over under their IDs.
func (i *Item) finals(template *v1alpha1.PluginTemplateSpec) []*v1alpha1.PluginBinding {
	var bindings []*v1alpha1.PluginBinding
	for _, row := range i.Rows {
		name := i.Name
		if len(i.Rows) > 1 || i.Way == SameID {
			name = i.part("", row.ID)
		}
		binding := i.binding(name, template, scopeOfRow(row), false)
		binding.Spec.AdoptionPolicy = v1alpha1.AdoptOverride
		binding.Annotations[v1alpha1.TakeBackUntilAnnotation] = takeBackUntil()
		bindings = append(bindings, binding)
	}
	return bindings
}

func takeBackUntil() string { return time.Now().Add(takeBackFor).UTC().Format(time.RFC3339) }

// bindingsOf are the bindings of the item that exist: those that stay, or those for some time.
func (m *mover) bindingsOf(ctx context.Context, i *Item, shadows bool) ([]v1alpha1.PluginBinding, error) {
	list := &v1alpha1.PluginBindingList{}
	if err := m.kube.List(ctx, list, client.InNamespace(i.Namespace)); err != nil {
		return nil, err
	}
	return slices.DeleteFunc(list.Items, func(b v1alpha1.PluginBinding) bool {
		return !belongsTo(&b, i) || isShadow(&b) != shadows || reference.PolicyOf(&b) != nil
	}), nil
}

func isShadow(object client.Object) bool { return object.GetLabels()[ShadowLabel] == "true" }

// routesToCover are the routes of the item's services on which the service's plugin is the one in force.
func (m *mover) routesToCover(ctx context.Context, i *Item) ([]adminapi.Entity, error) {
	services, err := m.entities(ctx, i)
	if err != nil {
		return nil, err
	}
	var covered []adminapi.Entity
	for _, service := range services {
		routes, err := m.kong.FirstEntities(ctx, adminapi.Route, service.ID, maxRoutes)
		if err != nil {
			return nil, err
		}
		for _, route := range routes {
			route.ServiceID = service.ID
			own, err := m.hasOwnPlugin(ctx, i, route)
			if err != nil {
				return nil, err
			}
			if !own {
				covered = append(covered, route)
			}
		}
	}
	return covered, nil
}

// maxRoutes bounds the routes of one service.
const maxRoutes = 1000

// hasOwnPlugin reports whether the route has a plugin of the same name itself, which Kong prefers to that
// of its service.
func (m *mover) hasOwnPlugin(ctx context.Context, i *Item, route adminapi.Entity) (bool, error) {
	for _, scope := range []plugin.Scope{{RouteID: route.ID}, {RouteID: route.ID, ServiceID: route.ServiceID}} {
		p, err := m.kong.PluginAt(ctx, i.Plugin, scope)
		switch {
		case adminapi.IsNotFound(err):
		case err != nil:
			return false, err
		case scope.ServiceID == "" || !m.isShadowPlugin(ctx, i, p):
			return true, nil
		}
	}
	return false, nil
}

// isShadowPlugin reports whether a plugin is one that this hand-over put there for some time.
func (m *mover) isShadowPlugin(ctx context.Context, i *Item, p plugin.Plugin) bool {
	shadows, err := m.bindingsOf(ctx, i, true)
	return err == nil && slices.ContainsFunc(shadows, func(b v1alpha1.PluginBinding) bool { return string(b.Status.PluginID) == p.ID })
}

// shadowOn is the scope of a shadow.
func shadowOn(route adminapi.Entity) *v1alpha1.Scope {
	return &v1alpha1.Scope{Route: &v1alpha1.EntityRef{ID: v1alpha1.UUID(route.ID)}, Service: &v1alpha1.EntityRef{ID: v1alpha1.UUID(route.ServiceID)}}
}

// edit changes an object that may be changed by others, by a patch of what is edited.
func edit[T client.Object](ctx context.Context, kube client.Client, object T, change func(T)) error {
	base := object.DeepCopyObject().(client.Object)
	change(object)
	return kube.Patch(ctx, object, client.MergeFrom(base))
}
