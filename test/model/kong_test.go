package model

import (
	"fmt"

	"github.com/pluginbinding/kong-plugin-operator/internal/identity"
)

// An id of a plugin; 0 is none.
type id = uint8

const maxID = 5

// Marks are the owner tags of a plugin.
const (
	unmarked uint8 = iota
	marksOurs
	marksOther // another binding's
)

// Instance names.
const (
	nameNone uint8 = iota
	nameGenerated
	nameCustom // the one that spec.instanceName gives
)

// Entities that a plugin can apply to. The first two are the same service, made again.
const (
	entityNone uint8 = iota
	entityX
	entityXAgain
	entityY
	entityElsewhere
)

// A row is one plugin in Kong. There is one plugin name in this world.
type row struct {
	live               bool
	marks, name, scope uint8
	// same: its settings are the declared ones.
	same bool
	// stranger: made by somebody else, or let go, and not adopted since.
	stranger bool
}

// kong is its table of plugins.
type kong struct {
	rows [maxID + 1]row
	next id
	// x is the entity that the service X is now.
	x uint8
}

type requestKind uint8

const (
	post requestKind = iota + 1
	put
	del
)

// A request is a write on its way to Kong.
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

// standing is what the operator makes of marks and name, worked out once by the real
// function.
var standing = func() (table [3][3]identity.Ownership) {
	self := identity.Binding{Cluster: "c1", Namespace: "shop", Name: "limits", UID: "u1"}
	tags := [3][]string{nil, self.OwnershipTags(), identity.Binding{Cluster: "c1", Namespace: "shop", Name: "other"}.OwnershipTags()}
	names := [3]string{"", self.InstanceName(), "custom"}
	for marks := range tags {
		for name := range names {
			table[marks][name], _ = identity.OwnershipOf(self, tags[marks], names[name])
		}
	}
	return table
}()

func (r *row) ours() bool { return r.live && standing[r.marks][r.name] == identity.Owned }

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
		if k.rows[i].live && k.rows[i].marks == marksOurs {
			return id(i)
		}
	}
	return 0
}

func (k *kong) exists(entity uint8) bool {
	return entity == entityY || entity == entityElsewhere || entity == k.x && k.x != entityNone
}

// admits reports whether foreign and unique keys let the body in under the id.
func (k *kong) admits(i id, body row) bool {
	if !k.exists(body.scope) {
		return false
	}
	holder, named := k.byKey(body.scope), k.byName(body.name)
	return (holder == 0 || holder == i) && (named == 0 || named == i)
}

// insert makes a row under a fresh id, 0 if the keys forbid it.
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

// do commits a write of the operator. It returns the id, 0 if Kong refused, and what is
// wrong about the write.
func (k *kong) do(r request) (i id, wrong string) {
	switch r.kind {
	case post:
		return k.insert(r.body), ""
	case del:
		if k.rows[r.id].live && k.rows[r.id].stranger {
			wrong = "deleted somebody else's plugin"
		}
		k.rows[r.id] = row{}
		return r.id, wrong
	default:
		if !k.admits(r.id, r.body) {
			return 0, ""
		}
		was := k.rows[r.id]
		if was.live && was.stranger && !r.takeOver {
			wrong = "wrote over somebody else's plugin"
		}
		r.body.live = true
		k.rows[r.id] = r.body
		return r.id, wrong
	}
}

// cascade deletes the entity of X and what applies to it.
func (k *kong) cascade() {
	for i := range k.rows {
		if k.rows[i].scope == k.x {
			k.rows[i] = row{}
		}
	}
	k.x = entityNone
}

// letGo makes what bears no marks of the binding a stranger's: nothing has a claim on it.
func (k *kong) letGo() {
	for i := range k.rows {
		if k.rows[i].live && !k.rows[i].ours() {
			k.rows[i].stranger = true
		}
	}
}

// oursCount is how many plugins bear the binding's marks.
func (k *kong) oursCount() (n int) {
	for i := range k.rows {
		if k.rows[i].ours() {
			n++
		}
	}
	return n
}
