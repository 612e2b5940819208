package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// KongGatewaySpec describes how to reach one Kong in DB mode, and who may use it.
type KongGatewaySpec struct {
	// adminURL is the base URL of the Admin API. Its scheme is http or https. It may
	// have a path, for an Admin API behind a proxy. Put credentials into auth.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=2048
	// +kubebuilder:validation:XValidation:rule="isURL(self) && url(self).getScheme() in ['http', 'https'] && url(self).getHostname() != ''",message="must be an http or https URL with a host, such as https://kong-admin.kong:8444"
	// +kubebuilder:validation:XValidation:rule="!self.contains('@')",message="must not hold credentials; use auth.tokenSecretRef"
	// +kubebuilder:validation:XValidation:rule="!self.contains('?') && !self.contains('#')",message="must not have a query or a fragment"
	AdminURL string `json:"adminURL"`

	// workspace is the workspace of Kong Enterprise that holds the plugins. Leave it
	// out for Kong Gateway OSS and for the default workspace.
	// +optional
	Workspace Name `json:"workspace,omitempty"`

	// auth holds the credentials that the operator sends with every request to the
	// Admin API.
	// +optional
	Auth *GatewayAuth `json:"auth,omitempty"`

	// tls configures how the operator verifies the certificate of the Admin API, and
	// which client certificate it presents. The operator verifies the certificate
	// unless insecureSkipVerify is true.
	// +optional
	TLS *GatewayTLS `json:"tls,omitempty"`

	// allowedBindings says what PluginBindings from other namespaces may do through this
	// gateway. It does not restrict bindings in the gateway's own namespace. The default
	// allows no other namespace.
	// +optional
	// +kubebuilder:default={namespaces: {from: Same}}
	AllowedBindings *AllowedBindings `json:"allowedBindings,omitempty"`

	// allowedGateways says in which namespaces another KongGateway may lead to the same
	// Kong. The oldest KongGateway of a Kong decides; the operator does not accept a
	// later one in a namespace that is not allowed. The default allows only the
	// gateway's own namespace.
	// +optional
	// +kubebuilder:default={namespaces: {from: Same}}
	AllowedGateways *AllowedGateways `json:"allowedGateways,omitempty"`

	// resyncInterval is the time between two resyncs. In a resync the operator lists its
	// plugins in Kong and corrects those that differ from their bindings. The minimum is
	// 10s, the maximum 24h.
	// +optional
	// +kubebuilder:default="1m"
	// +kubebuilder:validation:XValidation:rule="!self.matches('^([0-9]{1,5}([.][0-9]{1,9})?(ms|s|m|h))+$') || duration(self) >= duration('10s') && duration(self) <= duration('24h')",message="must be between 10s and 24h"
	ResyncInterval Duration `json:"resyncInterval,omitempty"`

	// limits bounds the requests of the operator to this Admin API.
	// +optional
	// +kubebuilder:default={}
	Limits *GatewayLimits `json:"limits,omitempty"`
}

// GatewayAuth is a token that the operator sends in a header.
type GatewayAuth struct {
	// tokenSecretRef selects the key of a Secret that holds the token. The Secret is in
	// the gateway's namespace. The operator uses a changed Secret immediately.
	// +required
	TokenSecretRef SecretKeyRef `json:"tokenSecretRef"`

	// header is the name of the HTTP header that carries the token.
	// +optional
	// +kubebuilder:default=Kong-Admin-Token
	// +kubebuilder:validation:MaxLength=128
	// +kubebuilder:validation:XValidation:rule="self.matches('^[A-Za-z0-9][A-Za-z0-9-]*$')",message="must be the name of an HTTP header: letters, digits and '-'"
	// +kubebuilder:validation:XValidation:rule="!(self.lowerAscii() in ['host', 'connection', 'content-length', 'content-type', 'transfer-encoding'])",message="must not be a header that HTTP itself uses"
	Header string `json:"header,omitempty"`
}

// GatewayTLS configures TLS to the Admin API.
//
// +kubebuilder:validation:XValidation:rule="has(self.caSecretRef) || has(self.clientCertSecretRef) || has(self.serverName) || has(self.insecureSkipVerify)",message="set at least one of caSecretRef, clientCertSecretRef, serverName and insecureSkipVerify, or leave out tls"
type GatewayTLS struct {
	// caSecretRef selects the certificate authorities (PEM) that the operator trusts
	// instead of those of the system. The Secret is in the gateway's namespace.
	// +optional
	CASecretRef *CASecretRef `json:"caSecretRef,omitempty"`

	// clientCertSecretRef names a Secret of type kubernetes.io/tls with the certificate
	// and key that the operator presents. The Secret is in the gateway's namespace.
	// +optional
	ClientCertSecretRef *ClientCertSecretRef `json:"clientCertSecretRef,omitempty"`

	// serverName is the name that the certificate of the Admin API must have. The
	// default is the host of adminURL.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	ServerName string `json:"serverName,omitempty"`

	// insecureSkipVerify makes the operator accept any certificate. An attacker between
	// the operator and Kong can then read the token and the config of every plugin.
	// +optional
	InsecureSkipVerify bool `json:"insecureSkipVerify,omitempty"`
}

// CASecretRef selects a key of a Secret that holds certificate authorities in PEM.
type CASecretRef struct {
	// name is the name of the Secret.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:XValidation:rule="self.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?([.][a-z0-9]([-a-z0-9]*[a-z0-9])?)*$')",message="must be the name of a Kubernetes object: lower-case letters, digits, '-' and '.'"
	Name string `json:"name"`

	// key is the key in the data of the Secret.
	// +optional
	// +kubebuilder:default=ca.crt
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:XValidation:rule="self.matches('^[-._a-zA-Z0-9]+$')",message="must be a key of a Secret: letters, digits, '-', '_' and '.'"
	Key string `json:"key,omitempty"`
}

// ClientCertSecretRef names a Secret that has the keys tls.crt and tls.key.
type ClientCertSecretRef struct {
	// name is the name of the Secret.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:XValidation:rule="self.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?([.][a-z0-9]([-a-z0-9]*[a-z0-9])?)*$')",message="must be the name of a Kubernetes object: lower-case letters, digits, '-' and '.'"
	Name string `json:"name"`
}

// GatewayLimits bounds the requests of the operator to one Admin API.
type GatewayLimits struct {
	// maxInFlight is the maximum number of requests at the same time.
	// +optional
	// +kubebuilder:default=8
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=128
	MaxInFlight int32 `json:"maxInFlight,omitempty"`

	// requestsPerSecond is the maximum average number of requests per second.
	// +optional
	// +kubebuilder:default=500
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=10000
	RequestsPerSecond int32 `json:"requestsPerSecond,omitempty"`

	// burst is the maximum number of requests at once after an idle time.
	// +optional
	// +kubebuilder:default=100
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=10000
	Burst int32 `json:"burst,omitempty"`

	// requestTimeout is the time after which the operator gives up a request. The maximum
	// is 9s, because this timeout and Kong's database timeout of 5s together must be
	// shorter than the leader's lease.
	// +optional
	// +kubebuilder:default="5s"
	// +kubebuilder:validation:XValidation:rule="!self.matches('^([0-9]{1,5}([.][0-9]{1,9})?(ms|s|m|h))+$') || duration(self) >= duration('100ms') && duration(self) <= duration('9s')",message="must be between 100ms and 9s"
	RequestTimeout Duration `json:"requestTimeout,omitempty"`
}

// KongGatewayStatus is the observed state of a KongGateway.
type KongGatewayStatus struct {
	// version is the version of Kong, such as 3.9.1.
	// +optional
	// +kubebuilder:validation:MaxLength=128
	Version string `json:"version,omitempty"`

	// edition is the edition of Kong: community or enterprise.
	// +optional
	// +kubebuilder:validation:MaxLength=64
	Edition string `json:"edition,omitempty"`

	// database is the database of Kong: postgres, or off.
	// +optional
	// +kubebuilder:validation:MaxLength=64
	Database string `json:"database,omitempty"`

	// nodeID is the ID of the Kong node that answered when this status last changed.
	// +optional
	// +kubebuilder:validation:MaxLength=64
	NodeID string `json:"nodeID,omitempty"`

	// kongIDs are the IDs by which Kong identifies itself, whatever its URL. Two
	// KongGateways with a common ID lead to the same Kong, see spec.allowedGateways.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=16
	// +kubebuilder:validation:items:MaxLength=256
	KongIDs []string `json:"kongIDs,omitempty"`

	// bindings counts the PluginBindings that refer to this gateway. A binding that
	// spec.allowedBindings refuses does not count.
	// +optional
	Bindings *BindingCounts `json:"bindings,omitempty"`

	// lastResync is the last resync whose result differed from that of the resync before.
	// A resync without news is not written here. The metric
	// kong_operator_gateway_last_sweep_timestamp_seconds has the time of every resync.
	// +optional
	LastResync *ResyncStatus `json:"lastResync,omitempty"`

	// resyncInterval is the time between two resyncs at present. It is spec.resyncInterval,
	// or up to five times as long while resyncs take long.
	// +optional
	ResyncInterval *metav1.Duration `json:"resyncInterval,omitempty"`

	// retainedPlugins are the plugins that stay in Kong after their PluginBinding was
	// deleted under managementPolicy Observe. No resync takes them for orphans.
	// +optional
	// +listType=map
	// +listMapKey=namespace
	// +kubebuilder:validation:MaxItems=500
	RetainedPlugins []RetainedPlugins `json:"retainedPlugins,omitempty"`

	// observedGeneration is the generation of the spec that this status describes.
	// +optional
	ObservedGeneration int64 `json:"observedGeneration,omitempty"`

	// conditions are Ready (the summary), ResolvedRefs, Reachable, DatabaseReachable and
	// Accepted.
	// +optional
	// +listType=map
	// +listMapKey=type
	// +kubebuilder:validation:MaxItems=16
	Conditions []metav1.Condition `json:"conditions,omitempty"`
}

// BindingCounts counts PluginBindings.
type BindingCounts struct {
	// total is the number of bindings that refer to the gateway.
	// +optional
	Total int32 `json:"total"`

	// ready is the number of these bindings that are Ready.
	// +optional
	Ready int32 `json:"ready"`
}

// ResyncStatus is the result of one resync, which lists the operator's plugins in a Kong.
type ResyncStatus struct {
	// time is the time at which the resync ended.
	// +optional
	Time metav1.Time `json:"time,omitempty"`

	// duration is the duration of the resync, such as 120ms.
	// +optional
	Duration metav1.Duration `json:"duration,omitempty"`

	// plugins is the number of plugins in Kong with the ownership tags of this cluster.
	// +optional
	Plugins int32 `json:"plugins"`

	// changed is the number of these plugins that changed since the resync before.
	// +optional
	Changed int32 `json:"changed"`

	// orphaned is the number of these plugins whose PluginBinding does not exist, or has
	// recorded another plugin.
	// +optional
	Orphaned int32 `json:"orphaned"`
}

// KongGateway describes how to reach the Admin API of one self-hosted Kong Gateway in DB
// mode, and which PluginBindings may use it.
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:path=konggateways,singular=konggateway,shortName=kgw,categories=kong,scope=Namespaced
// +kubebuilder:printcolumn:name="Ready",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].status`
// +kubebuilder:printcolumn:name="Reason",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].reason`
// +kubebuilder:printcolumn:name="Version",type=string,JSONPath=`.status.version`
// +kubebuilder:printcolumn:name="Bindings",type=integer,JSONPath=`.status.bindings.total`
// +kubebuilder:printcolumn:name="In-Sync",type=integer,JSONPath=`.status.bindings.ready`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
// +kubebuilder:printcolumn:name="Admin-URL",type=string,priority=1,JSONPath=`.spec.adminURL`
// +kubebuilder:printcolumn:name="Message",type=string,priority=1,JSONPath=`.status.conditions[?(@.type=="Ready")].message`
type KongGateway struct {
	metav1.TypeMeta `json:",inline"`
	// +optional
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// spec is the desired state.
	// +required
	Spec KongGatewaySpec `json:"spec"`

	// status is the observed state. Only the operator writes it.
	// +optional
	// +kubebuilder:default={"observedGeneration":-1}
	Status KongGatewayStatus `json:"status,omitempty"`
}

// KongGatewayList is a list of KongGateway.
//
// +kubebuilder:object:root=true
type KongGatewayList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []KongGateway `json:"items"`
}
