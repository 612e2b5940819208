// Package secrets reads the Secrets and ConfigMaps that one reconcile needs. It keeps them for
// that reconcile only: no Secret stays in memory after it.
//
// It imports no client. The caller passes the function that gets an object from the API
// server.
package secrets

import (
	"context"
	"fmt"
	"maps"
	"slices"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
)

// Kind of the objects that a reader reads.
type Kind string

// The kinds.
const (
	Secret    Kind = "Secret"
	ConfigMap Kind = "ConfigMap"
)

// NotFoundError says which object, or which of its keys, does not exist.
type NotFoundError struct {
	Kind                 Kind
	Namespace, Name, Key string
}

// Error implements error.
func (e *NotFoundError) Error() string {
	if e.Key == "" {
		return fmt.Sprintf("%s %s does not exist in namespace %s; create it, or correct its name", e.Kind, e.Name, e.Namespace)
	}
	return fmt.Sprintf("%s %s in namespace %s has no key %s; add it, or correct its name", e.Kind, e.Name, e.Namespace, e.Key)
}

// values are what one object holds, and the version of it.
type values struct {
	data    map[string][]byte
	version string
}

// Reader reads each object of one kind and namespace once, so that all values of one reconcile come
// from one version of it. It is not safe for concurrent use.
type Reader struct {
	kind      Kind
	namespace string
	get       func(ctx context.Context, key types.NamespacedName) (values, error)
	read      map[string]values
}

// NewReader returns a reader for the Secrets of a namespace. The function reads one of them from the API
// server.
func NewReader(get func(context.Context, types.NamespacedName) (*corev1.Secret, error), namespace string) *Reader {
	return newReader(Secret, namespace, func(ctx context.Context, key types.NamespacedName) (values, error) {
		secret, err := get(ctx, key)
		if err != nil {
			return values{}, err
		}
		return values{secret.Data, secret.ResourceVersion}, nil
	})
}

// NewConfigMapReader returns a reader for the ConfigMaps of a namespace.
func NewConfigMapReader(get func(context.Context, types.NamespacedName) (*corev1.ConfigMap, error), namespace string) *Reader {
	return newReader(ConfigMap, namespace, func(ctx context.Context, key types.NamespacedName) (values, error) {
		configMap, err := get(ctx, key)
		if err != nil {
			return values{}, err
		}
		data := maps.Clone(configMap.BinaryData)
		if data == nil {
			data = map[string][]byte{}
		}
		for name, text := range configMap.Data {
			data[name] = []byte(text)
		}
		return values{data, configMap.ResourceVersion}, nil
	})
}

func newReader(kind Kind, namespace string, get func(context.Context, types.NamespacedName) (values, error)) *Reader {
	return &Reader{kind: kind, namespace: namespace, get: get, read: map[string]values{}}
}

// Value returns what a key of an object holds. It returns a *NotFoundError when the object or
// the key does not exist, and otherwise the error of the function that reads.
func (r *Reader) Value(ctx context.Context, name, key string) ([]byte, error) {
	object, err := r.object(ctx, name)
	if err != nil {
		return nil, err
	}
	value, ok := object.data[key]
	if !ok {
		return nil, &NotFoundError{r.kind, r.namespace, name, key}
	}
	return value, nil
}

func (r *Reader) object(ctx context.Context, name string) (values, error) {
	if object, ok := r.read[name]; ok {
		return object, nil
	}
	object, err := r.get(ctx, types.NamespacedName{Namespace: r.namespace, Name: name})
	if apierrors.IsNotFound(err) {
		return values{}, &NotFoundError{r.kind, r.namespace, name, ""}
	}
	if err != nil {
		return values{}, err
	}
	r.read[name] = object
	return object, nil
}

// Versions lists the objects that were read, each as name@resourceVersion, sorted; ConfigMaps
// as configmap/name@resourceVersion.
func (r *Reader) Versions() []string {
	prefix := ""
	if r.kind == ConfigMap {
		prefix = "configmap/"
	}
	versions := make([]string, 0, len(r.read))
	for name, object := range r.read {
		versions = append(versions, prefix+name+"@"+object.version)
	}
	slices.Sort(versions)
	return versions
}
