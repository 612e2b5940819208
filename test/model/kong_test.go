package model

import (
	"fmt"

	"github.com/pluginbinding/kong-plugin-operator/internal/identity"
)

// An id is a plugin ID; 0 is none.
type id = uint8

const maxID = 5

// Tags of a plugin.
const (
	untagged uint8 = iota
	ownTags
	otherTags // the ownership tags of another binding
)

// Instance names.
const (
	nameNone uint8 = iota
	nameGenerated
	nameCustom // spec.instanceName
)

// Entities in a scope. The first two are one service, before and after it is recreated.
const (
	entityNone uint8 = iota
	entityX
	entityXAgain
	entityY
	entityElsewhere
)

// A row is one plugin in Kong. All rows have the same plugin name.
type row struct {
	live              bool
	tags, name, scope uint8
	// same: its settings are the desired ones.
	same bool
	// foreign: someone else created it, or the operator released it, and no binding has adopted
	// it since.
	foreign bool
}

// kong is Kong's table of plugins.
type kong struct {
	rows [maxID + 1]row
	next id
	// x is the current entity of service X.
	x uint8
}

type requestKind uint8

const (
	post requestKind = iota + 1
	put
	del
)

// A request is a write that is in flight.
type request struct {
	kind     requestKind
	id       id
	body     row
	takeOver bool
}

func (r request) String() string {
	switch r.kind {
	case post:
		return "POST"
	case put:
		return fmt.Sprintf("PUT %d", r.id)
	default:
		return fmt.Sprintf("DELETE %d", r.id)
	}
}

// ownership of a row by its tags and name, computed once by the real function.
var ownership = func() (table [3][3]identity.Ownership) {
	self := identity.Binding{Cluster: "c1", Namespace: "shop", Name: "limits", UID: "u1"}
	other := identity.Binding{Cluster: "c1", Namespace: "shop", Name: "other"}
	tagLists := [3][]string{nil, self.OwnershipTags(), other.OwnershipTags()}
	names := [3]string{"", self.InstanceName(), "custom"}
	for tags := range tagLists {
		for name := range names {
			table[tags][name], _ = identity.OwnershipOf(self, tagLists[tags], names[name])
		}
	}
	return table
}()

func (r *row) owned() bool { return r.live && ownership[r.tags][r.name] == identity.Owned }

func (k *kong) byName(name uint8) id {
	for i := range k.rows {
		if k.rows[i].live && name != nameNone && k.rows[i].name == name {
			return id(i)
		}
	}
	return 0
}

func (k *kong) byKey(scope uint8) id {
	for i := range k.rows {
		if k.rows[i].live && k.rows[i].scope == scope {
			return id(i)
		}
	}
	return 0
}

func (k *kong) byTags() id {
	for i := range k.rows {
		if k.rows[i].live && k.rows[i].tags == ownTags {
			return id(i)
		}
	}
	return 0
}

// ownsOne reports whether a list by tags shows the plugin, and that the binding owns no other: its generated
// instance name is unique.
func (k *kong) ownsOne(i id) bool {
	for other := range k.rows {
		if id(other) != i && k.rows[other].live && k.rows[other].tags == ownTags {
			return false
		}
	}
	return k.rows[i].live && k.rows[i].tags == ownTags && k.rows[i].name == nameGenerated
}

func (k *kong) exists(entity uint8) bool {
	return entity == entityY || entity == entityElsewhere || entity == k.x && k.x != entityNone
}

// admits reports whether foreign keys and unique keys allow the body under the ID.
func (k *kong) admits(i id, body row) bool {
	if !k.exists(body.scope) {
		return false
	}
	holder, named := k.byKey(body.scope), k.byName(body.name)
	return (holder == 0 || holder == i) && (named == 0 || named == i)
}

// insert creates a row under a new ID. It returns 0 if a key forbids it.
func (k *kong) insert(body row) id {
	if k.next > maxID || !k.admits(0, body) {
		return 0
	}
	i := k.next
	k.next++
	body.live = true
	k.rows[i] = body
	return i
}

// commit applies a write of the operator. It returns the ID, 0 if Kong refused the write, and
// the violation if the write is one.
func (k *kong) commit(r request) (i id, wrong string) {
	switch r.kind {
	case post:
		return k.insert(r.body), ""
	case del:
		if k.rows[r.id].live && k.rows[r.id].foreign {
			wrong = "deleted a foreign plugin"
		}
		k.rows[r.id] = row{}
		return r.id, wrong
	default:
		if !k.admits(r.id, r.body) {
			return 0, ""
		}
		was := k.rows[r.id]
		if was.live && was.foreign && !r.takeOver {
			wrong = "wrote over a foreign plugin"
		}
		r.body.live = true
		k.rows[r.id] = r.body
		return r.id, wrong
	}
}

// cascade deletes the entity of X and the plugins on it.
func (k *kong) cascade() {
	for i := range k.rows {
		if k.rows[i].scope == k.x {
			k.rows[i] = row{}
		}
	}
	k.x = entityNone
}

// release makes the plugins without the binding's ownership tags foreign.
func (k *kong) release() {
	for i := range k.rows {
		if k.rows[i].live && !k.rows[i].owned() {
			k.rows[i].foreign = true
		}
	}
}

// ownedCount is the number of plugins that the binding owns.
func (k *kong) ownedCount() (n int) {
	for i := range k.rows {
		if k.rows[i].owned() {
			n++
		}
	}
	return n
}
