package controllers

import (
	"context"
	"fmt"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/pluginbinding/kong-plugin-operator/internal/policy"
)

const (
	// kindRetry is how often the operator looks whether a kind that a policy names has been installed,
	// or uninstalled: one request per kind, and none while no policy names it.
	kindRetry = 5 * time.Second
	// readTimeout bounds how long the first read of a kind waits for its cache.
	readTimeout = 20 * time.Second
)

// targetObjects finds the targets of policies. It keeps only metadata, and of a kind only from the
// first policy on that names it. A cluster without the kind costs one request now and then.
type targetObjects struct {
	// cached and live read from the cache and from the API server.
	cached, live client.Reader
	mapper       meta.RESTMapper
	clock        clock.PassiveClock
	// watch starts to watch a kind for the policies that name it.
	watch func(schema.GroupVersionKind) error

	mu      sync.Mutex
	kinds   map[schema.GroupKind]schema.GroupVersionKind // those that are watched
	checked map[schema.GroupKind]time.Time               // when a kind was last looked for
	// uninstalled are watched kinds that the API server did not have at that time.
	uninstalled map[schema.GroupKind]bool
}

// Presence implements pluginpolicy.Objects.
func (o *targetObjects) Presence(ctx context.Context, kind schema.GroupKind, key types.NamespacedName) (policy.Presence, time.Duration, error) {
	gvk, installed, err := o.ensureWatched(kind)
	if err != nil || !installed {
		return policy.NotInstalled, kindRetry, err
	}
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	err = o.cached.Get(ctx, key, metadataOf(gvk))
	if !apierrors.IsNotFound(err) {
		return policy.Present, 0, err
	}
	if o.isUninstalled(ctx, gvk, key) {
		return policy.NotInstalled, kindRetry, nil
	}
	return policy.Missing, kindRetry, nil
}

func metadataOf(gvk schema.GroupVersionKind) *metav1.PartialObjectMetadata {
	object := &metav1.PartialObjectMetadata{}
	object.SetGroupVersionKind(gvk)
	return object
}

// ensureWatched watches a kind, if the API server has it.
func (o *targetObjects) ensureWatched(kind schema.GroupKind) (gvk schema.GroupVersionKind, installed bool, err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if gvk, installed = o.kinds[kind]; installed {
		return gvk, true, nil
	}
	if !o.isCheckDue(kind) {
		return gvk, false, nil
	}
	mapping, err := o.mapper.RESTMapping(kind)
	if meta.IsNoMatchError(err) {
		return gvk, false, nil
	}
	if err != nil {
		return gvk, false, fmt.Errorf("looking for the kind %s: %w", kind, err)
	}
	gvk = mapping.GroupVersionKind
	if err := o.watch(gvk); err != nil {
		return gvk, false, fmt.Errorf("watching the kind %s: %w", kind, err)
	}
	o.kinds[kind] = gvk
	return gvk, true, nil
}

// isCheckDue reports whether the kind may be looked for again, and notes that it is.
func (o *targetObjects) isCheckDue(kind schema.GroupKind) bool {
	now := o.clock.Now()
	if last, checked := o.checked[kind]; checked && now.Sub(last) < kindRetry {
		return false
	}
	o.checked[kind] = now
	return true
}

// isUninstalled reports whether the API server no longer has a kind. An object that is not in the cache
// is the only sign of it. The watch stays: it goes on by itself when the kind is installed again.
func (o *targetObjects) isUninstalled(ctx context.Context, gvk schema.GroupVersionKind, key types.NamespacedName) bool {
	kind := gvk.GroupKind()
	o.mu.Lock()
	defer o.mu.Unlock()
	if !o.isCheckDue(kind) {
		return o.uninstalled[kind]
	}
	err := o.live.Get(ctx, key, metadataOf(gvk))
	o.uninstalled[kind] = apierrors.IsNotFound(err) && apierrors.HasStatusCause(err, metav1.CauseTypeUnexpectedServerResponse)
	return o.uninstalled[kind]
}
