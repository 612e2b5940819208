package kic

import (
	"context"

	"k8s.io/apimachinery/pkg/types"
)

// Objects are the Kubernetes objects from which KIC makes what it makes. An error means that somebody
// could not look.
type Objects interface {
	// AnnotationsOf returns the annotations of the object with that UID; an empty one stands for
	// whichever has the name. It returns false if there is none.
	AnnotationsOf(ctx context.Context, object Object, uid types.UID) (map[string]string, bool, error)
	// PluginOf returns the KongPlugin with that name or else the KongClusterPlugin, and the name of its
	// Kong plugin. It returns false if there is none.
	PluginOf(ctx context.Context, key types.NamespacedName) (object Object, plugin string, found bool, err error)
	// GlobalPlugins returns the KongClusterPlugins of one Kong plugin that are global.
	GlobalPlugins(ctx context.Context, plugin string) ([]Object, error)
}

// Source is the object from which KIC made an entity, with its UID.
type Source struct {
	Object Object
	UID    types.UID
}

// ClaimOn looks for a KongPlugin of a Kong plugin on the objects behind all entities of a scope. It
// returns nil if there is none, and in any case the objects on which that depends.
func ClaimOn(ctx context.Context, objects Objects, plugin string, sources []Source) (*Claim, []Object, error) {
	var (
		looked   []Object
		attached [][]types.NamespacedName
	)
	for _, source := range sources {
		looked = append(looked, source.Object)
	}
	for _, source := range sources {
		annotations, found, err := objects.AnnotationsOf(ctx, source.Object, source.UID)
		if err != nil || !found {
			return nil, looked, err
		}
		attached = append(attached, Attached(annotations, source.Object.Namespace))
	}
	for _, name := range Wanted(attached) {
		object, of, found, err := objects.PluginOf(ctx, name)
		if err != nil {
			return nil, looked, err
		}
		if found {
			looked = append(looked, object)
		} else { // it matters when one of the two is made
			looked = append(looked, Object{Group: Group, Kind: KongPlugin, Namespace: name.Namespace, Name: name.Name},
				Object{Group: Group, Kind: KongClusterPlugin, Name: name.Name})
		}
		if found && of == plugin {
			return &Claim{Object: sources[0].Object, Plugin: object}, looked, nil
		}
	}
	return nil, looked, nil
}

// GlobalClaim looks for a global KongClusterPlugin. Two of one Kong plugin make none.
func GlobalClaim(ctx context.Context, objects Objects, plugin string) (*Claim, error) {
	global, err := objects.GlobalPlugins(ctx, plugin)
	if err != nil || len(global) == 0 {
		return nil, err
	}
	return &Claim{Plugin: global[0]}, nil
}
