package v1alpha1

import (
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// PluginPolicySpec declares one Kong plugin on everything that its targets become in Kong.
//
// +kubebuilder:validation:XValidation:rule="has(self.targetRefs) != has(self.entitySelector)",message="set exactly one of targetRefs and entitySelector"
// +kubebuilder:validation:XValidation:rule="self.gatewayRef == oldSelf.gatewayRef",message="gatewayRef is immutable; to use another KongGateway, create another PluginPolicy and delete this one",fieldPath=".gatewayRef"
// +kubebuilder:validation:XValidation:rule="!has(self.template.spec.scope) || !has(self.targetRefs) || self.targetRefs.all(t, t.kind != 'KongConsumer' && t.kind != 'KongConsumerGroup')",message="template.spec.scope.consumer does not combine with the targets KongConsumer and KongConsumerGroup"
// +kubebuilder:validation:XValidation:rule="!has(self.template.spec.scope) || !has(self.entitySelector) || self.entitySelector.kind != 'Consumer'",message="template.spec.scope.consumer does not combine with entitySelector.kind Consumer"
type PluginPolicySpec struct {
	// gatewayRef names the KongGateway that holds the plugins. It is immutable.
	// +required
	GatewayRef GatewayRef `json:"gatewayRef"`

	// targetRefs names the objects to which the plugin applies, all in the namespace of the
	// policy. The operator finds the routes, services and consumers that Kong Ingress
	// Controller makes of them in Kong, and keeps one PluginBinding for each.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=16
	// +kubebuilder:validation:XValidation:rule="self.all(a, self.exists_one(b, (has(a.group) ? a.group : '') == (has(b.group) ? b.group : '') && a.kind == b.kind && a.name == b.name && (has(a.sectionName) ? a.sectionName : '') == (has(b.sectionName) ? b.sectionName : '')))",message="name each target once"
	TargetRefs []PolicyTargetRef `json:"targetRefs,omitempty"`

	// entitySelector selects entities in Kong by their tags, for entities that no object of
	// Kubernetes stands for. It excludes targetRefs. Outside the namespace of the KongGateway
	// it needs allowedBindings.entitySelectors of the gateway.
	// +optional
	EntitySelector *EntitySelector `json:"entitySelector,omitempty"`

	// template describes the bindings that the policy makes.
	// +required
	Template PluginBindingTemplate `json:"template"`

	// retention is how long the operator keeps the binding of an entity that Kong no longer
	// has, so that the plugin gets the same ID if the entity comes back. It keeps only bindings
	// of targets that the policy names. 0s keeps none. The maximum is 720h.
	// +optional
	// +kubebuilder:default="1h"
	// +kubebuilder:validation:XValidation:rule="!self.matches('^([0-9]{1,5}([.][0-9]{1,9})?(ms|s|m|h))+$') || duration(self) <= duration('720h')",message="must be at most 720h"
	Retention Duration `json:"retention,omitempty"`
}

// PolicyTargetRef names one object in the namespace of the policy.
//
// +kubebuilder:validation:XValidation:rule="has(self.group) && size(self.group) > 0 ? self.group == 'networking.k8s.io' && self.kind == 'Ingress' || self.group == 'gateway.networking.k8s.io' && self.kind in ['HTTPRoute', 'GRPCRoute', 'TCPRoute', 'TLSRoute', 'UDPRoute'] || self.group == 'configuration.konghq.com' && self.kind in ['KongConsumer', 'KongConsumerGroup'] : self.kind == 'Service'",message="must be a Service (no group), an Ingress (group networking.k8s.io), an HTTPRoute, GRPCRoute, TCPRoute, TLSRoute or UDPRoute (group gateway.networking.k8s.io), or a KongConsumer or KongConsumerGroup (group configuration.konghq.com)"
// +kubebuilder:validation:XValidation:rule="!has(self.sectionName) || self.kind in ['HTTPRoute', 'GRPCRoute']",message="sectionName names a rule of an HTTPRoute or GRPCRoute; in Kong nothing tells the parts of other kinds apart"
type PolicyTargetRef struct {
	// group is the API group of the object, such as networking.k8s.io for an Ingress. It is
	// empty for a Service.
	// +optional
	// +kubebuilder:validation:MaxLength=253
	Group string `json:"group,omitempty"`

	// kind is the kind of the object: Ingress, Service, HTTPRoute, GRPCRoute, TCPRoute,
	// TLSRoute, UDPRoute, KongConsumer or KongConsumerGroup.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=63
	Kind string `json:"kind"`

	// name is the name of the object.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:XValidation:rule="self.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?([.][a-z0-9]([-a-z0-9]*[a-z0-9])?)*$')",message="must be the name of a Kubernetes object: lower-case letters, digits, '-' and '.'"
	Name string `json:"name"`

	// sectionName is the name of a rule of an HTTPRoute or GRPCRoute. Without it the policy
	// applies to all rules.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=63
	// +kubebuilder:validation:XValidation:rule="self.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?([.][a-z0-9]([-a-z0-9]*[a-z0-9])?)*$')",message="must be the name of a rule: lower-case letters, digits, '-' and '.'"
	SectionName string `json:"sectionName,omitempty"`
}

// EntitySelector selects entities in Kong.
type EntitySelector struct {
	// kind is the kind of the entities: Route, Service or Consumer.
	// +required
	Kind SelectedKind `json:"kind"`

	// tags are the tags that an entity must have, all of them.
	// +required
	// +listType=set
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=5
	Tags []SelectedTag `json:"tags"`
}

// SelectedKind is a kind of entity in Kong.
//
// +kubebuilder:validation:Enum=Route;Service;Consumer
type SelectedKind string

const (
	// SelectRoutes selects routes.
	SelectRoutes SelectedKind = "Route"
	// SelectServices selects services.
	SelectServices SelectedKind = "Service"
	// SelectConsumers selects consumers.
	SelectConsumers SelectedKind = "Consumer"
)

// SelectedTag is a tag of an entity in Kong.
//
// +kubebuilder:validation:MinLength=1
// +kubebuilder:validation:MaxLength=128
// +kubebuilder:validation:XValidation:rule="!self.contains(',') && !self.contains('/')",message="must not hold ',' or '/', which Kong refuses in tags"
type SelectedTag string

// EntitySelectorsPolicy says whether a policy may select entities by their tags.
//
// +kubebuilder:validation:Enum=Denied;Allowed
type EntitySelectorsPolicy string

const (
	// EntitySelectorsDenied refuses policies with an entitySelector.
	EntitySelectorsDenied EntitySelectorsPolicy = "Denied"
	// EntitySelectorsAllowed allows policies with an entitySelector.
	EntitySelectorsAllowed EntitySelectorsPolicy = "Allowed"
)

// PluginBindingTemplate describes the bindings of a policy.
type PluginBindingTemplate struct {
	// metadata holds labels and annotations for the bindings.
	// +optional
	Metadata *TemplateMetadata `json:"metadata,omitempty"`

	// spec is what all bindings of the policy have in common.
	// +required
	Spec PluginTemplateSpec `json:"spec"`
}

// TemplateMetadata holds labels and annotations.
//
// +kubebuilder:validation:XValidation:rule="has(self.labels) || has(self.annotations)",message="set labels or annotations, or leave out metadata"
type TemplateMetadata struct {
	// labels are labels for the bindings.
	// +optional
	// +kubebuilder:validation:MinProperties=1
	// +kubebuilder:validation:MaxProperties=16
	// +kubebuilder:validation:XValidation:rule="self.all(key, key.matches('^([a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?$'))",message="must have valid label keys"
	// +kubebuilder:validation:XValidation:rule="self.all(key, !key.startsWith('kong.pluginbinding.io/'))",message="must not hold labels of kong.pluginbinding.io, which the operator sets"
	Labels map[string]LabelValue `json:"labels,omitempty"`

	// annotations are annotations for the bindings.
	// +optional
	// +kubebuilder:validation:MinProperties=1
	// +kubebuilder:validation:MaxProperties=16
	// +kubebuilder:validation:XValidation:rule="self.all(key, key.matches('^([a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?$'))",message="must have valid annotation keys"
	// +kubebuilder:validation:XValidation:rule="self.all(key, !key.startsWith('kong.pluginbinding.io/') || key == 'kong.pluginbinding.io/paused')",message="must not hold annotations of kong.pluginbinding.io except paused"
	Annotations map[string]AnnotationValue `json:"annotations,omitempty"`
}

// LabelValue is the value of a label.
//
// +kubebuilder:validation:MaxLength=63
// +kubebuilder:validation:XValidation:rule="self.matches('^([A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?)?$')",message="must be the value of a label: letters, digits, '-', '_' and '.'"
type LabelValue string

// AnnotationValue is the value of an annotation.
//
// +kubebuilder:validation:MaxLength=4096
type AnnotationValue string

// PluginTemplateSpec is the spec of a PluginBinding without what differs from binding to
// binding. The fields mean the same as there.
//
// +kubebuilder:validation:XValidation:rule="!has(self.config) || !has(self.configFrom)",message="config and configFrom exclude each other"
type PluginTemplateSpec struct {
	// plugin is the name of the Kong plugin, such as rate-limiting. It is immutable.
	// +required
	// +kubebuilder:validation:XValidation:rule="self == oldSelf",message="plugin is immutable; create another PluginPolicy for another plugin"
	Plugin PluginName `json:"plugin"`

	// scope narrows the plugin down to the traffic of a consumer.
	// +optional
	Scope *TemplateScope `json:"scope,omitempty"`

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

	// partials link the plugins to partials of Kong: configs that plugins share, such as one of
	// Redis. What a partial holds need not be in config. Kong Enterprise 3.10 and newer only.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=16
	Partials []PluginPartial `json:"partials,omitempty"`

	// tags are tags for the plugins in Kong, in addition to the ownership tags of the
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

	// configFrom reads the whole config from a Secret in the namespace of the policy. It
	// excludes config.
	// +optional
	ConfigFrom *ConfigSource `json:"configFrom,omitempty"`

	// configPatches set values from Secrets in the config, in the given order.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=64
	ConfigPatches []ConfigPatch `json:"configPatches,omitempty"`

	// adoptionPolicy says what the operator does when Kong already has a plugin with this
	// name and scope, see PluginBinding.
	// +optional
	// +kubebuilder:default=IfIdentical
	AdoptionPolicy AdoptionPolicy `json:"adoptionPolicy,omitempty"`

	// deletionPolicy says what the operator does with a plugin when its binding is deleted,
	// because its entity is gone or because the policy is deleted.
	// +optional
	// +kubebuilder:default=Delete
	DeletionPolicy DeletionPolicy `json:"deletionPolicy,omitempty"`

	// managementPolicy is Manage or Observe. With Observe the operator makes the bindings
	// and never writes to Kong for them.
	// +optional
	// +kubebuilder:default=Manage
	ManagementPolicy ManagementPolicy `json:"managementPolicy,omitempty"`
}

// TemplateScope narrows a plugin down.
type TemplateScope struct {
	// consumer limits the plugin to the traffic of a consumer in Kong.
	// +required
	Consumer ConsumerRef `json:"consumer"`
}

// PluginPolicyStatus is the observed state of a PluginPolicy.
type PluginPolicyStatus struct {
	// targetSummary is the targets in a few words, such as Ingress/shop.
	// +optional
	// +kubebuilder:validation:MaxLength=1200
	TargetSummary string `json:"targetSummary,omitempty"`

	// targets says for each target what it is in Kong, in the order of spec.targetRefs. For
	// an entitySelector it has one element without a ref.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=16
	Targets []PolicyTargetStatus `json:"targets,omitempty"`

	// bindings counts the PluginBindings of the policy.
	// +optional
	Bindings *PolicyBindingCounts `json:"bindings,omitempty"`

	// observedGeneration is the generation of the spec that this status describes.
	// +optional
	ObservedGeneration int64 `json:"observedGeneration,omitempty"`

	// conditions are Ready (the summary), Accepted, ResolvedRefs and Programmed.
	// +optional
	// +listType=map
	// +listMapKey=type
	// +kubebuilder:validation:MaxItems=16
	Conditions []metav1.Condition `json:"conditions,omitempty"`
}

// PolicyTargetStatus is one target in Kong.
type PolicyTargetStatus struct {
	// ref is the target, as in spec.targetRefs.
	// +optional
	Ref *TargetIdentity `json:"ref,omitempty"`

	// entities is the number of routes, services or consumers that Kong has of the target.
	// +optional
	Entities int32 `json:"entities"`

	// ready is the number of these entities whose binding is Ready.
	// +optional
	Ready int32 `json:"ready"`
}

// TargetIdentity names a target in a status.
type TargetIdentity struct {
	// group is the API group of the target.
	// +optional
	// +kubebuilder:validation:MaxLength=253
	Group string `json:"group,omitempty"`

	// kind is the kind of the target.
	// +optional
	// +kubebuilder:validation:MaxLength=63
	Kind string `json:"kind,omitempty"`

	// name is the name of the target.
	// +optional
	// +kubebuilder:validation:MaxLength=253
	Name string `json:"name,omitempty"`

	// sectionName is the rule of the target.
	// +optional
	// +kubebuilder:validation:MaxLength=63
	SectionName string `json:"sectionName,omitempty"`
}

// PolicyBindingCounts counts the PluginBindings of a policy.
type PolicyBindingCounts struct {
	// total is the number of bindings of entities that Kong has.
	// +optional
	Total int32 `json:"total"`

	// ready is the number of these bindings that are Ready.
	// +optional
	Ready int32 `json:"ready"`

	// retained is the number of bindings whose entity Kong no longer has, see
	// spec.retention.
	// +optional
	Retained int32 `json:"retained,omitempty"`
}

// PluginPolicy puts a Kong plugin on what an Ingress, an HTTPRoute, a Service or a
// KongConsumer becomes in Kong. It follows its targets: it keeps one PluginBinding for each
// route, service or consumer of them. It is a direct policy attachment as in Gateway API.
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:path=pluginpolicies,singular=pluginpolicy,shortName=ppol,categories=kong,scope=Namespaced
// +kubebuilder:metadata:labels="gateway.networking.k8s.io/policy=Direct"
// +kubebuilder:printcolumn:name="Plugin",type=string,JSONPath=`.spec.template.spec.plugin`
// +kubebuilder:printcolumn:name="Targets",type=string,JSONPath=`.status.targetSummary`
// +kubebuilder:printcolumn:name="Bindings",type=integer,JSONPath=`.status.bindings.total`
// +kubebuilder:printcolumn:name="Ready",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].status`
// +kubebuilder:printcolumn:name="Reason",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].reason`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
// +kubebuilder:printcolumn:name="Gateway",type=string,priority=1,JSONPath=`.spec.gatewayRef.name`
// +kubebuilder:printcolumn:name="Message",type=string,priority=1,JSONPath=`.status.conditions[?(@.type=="Ready")].message`
type PluginPolicy struct {
	metav1.TypeMeta `json:",inline"`
	// +optional
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// spec is the desired state.
	// +required
	Spec PluginPolicySpec `json:"spec"`

	// status is the observed state. Only the operator writes it.
	// +optional
	// +kubebuilder:default={"observedGeneration":-1}
	Status PluginPolicyStatus `json:"status,omitempty"`
}

// PluginPolicyList is a list of PluginPolicy.
//
// +kubebuilder:object:root=true
type PluginPolicyList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []PluginPolicy `json:"items"`
}
