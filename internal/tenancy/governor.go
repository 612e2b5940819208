package tenancy

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/types"
)

// maxKongIDs is the number of IDs of one gateway that count. A Kong can say anything of itself.
const maxKongIDs = 16

// Gateway is a KongGateway as far as the question needs it who governs a Kong.
type Gateway struct {
	// Policy of the gateway. Its allowedGateways decides if this gateway governs its Kong.
	Policy Policy
	// Namespace of the gateway. Its labels are needed if another gateway uses a selector.
	Namespace Namespace
	// Created is the creationTimestamp.
	Created time.Time
	// URL is the canonical URL of the Admin API.
	URL string
	// KongIDs are what this Kong says of itself and no other Kong does: the key of its database,
	// and the IDs of its nodes. They must survive a restart of the operator (status.kongIDs), or
	// else a gateway that is probed first could pass before the older one is known. At most 16
	// count.
	KongIDs []string
}

func (g Gateway) key() types.NamespacedName { return g.Policy.gateway }

// marks are what identifies the Kong of a gateway.
func (g Gateway) marks() []string {
	var marks []string
	if g.URL != "" {
		marks = append(marks, "url "+g.URL)
	}
	for _, id := range g.KongIDs[:min(len(g.KongIDs), maxKongIDs)] {
		if id != "" {
			marks = append(marks, "id "+id)
		}
	}
	return marks
}

// SameKong reports whether two gateways lead to one Kong: they have the same canonical URL, or their
// Kongs have an ID in common. False proves nothing: a proxy can hide the ID of a Kong.
func SameKong(a, b Gateway) bool {
	return slices.ContainsFunc(a.marks(), func(mark string) bool { return slices.Contains(b.marks(), mark) })
}

// Governance is the position of a gateway at its Kong.
type Governance struct {
	// Governor is the gateway that governs the Kong: the oldest one, which can be the gateway
	// itself. If Message is not empty, it is the one that refuses.
	Governor types.NamespacedName
	// Message says why the gateway is not accepted, what the operator leaves undone, and what to do
	// next; empty if the gateway is accepted.
	Message string
}

// Accepted reports whether the gateway may be used.
func (g Governance) Accepted() bool { return g.Message == "" }

// Govern decides for each gateway whether it may be used. The oldest gateway of a Kong governs it. A
// later gateway is accepted in the governor's namespace, and in those that the governor's
// allowedGateways selects. A gateway that is not accepted governs nothing. So a later gateway that
// claims the IDs of several Kongs cannot connect them, and does no harm to older gateways.
//
// Of two gateways that are equally old, the one whose namespace and name sort first is the older
// one. A gateway that is being deleted still counts. The cost is that of sorting.
func Govern(gateways []Gateway) map[types.NamespacedName]Governance {
	result := make(map[types.NamespacedName]Governance, len(gateways))
	governors := map[string]Gateway{} // by mark
	for _, g := range slices.SortedFunc(slices.Values(gateways), compareGateways) {
		marks := g.marks()
		above := governorsOf(marks, governors)
		if i := slices.IndexFunc(above, func(governor Gateway) bool { return !governor.admits(g) }); i >= 0 {
			result[g.key()] = Governance{Governor: above[i].key(), Message: above[i].refusal(g)}
			continue
		}
		governor := g
		if len(above) > 0 {
			governor = above[0]
		}
		result[g.key()] = Governance{Governor: governor.key()}
		for _, mark := range marks {
			if _, taken := governors[mark]; !taken {
				governors[mark] = governor
			}
		}
	}
	return result
}

func compareGateways(a, b Gateway) int {
	return cmp.Or(
		a.Created.Compare(b.Created),
		cmp.Compare(a.key().Namespace, b.key().Namespace),
		cmp.Compare(a.key().Name, b.key().Name),
	)
}

// governorsOf are the governors of all Kongs with one of the marks, each once, the oldest first.
func governorsOf(marks []string, governors map[string]Gateway) []Gateway {
	var all []Gateway
	for _, mark := range marks {
		if governor, taken := governors[mark]; taken {
			all = append(all, governor)
		}
	}
	slices.SortFunc(all, compareGateways)
	return slices.CompactFunc(all, func(a, b Gateway) bool { return a.key() == b.key() })
}

// admits reports whether a governor accepts a later gateway.
func (g Gateway) admits(later Gateway) bool {
	return !g.Policy.Restricts(later.Namespace.Name) || g.Policy.gateways.has(later.Namespace)
}

func (g Gateway) refusal(later Gateway) string {
	return fmt.Sprintf("KongGateway %s governs this Kong, because it is older, and does not allow another KongGateway in namespace %s. "+
		"The operator programs no plugin through this KongGateway. "+
		"Have the owner of KongGateway %s allow the namespace in its spec.allowedGateways, use that gateway in the gatewayRef of bindings, or delete this KongGateway",
		g.Policy.name(), short(later.Namespace.Name), g.Policy.name()) + "."
}
