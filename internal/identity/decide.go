// Package identity decides which plugin in Kong belongs to a PluginBinding, and what to do about
// it. It is pure: facts in, one action out. It imports no client, reads no clock and does no I/O;
// package controllers gathers the facts and executes the action.
//
// This is the decision table; the first matching row wins. P is the recorded ID
// (status.pluginID). byID is the plugin under P or, while nothing is recorded, that of the binding
// that spec.replaces names, or the one under spec.pluginID. byName is the plugin with the binding's
// instance_name or, failing that, with its ownership tags. byKey is the plugin with the same plugin
// name and scope, which is Kong's unique key. A row needs only the facts that it names. A needed fact
// that is unknown makes it row 1.
//
//	#   P    byID                             byName        byKey        action
//	1   any needed fact is unknown, or P is absent by ID and found by
//	         another lookup: it came back in between                     Wait
//	2   set  owned or unowned, same plugin,
//	         equal                                          free or P    None
//	3   set  the same, differs                              free or P    Put P
//	4   set  exists                                         R, not P     Conflict with R
//	4a  set  as in 3, 5a or 5b, but another
//	         plugin R has the instance name                 free or P    Conflict with R
//	4b  set  owned, same plugin; R of 4 or 4a is another binding's, its
//	         turn is TurnAside, and the aside key is free   any          MoveAside P
//	4c  set  the same, and the turn is TurnWait             any          Wait for R
//	4d  set  owned, same plugin, is aside; R of 4 or 4a stays, and the
//	         key that P left is free                        any          MoveBack P
//	4e  set  the same, and the key that P left is taken     any          Delete P
//	5   set  owned by another, or another
//	         plugin                                         free or P    Conflict with P
//	5a  set  owned by a binding that is
//	         gone, same plugin                              free or P    Put P
//	5b  set  the ingress controller's, same
//	         plugin, and it hands it over                   P            Put P
//	6   set  absent                           owned, Q      free or Q    Replace Q with P
//	         absent                           absent        owned, Q     Replace Q with P
//	6a  set  absent                           not owned, Q               Conflict with Q
//	         absent                           owned, Q, but another
//	                                          plugin R has the
//	                                          instance name free or Q    Conflict with R
//	6b  set  absent                           owned, Q      owned, not Q Delete Q
//	7   set  absent                           absent        free         Put P
//	8   set  absent                           absent or     R, not owned,
//	                                          owned, Q      not Q        Conflict with R
//	9   -                                     owned, Q                   RecordID Q
//	9a  -    spec.pluginID = Q:
//	         unowned or of a binding that is
//	         gone, same plugin                absent or Q                Adopt Q
//	         absent                           absent                     Wait for Q
//	         otherwise                        not owned                  Conflict
//	9c  -    spec.replaces' plugin is Q:
//	         of the replaced binding, same
//	         plugin                           absent or Q   free or Q    TakeOver Q
//	         the same                         absent or Q   R, not Q     Conflict with R
//	         owned, same plugin               absent or Q                RecordID Q
//	         absent                           absent or Q                Wait for Q
//	         otherwise                        not owned                  Conflict
//	9b  -                                     not owned, Q not the
//	                                          holder of the key          Conflict with Q
//	10  -                                     absent or Q   unowned, Q   Adopt Q by policy, or Conflict
//	11  -                                     absent or Q   another's, Q TakeOver Q if Override, or Conflict
//	11a -                                     absent or Q   Q, owned by
//	                                                        a binding
//	                                                        that is gone TakeOver Q by policy, or Conflict
//	12  -                                     absent        free         Create
//
// A binding that is gone owns nothing: Observation.OwnerState is OwnerGone for a plugin with the
// ownership tags of such a binding, and adoptionPolicy treats it like an unowned one. Where the
// table says "another" or "not owned" without more, the owner may be gone or not.
package identity

// Ownership is the relation of a plugin in Kong to a binding.
type Ownership int

const (
	// Unknown: no lookup, or no trustworthy answer. It does not mean Absent.
	Unknown Ownership = iota
	// Absent: Kong itself answered that the plugin does not exist.
	Absent
	// Owned: it carries the ownership tags of this binding.
	Owned
	// Unowned: it carries no ownership tags.
	Unowned
	// OwnedByOther: it carries the tags of another binding, cluster or tool.
	OwnedByOther
)

// Found reports whether the plugin exists.
func (o Ownership) Found() bool { return o == Owned || o == Unowned || o == OwnedByOther }

// Observation is the result of one lookup in Kong.
type Observation struct {
	Ownership Ownership
	// ID of the plugin, empty if none was found.
	ID string
	// SamePlugin: it has the desired plugin name.
	SamePlugin bool
	// Equal: it equals the desired plugin, ownership tags included.
	Equal bool
	// Aside: MoveAside moved it, as its tags say (see AsideFrom).
	Aside bool
	// OtherName: its instance_name is not the desired one. Facts.ByInstanceName is then needed.
	OtherName bool
	// SameTraffic: it differs from the desired plugin in tags and instance name at most, so
	// writing the desired plugin does not change traffic.
	SameTraffic bool
	// Owner as its tags name it, for messages.
	Owner Owner
	// OwnerState says whether that owner exists.
	OwnerState OwnerState
}

// orphaned reports whether the plugin is of a binding that is gone.
func (o Observation) orphaned() bool { return o.Ownership == OwnedByOther && o.OwnerState == OwnerGone }

// is reports whether the observed plugin has the ID.
func (o Observation) is(id string) bool { return o.Ownership.Found() && o.ID == id }

// Adoption is what a binding may do with an existing plugin that it does not own.
type Adoption int

const (
	// AdoptNever adopts nothing, not even a plugin whose owner is gone, and reports a conflict.
	AdoptNever Adoption = iota
	// AdoptIfIdentical adopts an unowned plugin, or one whose owner is gone, if that does not change
	// traffic.
	AdoptIfIdentical
	// AdoptOverride adopts the plugin, whoever owns it.
	AdoptOverride
)

// Facts are the input of a decision.
type Facts struct {
	// Recorded is status.pluginID.
	Recorded string
	// Import is spec.pluginID.
	Import string
	// Replaces is the plugin of the binding that spec.replaces names, empty if there is none. It
	// takes the place of Import.
	Replaces string
	Adoption Adoption

	ByID   Observation
	ByName Observation
	ByKey  Observation
	// ByInstanceName is the plugin with the desired instance_name. It is needed only where a write
	// changes the instance_name of an existing plugin: if the plugin under P, or an owned plugin
	// found by name while P is missing, has OtherName.
	ByInstanceName Observation

	// Turn is what FindCycle returned. It is needed only if the plugin under P exists and another
	// one has its key or instance name; its zero value is a conflict.
	Turn Turn
	// AsideKey is the plugin with the key to move aside to, for TurnAside: P itself if only the
	// instance_name is to change. For a plugin that is aside, and NoTurn, it is the one with the key
	// that P left.
	AsideKey Observation
}

// Operation is what to do.
type Operation int

const (
	// Wait decides nothing: a needed fact is unknown, or the plugin to import is missing.
	Wait Operation = iota
	// None does nothing: Kong holds the desired plugin.
	None
	// Put writes the whole plugin under the recorded ID.
	Put
	// Create posts the plugin without an ID. Kong assigns the ID.
	Create
	// RecordID records the ID of an owned plugin. It does not write to Kong.
	RecordID
	// Adopt records the ID of an unowned plugin. It does not write to Kong.
	Adopt
	// TakeOver writes the whole plugin over one with the tags of another owner and records its ID.
	TakeOver
	// MoveAside writes the whole plugin under the recorded ID. If its scope is to change, it gets
	// the scope of the aside key and AsideTag instead of the desired scope; if its instance_name is
	// to change, it gets none.
	MoveAside
	// MoveBack undoes MoveAside: it writes the plugin as Kong has it, with the scope that it had
	// before and without AsideTag. Kong has accepted its settings once.
	MoveBack
	// Replace deletes an owned plugin that is not the recorded one and writes the whole plugin
	// under the recorded ID, as one step: the key is free for one request. After a crash between
	// the two writes, row 7 writes the plugin.
	Replace
	// Delete deletes an owned plugin. The recorded one comes back by row 7.
	Delete
	// Release removes the ownership tags from an owned plugin.
	Release
	// Conflict writes nothing: another plugin holds the key, the name or the ID.
	Conflict
	// RemoveFinalizer: Kong holds no owned plugin any more.
	RemoveFinalizer
)

func (o Operation) String() string {
	return [...]string{
		"Wait", "None", "Put", "Create", "RecordID", "Adopt",
		"TakeOver", "MoveAside", "MoveBack", "Replace", "Delete", "Release", "Conflict", "RemoveFinalizer",
	}[o]
}

// Action is a decision.
type Action struct {
	Operation Operation
	// ID of the plugin to write, record or delete or, for Conflict, of the plugin in the way.
	ID string
	// DeleteID is the plugin to delete right before the write, for Replace.
	DeleteID string
	// Owner of the plugin in the way, for Conflict; the former owner of the plugin that Put, Adopt
	// or TakeOver makes the binding's.
	Owner Owner
	// Adopts is set if the action makes the binding the owner of a plugin that it did not own:
	// Unowned for one without an owner or whose owner is gone, OwnedByOther for one that Override
	// takes from its owner. The gateway must allow the binding to adopt such a plugin.
	Adopts Ownership
	// Row of the table that matched.
	Row string
}

// Decide applies the table to a binding that is not being deleted.
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
		return decideBlocked(f, "4", f.ByKey)
	case f.ByID.Ownership == OwnedByOther && !f.ByID.orphaned() && !f.handsOver() || !f.ByID.SamePlugin:
		return conflict("5", f.ByID)
	case f.ByID.Equal && f.ByID.Ownership != OwnedByOther:
		return Action{Operation: None, ID: p, Row: "2"}
	default:
		return decideDiffering(f)
	}
}

// decideDiffering is for a plugin of this binding, of one that is gone, or that is handed over, that is
// not as declared.
func decideDiffering(f Facts) Action {
	p := f.Recorded
	switch {
	case f.ByID.OtherName && f.ByInstanceName.Ownership == Unknown:
		return Action{Operation: Wait, Row: "1"}
	case f.ByID.OtherName && f.ByInstanceName.Ownership.Found() && f.ByInstanceName.ID != p:
		return decideBlocked(f, "4a", f.ByInstanceName)
	case f.ByID.orphaned():
		return Action{Operation: Put, ID: p, Owner: f.ByID.Owner, Adopts: Unowned, Row: "5a"}
	case f.handsOver():
		return Action{Operation: Put, ID: p, Owner: f.ByID.Owner, Adopts: OwnedByOther, Row: "5b"}
	default:
		return Action{Operation: Put, ID: p, Row: "3"}
	}
}

// decideBlocked is for an existing plugin that cannot get its key or its instance name, because
// another plugin has it.
func decideBlocked(f Facts, row string, by Observation) Action {
	movable := f.ByID.Ownership == Owned && f.ByID.SamePlugin
	switch {
	case !movable:
		return conflict(row, by)
	case f.Turn != NoTurn && by.Ownership != OwnedByOther:
		return conflict(row, by) // the turn is about another plugin
	case f.Turn == TurnAside && !f.ByID.Aside:
		return decideAside(f, row, by)
	case f.Turn != NoTurn:
		return Action{Operation: Wait, ID: by.ID, Owner: by.Owner, Row: "4c"}
	case f.ByID.Aside:
		return decideBack(f)
	default:
		return conflict(row, by)
	}
}

func decideAside(f Facts, row string, by Observation) Action {
	switch {
	case f.AsideKey.Ownership == Unknown:
		return Action{Operation: Wait, Row: "1"}
	case f.AsideKey.Ownership.Found() && f.AsideKey.ID != f.Recorded:
		return conflict(row, by)
	default:
		return Action{Operation: MoveAside, ID: f.Recorded, Row: "4b"}
	}
}

// decideBack is for a plugin that moved aside in vain. It must not stay there: it would run
// instead of the plugin that has the key by now.
func decideBack(f Facts) Action {
	switch {
	case f.AsideKey.Ownership == Unknown:
		return Action{Operation: Wait, Row: "1"}
	case f.AsideKey.Ownership.Found() && f.AsideKey.ID != f.Recorded:
		return Action{Operation: Delete, ID: f.Recorded, Row: "4e"}
	default:
		return Action{Operation: MoveBack, ID: f.Recorded, Row: "4d"}
	}
}

// decideMissing is for a recorded plugin that no longer exists in Kong.
func decideMissing(f Facts) Action {
	switch {
	case f.ByName.Ownership == Unknown || f.ByName.is(f.Recorded):
		return Action{Operation: Wait, Row: "1"}
	case f.ByName.Ownership.Found() && f.ByName.Ownership != Owned:
		return conflict("6a", f.ByName)
	case f.ByKey.Ownership == Unknown || f.ByKey.is(f.Recorded):
		return Action{Operation: Wait, Row: "1"}
	case f.ByName.Ownership == Owned:
		return decideDuplicate(f)
	case f.ByKey.Ownership == Owned:
		return Action{Operation: Replace, ID: f.Recorded, DeleteID: f.ByKey.ID, Row: "6"}
	case f.ByKey.Ownership.Found():
		return conflict("8", f.ByKey)
	default:
		return Action{Operation: Put, ID: f.Recorded, Row: "7"}
	}
}

// decideDuplicate is for an owned plugin that is not the recorded one, while the recorded one is
// missing. It must not be deleted before the recorded one can be written.
func decideDuplicate(f Facts) Action {
	q := f.ByName.ID
	switch {
	case f.ByKey.Ownership == Owned && f.ByKey.ID != q:
		return Action{Operation: Delete, ID: q, Row: "6b"}
	case f.ByKey.Ownership.Found() && f.ByKey.ID != q:
		return conflict("8", f.ByKey)
	case f.ByName.OtherName && f.ByInstanceName.Ownership == Unknown:
		return Action{Operation: Wait, Row: "1"}
	case f.ByName.OtherName && f.ByInstanceName.Ownership.Found() && f.ByInstanceName.ID != q:
		return conflict("6a", f.ByInstanceName)
	default:
		return Action{Operation: Replace, ID: f.Recorded, DeleteID: q, Row: "6"}
	}
}

func decideUnrecorded(f Facts) Action {
	switch {
	case f.ByName.Ownership == Unknown:
		return Action{Operation: Wait, Row: "1"}
	case f.ByName.Ownership == Owned:
		return Action{Operation: RecordID, ID: f.ByName.ID, Row: "9"}
	case f.Replaces != "":
		return decideReplacement(f)
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
	case f.ByID.Ownership == OwnedByOther && !f.ByID.orphaned() || !f.ByID.SamePlugin:
		return conflict("9a", f.ByID)
	case f.ByID.Ownership == Owned:
		return Action{Operation: Adopt, ID: f.Import, Row: "9a"}
	default:
		// spec.pluginID asks for it, whatever adoptionPolicy says.
		return Action{Operation: Adopt, ID: f.Import, Owner: f.ByID.Owner, Adopts: Unowned, Row: "9a"}
	}
}

// decideReplacement is for the plugin of a binding that this one replaces. It writes before it
// records: from then on the tags name the new owner.
func decideReplacement(f Facts) Action {
	switch {
	case f.ByID.Ownership == Unknown:
		return Action{Operation: Wait, Row: "1"}
	case f.ByName.Ownership.Found() && f.ByName.ID != f.Replaces:
		return conflict("9c", f.ByName)
	case f.ByID.Ownership == Absent:
		return Action{Operation: Wait, ID: f.Replaces, Row: "9c"}
	case f.ByID.Ownership == Owned && f.ByID.SamePlugin:
		return Action{Operation: RecordID, ID: f.ByID.ID, Row: "9c"}
	case f.ByID.Ownership != OwnedByOther || f.ByID.OwnerState != OwnerReplaced || !f.ByID.SamePlugin:
		return conflict("9c", f.ByID)
	case f.ByKey.Ownership == Unknown:
		return Action{Operation: Wait, Row: "1"}
	case f.ByKey.Ownership.Found() && f.ByKey.ID != f.ByID.ID:
		return conflict("9c", f.ByKey)
	default:
		return Action{Operation: TakeOver, ID: f.ByID.ID, Owner: f.ByID.Owner, Adopts: OwnedByOther, Row: "9c"}
	}
}

func decideByKey(f Facts) Action {
	holder := f.ByKey
	switch holder.Ownership {
	case Owned:
		// Only the lookup by key found it: it is owned all the same.
		return Action{Operation: RecordID, ID: holder.ID, Row: "9"}
	case Unowned:
		if mayAdopt(f.Adoption, holder) {
			return adopt(Adopt, "10", holder)
		}
		return conflict("10", holder)
	case OwnedByOther:
		return decideOthers(f.Adoption, holder)
	default:
		return Action{Operation: Create, Row: "12"}
	}
}

// decideOthers is for a plugin with the tags of another owner that holds the key. If that owner is
// gone, the operator writes before it records: from then on the tags name the new owner, and
// nothing takes the plugin for an orphan.
func decideOthers(policy Adoption, holder Observation) Action {
	switch {
	case holder.orphaned() && mayAdopt(policy, holder):
		return adopt(TakeOver, "11a", holder)
	case holder.orphaned():
		return conflict("11a", holder)
	case policy == AdoptOverride:
		return Action{Operation: TakeOver, ID: holder.ID, Owner: holder.Owner, Adopts: OwnedByOther, Row: "11"}
	default:
		return conflict("11", holder)
	}
}

// mayAdopt reports whether adoptionPolicy allows adopting a plugin that has no owner.
func mayAdopt(policy Adoption, o Observation) bool {
	return policy == AdoptOverride || policy == AdoptIfIdentical && o.SameTraffic
}

func adopt(operation Operation, row string, o Observation) Action {
	return Action{Operation: operation, ID: o.ID, Owner: o.Owner, Adopts: Unowned, Row: row}
}

func conflict(row string, with Observation) Action {
	return Action{Operation: Conflict, ID: with.ID, Owner: with.Owner, Row: row}
}

// DecideDeletion decides for a binding that is being deleted. It deletes the owned plugin, or
// releases it if orphan is set, and removes the finalizer when neither lookup finds an owned
// plugin.
//
//	#   byID            byName       action
//	D1  any needed fact is unknown   Wait
//	D2  owned                        Delete or Release it
//	D3  anything else   owned, Q     Delete or Release Q
//	D4  anything else   not owned    RemoveFinalizer
//
// byID counts as not owned while nothing is recorded.
func DecideDeletion(f Facts, orphan bool) Action {
	remove := Delete
	if orphan {
		remove = Release
	}
	switch {
	case f.Recorded != "" && f.ByID.Ownership == Unknown:
		return Action{Operation: Wait, Row: "D1"}
	case f.Recorded != "" && f.ByID.Ownership == Owned:
		return Action{Operation: remove, ID: f.Recorded, Row: "D2"}
	case f.ByName.Ownership == Unknown:
		return Action{Operation: Wait, Row: "D1"}
	case f.ByName.Ownership == Owned:
		return Action{Operation: remove, ID: f.ByName.ID, Row: "D3"}
	default:
		return Action{Operation: RemoveFinalizer, Row: "D4"}
	}
}
