// Package identity decides which plugin in Kong is a binding's, and what is to be done
// about it. It is pure: facts in, one action out, no I/O and no clock.
//
// The table, first matching row wins. P is the recorded ID, byID what Kong has under P
// (or, before anything is recorded, under spec.pluginID), byName what answers to the
// binding's instance_name or else bears its owner tags, byKey what holds the same plugin
// name and scope. A row looks only at the facts it names; a fact it needs and that is not
// known makes it row 1.
//
//	#   P    byID                             byName      byKey        action
//	1   any fact that is needed is unknown                             Wait
//	2   set  ours or nobody's, same plugin,
//	         equal                                        free or P    None
//	3   set  the same, differs                            free or P    Put P
//	4   set  exists                                       R, not P     Conflict with R
//	5   set  another owner's, or another
//	         plugin                                       free or P    Conflict with P
//	6   set  absent                           ours, Q                  Delete Q
//	6a  set  absent                           not ours, Q              Conflict with Q
//	7   set  absent                           absent      free         Put P
//	8   set  absent                           absent      R            Conflict with R
//	9   -                                     ours, Q                  Recover Q
//	9a  -    spec.pluginID = Q:
//	         nobody's, same plugin            absent or Q              Adopt Q
//	         absent                           absent                   Wait for Q
//	         otherwise                        not ours                 Conflict
//	9b  -                                     not ours, Q not the
//	                                          holder of the key        Conflict with Q
//	10  -                                     absent or Q nobody's, Q  Adopt Q by policy, or Conflict
//	11  -                                     absent or Q another's, Q TakeOver Q if Override, or Conflict
//	12  -                                     absent      free         Create
package identity

// Standing is how a plugin in Kong relates to a binding.
type Ownership int

const (
	// Unknown: not asked, or no answer that can be believed. It is not absence.
	Unknown Ownership = iota
	// Absent: Kong itself said that there is none.
	Absent
	// Ours: it bears the marks of this binding.
	Owned
	// Nobodys: it bears nobody's marks.
	Unowned
	// Others: it bears the marks of another binding, cluster or tool.
	OwnedByOther
)

// Found reports whether there is a plugin.
func (s Ownership) Found() bool { return s == Owned || s == Unowned || s == OwnedByOther }

// Sighting is the answer to one question put to Kong.
type Observation struct {
	Ownership Ownership
	// ID of the plugin that was found.
	ID string
	// SamePlugin: its plugin name is the declared one.
	SamePlugin bool
	// Equal: nothing about it differs from the declaration, marks included.
	Equal bool
	// SameTraffic: nothing that touches traffic differs, so that only marks would change.
	SameTraffic bool
	// Owner, for messages.
	Owner Owner
}

// Adoption is what a binding may do with a plugin that is already there.
type Adoption int

const (
	// AdoptNever leaves it.
	AdoptNever Adoption = iota
	// AdoptIfIdentical takes nobody's plugin when traffic does not change.
	AdoptIfIdentical
	// AdoptOverride takes it whoever has it.
	AdoptOverride
)

// Facts are all that a decision rests on.
type Facts struct {
	// Recorded is status.pluginID.
	Recorded string
	// Import is spec.pluginID.
	Import   string
	Adoption Adoption

	ByID   Observation
	ByName Observation
	ByKey  Observation
}

// Verb is what is to be done.
type Operation int

const (
	// Wait: nothing is decided, because something is not known or not there yet.
	Wait Operation = iota
	// None: Kong holds what was declared.
	None
	// Put writes the whole plugin under the recorded ID.
	Put
	// Create posts the plugin without an ID; Kong assigns it.
	Create
	// Recover records the ID of a plugin that is already ours. No write to Kong.
	RecordID
	// Adopt records the ID of a plugin that was nobody's. No write to Kong.
	Adopt
	// TakeOver writes the whole plugin over another owner's, and records its ID.
	TakeOver
	// Delete removes a plugin of ours.
	Delete
	// Unmark takes our marks off a plugin of ours.
	Release
	// Conflict: another plugin is in the way; nothing is touched.
	Conflict
	// Release: nothing of ours is left in Kong.
	RemoveFinalizer
)

func (v Operation) String() string {
	return [...]string{
		"Wait", "None", "Put", "Create", "Recover", "Adopt",
		"TakeOver", "Delete", "Unmark", "Conflict", "Release",
	}[v]
}

// Action is a decision: at most one write to Kong.
type Action struct {
	Operation Operation
	// ID that the verb speaks of: the plugin to write, record, delete or, for Conflict,
	// the plugin in the way.
	ID string
	// Owner of the plugin in the way.
	Owner Owner
	// Row of the table.
	Row string
}

// Decide applies the table to a binding that is to be in force.
func Decide(f Facts) Action {
	if f.Recorded != "" {
		return decideRecorded(f)
	}
	return decideUnrecorded(f)
}

func decideRecorded(f Facts) Action {
	p := f.Recorded
	switch {
	case f.ByID.Ownership == Unknown:
		return Action{Operation: Wait, Row: "1"}
	case f.ByID.Ownership == Absent:
		return decideMissing(f)
	case f.ByKey.Ownership == Unknown:
		return Action{Operation: Wait, Row: "1"}
	case f.ByKey.Ownership.Found() && f.ByKey.ID != p:
		return conflict("4", f.ByKey)
	case f.ByID.Ownership == OwnedByOther || !f.ByID.SamePlugin:
		return conflict("5", f.ByID)
	case f.ByID.Equal:
		return Action{Operation: None, ID: p, Row: "2"}
	default:
		return Action{Operation: Put, ID: p, Row: "3"}
	}
}

// decideLost is for a recorded plugin that Kong no longer has.
func decideMissing(f Facts) Action {
	switch {
	case f.ByName.Ownership == Unknown:
		return Action{Operation: Wait, Row: "1"}
	case f.ByName.Ownership == Owned:
		return Action{Operation: Delete, ID: f.ByName.ID, Row: "6"}
	case f.ByName.Ownership.Found():
		return conflict("6a", f.ByName)
	case f.ByKey.Ownership == Unknown:
		return Action{Operation: Wait, Row: "1"}
	case f.ByKey.Ownership.Found():
		return conflict("8", f.ByKey)
	default:
		return Action{Operation: Put, ID: f.Recorded, Row: "7"}
	}
}

func decideUnrecorded(f Facts) Action {
	switch {
	case f.ByName.Ownership == Unknown:
		return Action{Operation: Wait, Row: "1"}
	case f.ByName.Ownership == Owned:
		return Action{Operation: RecordID, ID: f.ByName.ID, Row: "9"}
	case f.Import != "":
		return decideImport(f)
	case f.ByKey.Ownership == Unknown:
		return Action{Operation: Wait, Row: "1"}
	case f.ByName.Ownership.Found() && (!f.ByKey.Ownership.Found() || f.ByKey.ID != f.ByName.ID):
		return conflict("9b", f.ByName)
	default:
		return decideByKey(f)
	}
}

func decideImport(f Facts) Action {
	switch {
	case f.ByID.Ownership == Unknown:
		return Action{Operation: Wait, Row: "1"}
	case f.ByName.Ownership.Found() && f.ByName.ID != f.Import:
		return conflict("9a", f.ByName)
	case f.ByID.Ownership == Absent:
		return Action{Operation: Wait, ID: f.Import, Row: "9a"}
	case f.ByID.Ownership == OwnedByOther || !f.ByID.SamePlugin:
		return conflict("9a", f.ByID)
	default:
		// Ours or nobody's: to name an ID is to ask for it.
		return Action{Operation: Adopt, ID: f.Import, Row: "9a"}
	}
}

func decideByKey(f Facts) Action {
	holder := f.ByKey
	switch holder.Ownership {
	case Owned:
		// Found by its place while its name and tags were not: still ours.
		return Action{Operation: RecordID, ID: holder.ID, Row: "9"}
	case Unowned:
		if f.Adoption == AdoptOverride || f.Adoption == AdoptIfIdentical && holder.SameTraffic {
			return Action{Operation: Adopt, ID: holder.ID, Row: "10"}
		}
		return conflict("10", holder)
	case OwnedByOther:
		if f.Adoption == AdoptOverride {
			return Action{Operation: TakeOver, ID: holder.ID, Row: "11"}
		}
		return conflict("11", holder)
	default:
		return Action{Operation: Create, Row: "12"}
	}
}

func conflict(row string, with Observation) Action {
	return Action{Operation: Conflict, ID: with.ID, Owner: with.Owner, Row: row}
}

// DecideDeletion says what is to be done for a binding that is being deleted: whatever is
// ours goes (or loses our marks, if orphan is set), one write per pass, and when a look
// at both places finds nothing of ours the binding is released.
//
//	#   byID            byName     action
//	D1  any needed fact unknown    Wait
//	D2  ours                       Delete or Unmark it
//	D3  anything else   ours, Q    Delete or Unmark Q
//	D4  anything else   not ours   Release
//
// byID counts as not ours when nothing was ever recorded.
func DecideDeletion(f Facts, orphan bool) Action {
	end := Delete
	if orphan {
		end = Release
	}
	switch {
	case f.Recorded != "" && f.ByID.Ownership == Unknown:
		return Action{Operation: Wait, Row: "D1"}
	case f.Recorded != "" && f.ByID.Ownership == Owned:
		return Action{Operation: end, ID: f.Recorded, Row: "D2"}
	case f.ByName.Ownership == Unknown:
		return Action{Operation: Wait, Row: "D1"}
	case f.ByName.Ownership == Owned:
		return Action{Operation: end, ID: f.ByName.ID, Row: "D3"}
	default:
		return Action{Operation: RemoveFinalizer, Row: "D4"}
	}
}
