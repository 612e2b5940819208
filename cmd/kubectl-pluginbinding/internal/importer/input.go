package importer

import (
	"encoding/json"

	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/pluginbinding/kong-plugin-operator/api/v1alpha1"
	"github.com/pluginbinding/kong-plugin-operator/internal/adminapi"
	"github.com/pluginbinding/kong-plugin-operator/internal/kic"
	"github.com/pluginbinding/kong-plugin-operator/internal/plugin"
)

// Source says whose plugins to import.
type Source string

const (
	// FromKIC imports the plugins of Kong's ingress controller.
	FromKIC Source = "kic"
	// FromDeck imports the plugins of a decK state file.
	FromDeck Source = "deck"
	// FromTerraform imports the plugins of a Terraform state.
	FromTerraform Source = "terraform"
	// FromUnowned imports the plugins without an owner.
	FromUnowned Source = "unowned"
	// FromAll imports the plugins of the ingress controller and those without an owner.
	FromAll Source = "all"
)

// Sources are all sources, in the order of the help.
var Sources = []Source{FromKIC, FromDeck, FromTerraform, FromUnowned, FromAll}

// Policies says when plugins become a PluginPolicy.
type Policies string

const (
	// PoliciesAuto makes a policy where the ingress controller made several plugins of one KongPlugin on
	// one object.
	PoliciesAuto Policies = "auto"
	// PoliciesAlways makes one also where it made a single plugin.
	PoliciesAlways Policies = "always"
	// PoliciesNever makes a binding for each plugin, so that every plugin keeps its ID.
	PoliciesNever Policies = "never"
)

// Input is everything that an import depends on.
type Input struct {
	Source   Source
	Policies Policies
	// Gateway whose Kong it is.
	Gateway *v1alpha1.KongGateway
	// Cluster is the cluster ID in ownership tags.
	Cluster string
	// Namespace restricts the import to what belongs to it; empty means all.
	Namespace string
	// Target is the namespace for what belongs to none; empty means the gateway's.
	Target string

	Kong Kong
	Kube Kube

	// State is the state of decK or Terraform, nil for other sources.
	State *State
	// Removed: the user says that the other tool does not manage the plugins any more.
	Removed bool
}

// Kong is what the Admin API showed.
type Kong struct {
	Plugins  []plugin.Plugin
	Entities map[adminapi.EntityKind]map[string]adminapi.Entity // by ID
	// Schemas by plugin name. Without one, every field counts as secret.
	Schemas map[string]*plugin.Schema
}

// Kube is what the API server showed.
type Kube struct {
	// Bindings and Policies of all gateways that lead to this Kong.
	Bindings []v1alpha1.PluginBinding
	Policies []v1alpha1.PluginPolicy
	// Objects behind entities of Kong, without their version. One that does not exist is not there.
	Objects map[kic.Object]Object
	// KongPlugins are KongPlugins and KongClusterPlugins, without their version.
	KongPlugins map[kic.Object]*KongPlugin
	// Problem says why the objects of the ingress controller could not be read; empty if they were.
	Problem string
}

// Object is an object of the cluster that the ingress controller makes something of.
type Object struct {
	UID         types.UID
	Annotations map[string]string
}

// KongPlugin has the fields of a KongPlugin or KongClusterPlugin that matter here.
type KongPlugin struct {
	Plugin        string          `json:"plugin"`
	Config        json.RawMessage `json:"config"`
	ConfigFrom    *KongSource     `json:"configFrom"`
	ConfigPatches []struct {
		Path      string     `json:"path"`
		ValueFrom KongSource `json:"valueFrom"`
	} `json:"configPatches"`
	// Namespace is that of the KongPlugin, empty for a KongClusterPlugin.
	Namespace string `json:"-"`
	// Global: it is a KongClusterPlugin without a scope.
	Global bool `json:"-"`
}

// KongSource is where a KongPlugin takes a value from. Only a KongClusterPlugin names a namespace.
type KongSource struct {
	SecretKeyRef struct {
		Namespace string `json:"namespace"`
		Name      string `json:"name"`
		Key       string `json:"key"`
	} `json:"secretKeyRef"`
}

// Result is what to print.
type Result struct {
	// Objects are PluginPolicies and PluginBindings, sorted by namespace, kind and name.
	Objects []client.Object
	// Secrets that they refer to and that do not exist, with the values of Kong.
	Secrets []Secret
	// Imported is the number of plugins that the objects stand for, and Bound that of plugins that are
	// bound already.
	Imported, Bound int
	// Unsaid is what the objects do not say, and what was left out.
	Unsaid []Unsaid
	// Claimed are the plugins in the objects that the ingress controller still wants.
	Claimed []Claimed
	// Remove are the entries to take out of the other tool's state.
	Remove []Removal
}

// Unsaid is something that was not imported.
type Unsaid struct {
	// ID of the plugin in Kong, empty for an entry of a state that Kong does not have.
	ID string
	// Plugin and its scope, for people.
	Plugin string
	Why    string
	// LeftOut: the whole plugin was left out.
	LeftOut bool
}

// Claimed is a plugin that passes from the ingress controller to an object.
type Claimed struct {
	By     kic.Claim
	Object string
}

// Removal is an entry to take out of a state.
type Removal struct {
	Entry Entry
	ID    string
	// Object that stands for it, empty if it was refused.
	Object string
	// Refused says why the plugin was not imported.
	Refused string
}

// Secret is a Secret to make.
type Secret struct {
	Namespace, Name string
	Values          map[string][]byte
	// Fields are the JSON pointers into the config, by key. An empty one is the whole config.
	Fields map[string]string
}
