package identity

import (
	"cmp"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/util/sets"
)

// Tool is the value of the managed-by tag of every plugin that the operator owns.
const Tool = "plugin-binding-operator"

// ToolIngressController is Owner.Tool of the plugins of Kong's ingress controller.
const ToolIngressController = "ingress-controller"

// ingressControllerTag is the tag of Kong's ingress controller. It has no value.
const ingressControllerTag = "managed-by-ingress-controller"

const (
	tagManagedBy = "managed-by:"
	tagCluster   = "k8s-cluster:"
	tagKind      = "k8s-kind:"
	tagNamespace = "k8s-namespace:"
	tagName      = "k8s-name:"
	tagUID       = "k8s-uid:"
	tagAside     = "k8s-aside:"
	tagAcquired  = "k8s-acquired:true"

	kindPluginBinding = "PluginBinding"
)

// Binding identifies a PluginBinding of a cluster. Cluster, namespace and name are its identity:
// a binding that was restored from a backup or recreated has another UID and owns the same
// plugin.
type Binding struct {
	Cluster   string
	Namespace string
	Name      string
	// UID goes into the tags for people to read. It never decides ownership.
	UID string
	// Acquired: the plugin existed before the binding. The tag lets the operator remember that when
	// the status is lost, because the gateway may not allow the binding to delete such a plugin.
	Acquired bool
}

// OwnershipTags are the ownership tags of the binding's plugin, in a stable order.
func (b Binding) OwnershipTags() []string {
	tags := append(b.LookupTags(), tagUID+b.UID)
	if b.Acquired {
		tags = append(tags, tagAcquired)
	}
	return tags
}

// LookupTags are the tags that find the binding's plugin whatever UID the binding had: five, the
// most that Kong accepts in one query.
func (b Binding) LookupTags() []string {
	return append(ClusterTags(b.Cluster), tagKind+kindPluginBinding, tagNamespace+b.Namespace, tagName+b.Name)
}

// AsideTag is the tag of a plugin that MoveAside moved. from says, in the caller's notation, which
// scope it had before, so that MoveBack can write that. It must not contain a comma or a slash,
// which Kong forbids in tags.
func AsideTag(from string) string { return tagAside + from }

// AsideFrom returns what AsideTag stored in the tags of a plugin, and whether it is aside.
func AsideFrom(tags []string) (from string, aside bool) {
	for _, tag := range tags {
		if from, aside = strings.CutPrefix(tag, tagAside); aside {
			return from, true
		}
	}
	return "", false
}

// WithAcquired returns the tags with the one that says that the plugin existed before its binding.
func WithAcquired(tags []string) []string {
	if IsAcquired(tags) {
		return tags
	}
	return append(slices.Clone(tags), tagAcquired)
}

// IsAcquired reports whether the ownership tags of a plugin say that it existed before its binding.
func IsAcquired(tags []string) bool { return slices.Contains(tags, tagAcquired) }

// ClusterTags are the tags that the plugins of all bindings of a cluster carry.
func ClusterTags(cluster string) []string {
	return []string{tagManagedBy + Tool, tagCluster + cluster}
}

// InstanceName is the generated instance_name: the one that the binding's plugin has while
// spec.instanceName is empty. It depends only on the identity, so every replica, every version
// and a restored backup generate the same name. Neither a cluster ID nor a namespace contains a
// dot, so no two bindings share a name.
func (b Binding) InstanceName() string {
	return b.Cluster + "." + b.Namespace + "." + b.Name
}

// Same reports whether both are the same binding. The UID does not count.
func (b Binding) Same(other Binding) bool {
	return b.Cluster == other.Cluster && b.Namespace == other.Namespace && b.Name == other.Name
}

// Owner is the owner of a plugin in Kong according to its tags. The zero Owner is no owner.
type Owner struct {
	// Binding that owns the plugin, of this cluster or another one. Nil if none does.
	Binding *Binding
	// Tool other than this operator that tagged the plugin, such as ToolIngressController.
	Tool string
}

// OwnerOf returns the owner that the tags of a plugin name.
func OwnerOf(tags []string) Owner {
	var (
		binding Binding
		ours    bool
		tool    string
	)
	// Sorted: of a plugin with the tags of two tools, always the same one counts.
	for _, tag := range slices.Sorted(slices.Values(tags)) {
		switch {
		case tag == tagManagedBy+Tool:
			ours = true
		case tag == ingressControllerTag:
			tool = cmp.Or(tool, ToolIngressController)
		case strings.HasPrefix(tag, tagManagedBy):
			tool = cmp.Or(tool, strings.TrimPrefix(tag, tagManagedBy), "unnamed")
		case strings.HasPrefix(tag, tagCluster):
			binding.Cluster = strings.TrimPrefix(tag, tagCluster)
		case strings.HasPrefix(tag, tagNamespace):
			binding.Namespace = strings.TrimPrefix(tag, tagNamespace)
		case strings.HasPrefix(tag, tagName):
			binding.Name = strings.TrimPrefix(tag, tagName)
		case strings.HasPrefix(tag, tagUID):
			binding.UID = strings.TrimPrefix(tag, tagUID)
		}
	}
	switch {
	case tool != "":
		// The tag of another tool takes precedence: that tool intends to manage the plugin.
		return Owner{Tool: tool}
	case ours:
		return Owner{Binding: &binding}
	default:
		return Owner{}
	}
}

// IsZero reports whether there is no owner.
func (o Owner) IsZero() bool { return o.Binding == nil && o.Tool == "" }

// Describe names the owner in a message for a user of the given cluster.
func (o Owner) Describe(cluster string) string {
	switch {
	case o.Tool == ToolIngressController:
		return "Kong Ingress Controller"
	case o.Tool != "":
		return "the tool " + o.Tool
	case o.Binding == nil:
		return "nobody (no owner tags)"
	case o.Binding.Cluster == cluster:
		return "PluginBinding " + o.Binding.Namespace + "/" + o.Binding.Name
	default:
		return "PluginBinding " + o.Binding.Namespace + "/" + o.Binding.Name + " of cluster " + o.Binding.Cluster
	}
}

// WithoutOwnershipTags returns the tags that are not ownership tags, in their order.
func WithoutOwnershipTags(tags []string) []string {
	kept := make([]string, 0, len(tags))
	for _, tag := range tags {
		if !isOwnershipTag(tag) {
			kept = append(kept, tag)
		}
	}
	return kept
}

func isOwnershipTag(tag string) bool {
	if tag == tagManagedBy+Tool || tag == tagKind+kindPluginBinding {
		return true
	}
	for _, prefix := range []string{tagCluster, tagNamespace, tagName, tagUID, tagAside, tagAcquired} {
		if strings.HasPrefix(tag, prefix) {
			return true
		}
	}
	return false
}

// SameTags reports whether two sets of tags differ in the UID at most. It is for people to read. In a
// cluster that was rebuilt each binding has a new one, and no plugin is written because of that alone.
func SameTags(a, b []string) bool {
	return sets.New(withoutUID(a)...).Equal(sets.New(withoutUID(b)...))
}

func withoutUID(tags []string) []string {
	return slices.DeleteFunc(slices.Clone(tags), func(tag string) bool { return strings.HasPrefix(tag, tagUID) })
}

// generatedFor returns the binding of the cluster that has this generated instance name.
func generatedFor(cluster, instanceName string) (Binding, bool) {
	rest, ok := strings.CutPrefix(instanceName, cluster+".")
	namespace, name, whole := strings.Cut(rest, ".")
	return Binding{Cluster: cluster, Namespace: namespace, Name: name}, ok && whole && namespace != "" && name != ""
}

// OwnershipOf returns the relation of a plugin with these tags and this instance name to the
// binding, and the owner. A plugin without ownership tags but with a generated instance name
// belongs to the binding of that name: nothing else generates it, and users can remove tags by
// mistake.
func OwnershipOf(b Binding, tags []string, instanceName string) (Ownership, Owner) {
	owner := OwnerOf(tags)
	switch {
	case owner.Binding != nil && owner.Binding.Same(b):
		return Owned, owner
	case owner.IsZero() && instanceName == b.InstanceName():
		return Owned, owner
	case owner.IsZero():
		if other, ok := generatedFor(b.Cluster, instanceName); ok {
			return OwnedByOther, Owner{Binding: &other}
		}
		return Unowned, owner
	default:
		return OwnedByOther, owner
	}
}
