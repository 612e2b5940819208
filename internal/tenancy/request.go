package tenancy

import (
	"cmp"
	"slices"
	"time"
)

// Operation is what the operator is about to do in Kong.
type Operation int

const (
	// Refer writes nothing. It asks whether the binding may use the gateway, and whether it counts
	// for resyncs, metrics and the deletion of the gateway.
	Refer Operation = iota
	// Create creates a plugin, or restores one that Kong lost.
	Create
	// Update writes a plugin of the binding without changing its scope.
	Update
	// Move changes the scope of a plugin of the binding.
	Move
	// Acquire adopts, takes over or imports a plugin. Request.Acquisition says how.
	Acquire
	// Release removes the ownership tags of a plugin of the binding and keeps the plugin.
	Release
	// Delete deletes a plugin of the binding because the binding is being deleted or is gone.
	Delete
)

// AcquisitionKind is how a binding would acquire an existing plugin.
type AcquisitionKind int

const (
	// NoAcquisition acquires nothing.
	NoAcquisition AcquisitionKind = iota
	// AdoptUnowned adopts a plugin without an owner that has the declared name and scope.
	AdoptUnowned
	// Import adopts the plugin without an owner that spec.pluginID names.
	Import
	// TakeOverGone takes over the plugin of a binding of this cluster that does not exist any more.
	TakeOverGone
	// TakeOver takes over the plugin of another owner.
	TakeOver
	// Replace takes over the plugin of a binding that this one replaces, and that allows it.
	Replace
)

// Acquisition describes how a binding would acquire an existing plugin.
type Acquisition struct {
	Kind AcquisitionKind
	// Moves reports whether the plugin would get another scope than it has.
	Moves bool
	// Owner of the plugin, for messages; empty if it has none.
	Owner string
	// OwnerNamespace is the namespace in the ownership tags of the plugin, for TakeOverGone.
	OwnerNamespace string
}

// Entity is a service, route, consumer or consumer group to which a plugin applies.
type Entity struct {
	// Kind and Name are for messages. Name is what the binding calls the entity: its name or ID.
	Kind, Name string
	// Known reports whether Kong has been asked for the tags.
	Known bool
	// Tags of the entity in Kong.
	Tags []string
}

// Request is what a binding wants from a gateway. The facts from Kong stay empty while Kong has not
// been asked.
type Request struct {
	// Namespace of the binding. Its labels are needed if the gateway uses selectors.
	Namespace Namespace
	// Plugin is spec.plugin.
	Plugin string
	// Global reports whether the plugin has no scope: that of the declaration or, for Delete, that
	// of the plugin in Kong.
	Global bool
	// ByTags reports whether a policy selects its entities by their tags (spec.entitySelector).
	ByTags bool
	// Rank of the binding among those of its namespace on this gateway, from 1, see Rank. It is
	// needed if Policy.NeedsRank.
	Rank int
	// Operation that the operator is about to do.
	Operation Operation

	// PluginID is the ID of the plugin in Kong, for messages; empty if there is none yet.
	PluginID string
	// ConfigKnown reports whether CodeFields are known: the config is rendered.
	ConfigKnown bool
	// CodeFields are the fields of the config that hold code, such as custom_fields_by_lua, see
	// CodeFields and IsCodeField.
	CodeFields []string
	// Entities are all entities of the scope: those of the declaration or, for Delete, those of the
	// plugin in Kong. They are needed if Policy.NeedsTags.
	Entities []Entity
	// Acquired reports whether the plugin existed before the binding: the operator adopted, took
	// over or imported it. It must survive the loss of the binding's status.
	Acquired bool
	// Acquisition is what the binding would acquire now.
	Acquisition Acquisition
}

// Peer is a binding of a namespace on a gateway.
type Peer struct {
	Name    string
	Created time.Time
}

// Rank returns the position of a binding among the bindings of its namespace on the same gateway,
// from 1. The oldest comes first, and of two that are equally old the one whose name sorts first.
// It does not matter whether peers contains self. The cost is linear.
func Rank(self Peer, peers []Peer) int {
	rank := 1
	for _, peer := range peers {
		if peer.Name != self.Name && comparePeers(peer, self) < 0 {
			rank++
		}
	}
	return rank
}

// Ranks returns the Rank of each peer by its name. All peers are bindings of one namespace on one
// gateway.
func Ranks(peers []Peer) map[string]int {
	ranks := make(map[string]int, len(peers))
	for i, peer := range slices.SortedFunc(slices.Values(peers), comparePeers) {
		ranks[peer.Name] = i + 1
	}
	return ranks
}

func comparePeers(a, b Peer) int {
	return cmp.Or(a.Created.Compare(b.Created), cmp.Compare(a.Name, b.Name))
}
