package handover

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"strings"

	"github.com/pluginbinding/kong-plugin-operator/api/v1alpha1"
	"github.com/pluginbinding/kong-plugin-operator/internal/adminapi"
	"github.com/pluginbinding/kong-plugin-operator/internal/kic"
	"github.com/pluginbinding/kong-plugin-operator/internal/policy"
)

// Way is how a plugin moves.
type Way string

// The ways.
const (
	// Beside: a PluginPolicy on the routes together with their services, where it stays.
	Beside Way = "Beside"
	// Service: bindings beside the ingress controller's plugin on each route of the service, then a
	// PluginPolicy on the service, and then the bindings go.
	Service Way = "Service"
	// SameID: a plugin beside the ingress controller's while a binding takes that one over, under its
	// ID, and then the plugin beside it goes.
	SameID Way = "SameID"
	// TakeOver: a binding takes the plugin over under its ID, with nothing beside it.
	TakeOver Way = "TakeOver"
)

const (
	// RecordAnnotation on a PluginPolicy or PluginBinding says what was handed over to it, so that it
	// can be handed back.
	RecordAnnotation = "kong.pluginbinding.io/handed-over-from"
	// ShadowLabel is on what stands beside another plugin for the time of a hand-over only.
	ShadowLabel = "kong.pluginbinding.io/handover-shadow"
)

// Item is one KongPlugin on one object that moves.
type Item struct {
	// KongPlugin is the KongPlugin or KongClusterPlugin, and Plugin the name of its plugin in Kong.
	KongPlugin Ref    `json:"kongPlugin"`
	Plugin     string `json:"plugin"`
	// Object has the annotation. A global plugin has none.
	Object *Ref `json:"object,omitempty"`
	Way    Way  `json:"way"`
	// Namespace and Name of what it becomes. Other objects of the hand-over begin with the name.
	Namespace string `json:"namespace"`
	Name      string `json:"name"`
	Gateway   string `json:"gateway"`
	// Annotation is the value that the object had, or that of the label of a global plugin.
	Annotation string `json:"annotation,omitempty"`
	// Rows are the plugins of the ingress controller.
	Rows []Row `json:"rows,omitempty"`

	// Step is the step that has begun, and Done says that all are done. Undoing says that they are
	// those that undo it.
	Step    string `json:"step,omitempty"`
	Done    bool   `json:"done,omitempty"`
	Undoing bool   `json:"undoing,omitempty"`
	// Problem is why the item was put back.
	Problem string `json:"problem,omitempty"`
}

// Ref names an object of the ingress controller.
type Ref struct {
	Group     string `json:"group,omitempty"`
	Version   string `json:"version,omitempty"`
	Kind      string `json:"kind"`
	Namespace string `json:"namespace,omitempty"`
	Name      string `json:"name"`
}

func refOf(o kic.Object) Ref { return Ref(o) }

func (r Ref) object() kic.Object { return kic.Object(r) }

// Row is a plugin of the ingress controller in Kong.
type Row struct {
	ID       string   `json:"id"`
	Tags     []string `json:"tags,omitempty"`
	Route    string   `json:"route,omitempty"`
	Service  string   `json:"service,omitempty"`
	Consumer string   `json:"consumer,omitempty"`
	Group    string   `json:"consumerGroup,omitempty"`
	// Entity is the name of what the plugin applies to.
	Entity string `json:"entity,omitempty"`
}

// String names the item for people.
func (i *Item) String() string {
	if i.Object == nil {
		return i.KongPlugin.object().String() + " (global)"
	}
	return i.KongPlugin.object().String() + " on " + i.Object.object().String()
}

func (i *Item) key() string {
	key := i.KongPlugin.object().String()
	if i.Object != nil {
		key += " " + i.Object.object().String()
	}
	return key
}

// gateway is how objects of the item's namespace name the KongGateway.
func (i *Item) gateway() v1alpha1.GatewayRef {
	namespace, name, _ := strings.Cut(i.Gateway, "/")
	if namespace == i.Namespace {
		namespace = ""
	}
	return v1alpha1.GatewayRef{Namespace: namespace, Name: name}
}

// kindOf is the kind of the entities of the item's object.
func (i *Item) kindOf() adminapi.EntityKind {
	if i.Object == nil {
		return ""
	}
	for kind, entity := range policy.Kinds {
		if kind.Kind == i.Object.Kind && kind.Group == i.Object.Group {
			return entity
		}
	}
	return ""
}

// begun reports whether a step was taken, or may have been.
func (i *Item) begun() bool { return i.Step != "" || i.Undoing || i.Done }

// takesOver reports whether the plugins keep the ingress controller's IDs.
func (i *Item) takesOver() bool { return i.Way == TakeOver || i.Way == SameID }

// hasShadows reports whether plugins stand beside others for some time only.
func (i *Item) hasShadows() bool { return i.Way == Service || i.Way == SameID }

// record is what stays on the object that the item becomes.
func (i *Item) record() string {
	kept := *i
	kept.Rows, kept.Step, kept.Done, kept.Undoing, kept.Problem = nil, "", false, false, ""
	raw, err := json.Marshal(kept)
	if err != nil {
		return ""
	}
	return string(raw)
}

// maxName bounds the names of objects: policies append a hash to theirs.
const maxName = 200

// nameOf is the name of what a KongPlugin on an object becomes.
func nameOf(a *attachment) string {
	name := a.plugin.Name + "-global"
	if a.object.Name != "" {
		name = a.plugin.Name + "-" + strings.ToLower(a.object.Kind) + "-" + a.object.Name
	}
	if len(name) > maxName {
		name = strings.TrimRight(name[:maxName-len(hash(""))-1], "-.") + "-" + hash(name)
	}
	return name
}

// part is the name of one of several objects of an item.
func (i *Item) part(what, of string) string { return i.Name + "-" + what + hash(of) }

func hash(text string) string {
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:])[:8]
}
