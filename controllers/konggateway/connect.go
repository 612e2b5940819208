package konggateway

import (
	"context"
	"errors"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"

	"github.com/pluginbinding/kong-plugin-operator/api/v1alpha1"
	"github.com/pluginbinding/kong-plugin-operator/internal/adminapi"
	"github.com/pluginbinding/kong-plugin-operator/internal/connection"
	"github.com/pluginbinding/kong-plugin-operator/internal/message"
	"github.com/pluginbinding/kong-plugin-operator/internal/secrets"
	"github.com/pluginbinding/kong-plugin-operator/internal/tenancy"
)

// connect returns the client for the gateway's spec and Secrets. A probeResult says why there is
// none. A gateway that is being deleted together with its Secrets keeps the client it had, so that
// the plugins of its bindings can still be deleted.
func (r *Reconciler) connect(ctx context.Context, s *state) (connection.AdminClient, *probeResult, error) {
	settings, problem, err := r.settings(ctx, s)
	if err != nil {
		return nil, nil, err
	}
	if problem == nil {
		created, err := r.Clients.Get(s.key.String(), settings)
		if err == nil {
			return created, nil, nil
		}
		problem = &probeResult{
			condition: v1alpha1.ConditionAccepted, reason: v1alpha1.ReasonInvalidConnection,
			message: err.Error() + "; correct spec.adminURL, spec.auth or spec.tls, or the Secret that it names",
		}
	}
	// The deletion is one generation. If the spec changed since, this Kong may not be meant.
	if s.last.client != nil && s.gateway.Generation-s.last.generation <= 1 && !s.gateway.DeletionTimestamp.IsZero() {
		return s.last.client, nil, nil
	}
	return nil, problem, nil
}

// settings combines spec and Secrets. A probeResult says why that is not possible.
func (r *Reconciler) settings(ctx context.Context, s *state) (adminapi.Settings, *probeResult, error) {
	if problem := checkSelectors(s.gateway); problem != nil {
		return adminapi.Settings{}, problem, nil
	}
	reader := connection.SettingsReader{Secret: r.getSecret, AllowedHosts: r.AllowedHosts}
	settings, err := reader.Settings(ctx, s.gateway)
	var missing *secrets.NotFoundError
	switch {
	case errors.As(err, &missing):
		return settings, &probeResult{
			condition: v1alpha1.ConditionResolvedRefs, reason: v1alpha1.ReasonSecretNotFound,
			message: missing.Error(),
		}, nil
	case apierrors.IsForbidden(err):
		return settings, &probeResult{
			condition: v1alpha1.ConditionResolvedRefs, reason: v1alpha1.ReasonForbidden,
			message: message.Forbidden(err),
		}, nil
	default:
		return settings, nil, err
	}
}

func (r *Reconciler) getSecret(ctx context.Context, key types.NamespacedName) (*corev1.Secret, error) {
	secret := &corev1.Secret{}
	return secret, r.APIReader.Get(ctx, key, secret)
}

// checkSelectors reports selectors that cannot be used. They select no namespace.
func checkSelectors(gateway *v1alpha1.KongGateway) *probeResult {
	_, err := tenancy.NewPolicy(gateway)
	if err == nil {
		return nil
	}
	return &probeResult{
		condition: v1alpha1.ConditionAccepted, reason: v1alpha1.ReasonInvalidSelector, permanent: true,
		message: err.Error() + "; correct the selector",
	}
}
