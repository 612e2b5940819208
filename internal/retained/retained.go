// Package retained reads and writes the list of plugins that stay in a gateway's Kong on
// purpose, after their binding is gone. It is pure: the caller patches the gateway.
package retained

import (
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/sets"

	"github.com/pluginbinding/kong-plugin-operator/api/v1alpha1"
)

// MaxPlugins is how many plugins a gateway can list: an annotation holds some more.
const MaxPlugins = 5000

// PluginIDs returns the IDs that the gateway lists.
func PluginIDs(gateway *v1alpha1.KongGateway) sets.Set[string] {
	ids := sets.New(strings.Split(gateway.Annotations[v1alpha1.RetainedPluginsAnnotation], ",")...)
	return ids.Delete("")
}

// SetPluginIDs replaces the IDs that the gateway lists.
func SetPluginIDs(gateway *v1alpha1.KongGateway, ids sets.Set[string]) {
	if ids.Len() == 0 {
		delete(gateway.Annotations, v1alpha1.RetainedPluginsAnnotation)
		return
	}
	metav1.SetMetaDataAnnotation(&gateway.ObjectMeta, v1alpha1.RetainedPluginsAnnotation, strings.Join(sets.List(ids), ","))
}
