package pluginbinding

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/pluginbinding/kong-plugin-operator/api/v1alpha1"
	"github.com/pluginbinding/kong-plugin-operator/internal/adminapi"
	"github.com/pluginbinding/kong-plugin-operator/internal/plugin"
	"github.com/pluginbinding/kong-plugin-operator/internal/reference"
	"github.com/pluginbinding/kong-plugin-operator/internal/secrets"
	"github.com/pluginbinding/kong-plugin-operator/internal/tenancy"
)

// resolveDesired turns the binding's names and Secrets into the plugin that it declares.
func (r *Reconciler) resolveDesired(ctx context.Context, s *state) (desired, *stepResult) {
	c := &s.access.connection
	reader := configReader{
		secrets:    secrets.NewReader(r.getSecret, s.binding.Namespace),
		configMaps: secrets.NewConfigMapReader(r.getConfigMap, s.binding.Namespace),
	}
	d, result := r.render(ctx, s, reader)
	if result != nil {
		return d, result
	}
	if _, hinted := r.hints.age(client.ObjectKeyFromObject(s.binding), r.Clock); !hinted {
		d.trust = c.Snapshot.TrustFor(s.binding, r.InFlight, r.Programmed, c.LongestWrite())
	}
	d.secretVersions = slices.Concat(reader.secrets.Versions(), reader.configMaps.Versions())
	if result = checkCode(s, &d); result != nil { // before anything is asked of Kong
		return d, result
	}
	if result = r.resolveScope(ctx, s, &d); result != nil {
		return d, result
	}
	if result = checkTenancy(&s.access, tenancy.Refer); result != nil {
		return d, result
	}
	if len(d.plugin.Protocols) == 0 {
		// With declared protocols, Kong compares them with the service's routes before it resolves
		// a name, finds none, and refuses (kong/db/dao/plugins.lua).
		d.plugin.ScopeNames = reference.ScopeNames(s.binding.Spec.Scope)
	}
	if result = r.getSchema(ctx, s, &d); result != nil {
		return d, result
	}
	return d, checkCode(s, &d)
}

func (r *Reconciler) getSecret(ctx context.Context, key types.NamespacedName) (*corev1.Secret, error) {
	secret := &corev1.Secret{}
	return secret, r.APIReader.Get(ctx, key, secret)
}

func (r *Reconciler) getConfigMap(ctx context.Context, key types.NamespacedName) (*corev1.ConfigMap, error) {
	configMap := &corev1.ConfigMap{}
	return configMap, r.APIReader.Get(ctx, key, configMap)
}

// configReader reads the sources of one config.
type configReader struct{ secrets, configMaps *secrets.Reader }

func (r *Reconciler) render(ctx context.Context, s *state, reader configReader) (desired, *stepResult) {
	if name := s.instanceName(); name != s.identity.InstanceName() && strings.HasPrefix(name, r.ClusterID+".") {
		return desired{}, notAccepted(v1alpha1.ReasonInvalidConfig,
			fmt.Sprintf("spec.instanceName starts with %s., which is reserved for names that the operator generates; choose another one", r.ClusterID))
	}
	rendered, err := plugin.Render(plugin.Inputs{
		Spec:          &s.binding.Spec,
		InstanceName:  s.instanceName(),
		OwnershipTags: s.identity.OwnershipTags(),
		Secret:        func(ref v1alpha1.SecretKeyRef) ([]byte, error) { return reader.secrets.Value(ctx, ref.Name, ref.Key) },
		ConfigMap: func(ref v1alpha1.ConfigMapKeyRef) ([]byte, error) {
			return reader.configMaps.Value(ctx, ref.Name, ref.Key)
		},
	})
	var (
		missing *secrets.NotFoundError
		config  *plugin.ConfigError
	)
	switch {
	case err == nil:
		return desired{plugin: rendered.Plugin, redactor: rendered.Redactor, warnings: rendered.Warnings}, nil
	case errors.As(err, &missing):
		return desired{}, &stepResult{
			condition: v1alpha1.ConditionResolvedRefs,
			reason:    notFoundReasons[missing.Kind],
			message:   missing.Error(),
		}
	case errors.As(err, &config):
		return desired{}, notAccepted(v1alpha1.ReasonInvalidConfig, config.Error())
	default:
		result := kubernetesError(err)
		if result.condition != "" {
			result.condition = v1alpha1.ConditionResolvedRefs
		}
		return desired{}, result
	}
}

// notFoundReasons by what does not exist.
var notFoundReasons = map[secrets.Kind]string{
	secrets.Secret:    v1alpha1.ReasonSecretNotFound,
	secrets.ConfigMap: v1alpha1.ReasonConfigMapNotFound,
}

// resolveScope finds the IDs of the entities that the scope names: in the snapshot, or else in
// Kong.
func (r *Reconciler) resolveScope(ctx context.Context, s *state, d *desired) *stepResult {
	var scope plugin.Scope
	s.access.request.Entities = nil
	for _, entity := range reference.ScopeEntities(s.binding.Spec.Scope) {
		var (
			found adminapi.Entity
			known bool
		)
		if d.trust.Scope {
			found, known = s.access.connection.Snapshot.Resolve(entity)
		}
		if !known {
			var err error
			found, err = s.client().Resolve(ctx, entity.Kind, entity.Ref)
			switch {
			case adminapi.IsNotFound(err):
				return scopeNotFound(s, entity)
			case adminapi.ReasonForError(err) == adminapi.Ambiguous:
				return scopeAmbiguous(s, entity)
			case err != nil:
				return r.handleKongError(s, d, err)
			}
		}
		entity.SetID(&scope, found.ID)
		if entity.Kind == adminapi.Route {
			d.route = found
		}
		s.access.request.Entities = append(s.access.request.Entities, tenancyEntity(entity, found))
	}
	d.plugin.Scope, d.refsResolved = scope, true
	return nil
}

func scopeNotFound(s *state, entity reference.ScopeEntity) *stepResult {
	return &stepResult{
		condition: v1alpha1.ConditionResolvedRefs,
		reason:    v1alpha1.ReasonScopeNotFound,
		message: fmt.Sprintf("KongGateway %s has no %s. Kong deletes a plugin together with the entity it applies to. The operator recreates the plugin under the same ID when that entity exists again.",
			s.gatewayKey, entity),
		requeueAfter: s.untilScopeListed(),
	}
}

func scopeAmbiguous(s *state, entity reference.ScopeEntity) *stepResult {
	return &stepResult{
		condition:    v1alpha1.ConditionResolvedRefs,
		reason:       v1alpha1.ReasonScopeAmbiguous,
		message:      fmt.Sprintf("KongGateway %s has more than one %s; name it by username or id", s.gatewayKey, entity),
		requeueAfter: s.untilScopeListed(),
	}
}

// untilScopeListed is when to look for the scope again, as long as no resync looked for its entities;
// zero from then on. A resync enqueues the binding when it finds them.
func (s *state) untilScopeListed() time.Duration {
	if snapshot := s.access.connection.Snapshot; snapshot != nil && snapshot.ListsScope(s.binding.Spec.Scope) {
		return 0
	}
	return s.resyncInterval()
}

func (s *state) resyncInterval() time.Duration { return reference.ResyncInterval(s.access.gateway) }

func (r *Reconciler) getSchema(ctx context.Context, s *state, d *desired) *stepResult {
	schema, err := s.client().Schema(ctx, string(s.binding.Spec.Plugin))
	if adminapi.IsNotFound(err) {
		return &stepResult{
			condition: v1alpha1.ConditionProgrammed,
			reason:    v1alpha1.ReasonPluginNotInstalled,
			message: fmt.Sprintf("the Kong of KongGateway %s has no plugin %q; install it and add it to Kong's plugins setting, or correct spec.plugin in a new binding",
				s.gatewayKey, s.binding.Spec.Plugin),
			requeueAfter: slowRetry,
		}
	}
	if err != nil {
		return r.handleKongError(s, d, err)
	}
	d.schema = schema
	d.redactor.AllowFieldNames(schema)
	return nil
}

// handleKongError is the result of an error of Kong. When Kong did not respond as it should,
// its gateway is probed at once, so that the other bindings need not find out themselves.
func (r *Reconciler) handleKongError(s *state, d *desired, err error) *stepResult {
	redactor := d.redactor
	if redactor == nil { // a deletion reads no Secrets, and its write may hold some
		redactor = plugin.RedactAll(s.observed.plugins[s.action.ID].Config)
	}
	if result := checkVersion(s, err); result != nil {
		return result
	}
	result := kongError(err, redactor)
	reason := adminapi.ReasonForError(err)
	if reason == adminapi.ReferenceMissing {
		// The snapshot, or the scope that was just resolved, is outdated.
		r.InFlight.InvalidateScope(s.binding)
		if d.trust.Scope {
			return requeue() // the next reconcile asks Kong, and names the missing entity
		}
	}
	if result.keepConditions && reason != adminapi.Conflict && reason != adminapi.Throttled {
		r.Connections.RequestProbe(s.gatewayKey)
	}
	return result
}
