package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// PluginBindingStatus is the observed state of a PluginBinding.
type PluginBindingStatus struct {
	// pluginID is the ID that Kong assigned to the plugin of this binding. The operator
	// writes it once and never changes it. Every reconcile uses it.
	// +optional
	// +kubebuilder:validation:XValidation:rule="self == oldSelf",message="status.pluginID is written once and never changes"
	PluginID UUID `json:"pluginID,omitempty"`

	// pluginIDSource is the source of pluginID. Created: the operator created the plugin.
	// Adopted: the operator adopted, took over or imported an existing plugin. Recovered:
	// the operator found the plugin of this binding again.
	// +optional
	PluginIDSource PluginIDSource `json:"pluginIDSource,omitempty"`

	// gateway is the KongGateway that holds the plugin.
	// +optional
	Gateway *BoundGateway `json:"gateway,omitempty"`

	// scope holds the IDs of the entities that spec.scope names.
	// +optional
	Scope *BoundScope `json:"scope,omitempty"`

	// lastWriteTime is the time at which the operator last wrote this plugin to Kong.
	// +optional
	LastWriteTime *metav1.Time `json:"lastWriteTime,omitempty"`

	// lastDrift describes the last drift. Drift is a difference between the plugin in Kong
	// and its declaration that no change of the declaration explains.
	// +optional
	LastDrift *DriftStatus `json:"lastDrift,omitempty"`

	// conflict names the plugin that prevents the operator from programming this one.
	// +optional
	Conflict *ConflictStatus `json:"conflict,omitempty"`

	// acceptedDifferences lists fields that Kong stores differently from how they were
	// declared, and whose values the operator accepts. It does not write them again.
	// +optional
	AcceptedDifferences *AcceptedDifferences `json:"acceptedDifferences,omitempty"`

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

// BoundGateway names the gateway that holds a plugin.
type BoundGateway struct {
	// name is the name of the KongGateway.
	// +optional
	// +kubebuilder:validation:MaxLength=253
	Name string `json:"name,omitempty"`

	// namespace is the namespace of the KongGateway.
	// +optional
	// +kubebuilder:validation:MaxLength=63
	Namespace string `json:"namespace,omitempty"`

	// workspace is the workspace in Kong, if the gateway has one.
	// +optional
	// +kubebuilder:validation:MaxLength=256
	Workspace string `json:"workspace,omitempty"`
}

// BoundScope holds the IDs of the entities of a scope.
type BoundScope struct {
	// summary is the declared scope, such as service/orders, route/a+consumer/b, or
	// global.
	// +optional
	// +kubebuilder:validation:MaxLength=1200
	Summary string `json:"summary,omitempty"`

	// serviceID is the ID of the service to which the plugin applied when the operator last
	// read or wrote it. After a change of the scope it is that of the old scope until the
	// operator has programmed the new one.
	// +optional
	// +kubebuilder:validation:MaxLength=36
	ServiceID string `json:"serviceID,omitempty"`

	// routeID is the ID of the route to which the plugin applies.
	// +optional
	// +kubebuilder:validation:MaxLength=36
	RouteID string `json:"routeID,omitempty"`

	// consumerID is the ID of the consumer to which the plugin applies.
	// +optional
	// +kubebuilder:validation:MaxLength=36
	ConsumerID string `json:"consumerID,omitempty"`

	// consumerGroupID is the ID of the consumer group to which the plugin applies.
	// +optional
	// +kubebuilder:validation:MaxLength=36
	ConsumerGroupID string `json:"consumerGroupID,omitempty"`
}

// DriftStatus describes a drift. It never holds values.
type DriftStatus struct {
	// time is the time at which the operator found the drift.
	// +optional
	Time metav1.Time `json:"time,omitempty"`

	// fields are the names of the fields that differed.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=32
	// +kubebuilder:validation:items:MaxLength=256
	Fields []string `json:"fields,omitempty"`
}

// ConflictStatus names a conflicting plugin and its owner.
type ConflictStatus struct {
	// pluginID is the ID of the conflicting plugin.
	// +optional
	// +kubebuilder:validation:MaxLength=36
	PluginID string `json:"pluginID,omitempty"`

	// owner is the owner of the conflicting plugin: a binding, a binding of another
	// cluster, another tool, or nobody.
	// +optional
	// +kubebuilder:validation:MaxLength=512
	Owner string `json:"owner,omitempty"`
}

// AcceptedDifferences describes how Kong stored the last write.
type AcceptedDifferences struct {
	// generation is the generation of the spec that the operator wrote.
	// +optional
	Generation int64 `json:"generation,omitempty"`

	// updatedAt is the updated_at of the plugin in Kong after the write, in seconds since
	// 1970.
	// +optional
	UpdatedAt int64 `json:"updatedAt,omitempty"`

	// secretVersions are the resource versions of the Secrets in the form name@version, and
	// those of ConfigMaps in the form configmap/name@version.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=65
	// +kubebuilder:validation:items:MaxLength=512
	SecretVersions []string `json:"secretVersions,omitempty"`

	// fields are the names of the fields that Kong stores differently.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=32
	// +kubebuilder:validation:items:MaxLength=256
	Fields []string `json:"fields,omitempty"`
}
