package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// KongGatewaySpec says how to reach one Kong in DB mode and who may use it.
type KongGatewaySpec struct {
	// adminURL is the base URL of the Admin API, http or https; it may have a path
	// (an Admin API behind a proxy). Credentials do not belong here, see auth.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=2048
	// +kubebuilder:validation:XValidation:rule="isURL(self) && url(self).getScheme() in ['http', 'https'] && url(self).getHostname() != ''",message="must be an http or https URL with a host, such as https://kong-admin.kong:8444"
	// +kubebuilder:validation:XValidation:rule="!self.contains('@')",message="must not hold credentials; use auth.tokenSecretRef"
	// +kubebuilder:validation:XValidation:rule="!self.contains('?') && !self.contains('#')",message="must not have a query or a fragment"
	AdminURL string `json:"adminURL"`

	// workspace of Kong Enterprise that holds the plugins. Leave it out for Kong
	// Gateway OSS and for the default workspace.
	// +optional
	Workspace Name `json:"workspace,omitempty"`

	// auth is what the operator shows to the Admin API with every request.
	// +optional
	Auth *GatewayAuth `json:"auth,omitempty"`

	// tls says how the Admin API's certificate is verified, and which one the
	// operator shows. Verification is on unless insecureSkipVerify is set.
	// +optional
	TLS *GatewayTLS `json:"tls,omitempty"`

	// allowedBindings says which PluginBindings may use this gateway. Bindings in the
	// gateway's own namespace always may, with any plugin and any scope.
	// +optional
	// +kubebuilder:default={namespaces: {from: Same}}
	AllowedBindings *AllowedBindings `json:"allowedBindings,omitempty"`

	// resyncInterval is how often the operator reads what Kong holds and puts right
	// what differs, at least 10s.
	// +optional
	// +kubebuilder:default="1m"
	// +kubebuilder:validation:XValidation:rule="!self.matches('^([0-9]{1,5}([.][0-9]{1,9})?(ms|s|m|h))+$') || duration(self) >= duration('10s') && duration(self) <= duration('24h')",message="must be between 10s and 24h"
	ResyncInterval Duration `json:"resyncInterval,omitempty"`

	// limits says how hard the operator may lean on this Admin API.
	// +optional
	// +kubebuilder:default={}
	Limits *GatewayLimits `json:"limits,omitempty"`
}

// GatewayAuth is a token that is sent as a header.
type GatewayAuth struct {
	// tokenSecretRef names the Secret key that holds the token, in the gateway's
	// namespace. A changed Secret is picked up at once.
	// +required
	TokenSecretRef SecretKeyRef `json:"tokenSecretRef"`

	// header that carries the token.
	// +optional
	// +kubebuilder:default=Kong-Admin-Token
	// +kubebuilder:validation:MaxLength=128
	// +kubebuilder:validation:XValidation:rule="self.matches('^[A-Za-z0-9][A-Za-z0-9-]*$')",message="must be the name of an HTTP header: letters, digits and '-'"
	// +kubebuilder:validation:XValidation:rule="!(self.lowerAscii() in ['host', 'connection', 'content-length', 'content-type', 'transfer-encoding'])",message="must not be a header that HTTP itself uses"
	Header string `json:"header,omitempty"`
}

// GatewayTLS says whom to trust and who we are.
//
// +kubebuilder:validation:XValidation:rule="has(self.caSecretRef) || has(self.clientCertSecretRef) || has(self.serverName) || has(self.insecureSkipVerify)",message="set at least one of caSecretRef, clientCertSecretRef, serverName and insecureSkipVerify, or leave out tls"
type GatewayTLS struct {
	// caSecretRef names a Secret in the gateway's namespace with the certificate
	// authorities (PEM) to trust instead of the system's.
	// +optional
	CASecretRef *CASecretRef `json:"caSecretRef,omitempty"`

	// clientCertSecretRef names a Secret of type kubernetes.io/tls in the gateway's
	// namespace: the certificate and key that the operator shows.
	// +optional
	ClientCertSecretRef *ClientCertSecretRef `json:"clientCertSecretRef,omitempty"`

	// serverName to expect in the Admin API's certificate, when it is not the host of
	// adminURL.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	ServerName string `json:"serverName,omitempty"`

	// insecureSkipVerify turns verification off. Whoever can stand between the
	// operator and Kong then reads the token and every plugin's config.
	// +optional
	InsecureSkipVerify bool `json:"insecureSkipVerify,omitempty"`
}

// CASecretRef names a Secret key with certificate authorities in PEM.
type CASecretRef struct {
	// name of the Secret.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:XValidation:rule="self.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?([.][a-z0-9]([-a-z0-9]*[a-z0-9])?)*$')",message="must be the name of a Kubernetes object: lower-case letters, digits, '-' and '.'"
	Name string `json:"name"`

	// key within the Secret's data.
	// +optional
	// +kubebuilder:default=ca.crt
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:XValidation:rule="self.matches('^[-._a-zA-Z0-9]+$')",message="must be a key of a Secret: letters, digits, '-', '_' and '.'"
	Key string `json:"key,omitempty"`
}

// ClientCertSecretRef names a Secret with the keys tls.crt and tls.key.
type ClientCertSecretRef struct {
	// name of the Secret.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:XValidation:rule="self.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?([.][a-z0-9]([-a-z0-9]*[a-z0-9])?)*$')",message="must be the name of a Kubernetes object: lower-case letters, digits, '-' and '.'"
	Name string `json:"name"`
}

// AllowedBindings says which PluginBindings outside the gateway's own namespace may
// use the gateway, in the shape of Gateway API's allowedRoutes.
type AllowedBindings struct {
	// namespaces whose bindings may use this gateway.
	// +optional
	// +kubebuilder:default={from: Same}
	Namespaces *BindingNamespaces `json:"namespaces,omitempty"`

	// plugins that may be bound from outside the gateway's own namespace.
	// +optional
	Plugins *AllowedPlugins `json:"plugins,omitempty"`

	// globalScope allows bindings from outside the gateway's own namespace to declare
	// a plugin without a scope, which touches everyone's traffic.
	// +optional
	GlobalScope bool `json:"globalScope,omitempty"`
}

// FromNamespaces says which namespaces are meant.
//
// +kubebuilder:validation:Enum=Same;All;Selector
type FromNamespaces string

const (
	// NamespacesFromSame is the gateway's own namespace.
	NamespacesFromSame FromNamespaces = "Same"
	// NamespacesFromAll is every namespace.
	NamespacesFromAll FromNamespaces = "All"
	// NamespacesFromSelector is every namespace whose labels the selector matches.
	NamespacesFromSelector FromNamespaces = "Selector"
)

// BindingNamespaces is a set of namespaces.
//
// +kubebuilder:validation:XValidation:rule="(self.from == 'Selector') == has(self.selector)",message="selector must be set when from is Selector, and only then"
type BindingNamespaces struct {
	// from is Same (the gateway's own namespace), All, or Selector.
	// +optional
	// +kubebuilder:default=Same
	From FromNamespaces `json:"from,omitempty"`

	// selector over the labels of namespaces, when from is Selector.
	// +optional
	Selector *metav1.LabelSelector `json:"selector,omitempty"`
}

// AllowedPlugins narrows the plugins. Plugins that run code from their config
// (pre-function, post-function, exit-transformer, and custom_fields_by_lua of the logging
// plugins) are denied unless allow names them.
//
// +kubebuilder:validation:XValidation:rule="has(self.allow) || has(self.deny)",message="set allow or deny, or leave out plugins"
type AllowedPlugins struct {
	// allow names the only plugins that may be bound. Without it, every plugin may
	// that is not denied.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=128
	Allow []PluginName `json:"allow,omitempty"`

	// deny names plugins that must not be bound. It beats allow.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=128
	Deny []PluginName `json:"deny,omitempty"`
}

// GatewayLimits bounds the requests of the operator to one Admin API.
type GatewayLimits struct {
	// maxInFlight is the number of requests at the same time.
	// +optional
	// +kubebuilder:default=8
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=128
	MaxInFlight int32 `json:"maxInFlight,omitempty"`

	// requestsPerSecond, averaged.
	// +optional
	// +kubebuilder:default=500
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=10000
	RequestsPerSecond int32 `json:"requestsPerSecond,omitempty"`

	// burst is how many requests may be made at once after a quiet time.
	// +optional
	// +kubebuilder:default=100
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=10000
	Burst int32 `json:"burst,omitempty"`

	// requestTimeout after which a request counts as not answered, at most 9s: with
	// Kong's own database time-out of 5s it has to fit into the leader's lease.
	// +optional
	// +kubebuilder:default="5s"
	// +kubebuilder:validation:XValidation:rule="!self.matches('^([0-9]{1,5}([.][0-9]{1,9})?(ms|s|m|h))+$') || duration(self) >= duration('100ms') && duration(self) <= duration('9s')",message="must be between 100ms and 9s"
	RequestTimeout Duration `json:"requestTimeout,omitempty"`
}

// KongGatewayStatus is what the operator found.
type KongGatewayStatus struct {
	// version of Kong, such as 3.9.1.
	// +optional
	// +kubebuilder:validation:MaxLength=128
	Version string `json:"version,omitempty"`

	// edition of Kong: community or enterprise.
	// +optional
	// +kubebuilder:validation:MaxLength=64
	Edition string `json:"edition,omitempty"`

	// database of Kong: postgres, or off.
	// +optional
	// +kubebuilder:validation:MaxLength=64
	Database string `json:"database,omitempty"`

	// nodeID of the Kong node that answered last when something changed.
	// +optional
	// +kubebuilder:validation:MaxLength=64
	NodeID string `json:"nodeID,omitempty"`

	// bindings that refer to this gateway.
	// +optional
	Bindings *BindingCounts `json:"bindings,omitempty"`

	// lastResync is the last complete list of all the operator's plugins in this Kong whose
	// result differed from the one before. A resync that finds nothing new is not
	// written here; the metric kong_operator_gateway_last_sweep_timestamp_seconds has it.
	// +optional
	LastResync *ResyncStatus `json:"lastResync,omitempty"`

	// observedGeneration is the generation of the spec that this status speaks of.
	// +optional
	ObservedGeneration int64 `json:"observedGeneration,omitempty"`

	// conditions: Ready (the summary), Reachable, DatabaseReachable, Accepted, ResolvedRefs.
	// +optional
	// +listType=map
	// +listMapKey=type
	// +kubebuilder:validation:MaxItems=16
	Conditions []metav1.Condition `json:"conditions,omitempty"`
}

// BindingCounts counts PluginBindings.
type BindingCounts struct {
	// total number of bindings that refer to the gateway.
	// +optional
	Total int32 `json:"total"`

	// ready is how many of them are Ready.
	// +optional
	Ready int32 `json:"ready"`
}

// ResyncStatus is the result of one complete list of all the operator's plugins in a Kong.
type ResyncStatus struct {
	// time at which the resync ended.
	// +optional
	Time metav1.Time `json:"time,omitempty"`

	// duration of the resync, such as 120ms.
	// +optional
	Duration metav1.Duration `json:"duration,omitempty"`

	// plugins of this cluster that Kong holds.
	// +optional
	Plugins int32 `json:"plugins"`

	// changed is how many of them differed from what the operator saw last.
	// +optional
	Changed int32 `json:"changed"`

	// orphaned is how many of them have no PluginBinding, or one that has recorded
	// another plugin.
	// +optional
	Orphaned int32 `json:"orphaned"`
}

// KongGateway says how to reach the Admin API of one self-hosted Kong Gateway in DB
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

	// spec is what you want.
	// +required
	Spec KongGatewaySpec `json:"spec"`

	// status is what the operator found. Only the operator writes it.
	// +optional
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
