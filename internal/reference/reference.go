// Package reference says which objects a KongGateway or PluginBinding refers to, and names
// the cache indexes over these references. It is pure: it reads specs and asks nobody.
//
// It may import the API types. It must not import a client: whoever follows a reference
// brings one.
package reference

import (
	"cmp"
	"slices"
	"strconv"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/pluginbinding/kong-plugin-operator/api/v1alpha1"
	"github.com/pluginbinding/kong-plugin-operator/internal/adminapi"
	"github.com/pluginbinding/kong-plugin-operator/internal/tenancy"
)

// Field indexes of the cache. The setup of the controllers adds them.
const (
	// IndexGateway finds bindings by namespace/name of their gateway.
	IndexGateway = "spec.gatewayRef"
	// IndexSecret finds bindings and gateways by the name of a Secret in their namespace.
	IndexSecret = "spec.secrets"
	// IndexConfigMap finds bindings by the name of a ConfigMap in their namespace.
	IndexConfigMap = "spec.configMaps"
	// IndexConflict finds bindings in conflict by namespace/name of their gateway. It finds policies
	// in conflict by the same, and by their namespace with a slash behind it.
	IndexConflict = "status.conflict.gateway"
	// IndexPluginID finds bindings by the ID of their plugin, see PluginIDBucket.
	IndexPluginID = "status.pluginID"
	// IndexReplaces finds bindings by namespace/name of the binding that they replace.
	IndexReplaces = "spec.replaces"
	// IndexPlace finds bindings by the places of their plugin, see PlaceBucket.
	IndexPlace = "place"
	// IndexPolicy finds bindings by the UID of the policy that controls them.
	IndexPolicy = "metadata.controller"
	// IndexTarget finds policies by their targets, see TargetKey.
	IndexTarget = "spec.targetRefs"
)

// GatewayOf returns the key of the binding's gateway. Without a namespace in the reference
// it is the binding's own.
func GatewayOf(binding *v1alpha1.PluginBinding) types.NamespacedName {
	key := types.NamespacedName{Namespace: binding.Spec.GatewayRef.Namespace, Name: binding.Spec.GatewayRef.Name}
	if key.Namespace == "" {
		key.Namespace = binding.Namespace
	}
	return key
}

// SecretsOfBinding lists the names of the Secrets that the binding's config comes from, all
// in its namespace. A name can appear more than once.
func SecretsOfBinding(binding *v1alpha1.PluginBinding) []string {
	return namesIn(binding, func(from *v1alpha1.ConfigSource) string { return from.SecretKeyRef.Name })
}

// ConfigMapsOfBinding lists the names of the ConfigMaps that the binding's config comes from, in the
// same way.
func ConfigMapsOfBinding(binding *v1alpha1.PluginBinding) []string {
	return namesIn(binding, func(from *v1alpha1.ConfigSource) string { return from.ConfigMapKeyRef.Name })
}

func namesIn(binding *v1alpha1.PluginBinding, name func(*v1alpha1.ConfigSource) string) (names []string) {
	add := func(from *v1alpha1.ConfigSource) {
		if found := name(from); found != "" {
			names = append(names, found)
		}
	}
	if from := binding.Spec.ConfigFrom; from != nil {
		add(from)
	}
	for i := range binding.Spec.ConfigPatches {
		add(&binding.Spec.ConfigPatches[i].ValueFrom)
	}
	return names
}

// SecretsOfGateway lists the names of the Secrets that the gateway's connection needs, all in
// its namespace.
func SecretsOfGateway(gateway *v1alpha1.KongGateway) []string {
	var names []string
	if auth := gateway.Spec.Auth; auth != nil {
		names = append(names, auth.TokenSecretRef.Name)
	}
	if tls := gateway.Spec.TLS; tls != nil {
		if tls.CASecretRef != nil {
			names = append(names, tls.CASecretRef.Name)
		}
		if tls.ClientCertSecretRef != nil {
			names = append(names, tls.ClientCertSecretRef.Name)
		}
	}
	return names
}

// Peer is the binding as tenancy ranks it.
func Peer(binding *v1alpha1.PluginBinding) tenancy.Peer {
	return tenancy.Peer{Name: binding.Name, Created: binding.CreationTimestamp.Time}
}

// IsPaused reports whether the binding carries the paused annotation, with any value but one that
// strconv.ParseBool reads as false. Whoever sets a value that is neither wants to stop the operator
// rather than not.
func IsPaused(binding *v1alpha1.PluginBinding) bool { return IsPausedBy(binding) }

// IsPausedBy is IsPaused for an object of any kind.
func IsPausedBy(object client.Object) bool {
	value, set := object.GetAnnotations()[v1alpha1.PausedAnnotation]
	paused, err := strconv.ParseBool(value)
	return set && (paused || err != nil)
}

// maxTakeBack bounds how far ahead the end of a hand-over may be. A binding must not fight with the
// ingress controller for longer.
const maxTakeBack = 10 * time.Minute

// TakesBack reports whether Kong's ingress controller hands the plugin of the binding over now, as the
// annotation says.
func TakesBack(binding *v1alpha1.PluginBinding, now time.Time) bool {
	until, err := time.Parse(time.RFC3339, binding.Annotations[v1alpha1.TakeBackUntilAnnotation])
	left := until.Sub(now)
	return err == nil && left > 0 && left <= maxTakeBack
}

// IsObserved reports whether the operator may only read the binding's plugin.
func IsObserved(binding *v1alpha1.PluginBinding) bool {
	return binding.Spec.ManagementPolicy == v1alpha1.ObservePlugin
}

// AllowsWrites reports whether the binding's author lets the operator write to Kong for it.
func AllowsWrites(binding *v1alpha1.PluginBinding) bool {
	return !IsPaused(binding) && !IsObserved(binding)
}

// Replaced returns the binding that spec.replaces names. It returns false if it names none.
func Replaced(binding *v1alpha1.PluginBinding) (types.NamespacedName, bool) {
	ref := binding.Spec.Replaces
	if ref == nil {
		return types.NamespacedName{}, false
	}
	return types.NamespacedName{Namespace: cmp.Or(string(ref.Namespace), binding.Namespace), Name: ref.Name}, true
}

// AllowsReplacement reports whether a binding may be replaced by one of that namespace.
func AllowsReplacement(binding *v1alpha1.PluginBinding, namespace string) bool {
	return binding.Namespace == namespace ||
		slices.Contains(binding.Spec.AllowReplacementFrom, v1alpha1.NamespaceName(namespace))
}

// RequestedAt returns the binding's last request for an immediate reconcile.
func RequestedAt(binding *v1alpha1.PluginBinding) string {
	return binding.Annotations[v1alpha1.ReconcileRequestedAtAnnotation]
}

// DefaultResyncInterval is how often a gateway is resynced if its spec does not say so.
const DefaultResyncInterval = time.Minute

// ResyncInterval returns how often the gateway is resynced.
func ResyncInterval(gateway *v1alpha1.KongGateway) time.Duration {
	return durationOr(gateway.Spec.ResyncInterval, DefaultResyncInterval)
}

// RequestTimeout returns how long a request to the gateway's Kong may take.
func RequestTimeout(gateway *v1alpha1.KongGateway) time.Duration {
	if gateway.Spec.Limits == nil {
		return adminapi.DefaultRequestTimeout
	}
	return durationOr(gateway.Spec.Limits.RequestTimeout, adminapi.DefaultRequestTimeout)
}

// durationOr parses a duration that the API server has validated.
func durationOr(d v1alpha1.Duration, otherwise time.Duration) time.Duration {
	if parsed, err := time.ParseDuration(string(d)); err == nil {
		return parsed
	}
	return otherwise
}

// SameKong reports whether two gateways lead to the same workspace of the same Kong: by their URLs,
// or by what their Kongs say of themselves.
func SameKong(a, b *v1alpha1.KongGateway) bool {
	if a.Spec.Workspace != b.Spec.Workspace {
		return false
	}
	return KongInstance(a) == KongInstance(b) ||
		slices.ContainsFunc(a.Status.KongIDs, func(id string) bool { return slices.Contains(b.Status.KongIDs, id) })
}

// KongInstance is a key of the place that the gateway's spec names: Admin API and workspace.
func KongInstance(gateway *v1alpha1.KongGateway) string {
	return adminapi.CanonicalURL(gateway.Spec.AdminURL) + " " + string(gateway.Spec.Workspace)
}
