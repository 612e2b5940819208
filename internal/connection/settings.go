package connection

import (
	"context"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/pluginbinding/kong-plugin-operator/api/v1alpha1"
	"github.com/pluginbinding/kong-plugin-operator/internal/adminapi"
	"github.com/pluginbinding/kong-plugin-operator/internal/reference"
	"github.com/pluginbinding/kong-plugin-operator/internal/secrets"
)

// UserAgent is what the operator calls itself to Kong.
const UserAgent = "kong-plugin-operator"

// SettingsReader makes the settings of a connection from a KongGateway and its Secrets.
type SettingsReader struct {
	// Secret gets a Secret from the API server.
	Secret func(context.Context, types.NamespacedName) (*corev1.Secret, error)
	// AllowedHosts are those of adminapi.Settings.
	AllowedHosts []string
}

// Settings combines the gateway's spec and its Secrets. It returns a *secrets.NotFoundError if one of
// them, or a key, does not exist, and otherwise the error of Secret.
func (r SettingsReader) Settings(ctx context.Context, gateway *v1alpha1.KongGateway) (adminapi.Settings, error) {
	spec := &gateway.Spec
	settings := adminapi.Settings{
		Name:           client.ObjectKeyFromObject(gateway).String(),
		AdminURL:       spec.AdminURL,
		Workspace:      string(spec.Workspace),
		RequestTimeout: reference.RequestTimeout(gateway),
		UserAgent:      UserAgent,
		AllowedHosts:   r.AllowedHosts,
	}
	if limits := spec.Limits; limits != nil {
		settings.MaxInFlight, settings.Burst = int(limits.MaxInFlight), int(limits.Burst)
		settings.RequestsPerSecond = float64(limits.RequestsPerSecond)
	}
	return settings, r.readSecrets(ctx, gateway, &settings)
}

// readSecrets fills in what the spec takes from Secrets.
func (r SettingsReader) readSecrets(ctx context.Context, gateway *v1alpha1.KongGateway, settings *adminapi.Settings) error {
	reader := secrets.NewReader(r.Secret, gateway.Namespace)
	read := func(to *[]byte, name, key string) error {
		value, err := reader.Value(ctx, name, key)
		*to = value
		return err
	}
	if auth := gateway.Spec.Auth; auth != nil {
		var token []byte
		if err := read(&token, auth.TokenSecretRef.Name, auth.TokenSecretRef.Key); err != nil {
			return err
		}
		settings.TokenHeader, settings.Token = auth.Header, string(token)
	}
	tls := gateway.Spec.TLS
	if tls == nil {
		return nil
	}
	settings.ServerName, settings.InsecureSkipVerify = tls.ServerName, tls.InsecureSkipVerify
	if ref := tls.CASecretRef; ref != nil {
		key := ref.Key
		if key == "" {
			key = corev1.ServiceAccountRootCAKey // ca.crt, as cert-manager writes it
		}
		if err := read(&settings.CA, ref.Name, key); err != nil {
			return err
		}
	}
	if ref := tls.ClientCertSecretRef; ref != nil {
		if err := read(&settings.ClientCert, ref.Name, corev1.TLSCertKey); err != nil {
			return err
		}
		return read(&settings.ClientKey, ref.Name, corev1.TLSPrivateKeyKey)
	}
	return nil
}
