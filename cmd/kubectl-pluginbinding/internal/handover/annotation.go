package handover

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/pluginbinding/kong-plugin-operator/internal/kic"
)

// patchAttempts is how often an annotation is read again because somebody else changed it.
const patchAttempts = 5

// names returns the names in an annotation without the one that means the plugin, and whether it was
// there. The names of others stay as they are written.
func without(annotation, namespace string, name types.NamespacedName) (rest string, found bool) {
	var kept []string
	for entry := range strings.SplitSeq(annotation, ",") {
		key := types.NamespacedName{Namespace: namespace, Name: strings.TrimSpace(entry)}
		if other, short, qualified := strings.Cut(key.Name, ":"); qualified {
			key = types.NamespacedName{Namespace: other, Name: short}
		}
		switch {
		case key == name:
			found = true
		case key.Name != "":
			kept = append(kept, entry)
		}
	}
	return strings.Join(kept, ","), found
}

// attachedName is the KongPlugin as an annotation of the object names it.
func (i *Item) attachedName() types.NamespacedName {
	namespace := i.KongPlugin.Namespace
	if namespace == "" && i.Object != nil { // a KongClusterPlugin is found under the object's namespace
		namespace = i.Object.Namespace
	}
	return types.NamespacedName{Namespace: namespace, Name: i.KongPlugin.Name}
}

// carrier is the object that attaches the plugin, and the path to what attaches it.
func (i *Item) carrier() (ref Ref, field, key string) {
	if i.Object == nil {
		return i.KongPlugin, "labels", kic.GlobalLabel
	}
	return *i.Object, "annotations", kic.PluginsAnnotation
}

// isAttached reports whether the object attaches the plugin.
func (i *Item) isAttached(value string) bool {
	if i.Object == nil {
		return value == "true"
	}
	_, found := without(value, i.Object.Namespace, i.attachedName())
	return found
}

// detached and attached are the value without and with the plugin.
func (i *Item) detached(value string) string {
	if i.Object == nil {
		return ""
	}
	rest, _ := without(value, i.Object.Namespace, i.attachedName())
	return rest
}

func (i *Item) attached(value string) string {
	switch {
	case i.isAttached(value):
		return value
	case i.Object == nil:
		return "true"
	case i.isAttached(i.Annotation) && value == i.detached(i.Annotation): // nobody else changed it
		return i.Annotation
	}
	name := i.KongPlugin.Name
	if i.KongPlugin.Namespace != "" && i.KongPlugin.Namespace != i.Object.Namespace {
		name = i.KongPlugin.Namespace + ":" + name
	}
	return strings.TrimPrefix(value+","+name, ",")
}

// readCarrier reads the metadata of the object that attaches the plugin.
func (m *mover) readCarrier(ctx context.Context, i *Item) (*metav1.PartialObjectMetadata, error) {
	ref, _, _ := i.carrier()
	object := &metav1.PartialObjectMetadata{}
	object.SetGroupVersionKind(schema.GroupVersionKind{Group: ref.Group, Version: ref.Version, Kind: ref.Kind})
	if err := m.kube.Get(ctx, ref.object().Key(), object); err != nil {
		return nil, fmt.Errorf("%s cannot be read: %w", ref.object(), err)
	}
	return object, nil
}

func (i *Item) valueOn(object *metav1.PartialObjectMetadata) string {
	if i.Object == nil {
		return object.Labels[kic.GlobalLabel]
	}
	return object.Annotations[kic.PluginsAnnotation]
}

// setAttached changes only the one annotation or label, and only if it is still as it was read.
func (m *mover) setAttached(ctx context.Context, i *Item, want func(string) string) error {
	m.attaching.Lock() // items of one object that move at a time are no reason to read it again
	defer m.attaching.Unlock()
	var err error
	for range patchAttempts {
		var object *metav1.PartialObjectMetadata
		if object, err = m.readCarrier(ctx, i); err != nil {
			return err
		}
		was := i.valueOn(object)
		is := want(was)
		if is == was {
			return nil
		}
		err = m.kube.Patch(ctx, object, client.RawPatch(types.JSONPatchType, i.patch(object, is)))
		if err == nil || !apierrors.IsInvalid(err) && !apierrors.IsConflict(err) {
			break
		}
	}
	ref, _, key := i.carrier()
	if err != nil {
		return fmt.Errorf("%s of %s cannot be changed: %w", key, ref.object(), err)
	}
	return nil
}

// patch is a JSON patch that tests the value before it changes it.
func (i *Item) patch(object *metav1.PartialObjectMetadata, value string) []byte {
	type operation struct {
		Op    string `json:"op"`
		Path  string `json:"path"`
		Value any    `json:"value,omitempty"`
	}
	_, field, key := i.carrier()
	all := object.Annotations
	if field == "labels" {
		all = object.Labels
	}
	parent := "/metadata/" + field
	path := parent + "/" + strings.ReplaceAll(strings.ReplaceAll(key, "~", "~0"), "/", "~1")
	was, exists := all[key]
	var patch []operation
	switch {
	case exists && value == "":
		patch = []operation{{"test", path, was}, {Op: "remove", Path: path}}
	case exists:
		patch = []operation{{"test", path, was}, {"replace", path, value}}
	case len(all) == 0:
		patch = []operation{{"test", "/metadata/resourceVersion", object.ResourceVersion}, {"add", parent, map[string]string{key: value}}}
	default:
		patch = []operation{{"test", "/metadata/resourceVersion", object.ResourceVersion}, {"add", path, value}}
	}
	raw, err := json.Marshal(patch)
	if err != nil {
		return nil // strings only
	}
	return raw
}
