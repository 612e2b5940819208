package pluginpolicy

import (
	"context"

	"k8s.io/apimachinery/pkg/types"

	"github.com/pluginbinding/kong-plugin-operator/api/v1alpha1"
	"github.com/pluginbinding/kong-plugin-operator/internal/adminapi"
	"github.com/pluginbinding/kong-plugin-operator/internal/connection"
	"github.com/pluginbinding/kong-plugin-operator/internal/policy"
)

// resolveTargets finds out which targets exist.
func (r *Reconciler) resolveTargets(ctx context.Context, s *state) (bool, error) {
	s.targets = policy.Targets(s.policy)
	for i := range s.targets {
		target := &s.targets[i]
		if target.Ref == nil {
			continue
		}
		key := types.NamespacedName{Namespace: s.policy.Namespace, Name: target.Ref.Name}
		presence, again, err := r.Objects.Presence(ctx, policy.GroupKindOf(*target.Ref), key)
		if err != nil {
			return true, err
		}
		target.Presence = presence
		s.requeueIn(again)
	}
	return false, nil
}

// readEntities takes the entities of the targets from the last list that showed them. While a target
// is changing, and for one that no list has shown yet, it asks Kong.
func (r *Reconciler) readEntities(ctx context.Context, s *state) (bool, error) {
	for i := range s.targets {
		target := &s.targets[i]
		key := lookKey{s.gatewayKey, target.Selector}
		selection, known := r.Selections.Get(s.gatewayKey, target.Selector)
		if !known || r.looks.isDue(key, r.Clock.Now()) {
			changed, err := r.look(ctx, s, target.Selector)
			if err != nil {
				r.handleKongError(s, err)
				return true, nil
			}
			selection, known = r.Selections.Get(s.gatewayKey, target.Selector)
			if changed && len(selection.Entities) == 0 {
				r.looks.note(key, r.Clock.Now()) // it may have been made together with the policy
			}
			r.looks.looked(key, r.Clock.Now(), changed)
		}
		target.Selection, target.Known = selection, known
		s.requeueIn(r.looks.dueIn(key, r.Clock.Now()))
	}
	return false, nil
}

// look asks Kong which entities there are, and reports whether they are others than before.
func (r *Reconciler) look(ctx context.Context, s *state, selector connection.Selector) (changed bool, err error) {
	builder := r.Selections.Begin(selector)
	if err := s.access.connection.Client.EntitiesByTags(ctx, selector.Kind, selector.Tags, func(e adminapi.Entity) {
		builder.Add(selector, e)
	}); err != nil {
		return false, err
	}
	return r.Selections.Keep(s.gatewayKey, builder).Has(selector), nil
}

// handleKongError ends the reconcile after an error of Kong. Nothing is known, so nothing changes.
func (r *Reconciler) handleKongError(s *state, err error) {
	reason := adminapi.ReasonForError(err)
	s.problem = policy.Problem{
		Condition: v1alpha1.ConditionResolvedRefs, Unknown: true, Reason: v1alpha1.ReasonKongUnavailable,
		Message: "The operator cannot list the entities of the targets in Kong, and changes no binding: " + err.Error(),
	}
	if reason == adminapi.Denied {
		s.problem.Reason = v1alpha1.ReasonDenied
		s.problem.Message += ". Give the token in spec.auth.tokenSecretRef of the gateway the right to read routes, services and consumers."
	} else {
		s.keepStatus = s.policy.Status.ObservedGeneration == s.policy.Generation && len(s.policy.Status.Conditions) > 0
		if reason != adminapi.Throttled {
			r.Connections.RequestProbe(s.gatewayKey)
		}
	}
	s.requeueIn(r.Backoff.When(s.key))
}
