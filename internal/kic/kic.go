// Package kic knows how Kong's ingress controller (KIC) marks what it makes in Kong, and which
// plugins it wants there. It is pure: tags and annotations in, names out.
//
// The facts are those of KIC 3.5 in DB mode. The package must not import a client.
package kic

import (
	"strings"

	"k8s.io/apimachinery/pkg/types"
)

const (
	// PluginsAnnotation on an Ingress, HTTPRoute, Service or KongConsumer names the KongPlugins that
	// KIC attaches to it.
	PluginsAnnotation = "konghq.com/plugins"
	// Group and Version of KIC's own kinds.
	Group   = "configuration.konghq.com"
	Version = "v1"
	// KongPlugin and KongClusterPlugin are the kinds that the annotation names.
	KongPlugin        = "KongPlugin"
	KongClusterPlugin = "KongClusterPlugin"
	// GlobalLabel with the value "true" makes a KongClusterPlugin a plugin without a scope.
	GlobalLabel = "global"
)

// The prefixes of the tags that KIC sets on the services, routes and consumers that it makes.
const (
	tagName      = "k8s-name:"
	tagNamespace = "k8s-namespace:"
	tagKind      = "k8s-kind:"
	tagUID       = "k8s-uid:"
	tagGroup     = "k8s-group:"
	tagVersion   = "k8s-version:"
)

// MaxPlugins bounds the names in one annotation that count. KIC has no bound.
const MaxPlugins = 128

// Object names a Kubernetes object. Version is how KIC read it.
type Object struct{ Group, Version, Kind, Namespace, Name string }

// Key is the name of the object.
func (o Object) Key() types.NamespacedName {
	return types.NamespacedName{Namespace: o.Namespace, Name: o.Name}
}

// String is for messages: the kind, and the name with its namespace if it has one.
func (o Object) String() string {
	if o.Namespace == "" {
		return o.Kind + " " + o.Name
	}
	return o.Kind + " " + o.Namespace + "/" + o.Name
}

// ObjectOf returns the object from which KIC made an entity, and its UID, by the entity's tags. It
// returns false for an entity that KIC did not make.
func ObjectOf(tags []string) (object Object, uid types.UID, ok bool) {
	for _, field := range []struct {
		prefix string
		to     *string
	}{
		{tagName, &object.Name},
		{tagNamespace, &object.Namespace},
		{tagKind, &object.Kind},
		{tagGroup, &object.Group},
		{tagVersion, &object.Version},
		{tagUID, (*string)(&uid)},
	} {
		for _, tag := range tags {
			if value, found := strings.CutPrefix(tag, field.prefix); found && *field.to == "" {
				*field.to = value
			}
		}
	}
	return object, uid, object.Name != "" && object.Kind != "" && object.Version != "" && uid != ""
}

// TagsOf returns the tags by which to find what KIC made of an object.
func TagsOf(kind, namespace, name string) []string {
	return []string{tagName + name, tagNamespace + namespace, tagKind + kind}
}

// RuleTag returns the tag of the routes that KIC made of a named rule of an HTTPRoute or GRPCRoute.
func RuleTag(name string) string { return "k8s-named-route-rule:" + name }

// Attached returns the plugins that the annotation of an object names, in its order: a KongPlugin of
// the object's namespace or of the one before the colon, or else the KongClusterPlugin of that name.
func Attached(annotations map[string]string, namespace string) []types.NamespacedName {
	var attached []types.NamespacedName
	for name := range strings.SplitSeq(annotations[PluginsAnnotation], ",") {
		if len(attached) == MaxPlugins {
			break
		}
		key := types.NamespacedName{Namespace: namespace, Name: strings.TrimSpace(name)}
		if other, rest, qualified := strings.Cut(key.Name, ":"); qualified {
			key = types.NamespacedName{Namespace: other, Name: rest}
		}
		if key.Name != "" {
			attached = append(attached, key)
		}
	}
	return attached
}

// Claim says that KIC wants a plugin in a place.
type Claim struct {
	// Object with the annotation; empty for a global plugin.
	Object Object
	// Plugin is the KongPlugin or KongClusterPlugin.
	Plugin Object
}

// String says it in words.
func (c Claim) String() string {
	if c.Object == (Object{}) {
		return c.Plugin.String() + " is global"
	}
	return c.Object.String() + " has the annotation " + PluginsAnnotation + " with " + c.Plugin.String()
}

// Wanted returns the plugins that are attached to every one of the objects: on a route and a consumer,
// KIC makes a plugin only if both name it.
func Wanted(attached [][]types.NamespacedName) []types.NamespacedName {
	if len(attached) == 0 {
		return nil
	}
	wanted := attached[0]
	for _, others := range attached[1:] {
		var both []types.NamespacedName
		for _, name := range wanted {
			for _, other := range others {
				if name == other {
					both = append(both, name)
					break
				}
			}
		}
		wanted = both
	}
	return wanted
}
