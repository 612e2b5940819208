package kic

import (
	"maps"
	"slices"
	"sync"

	"k8s.io/apimachinery/pkg/types"
)

// Interests remembers which bindings depend on which objects. It is safe for concurrent use.
type Interests struct {
	mu       sync.Mutex
	objects  map[types.NamespacedName][]Object
	bindings map[Object]map[types.NamespacedName]bool
}

// Note replaces the objects of a binding. The versions do not matter.
func (i *Interests) Note(binding types.NamespacedName, objects []Object) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.objects == nil {
		i.objects, i.bindings = map[types.NamespacedName][]Object{}, map[Object]map[types.NamespacedName]bool{}
	}
	unversioned := make([]Object, len(objects))
	for n, object := range objects {
		object.Version = ""
		unversioned[n] = object
	}
	if slices.Equal(i.objects[binding], unversioned) {
		return
	}
	i.forget(binding)
	if len(unversioned) == 0 {
		return
	}
	i.objects[binding] = unversioned
	for _, object := range unversioned {
		if i.bindings[object] == nil {
			i.bindings[object] = map[types.NamespacedName]bool{}
		}
		i.bindings[object][binding] = true
	}
}

// Forget drops a binding.
func (i *Interests) Forget(binding types.NamespacedName) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.forget(binding)
}

func (i *Interests) forget(binding types.NamespacedName) {
	for _, object := range i.objects[binding] {
		delete(i.bindings[object], binding)
		if len(i.bindings[object]) == 0 {
			delete(i.bindings, object)
		}
	}
	delete(i.objects, binding)
}

// BindingsOf returns the bindings that depend on an object.
func (i *Interests) BindingsOf(object Object) []types.NamespacedName {
	i.mu.Lock()
	defer i.mu.Unlock()
	object.Version = ""
	return slices.Collect(maps.Keys(i.bindings[object]))
}
