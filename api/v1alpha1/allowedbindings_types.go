package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// AllowedBindings says what PluginBindings outside the gateway's own namespace may do
// through the gateway, in the shape of allowedRoutes of Gateway API. Bindings in the
// gateway's own namespace are not restricted.
type AllowedBindings struct {
	// namespaces selects the namespaces whose bindings may use this gateway.
	// +optional
	// +kubebuilder:default={from: Same}
	Namespaces *AllowedNamespaces `json:"namespaces,omitempty"`

	// plugins selects the plugins that may be bound.
	// +optional
	Plugins *AllowedPlugins `json:"plugins,omitempty"`

	// grants allow more plugins to the bindings of some of these namespaces. A grant
	// names a plugin, so that with code Named it also allows a plugin that runs code. A
	// grant does not admit a namespace that namespaces leaves out, and does not allow a
	// plugin that plugins.deny names.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=32
	Grants []PluginGrant `json:"grants,omitempty"`

	// code says whether a plugin may run code from its config in Kong. This is the case
	// for plugins such as pre-function, and for fields such as custom_fields_by_lua of
	// the logging plugins. None never allows it. Named allows it for plugins that
	// plugins.allow or a grant names. Any allows it for every plugin that may be bound.
	// +optional
	// +kubebuilder:default=Named
	Code CodePolicy `json:"code,omitempty"`

	// globalPlugins says whether a binding may declare a plugin without a scope. Such a
	// plugin applies to all traffic of the Kong.
	// +optional
	// +kubebuilder:default=Denied
	GlobalPlugins GlobalPluginsPolicy `json:"globalPlugins,omitempty"`

	// entitySelectors says whether a PluginPolicy may select entities in Kong by their tags
	// with spec.entitySelector. Tags do not say whose an entity is, so allow this together
	// with entities SameNamespace, or to namespaces that may use every entity.
	// +optional
	// +kubebuilder:default=Denied
	EntitySelectors EntitySelectorsPolicy `json:"entitySelectors,omitempty"`

	// entities says to which services, routes, consumers and consumer groups a plugin may
	// apply. All allows every entity. SameNamespace allows an entity only if it has the
	// tag k8s-namespace:<namespace of the binding> in Kong. Kong Ingress Controller sets
	// this tag.
	// +optional
	// +kubebuilder:default=All
	Entities EntityPolicy `json:"entities,omitempty"`

	// adoption says which existing plugins in Kong a binding may adopt or take over,
	// whatever its adoptionPolicy and pluginID say. None allows no existing plugin.
	// Unowned allows a plugin without an owner; it stays where it is and the binding
	// cannot move or delete it. Any allows every plugin, also that of another owner.
	// +optional
	// +kubebuilder:default=Unowned
	Adoption AdoptionLimit `json:"adoption,omitempty"`

	// maxBindingsPerNamespace is the number of bindings that each namespace may have on
	// this gateway. The oldest bindings count first. Without it the number is not
	// limited.
	// +optional
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=100000
	MaxBindingsPerNamespace *int32 `json:"maxBindingsPerNamespace,omitempty"`
}

// AllowedGateways says in which namespaces another KongGateway may lead to the same Kong.
type AllowedGateways struct {
	// namespaces selects the namespaces of these KongGateways.
	// +optional
	// +kubebuilder:default={from: Same}
	Namespaces *AllowedNamespaces `json:"namespaces,omitempty"`
}

// FromNamespaces says how namespaces are selected.
//
// +kubebuilder:validation:Enum=Same;All;Selector
type FromNamespaces string

const (
	// NamespacesFromSame selects the gateway's own namespace.
	NamespacesFromSame FromNamespaces = "Same"
	// NamespacesFromAll selects every namespace.
	NamespacesFromAll FromNamespaces = "All"
	// NamespacesFromSelector selects every namespace whose labels match the selector.
	NamespacesFromSelector FromNamespaces = "Selector"
)

// AllowedNamespaces selects namespaces.
//
// +kubebuilder:validation:XValidation:rule="(self.from == 'Selector') == has(self.selector)",message="selector must be set when from is Selector, and only then"
// +kubebuilder:validation:XValidation:rule="!has(self.selector) || (!has(self.selector.matchLabels) || size(self.selector.matchLabels) <= 32) && (!has(self.selector.matchExpressions) || size(self.selector.matchExpressions) <= 32)",message="selector must have at most 32 matchLabels and at most 32 matchExpressions"
type AllowedNamespaces struct {
	// from is Same, All or Selector. Same selects the gateway's own namespace. All selects
	// every namespace. Selector selects the namespaces whose labels match selector.
	// +optional
	// +kubebuilder:default=Same
	From FromNamespaces `json:"from,omitempty"`

	// selector matches the labels of namespaces. It is used only with from Selector.
	// +optional
	Selector *metav1.LabelSelector `json:"selector,omitempty"`
}

// AllowedPlugins selects plugins by name.
//
// +kubebuilder:validation:XValidation:rule="has(self.allow) || has(self.deny)",message="set allow or deny, or leave out plugins"
type AllowedPlugins struct {
	// allow lists the plugins that may be bound. Without it every plugin may be bound that
	// deny does not list, and that code does not refuse.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=128
	Allow []PluginName `json:"allow,omitempty"`

	// deny lists the plugins that must not be bound. It takes precedence over allow and
	// over every grant.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=128
	Deny []PluginName `json:"deny,omitempty"`
}

// PluginGrant allows plugins to the bindings of some namespaces.
//
// +kubebuilder:validation:XValidation:rule="self.namespaces.from != 'Same'",message="the gateway's own namespace needs no grant; set namespaces.from to Selector or All"
type PluginGrant struct {
	// namespaces selects the namespaces that get the grant, with from Selector or All.
	// +required
	Namespaces AllowedNamespaces `json:"namespaces"`

	// plugins lists the plugins that the grant allows.
	// +required
	// +listType=set
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=64
	Plugins []PluginName `json:"plugins"`
}

// CodePolicy says whether plugins may run code from their config.
//
// +kubebuilder:validation:Enum=None;Named;Any
type CodePolicy string

const (
	// CodeNone never allows code.
	CodeNone CodePolicy = "None"
	// CodeNamed allows code in plugins that are allowed by name.
	CodeNamed CodePolicy = "Named"
	// CodeAny allows code in every plugin that may be bound.
	CodeAny CodePolicy = "Any"
)

// GlobalPluginsPolicy says whether a plugin may have no scope.
//
// +kubebuilder:validation:Enum=Denied;Allowed
type GlobalPluginsPolicy string

const (
	// GlobalPluginsDenied refuses plugins without a scope.
	GlobalPluginsDenied GlobalPluginsPolicy = "Denied"
	// GlobalPluginsAllowed allows plugins without a scope.
	GlobalPluginsAllowed GlobalPluginsPolicy = "Allowed"
)

// EntityPolicy says to which entities of Kong a plugin may apply.
//
// +kubebuilder:validation:Enum=All;SameNamespace
type EntityPolicy string

const (
	// EntitiesAll allows every entity.
	EntitiesAll EntityPolicy = "All"
	// EntitiesSameNamespace allows entities with the tag of the binding's namespace.
	EntitiesSameNamespace EntityPolicy = "SameNamespace"
)

// AdoptionLimit says which existing plugins a binding may acquire.
//
// +kubebuilder:validation:Enum=None;Unowned;Any
type AdoptionLimit string

const (
	// AdoptionNone allows no existing plugin.
	AdoptionNone AdoptionLimit = "None"
	// AdoptionUnowned allows plugins without an owner, where they are.
	AdoptionUnowned AdoptionLimit = "Unowned"
	// AdoptionAny allows every plugin.
	AdoptionAny AdoptionLimit = "Any"
)
