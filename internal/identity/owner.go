package identity

import (
	"cmp"
	"slices"
	"strings"
)

// Tool is the value of the managed-by tag of every plugin that the operator owns.
const Tool = "plugin-binding-operator"

// Kong's ingress controller marks its rows with this tag, without a value.
const ingressControllerTag = "managed-by-ingress-controller"

const (
	tagManagedBy = "managed-by:"
	tagCluster   = "k8s-cluster:"
	tagKind      = "k8s-kind:"
	tagNamespace = "k8s-namespace:"
	tagName      = "k8s-name:"
	tagUID       = "k8s-uid:"

	kindPluginBinding = "PluginBinding"
)

// Binding says which PluginBinding of which cluster is meant. Cluster, namespace and
// name are its identity: a binding that was restored from a backup, or deleted and made
// again, has another UID and owns the same plugin.
type Binding struct {
	Cluster   string
	Namespace string
	Name      string
	// UID is written into the tags for people; it never decides ownership.
	UID string
}

// Tags are the owner tags of the binding's plugin, in a stable order.
func (b Binding) OwnershipTags() []string {
	return append(b.LookupTags(), tagUID+b.UID)
}

// LookupTags are the tags by which the binding's plugin is found whatever its UID was:
// five, which is as many as Kong takes in one query.
func (b Binding) LookupTags() []string {
	return append(ClusterTags(b.Cluster), tagKind+kindPluginBinding, tagNamespace+b.Namespace, tagName+b.Name)
}

// ClusterTags are the tags that all plugins of a cluster's bindings bear.
func ClusterTags(cluster string) []string {
	return []string{tagManagedBy + Tool, tagCluster + cluster}
}

// InstanceName is the instance_name of the binding's plugin when its spec gives none. It
// is made of nothing but the identity, so that every replica, every version and a
// restored backup make the same one. Neither a cluster id nor a namespace holds a dot,
// so that no two bindings share a name.
func (b Binding) InstanceName() string {
	return b.Cluster + "." + b.Namespace + "." + b.Name
}

// Same reports whether both are one binding, whatever their UIDs.
func (b Binding) Same(other Binding) bool {
	return b.Cluster == other.Cluster && b.Namespace == other.Namespace && b.Name == other.Name
}

// Owner is whose a plugin in Kong is, as far as its marks tell. The zero Owner is nobody.
type Owner struct {
	// Binding of this operator, in this cluster or another one, when it has one.
	Binding *Binding
	// Tool other than this operator that marked the plugin, such as ingress-controller.
	Tool string
}

// OwnerOf reads the marks of a plugin.
func OwnerOf(tags []string) Owner {
	var (
		binding Binding
		ours    bool
		tool    string
	)
	// Sorted, so that a plugin with the marks of two tools always names the same one.
	for _, tag := range slices.Sorted(slices.Values(tags)) {
		switch {
		case tag == tagManagedBy+Tool:
			ours = true
		case tag == ingressControllerTag:
			tool = cmp.Or(tool, "ingress-controller")
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
		// Another tool's mark wins over ours: whoever added it means to manage the plugin.
		return Owner{Tool: tool}
	case ours:
		return Owner{Binding: &binding}
	default:
		return Owner{}
	}
}

// Nobody reports whether the plugin bears nobody's marks.
func (o Owner) Nobody() bool { return o.Binding == nil && o.Tool == "" }

// Describe says whose the plugin is, for a person who looks from the given cluster.
func (o Owner) Describe(cluster string) string {
	switch {
	case o.Tool == "ingress-controller":
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

// Unmarked returns tags without those by which the operator finds its own plugins.
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
	for _, prefix := range []string{tagCluster, tagNamespace, tagName, tagUID} {
		if strings.HasPrefix(tag, prefix) {
			return true
		}
	}
	return false
}

// generatedFor is the binding of this cluster whose generated instance name this is.
func generatedFor(cluster, instanceName string) (Binding, bool) {
	rest, ok := strings.CutPrefix(instanceName, cluster+".")
	namespace, name, whole := strings.Cut(rest, ".")
	return Binding{Cluster: cluster, Namespace: namespace, Name: name}, ok && whole && namespace != "" && name != ""
}

// StandingOf says how a plugin with these marks relates to the binding. A plugin that
// bears the generated instance name and nobody's tags is the binding's of that name: nobody
// else makes it, and tags are easily lost by hand.
func OwnershipOf(b Binding, tags []string, instanceName string) (Ownership, Owner) {
	owner := OwnerOf(tags)
	switch {
	case owner.Binding != nil && owner.Binding.Same(b):
		return Owned, owner
	case owner.Nobody() && instanceName == b.InstanceName():
		return Owned, owner
	case owner.Nobody():
		if other, ok := generatedFor(b.Cluster, instanceName); ok {
			return OwnedByOther, Owner{Binding: &other}
		}
		return Unowned, owner
	default:
		return OwnedByOther, owner
	}
}
