package pluginpolicy

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"

	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/pluginbinding/kong-plugin-operator/api/v1alpha1"
	"github.com/pluginbinding/kong-plugin-operator/internal/adminapi"
	"github.com/pluginbinding/kong-plugin-operator/internal/policy"
)

const (
	// maxWrites bounds the writes of one reconcile, so that a policy with many entities does not hold
	// its worker for long. The rest follows at once.
	maxWrites = 256
	// concurrentWrites bounds the requests to the API server at the same time.
	concurrentWrites = 8
)

// applyPlan decides, and makes, changes and deletes bindings accordingly.
func (r *Reconciler) applyPlan(ctx context.Context, s *state) (bool, error) {
	vanished, err := r.findVanished(ctx, s)
	if err != nil {
		r.handleKongError(s, err)
		return true, nil
	}
	plan := policy.Decide(policy.Input{
		Policy: s.policy, Targets: s.targets, Children: s.children, Existing: s.existing,
		Blocked: s.blocked, Vanished: vanished, Now: r.Clock.Now(),
	})
	s.retained = plan.Retained
	s.requeueIn(plan.RequeueAfter)
	r.rejections.putLast(s.key, plan.Apply)
	refused, more, err := r.write(ctx, s, plan)
	r.rejections.note(s.key, refused)
	switch {
	case len(refused) > 0:
		s.problem = refused[slices.Min(slices.Collect(maps.Keys(refused)))]
		s.requeueIn(r.Backoff.When(s.key)) // no event tells that a quota or an admission policy has changed
	case more:
		s.requeueIn(firstPause)
	}
	return false, err
}

// write makes the writes of a plan, within bounds. It returns the bindings that the API server refuses, and
// whether there is more to write.
func (r *Reconciler) write(ctx context.Context, s *state, plan policy.Plan) (refused map[string]policy.Problem, more bool, err error) {
	writes := 0
	batch, batchCtx := errgroup.WithContext(ctx)
	batch.SetLimit(concurrentWrites)
	var mu sync.Mutex
	refused = map[string]policy.Problem{} // guarded by mu
	for _, binding := range plan.Delete {
		if writes++; writes <= maxWrites {
			batch.Go(func() error { return r.deleteBinding(batchCtx, s, binding) })
		}
	}
	for _, binding := range plan.Apply {
		if writes++; writes > maxWrites {
			break
		}
		batch.Go(func() error {
			err := r.applyBinding(batchCtx, binding)
			if problem := rejected(err, binding); problem.Condition != "" {
				mu.Lock()
				defer mu.Unlock()
				refused[binding.Name] = problem
				return nil
			}
			return err
		})
	}
	if writes > 0 {
		log.FromContext(ctx).Info("changed the bindings of the policy", "applied", len(plan.Apply), "deleted", len(plan.Delete), "entities", len(s.children))
	}
	err = batch.Wait()
	return refused, writes > maxWrites, err
}

// findVanished asks Kong what became of the entities of bindings that no target has any more. It asks
// nothing while there are none.
func (r *Reconciler) findVanished(ctx context.Context, s *state) (map[string]policy.Existence, error) {
	bindings := policy.Vanished(s.targets, s.children, s.existing)
	if len(bindings) == 0 {
		return nil, nil //nolint:nilnil // an empty map is an answer
	}
	wanted := map[adminapi.EntityKind][]adminapi.EntityRef{}
	for _, binding := range bindings {
		if entity, ok := policy.EntityOf(binding); ok {
			wanted[entity.Kind] = append(wanted[entity.Kind], entity.Ref)
		}
	}
	vanished := map[string]policy.Existence{}
	for kind, refs := range wanted {
		found, err := s.access.connection.Client.Entities(ctx, kind, refs)
		if err != nil {
			return nil, err
		}
		for _, binding := range bindings {
			entity, ok := policy.EntityOf(binding)
			if !ok || entity.Kind != kind {
				continue
			}
			vanished[binding.Name] = policy.Gone
			if found, exists := found[entity.Ref]; exists {
				vanished[binding.Name] = policy.ExistenceOf(s.targets, binding, found.Tags)
			}
		}
	}
	return vanished, nil
}

// applyBinding makes a binding as it is declared. What somebody else added to the spec is removed.
func (r *Reconciler) applyBinding(ctx context.Context, declared *v1alpha1.PluginBinding) error {
	applied, err := applyConfiguration(declared)
	if err != nil {
		return err
	}
	if err := r.Client.Apply(ctx, client.ApplyConfigurationFromUnstructured(applied), client.FieldOwner(FieldManager), client.ForceOwnership); err != nil {
		return err
	}
	live := &v1alpha1.PluginBinding{}
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(applied.Object, live); err != nil {
		return err
	}
	if policy.IsAsDeclared(live, declared) {
		return nil
	}
	base := live.DeepCopy()
	live.Spec = declared.Spec
	if _, gone := declared.Annotations[v1alpha1.EntityGoneSinceAnnotation]; !gone {
		delete(live.Annotations, v1alpha1.EntityGoneSinceAnnotation)
	}
	return r.Client.Patch(ctx, live, optimistically(base), client.FieldOwner(FieldManager))
}

// applyConfiguration is a binding without what only the API server writes.
func applyConfiguration(declared *v1alpha1.PluginBinding) (*unstructured.Unstructured, error) {
	content, err := runtime.DefaultUnstructuredConverter.ToUnstructured(declared)
	if err != nil {
		return nil, err
	}
	applied := &unstructured.Unstructured{Object: content}
	unstructured.RemoveNestedField(content, "status")
	unstructured.RemoveNestedField(content, "metadata", "creationTimestamp")
	return applied, nil
}

// rejected is the problem of a binding that the API server does not take.
func rejected(err error, binding *v1alpha1.PluginBinding) policy.Problem {
	switch {
	case err == nil, apierrors.HasStatusCause(err, corev1.NamespaceTerminatingCause):
		return policy.Problem{}
	case apierrors.IsInvalid(err), apierrors.IsForbidden(err), apierrors.IsBadRequest(err):
		return notAccepted(v1alpha1.ReasonInvalid, fmt.Sprintf("The API server refuses binding %s of this policy: %s. Correct spec.template, or the admission policy that refuses it.", binding.Name, err))
	default:
		return policy.Problem{}
	}
}

// deleteBinding deletes a binding of the policy, unless it is another one by now.
func (r *Reconciler) deleteBinding(ctx context.Context, s *state, binding *v1alpha1.PluginBinding) error {
	err := r.Client.Delete(ctx, binding.DeepCopy(), client.Preconditions{UID: ptr.To(binding.UID)})
	if isAlreadyGone(err) {
		return nil
	}
	if err == nil {
		log.FromContext(ctx).Info("deleted a binding of the policy", "binding", binding.Name, "policy", s.key.String())
	}
	return err
}
