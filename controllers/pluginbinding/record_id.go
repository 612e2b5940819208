package pluginbinding

import (
	"context"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/util/retry"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/pluginbinding/kong-plugin-operator/api/v1alpha1"
)

// recordTimeout bounds the recording of an ID, which continues when the process is told to stop:
// it has to fit into the pod's grace period.
const recordTimeout = 10 * time.Second

// recordAttemptTimeout bounds one attempt, so that a request that is never answered leaves time
// for another one.
const recordAttemptTimeout = 3 * time.Second

// recordBackoff retries within recordTimeout.
var recordBackoff = wait.Backoff{Steps: 8, Duration: 20 * time.Millisecond, Factor: 2.5, Jitter: 0.1, Cap: 3 * time.Second}

// recordPluginID records an ID that Kong assigned. It survives a shutdown, it is retried, and it
// never replaces a different ID. When it fails for good, the plugin's ownership tags tell the next
// reconcile.
func (r *Reconciler) recordPluginID(ctx context.Context, s *state, base *v1alpha1.PluginBinding) *stepResult {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), recordTimeout)
	defer cancel()

	next := s.binding.Status.DeepCopy()
	err := retry.OnError(recordBackoff, isRetriable, func() error {
		ctx, cancel := context.WithTimeout(ctx, recordAttemptTimeout)
		defer cancel()
		target := base.DeepCopy()
		next.DeepCopyInto(&target.Status)
		err := r.Client.Status().Patch(ctx, target, optimistically(base))
		if err == nil {
			r.lag.Wrote(base, target)
			s.binding = target
			if s.applied.source == v1alpha1.PluginIDRecovered {
				r.Metrics.CountRecoveredID(s.gatewayKey)
			}
			return nil
		}
		if !apierrors.IsConflict(err) {
			return err
		}
		live, done, failed := r.resolveRecordConflict(ctx, s, base)
		if failed != nil || done {
			return failed
		}
		base = live
		return err
	})
	return r.recordResult(ctx, s, err)
}

// resolveRecordConflict reads the binding after a conflict. It is done if the ID is recorded
// already; otherwise it returns the object to patch next, or an error that ends the attempts.
func (r *Reconciler) resolveRecordConflict(ctx context.Context, s *state, base *v1alpha1.PluginBinding) (live *v1alpha1.PluginBinding, done bool, err error) {
	live = &v1alpha1.PluginBinding{}
	if err := r.APIReader.Get(ctx, client.ObjectKeyFromObject(base), live); err != nil {
		return nil, false, err
	}
	switch {
	case live.UID != base.UID:
		return nil, false, apierrors.NewNotFound(v1alpha1.GroupVersion.WithResource("pluginbindings").GroupResource(), base.Name)
	case string(live.Status.PluginID) == s.applied.recordID:
		// An earlier reconcile recorded it, and the cache does not show that yet.
		s.binding, s.events = live, nil
		return live, true, nil
	case live.Status.PluginID != "":
		return nil, false, apierrors.NewInvalid(v1alpha1.GroupVersion.WithKind("PluginBinding").GroupKind(), base.Name, nil)
	default:
		return live, false, nil
	}
}

func isRetriable(err error) bool {
	return !apierrors.IsNotFound(err) && !apierrors.IsInvalid(err) && !apierrors.IsForbidden(err)
}

// recordResult says what becomes of an ID that could not be recorded.
func (r *Reconciler) recordResult(ctx context.Context, s *state, err error) *stepResult {
	switch {
	case err == nil:
		return nil
	case apierrors.IsNotFound(err):
		return r.rollbackCreate(ctx, s)
	case apierrors.IsInvalid(err):
		r.Metrics.CountRefusedIDChange(s.gatewayKey)
		log.FromContext(ctx).Error(err, "the API server refused to record a plugin ID over a different one", "plugin", s.applied.recordID)
		s.events = []pendingEvent{{corev1.EventTypeWarning, v1alpha1.ReasonIDNotRecorded,
			fmt.Sprintf("plugin %s could not be recorded: another ID is recorded already", s.applied.recordID)}}
		return requeue()
	default:
		s.events = nil
		return kubernetesError(err)
	}
}

// rollbackCreate deletes a plugin that was created for a binding that no longer exists: somebody
// removed its finalizer by force. If a binding of the same name was created since, that one finds
// the plugin by its ownership tags and keeps it.
func (r *Reconciler) rollbackCreate(ctx context.Context, s *state) *stepResult {
	s.events = nil
	if s.applied.source != v1alpha1.PluginIDCreated {
		return done()
	}
	err := r.APIReader.Get(ctx, client.ObjectKeyFromObject(s.binding), &v1alpha1.PluginBinding{})
	if !apierrors.IsNotFound(err) {
		return requeue()
	}
	logger := log.FromContext(ctx)
	if err := s.client().Delete(ctx, s.applied.recordID); err != nil {
		logger.Error(err, "the binding no longer exists and its new plugin could not be deleted; the resync will report it", "plugin", s.applied.recordID)
		return done()
	}
	r.Metrics.CountWrite(s.gatewayKey, "delete")
	logger.Info("the binding no longer exists; deleted its new plugin", "plugin", s.applied.recordID)
	return done()
}
