package v1alpha1

const (
	// PausedAnnotation pauses the reconciliation of a PluginBinding, deletion included, unless
	// its value is "false". The reason of the condition Ready is Paused.
	PausedAnnotation = "kong.pluginbinding.io/paused"

	// ReconcileRequestedAtAnnotation requests a reconcile whenever its value changes. By
	// convention the value is a timestamp.
	ReconcileRequestedAtAnnotation = "kong.pluginbinding.io/reconcile-requested-at"

	// TakeBackUntilAnnotation on a PluginBinding says until when, in the format of RFC 3339, Kong's
	// ingress controller hands the plugin of the binding over. Until then the operator looks at Kong
	// every second and writes the plugin again under its recorded ID if the ingress controller wrote
	// over it or deleted it. A time more than ten minutes ahead does not count.
	TakeBackUntilAnnotation = "kong.pluginbinding.io/take-back-until"

	// RetainedPluginsAnnotation on a KongGateway holds IDs of retained plugins, separated by
	// commas, that are to be added to status.retainedPlugins. An earlier version kept the list
	// there. The next resync moves each ID whose plugin it finds.
	RetainedPluginsAnnotation = "kong.pluginbinding.io/retained-plugins"

	// PluginFinalizer keeps a PluginBinding until the operator has deleted its plugin in
	// Kong.
	PluginFinalizer = "kong.pluginbinding.io/plugin"

	// PolicyFinalizer keeps a PluginPolicy until its PluginBindings are gone.
	PolicyFinalizer = "kong.pluginbinding.io/policy"

	// PolicyLabel on a PluginBinding names the PluginPolicy that made it. If the name is longer
	// than a label may be, its end is a hash.
	PolicyLabel = "kong.pluginbinding.io/policy"

	// TargetAnnotation on a PluginBinding of a policy names the target for which the policy made
	// it.
	TargetAnnotation = "kong.pluginbinding.io/target"

	// EntityGoneSinceAnnotation on a PluginBinding of a policy is the time since when Kong no
	// longer has its entity. The policy deletes the binding when spec.retention is over.
	EntityGoneSinceAnnotation = "kong.pluginbinding.io/entity-gone-since"

	// GatewayFinalizer keeps a KongGateway until no PluginBinding refers to it.
	GatewayFinalizer = "kong.pluginbinding.io/gateway"
)

// SecretKeyRef selects a key of a Secret in the namespace of the object that holds the
// reference.
type SecretKeyRef struct {
	// name is the name of the Secret.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:XValidation:rule="self.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?([.][a-z0-9]([-a-z0-9]*[a-z0-9])?)*$')",message="must be the name of a Kubernetes object: lower-case letters, digits, '-' and '.'"
	Name string `json:"name"`

	// key is the key in the data of the Secret.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:XValidation:rule="self.matches('^[-._a-zA-Z0-9]+$')",message="must be a key of a Secret: letters, digits, '-', '_' and '.'"
	Key string `json:"key"`
}

// ConfigMapKeyRef selects a key of a ConfigMap in the namespace of the object that holds the
// reference.
type ConfigMapKeyRef struct {
	// name is the name of the ConfigMap.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:XValidation:rule="self.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?([.][a-z0-9]([-a-z0-9]*[a-z0-9])?)*$')",message="must be the name of a Kubernetes object: lower-case letters, digits, '-' and '.'"
	Name string `json:"name"`

	// key is the key in the data or the binaryData of the ConfigMap.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:XValidation:rule="self.matches('^[-._a-zA-Z0-9]+$')",message="must be a key of a ConfigMap: letters, digits, '-', '_' and '.'"
	Key string `json:"key"`
}

// Name is the name of an entity in Kong that can be part of a path of the Admin API.
//
// +kubebuilder:validation:MinLength=1
// +kubebuilder:validation:MaxLength=256
// +kubebuilder:validation:XValidation:rule="self.matches('^[A-Za-z0-9][A-Za-z0-9._~-]*$')",message="must start with a letter or a digit and hold only letters, digits, '.', '_', '~' and '-'"
// +kubebuilder:validation:XValidation:rule="!self.matches('^[0-9A-Fa-f]{8}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{12}$')",message="must not look like a UUID, because Kong would read it as an ID; use the field id for an ID"
type Name string

// UUID is the ID of an entity in Kong.
//
// +kubebuilder:validation:MaxLength=36
// +kubebuilder:validation:XValidation:rule="self.matches('^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$')",message="must be a UUID in lower case, as Kong shows it in the id of an entity"
type UUID string

// PluginName is the name of a Kong plugin, such as rate-limiting.
//
// +kubebuilder:validation:MinLength=1
// +kubebuilder:validation:MaxLength=128
// +kubebuilder:validation:XValidation:rule="self.matches('^[a-z0-9][a-z0-9_-]*$')",message="must be the name of a Kong plugin such as rate-limiting: lower-case letters, digits, '-' and '_'"
type PluginName string

// Duration is a duration such as 500ms, 30s or 1m30s. The rule accepts only what CEL's
// duration() can parse.
//
// +kubebuilder:validation:MaxLength=32
// +kubebuilder:validation:XValidation:rule="self.matches('^([0-9]{1,5}([.][0-9]{1,9})?(ms|s|m|h))+$')",message="must be a duration such as 500ms, 30s or 1m30s"
type Duration string

// RetainedPlugins are the retained plugins of the PluginBindings of one namespace.
type RetainedPlugins struct {
	// namespace is the namespace of the PluginBindings.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=63
	Namespace string `json:"namespace"`

	// pluginIDs are the IDs of the plugins in Kong, the oldest first.
	// +required
	// +listType=atomic
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=4000
	// +kubebuilder:validation:items:MinLength=1
	// +kubebuilder:validation:items:MaxLength=64
	PluginIDs []string `json:"pluginIDs"`
}
