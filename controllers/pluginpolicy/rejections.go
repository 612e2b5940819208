package pluginpolicy

import (
	"cmp"
	"maps"
	"slices"
	"sync"

	"k8s.io/apimachinery/pkg/types"

	"github.com/pluginbinding/kong-plugin-operator/api/v1alpha1"
	"github.com/pluginbinding/kong-plugin-operator/internal/policy"
)

// rejections remember which bindings of each policy the API server did not take. One reconcile makes a
// bounded number of writes. Those that are refused must not use them up while others wait. It is safe for
// concurrent use.
type rejections struct {
	mu    sync.Mutex
	count uint64
	// of has, by policy and binding, the place of the last rejection in the order of all.
	of map[types.NamespacedName]map[string]uint64
}

// putLast moves the bindings that were refused behind the others, the one that was refused first before the
// rest. It forgets bindings that the policy need not write any more.
func (r *rejections) putLast(key types.NamespacedName, bindings []*v1alpha1.PluginBinding) {
	r.mu.Lock()
	defer r.mu.Unlock()
	known := r.of[key]
	if len(known) == 0 {
		return
	}
	slices.SortStableFunc(bindings, func(a, b *v1alpha1.PluginBinding) int { return cmp.Compare(known[a.Name], known[b.Name]) })
	left := map[string]uint64{}
	for _, binding := range bindings {
		if at, refused := known[binding.Name]; refused {
			left[binding.Name] = at
		}
	}
	if r.of[key] = left; len(left) == 0 {
		delete(r.of, key)
	}
}

// note remembers the bindings that the API server just refused.
func (r *rejections) note(key types.NamespacedName, refused map[string]policy.Problem) {
	if len(refused) == 0 {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.of == nil {
		r.of = map[types.NamespacedName]map[string]uint64{}
	}
	if r.of[key] == nil {
		r.of[key] = map[string]uint64{}
	}
	for _, name := range slices.Sorted(maps.Keys(refused)) {
		r.count++
		r.of[key][name] = r.count
	}
}

func (r *rejections) forget(key types.NamespacedName) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.of, key)
}
