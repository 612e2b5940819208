// Package retained reads and writes the list of plugins that stay in a gateway's Kong on
// purpose, after their binding is gone. It is pure: the caller patches the gateway.
package retained

import (
	"cmp"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/sets"

	"github.com/pluginbinding/kong-plugin-operator/api/v1alpha1"
)

const (
	// MaxPlugins is how many plugins a gateway lists, and maxNamespaces of how many namespaces.
	MaxPlugins    = 4000
	maxNamespaces = 500
	// MaxPerNamespace is how many of them may be of one namespace other than the gateway's own.
	MaxPerNamespace = 500
)

// Plugins are the plugins of a gateway's list.
type Plugins struct {
	// gateway is the namespace of the gateway.
	gateway string
	// byNamespace are the IDs by the namespaces of their bindings; unassigned are those of the
	// annotation, for which no namespace is known.
	byNamespace map[string][]string
	unassigned  sets.Set[string]
}

// Of returns the plugins that the gateway lists.
func Of(gateway *v1alpha1.KongGateway) *Plugins {
	p := &Plugins{gateway: gateway.Namespace, byNamespace: map[string][]string{}}
	for _, list := range gateway.Status.RetainedPlugins {
		p.byNamespace[list.Namespace] = slices.Clone(list.PluginIDs)
	}
	p.unassigned = sets.New(strings.Split(gateway.Annotations[v1alpha1.RetainedPluginsAnnotation], ",")...).Delete("")
	return p
}

// Covers reports whether the list says that the plugin of a binding of that namespace is retained. A list
// that is not trusted says that only about plugins of bindings in the gateway's own namespace: a tenant
// with a KongGateway must not hide orphans of others.
func (p *Plugins) Covers(trusted bool, namespace, id string) bool {
	if !trusted && namespace != p.gateway {
		return false
	}
	return slices.Contains(p.byNamespace[namespace], id) || p.unassigned.Has(id)
}

// Add adds a plugin of a binding of that namespace. It returns false if the namespace has so many that it
// has to wait. A namespace is never held up by others: if they have filled the list, the namespace with the
// most plugins loses its last one, which Add returns.
func (p *Plugins) Add(namespace, id string) (lost string, added bool) {
	ids := p.byNamespace[namespace]
	switch {
	case slices.Contains(ids, id):
		return "", true
	case namespace == p.gateway && len(ids) >= MaxPlugins, namespace != p.gateway && len(ids) >= MaxPerNamespace:
		return "", false
	}
	if p.len() >= MaxPlugins || len(ids) == 0 && len(p.byNamespace) >= maxNamespaces {
		lost = p.dropFromLargest()
	}
	p.byNamespace[namespace] = append(ids, id)
	p.unassigned.Delete(id)
	return lost, true
}

func (p *Plugins) len() (n int) {
	for _, ids := range p.byNamespace {
		n += len(ids)
	}
	return n
}

// dropFromLargest makes room: by one plugin, or by one namespace if each has one plugin.
func (p *Plugins) dropFromLargest() string {
	namespaces := slices.SortedFunc(func(yield func(string) bool) {
		for namespace := range p.byNamespace {
			if namespace != p.gateway && !yield(namespace) {
				return
			}
		}
	}, func(a, b string) int {
		return cmp.Or(cmp.Compare(len(p.byNamespace[b]), len(p.byNamespace[a])), cmp.Compare(a, b))
	})
	if len(namespaces) == 0 {
		return ""
	}
	ids := p.byNamespace[namespaces[0]]
	lost := ids[len(ids)-1]
	p.Remove(lost)
	return lost
}

// Remove removes a plugin.
func (p *Plugins) Remove(id string) {
	p.unassigned.Delete(id)
	for namespace, ids := range p.byNamespace {
		ids = slices.DeleteFunc(slices.Clone(ids), func(listed string) bool { return listed == id })
		p.byNamespace[namespace] = ids
		if len(ids) == 0 {
			delete(p.byNamespace, namespace)
		}
	}
}

// Assign moves the IDs of the annotation to the namespaces of their bindings, as far as their owners are
// known. The rest stays: adminURL may point to another Kong for a while.
func (p *Plugins) Assign(owners map[string]string) {
	for _, id := range sets.List(p.unassigned) {
		if namespace := owners[id]; namespace != "" {
			p.Add(namespace, id)
			p.unassigned.Delete(id)
		}
	}
}

// Status is the list for the status.
func (p *Plugins) Status() []v1alpha1.RetainedPlugins {
	var lists []v1alpha1.RetainedPlugins
	for _, namespace := range sets.List(sets.KeySet(p.byNamespace)) {
		lists = append(lists, v1alpha1.RetainedPlugins{Namespace: namespace, PluginIDs: slices.Clone(p.byNamespace[namespace])})
	}
	return lists
}

// SetAnnotation leaves in the gateway's annotation only what the status does not have.
func (p *Plugins) SetAnnotation(gateway *v1alpha1.KongGateway) {
	if p.unassigned.Len() == 0 {
		delete(gateway.Annotations, v1alpha1.RetainedPluginsAnnotation)
		return
	}
	metav1.SetMetaDataAnnotation(&gateway.ObjectMeta, v1alpha1.RetainedPluginsAnnotation, strings.Join(sets.List(p.unassigned), ","))
}
