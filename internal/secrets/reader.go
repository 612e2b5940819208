// Package secrets reads the Secrets that one reconcile needs. It keeps them for that
// reconcile only: no Secret stays in memory after it.
//
// It imports no client. The caller passes the function that gets a Secret from the API
// server.
package secrets

import (
	"context"
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"

	"github.com/pluginbinding/kong-plugin-operator/api/v1alpha1"
)

// Get reads one Secret from the API server.
type Get func(ctx context.Context, key types.NamespacedName) (*corev1.Secret, error)

// NotFoundError says which Secret, or which of its keys, does not exist.
type NotFoundError struct{ Namespace, Name, Key string }

// Error implements error.
func (e *NotFoundError) Error() string {
	if e.Key == "" {
		return fmt.Sprintf("Secret %s does not exist in namespace %s; create it, or correct its name", e.Name, e.Namespace)
	}
	return fmt.Sprintf("Secret %s in namespace %s has no key %s; add it, or correct its name", e.Name, e.Namespace, e.Key)
}

// Reader reads each Secret of one namespace once, so that all values of one reconcile come
// from one version of it. It is not safe for concurrent use.
type Reader struct {
	get       Get
	namespace string
	read      map[string]*corev1.Secret
}

// NewReader returns a reader for the Secrets of a namespace.
func NewReader(get Get, namespace string) *Reader {
	return &Reader{get: get, namespace: namespace, read: map[string]*corev1.Secret{}}
}

// Value returns what a key of a Secret holds. It returns a *NotFoundError when the Secret or
// the key does not exist, and otherwise the error of Get.
func (r *Reader) Value(ctx context.Context, ref v1alpha1.SecretKeyRef) ([]byte, error) {
	secret, err := r.secret(ctx, ref.Name)
	if err != nil {
		return nil, err
	}
	value, ok := secret.Data[ref.Key]
	if !ok {
		return nil, &NotFoundError{r.namespace, ref.Name, ref.Key}
	}
	return value, nil
}

func (r *Reader) secret(ctx context.Context, name string) (*corev1.Secret, error) {
	if secret, ok := r.read[name]; ok {
		return secret, nil
	}
	secret, err := r.get(ctx, types.NamespacedName{Namespace: r.namespace, Name: name})
	if apierrors.IsNotFound(err) {
		return nil, &NotFoundError{r.namespace, name, ""}
	}
	if err != nil {
		return nil, err
	}
	r.read[name] = secret
	return secret, nil
}

// Versions lists the Secrets that were read, each as name@resourceVersion, sorted.
func (r *Reader) Versions() []string {
	versions := make([]string, 0, len(r.read))
	for name, secret := range r.read {
		versions = append(versions, name+"@"+secret.ResourceVersion)
	}
	slices.Sort(versions)
	return versions
}
