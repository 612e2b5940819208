package v1alpha1

import (
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// PluginBindingSpec declares one Kong plugin on one scope.
//
// +kubebuilder:validation:XValidation:rule="!has(self.config) || !has(self.configFrom)",message="config and configFrom exclude each other"
// +kubebuilder:validation:XValidation:rule="!has(oldSelf.pluginID) || (has(self.pluginID) && self.pluginID == oldSelf.pluginID)",message="pluginID is immutable once set"
type PluginBindingSpec struct {
	// gatewayRef names the KongGateway that holds the plugin. It is immutable. When
	// status.gateway names the gateway, you can add its namespace.
	// +required
	GatewayRef GatewayRef `json:"gatewayRef"`

	// plugin is the name of the Kong plugin, such as rate-limiting. It is immutable.
	// +required
	// +kubebuilder:validation:XValidation:rule="self == oldSelf",message="plugin is immutable; create another PluginBinding for another plugin"
	Plugin PluginName `json:"plugin"`

	// scope names the entities in Kong to which the plugin applies: a service, a route, a
	// consumer, a consumer group, or a combination of them. Without scope the plugin is
	// global. When the scope changes, the plugin moves and keeps its ID.
	// +optional
	Scope *Scope `json:"scope,omitempty"`

	// instanceName is the instance_name of the plugin in Kong. It is unique in its
	// workspace. The default is <cluster id>.<namespace>.<name>.
	// +optional
	// +kubebuilder:validation:XValidation:rule="self != 'enabled'",message="instanceName must not be enabled, because /plugins/enabled is another endpoint of Kong"
	InstanceName Name `json:"instanceName,omitempty"`

	// enabled says whether the plugin runs.
	// +optional
	// +kubebuilder:default=true
	Enabled *bool `json:"enabled,omitempty"`

	// protocols lists the protocols for which the plugin runs. The default is that of the
	// plugin in Kong.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=16
	Protocols []Protocol `json:"protocols,omitempty"`

	// ordering changes the order in which plugins run. Kong Enterprise only.
	// +optional
	Ordering *PluginOrdering `json:"ordering,omitempty"`

	// condition is the expression that says for which requests the plugin runs, in the language
	// of Kong. Without it the plugin runs for all. It is not secret. Kong Enterprise 3.14 and
	// newer only.
	// +optional
	Condition PluginCondition `json:"condition,omitempty"`

	// partials link the plugin to partials of Kong: configs that plugins share, such as one of
	// Redis. What a partial holds need not be in config. Kong Enterprise 3.10 and newer only.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=16
	Partials []PluginPartial `json:"partials,omitempty"`

	// tags are tags for the plugin in Kong, in addition to the ownership tags of the
	// operator.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=32
	Tags []Tag `json:"tags,omitempty"`

	// config is the config of the plugin, as in Kong's documentation. Put secret values
	// into configFrom or configPatches.
	// +optional
	// +kubebuilder:validation:Type=object
	// +kubebuilder:validation:Schemaless
	// +kubebuilder:pruning:PreserveUnknownFields
	Config *apiextensionsv1.JSON `json:"config,omitempty"`

	// configFrom reads the whole config from a Secret or a ConfigMap. It excludes config.
	// +optional
	ConfigFrom *ConfigSource `json:"configFrom,omitempty"`

	// configPatches set values from Secrets and ConfigMaps in the config, in the given
	// order.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=64
	ConfigPatches []ConfigPatch `json:"configPatches,omitempty"`

	// adoptionPolicy says what the operator does when Kong already has a plugin with this
	// name and scope that this binding does not own. Never reports a conflict.
	// IfIdentical adopts a plugin without an owner if this does not change how Kong
	// handles traffic. Override adopts the plugin, also that of another owner, and changes
	// it as declared. The gateway's allowedBindings.adoption can allow less.
	// +optional
	// +kubebuilder:default=IfIdentical
	AdoptionPolicy AdoptionPolicy `json:"adoptionPolicy,omitempty"`

	// deletionPolicy says what the operator does with the plugin when the binding is
	// deleted. Delete deletes the plugin. Orphan keeps it in Kong and removes the ownership
	// tags.
	// +optional
	// +kubebuilder:default=Delete
	DeletionPolicy DeletionPolicy `json:"deletionPolicy,omitempty"`

	// managementPolicy is Manage or Observe. With Observe the operator never writes to
	// Kong. The conditions say what it would do.
	// +optional
	// +kubebuilder:default=Manage
	ManagementPolicy ManagementPolicy `json:"managementPolicy,omitempty"`

	// pluginID imports the plugin with this ID. The plugin must exist, have the declared
	// plugin name, and have no owner. It is immutable once set.
	// +optional
	PluginID UUID `json:"pluginID,omitempty"`

	// replaces names another PluginBinding whose plugin this binding takes over, under its ID:
	// for a binding that gets another name or namespace. Apply this binding and delete the
	// other one, in any order; the other one is deleted without its plugin. Both must have
	// the same gateway and plugin. Once this binding has a plugin, the field does nothing.
	// +optional
	Replaces *BindingRef `json:"replaces,omitempty"`

	// allowReplacementFrom lists namespaces whose bindings may name this one in replaces.
	// Those of its own namespace always may. When this list is not empty, the deletion of
	// this binding waits 30 s for one that replaces it, so that the new one may also come
	// after the deletion.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=16
	AllowReplacementFrom []NamespaceName `json:"allowReplacementFrom,omitempty"`
}

// BindingRef names a PluginBinding.
type BindingRef struct {
	// name is the name of the PluginBinding.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:XValidation:rule="self.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?([.][a-z0-9]([-a-z0-9]*[a-z0-9])?)*$')",message="must be the name of a Kubernetes object: lower-case letters, digits, '-' and '.'"
	Name string `json:"name"`

	// namespace is the namespace of the PluginBinding. The default is the namespace of the
	// binding that refers to it. A binding in another namespace must allow it in
	// allowReplacementFrom.
	// +optional
	Namespace NamespaceName `json:"namespace,omitempty"`
}

// NamespaceName is the name of a namespace.
//
// +kubebuilder:validation:MinLength=1
// +kubebuilder:validation:MaxLength=63
// +kubebuilder:validation:XValidation:rule="self.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?$')",message="must be the name of a namespace: lower-case letters, digits and '-'"
type NamespaceName string

// GatewayRef names a KongGateway.
type GatewayRef struct {
	// name is the name of the KongGateway.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:XValidation:rule="self.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?([.][a-z0-9]([-a-z0-9]*[a-z0-9])?)*$')",message="must be the name of a Kubernetes object: lower-case letters, digits, '-' and '.'"
	Name string `json:"name"`

	// namespace is the namespace of the KongGateway. The default is the namespace of the
	// binding. A gateway in another namespace must allow the binding, see allowedBindings
	// of KongGateway.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=63
	// +kubebuilder:validation:XValidation:rule="self.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?$')",message="must be the name of a namespace: lower-case letters, digits and '-'"
	Namespace string `json:"namespace,omitempty"`
}

// Scope names the entities to which a plugin applies. Several entities combine.
//
// +kubebuilder:validation:XValidation:rule="has(self.service) || has(self.route) || has(self.consumer) || has(self.consumerGroup)",message="set at least one of service, route, consumer and consumerGroup, or leave out scope for a global plugin"
// +kubebuilder:validation:XValidation:rule="!has(self.consumer) || !has(self.consumerGroup)",message="consumer and consumerGroup exclude each other"
type Scope struct {
	// service limits the plugin to the traffic of a service.
	// +optional
	Service *EntityRef `json:"service,omitempty"`

	// route limits the plugin to the traffic of a route.
	// +optional
	Route *EntityRef `json:"route,omitempty"`

	// consumer limits the plugin to the traffic of a consumer.
	// +optional
	Consumer *ConsumerRef `json:"consumer,omitempty"`

	// consumerGroup limits the plugin to the traffic of a consumer group. Kong Enterprise
	// only.
	// +optional
	ConsumerGroup *EntityRef `json:"consumerGroup,omitempty"`
}

// EntityRef names an entity in Kong by its ID or by its name.
//
// +kubebuilder:validation:XValidation:rule="has(self.id) != has(self.name)",message="set exactly one of id and name"
type EntityRef struct {
	// id is the ID of the entity.
	// +optional
	ID UUID `json:"id,omitempty"`

	// name is the name of the entity. When the entity is deleted and created again with
	// another ID, the plugin follows it.
	// +optional
	Name Name `json:"name,omitempty"`
}

// ConsumerRef names a consumer in Kong.
//
// +kubebuilder:validation:XValidation:rule="(has(self.id) ? 1 : 0) + (has(self.username) ? 1 : 0) + (has(self.customID) ? 1 : 0) == 1",message="set exactly one of id, username and customID"
type ConsumerRef struct {
	// id is the ID of the consumer.
	// +optional
	ID UUID `json:"id,omitempty"`

	// username is the username of the consumer.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=256
	// +kubebuilder:validation:XValidation:rule="self.matches('^[A-Za-z0-9][A-Za-z0-9._~@+=:-]*$')",message="must start with a letter or a digit and hold only letters, digits and . _ ~ @ + = : -; name other consumers by id or customID"
	// +kubebuilder:validation:XValidation:rule="!self.matches('^[0-9A-Fa-f]{8}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{12}$')",message="must not look like a UUID, because Kong would read it as an ID; use the field id for an ID"
	Username string `json:"username,omitempty"`

	// customID is the custom_id of the consumer.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=256
	CustomID string `json:"customID,omitempty"`
}

// Protocol is a protocol of Kong's proxy.
//
// +kubebuilder:validation:Enum=http;https;grpc;grpcs;tcp;tls;tls_passthrough;udp;ws;wss
type Protocol string

// Tag is a tag of a plugin in Kong.
//
// +kubebuilder:validation:MinLength=1
// +kubebuilder:validation:MaxLength=128
// +kubebuilder:validation:XValidation:rule="!self.contains(',') && !self.contains('/')",message="must not hold ',' or '/', which Kong refuses in tags"
// +kubebuilder:validation:XValidation:rule="!self.startsWith('managed-by') && !self.startsWith('k8s-')",message="must not start with managed-by or k8s-, which are the prefixes of ownership tags"
type Tag string

// PluginOrdering orders a plugin relative to others, by phase.
//
// +kubebuilder:validation:XValidation:rule="has(self.before) || has(self.after)",message="set before or after, or leave out ordering"
type PluginOrdering struct {
	// before lists the plugins that run after this one.
	// +optional
	Before *PluginOrderingPhases `json:"before,omitempty"`

	// after lists the plugins that run before this one.
	// +optional
	After *PluginOrderingPhases `json:"after,omitempty"`
}

// PluginOrderingPhases lists plugins by phase. Kong orders only the access phase.
type PluginOrderingPhases struct {
	// access lists plugins in the access phase.
	// +required
	// +listType=set
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=64
	Access []PluginName `json:"access"`
}

// PluginCondition is an expression of Kong.
//
// +kubebuilder:validation:MinLength=1
// +kubebuilder:validation:MaxLength=4096
// +kubebuilder:validation:XValidation:rule="self.trim().size() > 0",message="must not be blank; without a condition the plugin runs for all requests"
// +kubebuilder:validation:XValidation:rule="!self.contains('\\u0000')",message="must not hold a NUL character, which Kong's database cannot store"
type PluginCondition string

// PluginPartial links a plugin to a partial of Kong.
//
// +kubebuilder:validation:XValidation:rule="has(self.id) != has(self.name)",message="set exactly one of id and name"
type PluginPartial struct {
	// id is the ID of the partial.
	// +optional
	ID UUID `json:"id,omitempty"`

	// name is the name of the partial.
	// +optional
	Name Name `json:"name,omitempty"`

	// path is the field of the plugin that the partial fills in. Kong knows it when the plugin
	// has one such field, which is config.redis for most plugins.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=256
	// +kubebuilder:validation:XValidation:rule="self.matches('^config([.][a-z0-9_]+)+$')",message="must be a path into the config, such as config.redis"
	Path string `json:"path,omitempty"`
}

// ConfigSource is the source of a config or of a value in it. For configFrom the key holds the
// config as a YAML or JSON object. For a patch it holds one value.
//
// +kubebuilder:validation:XValidation:rule="has(self.secretKeyRef) != has(self.configMapKeyRef)",message="set exactly one of secretKeyRef and configMapKeyRef"
type ConfigSource struct {
	// secretKeyRef selects a key of a Secret in the namespace of the binding.
	// +optional
	SecretKeyRef SecretKeyRef `json:"secretKeyRef,omitzero"`

	// configMapKeyRef selects a key of a ConfigMap in the namespace of the binding. Its
	// value is not secret: conditions and events can show it.
	// +optional
	ConfigMapKeyRef ConfigMapKeyRef `json:"configMapKeyRef,omitzero"`
}

// ConfigPatch sets one value from a Secret or a ConfigMap in the config.
//
// +kubebuilder:validation:XValidation:rule="!has(self.format) || self.format != 'JSON' || (!has(self.prefix) && !has(self.suffix))",message="prefix and suffix need the format String"
type ConfigPatch struct {
	// path is a JSON pointer (RFC 6901) into the config, such as /redis/password. The
	// operator creates missing objects on the path. "-" appends to an array.
	// +required
	// +kubebuilder:validation:MinLength=2
	// +kubebuilder:validation:MaxLength=512
	// +kubebuilder:validation:XValidation:rule="self.matches('^(/([^/~]|~[01])+)+$')",message="must be a JSON pointer into the config, such as /redis/password"
	Path string `json:"path"`

	// valueFrom is the source of the value.
	// +required
	ValueFrom ConfigSource `json:"valueFrom"`

	// format is the format of the value. String, the default, uses the bytes unchanged, so
	// that a password 12345 stays a string. JSON parses the bytes.
	// +optional
	Format ValueFormat `json:"format,omitempty"`

	// prefix is a text before the value, such as "Bearer " before a token. It is not
	// secret. Put secret values into a Secret.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=256
	Prefix string `json:"prefix,omitempty"`

	// suffix is a text after the value. It is not secret.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=256
	Suffix string `json:"suffix,omitempty"`
}

// ValueFormat is the format of a value in a Secret or a ConfigMap.
//
// +kubebuilder:validation:Enum=String;JSON
type ValueFormat string

const (
	// FormatString uses the bytes as a string.
	FormatString ValueFormat = "String"
	// FormatJSON parses the bytes as JSON.
	FormatJSON ValueFormat = "JSON"
)

// AdoptionPolicy says what the operator does with an existing plugin.
//
// +kubebuilder:validation:Enum=Never;IfIdentical;Override
type AdoptionPolicy string

const (
	// AdoptNever reports a conflict.
	AdoptNever AdoptionPolicy = "Never"
	// AdoptIfIdentical adopts the plugin if this does not change how Kong handles traffic.
	AdoptIfIdentical AdoptionPolicy = "IfIdentical"
	// AdoptOverride adopts the plugin and changes it as declared.
	AdoptOverride AdoptionPolicy = "Override"
)

// DeletionPolicy says what the operator does with the plugin of a deleted binding.
//
// +kubebuilder:validation:Enum=Delete;Orphan
type DeletionPolicy string

const (
	// DeletePlugin deletes the plugin in Kong.
	DeletePlugin DeletionPolicy = "Delete"
	// OrphanPlugin keeps the plugin in Kong and removes the ownership tags.
	OrphanPlugin DeletionPolicy = "Orphan"
)

// ManagementPolicy says whether the operator writes to Kong.
//
// +kubebuilder:validation:Enum=Manage;Observe
type ManagementPolicy string

const (
	// ManagePlugin writes to Kong.
	ManagePlugin ManagementPolicy = "Manage"
	// ObservePlugin only reads from Kong.
	ObservePlugin ManagementPolicy = "Observe"
)

// PluginIDSource is the source of the plugin ID in the status.
//
// +kubebuilder:validation:Enum=Created;Adopted;Recovered;Replaced
type PluginIDSource string

const (
	// PluginIDCreated means that the operator created the plugin.
	PluginIDCreated PluginIDSource = "Created"
	// PluginIDAdopted means that the operator adopted, took over or imported the plugin.
	PluginIDAdopted PluginIDSource = "Adopted"
	// PluginIDRecovered means that the operator found the plugin in Kong by its ownership
	// tags or its instance name.
	PluginIDRecovered PluginIDSource = "Recovered"
	// PluginIDReplaced means that the operator took the plugin over from the binding that
	// spec.replaces names.
	PluginIDReplaced PluginIDSource = "Replaced"
)

// PluginBinding declares one Kong plugin on one scope (service, route, consumer,
// consumer group, or global). Kong assigns the ID of the plugin once. The operator records
// it in status.pluginID and uses it in every later reconcile.
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:path=pluginbindings,singular=pluginbinding,shortName=pb,categories=kong,scope=Namespaced
// +kubebuilder:printcolumn:name="Plugin",type=string,JSONPath=`.spec.plugin`
// +kubebuilder:printcolumn:name="Scope",type=string,JSONPath=`.status.scope.summary`
// +kubebuilder:printcolumn:name="Ready",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].status`
// +kubebuilder:printcolumn:name="Reason",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].reason`
// +kubebuilder:printcolumn:name="Plugin-ID",type=string,JSONPath=`.status.pluginID`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
// +kubebuilder:printcolumn:name="Gateway",type=string,priority=1,JSONPath=`.spec.gatewayRef.name`
// +kubebuilder:printcolumn:name="Source",type=string,priority=1,JSONPath=`.status.pluginIDSource`
// +kubebuilder:printcolumn:name="Message",type=string,priority=1,JSONPath=`.status.conditions[?(@.type=="Ready")].message`
// +kubebuilder:validation:XValidation:rule="!has(oldSelf.status) || !has(oldSelf.status.pluginID) || (has(self.status) && has(self.status.pluginID))",message="status.pluginID is written once and never removed"
// +kubebuilder:validation:XValidation:rule="!has(self.spec.pluginID) || has(oldSelf.spec.pluginID) || !has(oldSelf.status) || !has(oldSelf.status.pluginID) || self.spec.pluginID == oldSelf.status.pluginID",message="this binding already has a plugin; spec.pluginID can only be set to its status.pluginID"
// +kubebuilder:validation:XValidation:rule="self.spec.gatewayRef == oldSelf.spec.gatewayRef || self.spec.gatewayRef.name == oldSelf.spec.gatewayRef.name && !has(oldSelf.spec.gatewayRef.__namespace__) && has(oldSelf.status) && has(oldSelf.status.gateway) && has(oldSelf.status.gateway.__namespace__) && self.spec.gatewayRef.__namespace__ == oldSelf.status.gateway.__namespace__",message="gatewayRef is immutable, except that the namespace in status.gateway can be added; to use another KongGateway, delete this binding and create a new one",fieldPath=".spec.gatewayRef"
type PluginBinding struct {
	metav1.TypeMeta `json:",inline"`
	// +optional
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// spec is the desired state.
	// +required
	Spec PluginBindingSpec `json:"spec"`

	// status is the observed state. Only the operator writes it.
	// +optional
	// +kubebuilder:default={"observedGeneration":-1}
	Status PluginBindingStatus `json:"status,omitempty"`
}

// PluginBindingList is a list of PluginBinding.
//
// +kubebuilder:object:root=true
type PluginBindingList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []PluginBinding `json:"items"`
}
