package v1alpha1

import (
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// PluginBindingSpec declares one Kong plugin on one scope.
//
// +kubebuilder:validation:XValidation:rule="!has(self.config) || !has(self.configFrom)",message="config and configFrom exclude each other"
// +kubebuilder:validation:XValidation:rule="!has(oldSelf.pluginID) || (has(self.pluginID) && self.pluginID == oldSelf.pluginID)",message="pluginID is immutable once set"
// +kubebuilder:validation:XValidation:rule="self.gatewayRef == oldSelf.gatewayRef",message="gatewayRef is immutable; delete the binding and make a new one on the other gateway"
type PluginBindingSpec struct {
	// gatewayRef names the KongGateway that holds the plugin. Immutable.
	// +required
	GatewayRef GatewayRef `json:"gatewayRef"`

	// plugin is the name of the Kong plugin, such as rate-limiting. Immutable: another
	// plugin is another binding.
	// +required
	// +kubebuilder:validation:XValidation:rule="self == oldSelf",message="plugin is immutable; make another PluginBinding for another plugin"
	Plugin PluginName `json:"plugin"`

	// scope is what the plugin applies to: a service, a route, a consumer, a consumer
	// group, or several of them together. Without scope the plugin is global. When it
	// changes the plugin moves and keeps its ID.
	// +optional
	Scope *Scope `json:"scope,omitempty"`

	// instanceName of the plugin in Kong, unique in its workspace. Without it the
	// operator uses <cluster id>.<namespace>.<name>.
	// +optional
	// +kubebuilder:validation:XValidation:rule="self != 'enabled'",message="instanceName must not be enabled: Kong has something else at /plugins/enabled"
	InstanceName Name `json:"instanceName,omitempty"`

	// enabled says whether the plugin is in force.
	// +optional
	// +kubebuilder:default=true
	Enabled *bool `json:"enabled,omitempty"`

	// protocols for which the plugin runs. Without it, those that Kong sets for this
	// plugin.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=16
	Protocols []Protocol `json:"protocols,omitempty"`

	// ordering of the plugin relative to others. Kong Enterprise only.
	// +optional
	Ordering *PluginOrdering `json:"ordering,omitempty"`

	// tags of your own for the plugin in Kong, beside those by which the operator
	// finds what is its own.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=32
	Tags []Tag `json:"tags,omitempty"`

	// config of the plugin, as in Kong's documentation of it. Values that are secret
	// belong into configFrom or configPatches.
	// +optional
	// +kubebuilder:validation:Type=object
	// +kubebuilder:validation:Schemaless
	// +kubebuilder:pruning:PreserveUnknownFields
	Config *apiextensionsv1.JSON `json:"config,omitempty"`

	// configFrom takes the whole config from a Secret, instead of config.
	// +optional
	ConfigFrom *ConfigSource `json:"configFrom,omitempty"`

	// configPatches put values from Secrets into the config, in this order.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=64
	ConfigPatches []ConfigPatch `json:"configPatches,omitempty"`

	// adoptionPolicy says what to do with a plugin that already holds this name and
	// scope in Kong and is not this binding's: Never takes it; IfIdentical takes it when
	// that changes nothing in traffic; Override takes it and makes it as declared.
	// +optional
	// +kubebuilder:default=IfIdentical
	AdoptionPolicy AdoptionPolicy `json:"adoptionPolicy,omitempty"`

	// deletionPolicy says what becomes of the plugin when the binding is deleted:
	// Delete removes it; Orphan leaves it in Kong without the operator's marks.
	// +optional
	// +kubebuilder:default=Delete
	DeletionPolicy DeletionPolicy `json:"deletionPolicy,omitempty"`

	// managementPolicy is Manage, or Observe: then the operator never writes to Kong
	// and says in the conditions what it would do.
	// +optional
	// +kubebuilder:default=Manage
	ManagementPolicy ManagementPolicy `json:"managementPolicy,omitempty"`

	// pluginID takes over exactly the plugin with this ID, which must exist, have the
	// declared plugin name and belong to nobody else. Immutable once set.
	// +optional
	PluginID UUID `json:"pluginID,omitempty"`
}

// GatewayRef names a KongGateway.
type GatewayRef struct {
	// name of the KongGateway.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:XValidation:rule="self.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?([.][a-z0-9]([-a-z0-9]*[a-z0-9])?)*$')",message="must be the name of a Kubernetes object: lower-case letters, digits, '-' and '.'"
	Name string `json:"name"`

	// namespace of the KongGateway, the binding's own when left out. Another
	// namespace's gateway has to allow it, see KongGateway's allowedBindings.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=63
	// +kubebuilder:validation:XValidation:rule="self.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?$')",message="must be the name of a namespace: lower-case letters, digits and '-'"
	Namespace string `json:"namespace,omitempty"`
}

// Scope is what a plugin applies to; what is set combines.
//
// +kubebuilder:validation:XValidation:rule="has(self.service) || has(self.route) || has(self.consumer) || has(self.consumerGroup)",message="set at least one of service, route, consumer and consumerGroup, or leave out scope for a global plugin"
// +kubebuilder:validation:XValidation:rule="!has(self.consumer) || !has(self.consumerGroup)",message="consumer and consumerGroup exclude each other"
type Scope struct {
	// service whose traffic the plugin applies to.
	// +optional
	Service *EntityRef `json:"service,omitempty"`

	// route whose traffic the plugin applies to.
	// +optional
	Route *EntityRef `json:"route,omitempty"`

	// consumer whose traffic the plugin applies to.
	// +optional
	Consumer *ConsumerRef `json:"consumer,omitempty"`

	// consumerGroup whose traffic the plugin applies to. Kong Enterprise only.
	// +optional
	ConsumerGroup *EntityRef `json:"consumerGroup,omitempty"`
}

// EntityRef names an entity in Kong by its id or by its name.
//
// +kubebuilder:validation:XValidation:rule="has(self.id) != has(self.name)",message="set exactly one of id and name"
type EntityRef struct {
	// id of the entity.
	// +optional
	ID UUID `json:"id,omitempty"`

	// name of the entity. When the entity is made again under another id, the plugin
	// follows it.
	// +optional
	Name Name `json:"name,omitempty"`
}

// ConsumerRef names a consumer in Kong.
//
// +kubebuilder:validation:XValidation:rule="(has(self.id) ? 1 : 0) + (has(self.username) ? 1 : 0) + (has(self.customID) ? 1 : 0) == 1",message="set exactly one of id, username and customID"
type ConsumerRef struct {
	// id of the consumer.
	// +optional
	ID UUID `json:"id,omitempty"`

	// username of the consumer.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=256
	// +kubebuilder:validation:XValidation:rule="self.matches('^[A-Za-z0-9][A-Za-z0-9._~@+=:-]*$')",message="must start with a letter or a digit and hold only letters, digits and . _ ~ @ + = : -; name other consumers by id or customID"
	// +kubebuilder:validation:XValidation:rule="!self.matches('^[0-9A-Fa-f]{8}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{12}$')",message="must not look like a UUID, which Kong would read as an ID; an ID goes into an id field"
	Username string `json:"username,omitempty"`

	// customID of the consumer.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=256
	CustomID string `json:"customID,omitempty"`
}

// Protocol is a protocol of Kong's proxy.
//
// +kubebuilder:validation:Enum=http;https;grpc;grpcs;tcp;tls;tls_passthrough;udp;ws;wss
type Protocol string

// Tag of a plugin in Kong.
//
// +kubebuilder:validation:MinLength=1
// +kubebuilder:validation:MaxLength=128
// +kubebuilder:validation:XValidation:rule="!self.contains(',') && !self.contains('/')",message="must not hold ',' or '/', which Kong refuses in tags"
// +kubebuilder:validation:XValidation:rule="!self.startsWith('managed-by') && !self.startsWith('k8s-')",message="must not start with managed-by or k8s-, by which owners of plugins are told"
type Tag string

// PluginOrdering says before and after which plugins this one runs, by phase.
//
// +kubebuilder:validation:XValidation:rule="has(self.before) || has(self.after)",message="set before or after, or leave out ordering"
type PluginOrdering struct {
	// before names, by phase, the plugins that this one runs before.
	// +optional
	Before *PluginOrderingPhases `json:"before,omitempty"`

	// after names, by phase, the plugins that this one runs after.
	// +optional
	After *PluginOrderingPhases `json:"after,omitempty"`
}

// PluginOrderingPhases names plugins by phase. Kong orders the access phase only.
type PluginOrderingPhases struct {
	// access names plugins in the access phase.
	// +required
	// +listType=set
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=64
	Access []PluginName `json:"access"`
}

// ConfigSource is where a whole config comes from.
type ConfigSource struct {
	// secretKeyRef names a key, in a Secret of the binding's namespace, that holds the
	// config as a YAML or JSON object.
	// +required
	SecretKeyRef SecretKeyRef `json:"secretKeyRef"`
}

// ConfigPatch puts one value from a Secret into the config.
type ConfigPatch struct {
	// path is a JSON pointer (RFC 6901) into the config, such as /redis/password.
	// Objects on the way are made when they are missing; "-" appends to an array.
	// +required
	// +kubebuilder:validation:MinLength=2
	// +kubebuilder:validation:MaxLength=512
	// +kubebuilder:validation:XValidation:rule="self.matches('^(/([^/~]|~[01])+)+$')",message="must be a JSON pointer into the config, such as /redis/password"
	Path string `json:"path"`

	// valueFrom says where the value comes from.
	// +required
	ValueFrom ConfigSource `json:"valueFrom"`

	// format of the value: String takes the bytes as they are, so that a password
	// 12345 stays a string; JSON parses them.
	// +optional
	// +kubebuilder:default=String
	Format ValueFormat `json:"format,omitempty"`
}

// ValueFormat says how the bytes of a Secret become a value.
//
// +kubebuilder:validation:Enum=String;JSON
type ValueFormat string

const (
	// FormatString takes the bytes as a string.
	FormatString ValueFormat = "String"
	// FormatJSON parses the bytes as JSON.
	FormatJSON ValueFormat = "JSON"
)

// AdoptionPolicy says what to do with a plugin that is already there.
//
// +kubebuilder:validation:Enum=Never;IfIdentical;Override
type AdoptionPolicy string

const (
	// AdoptNever leaves it alone and reports a conflict.
	AdoptNever AdoptionPolicy = "Never"
	// AdoptIfIdentical takes it when that changes nothing in traffic.
	AdoptIfIdentical AdoptionPolicy = "IfIdentical"
	// AdoptOverride takes it and makes it as declared.
	AdoptOverride AdoptionPolicy = "Override"
)

// DeletionPolicy says what becomes of the plugin of a deleted binding.
//
// +kubebuilder:validation:Enum=Delete;Orphan
type DeletionPolicy string

const (
	// DeletePlugin removes the plugin from Kong.
	DeletePlugin DeletionPolicy = "Delete"
	// OrphanPlugin leaves the plugin in Kong without the operator's marks.
	OrphanPlugin DeletionPolicy = "Orphan"
)

// ManagementPolicy says whether the operator writes to Kong.
//
// +kubebuilder:validation:Enum=Manage;Observe
type ManagementPolicy string

const (
	// ManagePlugin writes.
	ManagePlugin ManagementPolicy = "Manage"
	// ObservePlugin reads and reports.
	ObservePlugin ManagementPolicy = "Observe"
)

// PluginIDSource says how a plugin ID came into the status.
//
// +kubebuilder:validation:Enum=Created;Adopted;Recovered
type PluginIDSource string

const (
	// PluginIDCreated: Kong assigned it when the operator created the plugin.
	PluginIDCreated PluginIDSource = "Created"
	// PluginIDAdopted: the plugin was there before the binding.
	PluginIDAdopted PluginIDSource = "Adopted"
	// PluginIDRecovered: found in Kong by the marks of this binding.
	PluginIDRecovered PluginIDSource = "Recovered"
)

// PluginBindingStatus is what the operator found and did.
type PluginBindingStatus struct {
	// pluginID is the ID that Kong assigned to this binding's plugin. It is written
	// once and never changes; every reconcile targets it.
	// +optional
	// +kubebuilder:validation:XValidation:rule="self == oldSelf",message="status.pluginID is written once and never changes"
	PluginID UUID `json:"pluginID,omitempty"`

	// pluginIDSource says how the ID was come by.
	// +optional
	PluginIDSource PluginIDSource `json:"pluginIDSource,omitempty"`

	// gateway that holds the plugin.
	// +optional
	Gateway *BoundGateway `json:"gateway,omitempty"`

	// scope is what the names in spec.scope resolved to.
	// +optional
	Scope *BoundScope `json:"scope,omitempty"`

	// lastWriteTime is when the operator last wrote this plugin to Kong.
	// +optional
	LastWriteTime *metav1.Time `json:"lastWriteTime,omitempty"`

	// lastDrift is the last time the plugin in Kong was found other than declared
	// although the declaration had not changed.
	// +optional
	LastDrift *DriftStatus `json:"lastDrift,omitempty"`

	// conflict names the plugin that stands in this one's place.
	// +optional
	Conflict *ConflictStatus `json:"conflict,omitempty"`

	// acceptedDifferences lists fields that Kong stores differently from how they were declared, and
	// whose values the operator accepts. It does not write them again.
	// +optional
	AcceptedDifferences *AcceptedDifferences `json:"acceptedDifferences,omitempty"`

	// observedGeneration is the generation of the spec that this status speaks of.
	// +optional
	ObservedGeneration int64 `json:"observedGeneration,omitempty"`

	// conditions: Ready (the summary), Accepted, ResolvedRefs, Programmed.
	// +optional
	// +listType=map
	// +listMapKey=type
	// +kubebuilder:validation:MaxItems=16
	Conditions []metav1.Condition `json:"conditions,omitempty"`
}

// BoundGateway is the gateway that holds a plugin.
type BoundGateway struct {
	// name of the KongGateway.
	// +optional
	// +kubebuilder:validation:MaxLength=253
	Name string `json:"name,omitempty"`

	// namespace of the KongGateway.
	// +optional
	// +kubebuilder:validation:MaxLength=63
	Namespace string `json:"namespace,omitempty"`

	// workspace in Kong, when there is one.
	// +optional
	// +kubebuilder:validation:MaxLength=256
	Workspace string `json:"workspace,omitempty"`
}

// BoundScope is what a scope resolved to, with the IDs of entities in Kong.
type BoundScope struct {
	// summary of the scope as declared, such as service/orders, route/a+consumer/b, or
	// global.
	// +optional
	// +kubebuilder:validation:MaxLength=1200
	Summary string `json:"summary,omitempty"`

	// serviceID that the plugin applied to when it was last found or written. While a scope
	// that was changed has not come into force, it is that of the old one.
	// +optional
	// +kubebuilder:validation:MaxLength=36
	ServiceID string `json:"serviceID,omitempty"`

	// routeID that the plugin applies to.
	// +optional
	// +kubebuilder:validation:MaxLength=36
	RouteID string `json:"routeID,omitempty"`

	// consumerID that the plugin applies to.
	// +optional
	// +kubebuilder:validation:MaxLength=36
	ConsumerID string `json:"consumerID,omitempty"`

	// consumerGroupID that the plugin applies to.
	// +optional
	// +kubebuilder:validation:MaxLength=36
	ConsumerGroupID string `json:"consumerGroupID,omitempty"`
}

// DriftStatus says when and where a plugin differed. Values are never shown.
type DriftStatus struct {
	// time at which it was found.
	// +optional
	Time metav1.Time `json:"time,omitempty"`

	// fields that differed, by name.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=32
	// +kubebuilder:validation:items:MaxLength=256
	Fields []string `json:"fields,omitempty"`
}

// ConflictStatus names a plugin and whose it is.
type ConflictStatus struct {
	// pluginID of the plugin in the way.
	// +optional
	// +kubebuilder:validation:MaxLength=36
	PluginID string `json:"pluginID,omitempty"`

	// owner of that plugin: a binding, another cluster, another tool, or nobody.
	// +optional
	// +kubebuilder:validation:MaxLength=512
	Owner string `json:"owner,omitempty"`
}

// SettledStatus remembers that a write was made and what Kong made of it.
type AcceptedDifferences struct {
	// generation of the spec that was written.
	// +optional
	Generation int64 `json:"generation,omitempty"`

	// updatedAt of the plugin in Kong after the write, in seconds since 1970.
	// +optional
	UpdatedAt int64 `json:"updatedAt,omitempty"`

	// secretVersions are the resource versions of the Secrets that were used, as name@version.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=65
	// +kubebuilder:validation:items:MaxLength=512
	SecretVersions []string `json:"secretVersions,omitempty"`

	// fields that Kong keeps otherwise than declared, by name.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=32
	// +kubebuilder:validation:items:MaxLength=256
	Fields []string `json:"fields,omitempty"`
}

// PluginBinding declares one Kong plugin on one scope (service, route, consumer,
// consumer group, or global). Kong assigns the plugin's ID once; status.pluginID
// records it; every later reconcile targets that ID.
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
type PluginBinding struct {
	metav1.TypeMeta `json:",inline"`
	// +optional
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// spec is what you want.
	// +required
	Spec PluginBindingSpec `json:"spec"`

	// status is what the operator found and did. Only the operator writes it.
	// +optional
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
