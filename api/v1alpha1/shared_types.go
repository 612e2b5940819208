package v1alpha1

const (
	// PausedAnnotation, set to "true" on a PluginBinding, stops everything for it,
	// deletion included, until it is taken away. Ready says so.
	PausedAnnotation = "kong.pluginbinding.io/paused"

	// ReconcileRequestedAtAnnotation asks for a reconcile now: any new value will do,
	// a time stamp is the convention.
	ReconcileRequestedAtAnnotation = "kong.pluginbinding.io/reconcile-requested-at"

	// LeftPluginsAnnotation on a KongGateway holds the IDs of plugins, separated by commas,
	// whose bindings were deleted under managementPolicy Observe. The operator writes it. A
	// sweep takes none of them for an orphan; take an ID out to have it reported and, where
	// that is allowed, removed.
	RetainedPluginsAnnotation = "kong.pluginbinding.io/retained-plugins"

	// PluginFinalizer keeps a PluginBinding until its plugin is gone from Kong.
	PluginFinalizer = "kong.pluginbinding.io/plugin"

	// GatewayFinalizer keeps a KongGateway until no PluginBinding refers to it.
	GatewayFinalizer = "kong.pluginbinding.io/gateway"
)

// SecretKeyRef names one key of a Secret in the namespace of the object that holds
// the reference.
type SecretKeyRef struct {
	// name of the Secret.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:XValidation:rule="self.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?([.][a-z0-9]([-a-z0-9]*[a-z0-9])?)*$')",message="must be the name of a Kubernetes object: lower-case letters, digits, '-' and '.'"
	Name string `json:"name"`

	// key within the Secret's data.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:XValidation:rule="self.matches('^[-._a-zA-Z0-9]+$')",message="must be a key of a Secret: letters, digits, '-', '_' and '.'"
	Key string `json:"key"`
}

// Name is the name of an entity in Kong as it may stand in a path of the Admin API.
//
// +kubebuilder:validation:MinLength=1
// +kubebuilder:validation:MaxLength=256
// +kubebuilder:validation:XValidation:rule="self.matches('^[A-Za-z0-9][A-Za-z0-9._~-]*$')",message="must start with a letter or a digit and hold only letters, digits, '.', '_', '~' and '-'"
// +kubebuilder:validation:XValidation:rule="!self.matches('^[0-9A-Fa-f]{8}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{12}$')",message="must not look like a UUID, which Kong would read as an ID; an ID goes into an id field"
type Name string

// UUID is an ID that Kong gave to an entity.
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

// Duration is a length of time such as 500ms, 30s or 1m30s. What the rule lets through
// CEL's duration() can read.
//
// +kubebuilder:validation:MaxLength=32
// +kubebuilder:validation:XValidation:rule="self.matches('^([0-9]{1,5}([.][0-9]{1,9})?(ms|s|m|h))+$')",message="must be a duration such as 500ms, 30s or 1m30s"
type Duration string
