package identity_test

import (
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	. "github.com/pluginbinding/kong-plugin-operator/internal/identity"
)

// This is the table of the package comment as data, written independently of the switch that
// it is compared with. The order is the comment's: the first match wins.

// truth is the value of a cell. A cell whose fact is unknown is perhaps true.
type truth int

const (
	no truth = iota
	perhaps
	yes
)

// A cell is the condition of a row on one observation. Some compare it with another fact of f.
type cell func(f *Facts, s *Observation) truth

func anything(*Facts, *Observation) truth { return yes }

// that is a cell that needs a known observation.
func that(holds func(f *Facts, s *Observation) bool) cell {
	return func(f *Facts, s *Observation) truth {
		switch {
		case s.Ownership == Unknown:
			return perhaps
		case holds(f, s):
			return yes
		default:
			return no
		}
	}
}

// on is a cell about another observation than the row's.
func on(which func(*Facts) *Observation, c cell) cell {
	return func(f *Facts, _ *Observation) truth { return c(f, which(f)) }
}

// notBack is for a recorded plugin that is missing by ID. If another lookup found it, Kong applied
// a write in between, and the facts are as good as unknown.
func notBack(c cell) cell {
	return func(f *Facts, s *Observation) truth {
		if s.Ownership.Found() && s.ID == f.Recorded {
			return perhaps
		}
		return c(f, s)
	}
}

var (
	known         = that(func(*Facts, *Observation) bool { return true })
	absent        = that(func(_ *Facts, s *Observation) bool { return s.Ownership == Absent })
	exists        = that(func(_ *Facts, s *Observation) bool { return s.Ownership != Absent })
	owned         = that(func(_ *Facts, s *Observation) bool { return s.Ownership == Owned })
	unowned       = that(func(_ *Facts, s *Observation) bool { return s.Ownership == Unowned })
	ownedByOther  = that(func(_ *Facts, s *Observation) bool { return s.Ownership == OwnedByOther && s.OwnerState != OwnerGone })
	ownerGone     = that(func(_ *Facts, s *Observation) bool { return s.Ownership == OwnedByOther && s.OwnerState == OwnerGone })
	ownerReplaced = that(func(_ *Facts, s *Observation) bool {
		return s.Ownership == OwnedByOther && s.OwnerState == OwnerReplaced
	})
	handsOver = that(func(_ *Facts, s *Observation) bool {
		return s.Ownership == OwnedByOther && s.OwnerState == OwnerHandsOver
	})
	notOwned = that(func(_ *Facts, s *Observation) bool { return s.Ownership == Unowned || s.Ownership == OwnedByOther })
	usable   = that(func(_ *Facts, s *Observation) bool { return s.Ownership == Owned || s.Ownership == Unowned })
	declared = that(func(_ *Facts, s *Observation) bool { return s.SamePlugin })
	equal    = that(func(_ *Facts, s *Observation) bool { return s.Equal })
	harmless = that(func(f *Facts, s *Observation) bool {
		return f.Adoption == AdoptOverride || f.Adoption == AdoptIfIdentical && s.SameTraffic
	})
	hasOtherOwner = that(func(_ *Facts, s *Observation) bool { return s.Ownership == OwnedByOther })
	keyTaken      = that(func(f *Facts, s *Observation) bool { return s.Ownership != Absent && s.ID != f.Recorded })
	isAside       = that(func(_ *Facts, s *Observation) bool { return s.Aside })
	waits         = that(func(f *Facts, _ *Observation) bool { return f.Turn == TurnWait })
	// nameOtherOwner and asideFree are about another observation.
	nameOtherOwner = on(func(f *Facts) *Observation { return &f.ByInstanceName }, hasOtherOwner)
	asideFree      = on(func(f *Facts) *Observation { return &f.AsideKey }, or(absent, isRecorded))

	isRecorded = that(func(f *Facts, s *Observation) bool { return s.ID == f.Recorded })
	isFound    = that(func(f *Facts, s *Observation) bool { return s.ID == f.ByID.ID })
	isReplaced = that(func(f *Facts, s *Observation) bool { return s.ID == f.Replaces })
	isImported = that(func(f *Facts, s *Observation) bool { return s.ID == f.Import })
	// holdsKey and isNamed compare two observations, and so need both.
	holdsKey = that(func(f *Facts, s *Observation) bool { return f.ByKey.Ownership.Found() && s.ID == f.ByKey.ID })
	isNamed  = that(func(f *Facts, s *Observation) bool { return s.Ownership != Absent && s.ID == f.ByName.ID })
)

func and(cells ...cell) cell {
	return func(f *Facts, s *Observation) truth {
		least := yes
		for _, c := range cells {
			least = min(least, c(f, s))
		}
		return least
	}
}

func or(cells ...cell) cell {
	return func(f *Facts, s *Observation) truth {
		most := no
		for _, c := range cells {
			most = max(most, c(f, s))
		}
		return most
	}
}

func not(c cell) cell {
	return func(f *Facts, s *Observation) truth { return yes - c(f, s) }
}

// nameTaken is for a plugin that needs another instance name: another plugin has that name.
func nameTaken(f *Facts, s *Observation) truth {
	id := s.ID
	if s == &f.ByID {
		id = f.Recorded
	}
	switch holder := f.ByInstanceName; {
	case !s.OtherName:
		return no
	case holder.Ownership == Unknown:
		return perhaps
	case holder.Ownership.Found() && holder.ID != id:
		return yes
	default:
		return no
	}
}

// A premise depends only on the binding. It is always known.
type premise func(f *Facts) bool

func always(*Facts) bool       { return true }
func recorded(f *Facts) bool   { return f.Recorded != "" }
func unrecorded(f *Facts) bool { return f.Recorded == "" }
func importing(f *Facts) bool  { return f.Recorded == "" && f.Import != "" }
func replacing(f *Facts) bool  { return f.Recorded == "" && f.Replaces != "" }
func override(f *Facts) bool   { return f.Recorded == "" && f.Adoption == AdoptOverride }

func turn(turns ...Turn) premise {
	return func(f *Facts) bool { return f.Recorded != "" && slices.Contains(turns, f.Turn) }
}

type row struct {
	// name begins with the label in the comment.
	name                string
	when                premise
	byID, byName, byKey cell
	then                func(f *Facts) Action
}

func (r *row) label() string { return strings.Fields(r.name)[0] }

// matches is no when one known fact excludes the row, even while others are unknown: then the
// row does not need those.
func (r *row) matches(f *Facts) truth {
	if !r.when(f) {
		return no
	}
	return min(r.byID(f, &f.ByID), r.byName(f, &f.ByName), r.byKey(f, &f.ByKey))
}

// Targets of actions: a plugin ID and, for a conflict, its owner.
func none(*Facts) (string, Owner)        { return "", Owner{} }
func p(f *Facts) (string, Owner)         { return f.Recorded, Owner{} }
func imported(f *Facts) (string, Owner)  { return f.Import, Owner{} }
func named(f *Facts) (string, Owner)     { return f.ByName.ID, Owner{} }
func holder(f *Facts) (string, Owner)    { return f.ByKey.ID, Owner{} }
func withID(f *Facts) (string, Owner)    { return f.ByID.ID, f.ByID.Owner }
func withNamed(f *Facts) (string, Owner) { return f.ByName.ID, f.ByName.Owner }
func withHolder(f *Facts) (string, Owner) {
	return f.ByKey.ID, f.ByKey.Owner
}

func withNameHolder(f *Facts) (string, Owner) {
	return f.ByInstanceName.ID, f.ByInstanceName.Owner
}

// replace puts the recorded plugin in the place of another one.
func replace(target func(*Facts) (string, Owner)) func(*Facts) Action {
	return func(f *Facts) Action {
		id, _ := target(f)
		return Action{Operation: Replace, ID: f.Recorded, DeleteID: id}
	}
}

func withP(f *Facts) (string, Owner)        { return f.Recorded, f.ByID.Owner }
func withImported(f *Facts) (string, Owner) { return f.Import, f.ByID.Owner }

func replaced(f *Facts) (string, Owner) { return f.Replaces, Owner{} }
func found(f *Facts) (string, Owner)    { return f.ByID.ID, Owner{} }

// adopts adds what kind of plugin the action makes the binding's.
func adopts(from Ownership, then func(*Facts) Action) func(*Facts) Action {
	return func(f *Facts) Action {
		action := then(f)
		action.Adopts = from
		return action
	}
}

func do(operation Operation, target func(*Facts) (string, Owner)) func(*Facts) Action {
	return func(f *Facts) Action {
		id, owner := target(f)
		return Action{Operation: operation, ID: id, Owner: owner}
	}
}

var decisionTable = []row{
	{"2 in sync", recorded, and(usable, declared, equal), anything, or(absent, isRecorded), do(None, p)},
	{"4b first in a cycle of names", turn(TurnAside), and(owned, declared, not(equal), nameTaken, nameOtherOwner, not(isAside), asideFree), anything, or(absent, isRecorded), do(MoveAside, p)},
	{"4c waits in a cycle of names", turn(TurnAside, TurnWait), and(owned, declared, not(equal), nameTaken, nameOtherOwner, or(isAside, waits)), anything, or(absent, isRecorded), do(Wait, withNameHolder)},
	{"4d aside in vain, name is taken", turn(NoTurn), and(owned, declared, not(equal), nameTaken, isAside, asideFree), anything, or(absent, isRecorded), do(MoveBack, p)},
	{"4e aside in vain, name and key are taken", turn(NoTurn), and(owned, declared, not(equal), nameTaken, isAside, not(asideFree)), anything, or(absent, isRecorded), do(Delete, p)},
	{"4a name is taken, and the owner is gone", recorded, and(ownerGone, declared, nameTaken), anything, or(absent, isRecorded), do(Conflict, withNameHolder)},
	{"5a owner is gone", recorded, and(ownerGone, declared), anything, or(absent, isRecorded), adopts(Unowned, do(Put, withP))},
	{"4a name is taken, and the ingress controller hands over", recorded, and(handsOver, declared, nameTaken), anything, isRecorded, do(Conflict, withNameHolder)},
	{"5b the ingress controller hands over", recorded, and(handsOver, declared), anything, isRecorded, adopts(OwnedByOther, do(Put, withP))},
	{"4a name is taken", recorded, and(usable, declared, not(equal), nameTaken), anything, or(absent, isRecorded), do(Conflict, withNameHolder)},
	{"3 differs", recorded, and(usable, declared, not(equal)), anything, or(absent, isRecorded), do(Put, p)},
	{"4b first in a cycle of keys", turn(TurnAside), and(owned, declared, not(isAside), asideFree), anything, and(keyTaken, hasOtherOwner), do(MoveAside, p)},
	{"4c waits in a cycle of keys", turn(TurnAside, TurnWait), and(owned, declared, or(isAside, waits)), anything, and(keyTaken, hasOtherOwner), do(Wait, withHolder)},
	{"4d aside in vain, key is taken", turn(NoTurn), and(owned, declared, isAside, asideFree), anything, keyTaken, do(MoveBack, p)},
	{"4e aside in vain, both keys are taken", turn(NoTurn), and(owned, declared, isAside, not(asideFree)), anything, keyTaken, do(Delete, p)},
	{"4 key is taken", recorded, exists, anything, keyTaken, do(Conflict, withHolder)},
	{"5 ID belongs to another", recorded, or(ownedByOther, and(exists, not(declared))), anything, or(absent, isRecorded), do(Conflict, withID)},
	{"8 missing, with a duplicate, and the key is taken", recorded, absent, notBack(owned), notBack(and(notOwned, not(isNamed))), do(Conflict, withHolder)},
	{"6b missing, and two duplicates exist", recorded, absent, notBack(owned), notBack(and(owned, not(isNamed))), do(Delete, named)},
	{"6a missing, with a duplicate, and the name is taken", recorded, absent, notBack(and(owned, nameTaken)), notBack(or(absent, isNamed)), do(Conflict, withNameHolder)},
	{"6 missing, and a duplicate exists", recorded, absent, notBack(owned), notBack(or(absent, isNamed)), replace(named)},
	{"6 missing, and a duplicate holds the key", recorded, absent, notBack(absent), notBack(owned), replace(holder)},
	{"6a missing, and the name is taken", recorded, absent, notBack(notOwned), anything, do(Conflict, withNamed)},
	{"7 missing", recorded, absent, notBack(absent), notBack(absent), do(Put, p)},
	{"8 missing, and the key is taken", recorded, absent, notBack(absent), notBack(exists), do(Conflict, withHolder)},
	{"9 owned, found by name", unrecorded, anything, owned, anything, do(RecordID, named)},
	{"9c replaces, and the name is taken", replacing, known, and(notOwned, not(isReplaced)), anything, do(Conflict, withNamed)},
	{"9c the plugin to take over is missing", replacing, absent, or(absent, and(notOwned, isReplaced)), anything, do(Wait, replaced)},
	{"9c taken over already", replacing, and(owned, declared), or(absent, and(notOwned, isReplaced)), anything, do(RecordID, found)},
	{"9c take over from the replaced binding", replacing, and(ownerReplaced, declared), or(absent, and(notOwned, isReplaced)), or(absent, isFound), adopts(OwnedByOther, do(TakeOver, withID))},
	{"9c replaces, and the key is taken", replacing, and(ownerReplaced, declared), or(absent, and(notOwned, isReplaced)), exists, do(Conflict, withHolder)},
	{"9c the plugin to take over belongs to another", replacing, exists, or(absent, and(notOwned, isReplaced)), anything, do(Conflict, withID)},
	{"9a import", importing, and(or(unowned, ownerGone), declared), or(absent, and(notOwned, isImported)), anything, adopts(Unowned, do(Adopt, withImported))},
	{"9a import of an owned plugin", importing, and(owned, declared), or(absent, and(notOwned, isImported)), anything, do(Adopt, imported)},
	{"9a import is missing", importing, absent, or(absent, and(notOwned, isImported)), anything, do(Wait, imported)},
	{"9a import, and the name is taken", importing, known, and(notOwned, not(isImported)), anything, do(Conflict, withNamed)},
	{"9a import belongs to another", importing, or(ownedByOther, and(exists, not(declared))), or(absent, and(notOwned, isImported)), anything, do(Conflict, withID)},
	{"9b the name is taken", unrecorded, anything, and(notOwned, not(holdsKey)), not(isNamed), do(Conflict, withNamed)},
	{"9 owned, found by key", unrecorded, anything, or(absent, and(notOwned, holdsKey)), owned, do(RecordID, holder)},
	{"10 adopt", unrecorded, anything, or(absent, and(notOwned, holdsKey)), and(unowned, harmless), adopts(Unowned, do(Adopt, withHolder))},
	{"10 may not adopt", unrecorded, anything, or(absent, and(notOwned, holdsKey)), and(unowned, not(harmless)), do(Conflict, withHolder)},
	{"11a take over from a binding that is gone", unrecorded, anything, or(absent, and(notOwned, holdsKey)), and(ownerGone, harmless), adopts(Unowned, do(TakeOver, withHolder))},
	{"11a may not take over", unrecorded, anything, or(absent, and(notOwned, holdsKey)), ownerGone, do(Conflict, withHolder)},
	{"11 take over", override, anything, or(absent, and(notOwned, holdsKey)), ownedByOther, adopts(OwnedByOther, do(TakeOver, withHolder))},
	{"11 may not take over", unrecorded, anything, or(absent, and(notOwned, holdsKey)), ownedByOther, do(Conflict, withHolder)},
	{"12 free", unrecorded, anything, absent, absent, do(Create, none)},
}

func deletionTable(end Operation) []row {
	return []row{
		{"D2 owned, found by ID", recorded, owned, anything, anything, do(end, p)},
		{"D3 owned, found by name only", recorded, not(owned), owned, anything, do(end, named)},
		{"D3 owned, found by name, nothing recorded", unrecorded, anything, owned, anything, do(end, named)},
		{"D4 nothing owned", recorded, not(owned), not(owned), anything, do(RemoveFinalizer, none)},
		{"D4 nothing owned, nothing recorded", unrecorded, anything, not(owned), anything, do(RemoveFinalizer, none)},
	}
}

// expected is the action of the first row that matches. If an earlier row matches perhaps, a
// needed fact is unknown, and the action is row 1's.
func expected(table []row, waiting string, f *Facts) (Action, int) {
	for i := range table {
		switch table[i].matches(f) {
		case yes:
			action := table[i].then(f)
			action.Row = table[i].label()
			return action, i
		case perhaps:
			return Action{Operation: Wait, Row: waiting}, -1
		}
	}
	return Action{Row: "none"}, -1
}

// compare checks the whole cross product and returns how often each operation resulted.
func compare(t *testing.T, table []row, waiting string, decide func(Facts) Action) map[Operation]int {
	t.Helper()
	var combinations, waits int
	hits := make([]int, len(table))
	operations := map[Operation]int{}
	for f := range everything() {
		got := decide(*f)
		want, at := expected(table, waiting, f)
		if got != want {
			t.Fatalf("facts %+v\n got %+v\nwant %+v", *f, got, want)
		}
		if at < 0 {
			waits++
		} else {
			hits[at]++
		}
		operations[got.Operation]++
		combinations++
	}
	t.Logf("%d combinations, %d rows, %d combinations lack a needed fact", combinations, len(table), waits)
	for i, n := range hits {
		t.Logf("%9d  %s", n, table[i].name)
		if n == 0 {
			t.Errorf("no combination of facts reaches the row %q", table[i].name)
		}
	}
	if waits == 0 {
		t.Error("no combination of facts reaches the row for unknown facts")
	}
	return operations
}

func TestDecideMatchesTable(t *testing.T) {
	t.Parallel()
	operations := compare(t, decisionTable, "1", Decide)
	wantOperations(t, operations, Wait, None, Put, Create, RecordID, Adopt, TakeOver, MoveAside, MoveBack, Replace, Delete, Conflict)
}

func TestDecideDeletionMatchesTable(t *testing.T) {
	for _, end := range []Operation{Delete, Release} {
		t.Run(end.String(), func(t *testing.T) {
			t.Parallel()
			operations := compare(t, deletionTable(end), "D1", func(f Facts) Action {
				return DecideDeletion(f, end == Release)
			})
			wantOperations(t, operations, Wait, end, RemoveFinalizer)
		})
	}
}

// wantOperations fails unless exactly these operations resulted.
func wantOperations(t *testing.T, got map[Operation]int, want ...Operation) {
	t.Helper()
	if operations := slices.Sorted(maps.Keys(got)); !slices.Equal(operations, want) {
		t.Errorf("operations %v resulted, want %v", operations, want)
	}
}

// People read the comments. Their rows must be the rows of this test.
func TestCommentHasTheSameRows(t *testing.T) {
	t.Parallel()
	source, err := os.ReadFile("decide.go")
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]bool{"1": true, "D1": true}
	for _, r := range slices.Concat(decisionTable, deletionTable(Delete)) {
		want[r.label()] = true
	}
	got := map[string]bool{}
	for _, match := range regexp.MustCompile(`(?m)^//\t(D?\d+[a-z]?) `).FindAllSubmatch(source, -1) {
		if label := string(match[1]); got[label] {
			t.Errorf("row %s is in the comments twice", label)
		} else {
			got[label] = true
		}
	}
	if !maps.Equal(got, want) {
		t.Errorf("rows in the comments: %v\nrows in this test: %v",
			slices.Sorted(maps.Keys(got)), slices.Sorted(maps.Keys(want)))
	}
}

func TestOperationsHaveNames(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	for operation := Wait; operation <= RemoveFinalizer; operation++ {
		name := operation.String()
		if name == "" || seen[name] {
			t.Errorf("operation %d has the name %q, which is empty or not unique", int(operation), name)
		}
		seen[name] = true
	}
}
