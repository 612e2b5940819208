package importer

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"

	"github.com/pluginbinding/kong-plugin-operator/api/v1alpha1"
	"github.com/pluginbinding/kong-plugin-operator/internal/adminapi"
	"github.com/pluginbinding/kong-plugin-operator/internal/connection"
	"github.com/pluginbinding/kong-plugin-operator/internal/identity"
	"github.com/pluginbinding/kong-plugin-operator/internal/kic"
	"github.com/pluginbinding/kong-plugin-operator/internal/plugin"
	"github.com/pluginbinding/kong-plugin-operator/internal/policy"
	"github.com/pluginbinding/kong-plugin-operator/internal/reference"
)

// item is a row of Kong to import.
type item struct {
	row plugin.Plugin
	declaration
	// namespace of its object, and the scope as a binding names it.
	namespace string
	scope     *v1alpha1.Scope
	// source is the KongPlugin of the ingress controller that it came from, zero if there is none, and
	// target the object with the annotation, zero for a global plugin.
	source, target kic.Object
	// claim: the ingress controller still wants the plugin.
	claim *kic.Claim
	// entry of the other tool.
	entry *Entry
}

func (i *item) isKIC() bool { return i.source != (kic.Object{}) }

// describe names the row for people: the plugin and its scope.
func describe(row plugin.Plugin, kong *Kong) string {
	return row.Name + " on " + strings.ReplaceAll(reference.ScopeSummary(scopeOf(row.Scope, kong)), "+", " and ")
}

// scopeOf names the entities of a scope as a binding does: by name if the API takes it, otherwise by ID.
func scopeOf(scope plugin.Scope, kong *Kong) *v1alpha1.Scope {
	if scope == (plugin.Scope{}) {
		return nil
	}
	declared := &v1alpha1.Scope{}
	for _, entity := range reference.EntitiesOf(scope) {
		id := entity.Ref.ID
		known := kong.Entities[entity.Kind][id]
		ref := policy.RefOf(entity.Kind, connection.Selected{ID: id, Name: known.Name, CustomID: known.CustomID})
		named := &v1alpha1.EntityRef{ID: v1alpha1.UUID(ref.ID), Name: v1alpha1.Name(ref.Name)}
		switch entity.Kind {
		case adminapi.Service:
			declared.Service = named
		case adminapi.Route:
			declared.Route = named
		case adminapi.Consumer:
			declared.Consumer = &v1alpha1.ConsumerRef{ID: v1alpha1.UUID(ref.ID), Username: ref.Username, CustomID: ref.CustomID}
		case adminapi.ConsumerGroup:
			declared.ConsumerGroup = named
		}
	}
	return declared
}

// unversioned is an object as the maps of Kube have it.
func unversioned(object kic.Object) kic.Object {
	object.Version = ""
	return object
}

// sourceOf returns the KongPlugin or KongClusterPlugin from which the ingress controller made a row. The
// tag of the ingress controller itself can be another one than usual.
func sourceOf(row plugin.Plugin) (kic.Object, bool) {
	object, _, ok := kic.ObjectOf(row.Tags)
	ok = ok && object.Group == kic.Group && (object.Kind == kic.KongPlugin || object.Kind == kic.KongClusterPlugin)
	return unversioned(object), ok
}

// objectsBehind returns the objects from which the ingress controller made the entities of a scope, the
// one with the annotation of the plugin first. It returns false if something else made one of them.
func objectsBehind(scope plugin.Scope, kong *Kong) (objects []behind, all bool) {
	entities := reference.EntitiesOf(scope)
	order := []adminapi.EntityKind{adminapi.Route, adminapi.Service, adminapi.Consumer, adminapi.ConsumerGroup}
	slices.SortStableFunc(entities, func(a, b reference.ScopeEntity) int {
		return cmp.Compare(slices.Index(order, a.Kind), slices.Index(order, b.Kind))
	})
	for _, entity := range entities {
		object, uid, ok := kic.ObjectOf(kong.Entities[entity.Kind][entity.Ref.ID].Tags)
		if !ok {
			return nil, false
		}
		objects = append(objects, behind{unversioned(object), object.Version, uid})
	}
	return objects, true
}

// behind is the object behind an entity, without its version, and how the ingress controller read it.
type behind struct {
	kic.Object
	version string
	uid     types.UID
}

// claimOn returns the claim of the ingress controller to the place of a row, as the operator sees it.
func claimOn(row plugin.Plugin, objects []behind, kube *Kube) *kic.Claim {
	if len(objects) == 0 {
		var claim *kic.Claim
		for object, from := range kube.KongPlugins {
			if from.Global && from.Plugin == row.Name && (claim == nil || object.Name < claim.Plugin.Name) {
				claim = &kic.Claim{Plugin: object}
			}
		}
		return claim
	}
	var attached [][]types.NamespacedName
	for _, object := range objects {
		found, exists := kube.Objects[object.Object]
		if !exists || found.UID != object.uid {
			return nil
		}
		attached = append(attached, kic.Attached(found.Annotations, object.Namespace))
	}
	for _, name := range kic.Wanted(attached) {
		for _, object := range []kic.Object{
			{Group: kic.Group, Kind: kic.KongPlugin, Namespace: name.Namespace, Name: name.Name},
			{Group: kic.Group, Kind: kic.KongClusterPlugin, Name: name.Name},
		} {
			if from := kube.KongPlugins[object]; from != nil {
				if from.Plugin == row.Name {
					return &kic.Claim{Object: objects[0].Object, Plugin: object}
				}
				break // the KongPlugin of that name counts
			}
		}
	}
	return nil
}

// hasKICsID reports whether the ingress controller would write the plugin under the ID that it has. If not,
// its insert collides with the row as soon as that has no tag of the ingress controller.
func hasKICsID(row plugin.Plugin, kong *Kong, workspace string) bool {
	name := func(kind adminapi.EntityKind, id string) string { return kong.Entities[kind][id].Name }
	return row.ID == kic.PluginID(workspace, row.Name, kic.ScopeNames{
		Service: name(adminapi.Service, row.Scope.ServiceID), Route: name(adminapi.Route, row.Scope.RouteID),
		Consumer: name(adminapi.Consumer, row.Scope.ConsumerID), ConsumerGroup: name(adminapi.ConsumerGroup, row.Scope.ConsumerGroupID),
	})
}

// ownerOf returns the owner that the marks of a row name.
func ownerOf(row plugin.Plugin, cluster string) identity.Owner {
	_, owner := identity.OwnershipOf(identity.Binding{Cluster: cluster}, row.Tags, row.InstanceName)
	return owner
}

// tagNamespace is the namespace that all entities of a scope are tagged with, empty if they are not.
func tagNamespace(scope plugin.Scope, kong *Kong) string {
	namespace := ""
	for _, entity := range reference.EntitiesOf(scope) {
		var of string
		for _, tag := range kong.Entities[entity.Kind][entity.Ref.ID].Tags {
			if value, ok := strings.CutPrefix(tag, "k8s-namespace:"); ok && of == "" {
				of = value
			}
		}
		if of == "" || namespace != "" && of != namespace {
			return ""
		}
		namespace = of
	}
	if !validLabel.MatchString(namespace) {
		return ""
	}
	return namespace
}

// targetRef is the target of a policy on an object, false if a policy does not take it.
func targetRef(object kic.Object) (v1alpha1.PolicyTargetRef, bool) {
	_, ok := policy.Kinds[schema.GroupKind{Group: object.Group, Kind: object.Kind}]
	return v1alpha1.PolicyTargetRef{Group: object.Group, Kind: object.Kind, Name: object.Name}, ok
}

func unsaid(row plugin.Plugin, kong *Kong, leftOut bool, format string, args ...any) Unsaid {
	return Unsaid{ID: row.ID, Plugin: describe(row, kong), Why: fmt.Sprintf(format, args...), LeftOut: leftOut}
}
