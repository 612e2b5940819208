package kic

import (
	"cmp"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"slices"
)

// The kinds of rows, in the order in which they are written. Each level is finished
// before the next one begins. Deletions go the other way.
var levels = [][]string{{"consumers", "services"}, {"routes"}, {"plugins"}}

// row is a row of Kong as KIC wants it or as Kong has it.
type row map[string]any

func (r row) id() string { return text(r["id"]) }

// key tells which rows are the same: the name, or plugin and scope.
func (r row) key(kind string) string {
	switch kind {
	case "consumers":
		return text(r["username"])
	case "plugins":
		return fmt.Sprint(text(r["name"]), foreignID(r["service"]), foreignID(r["route"]), foreignID(r["consumer"]))
	default:
		return text(r["name"])
	}
}

// foreignID is the ID of a foreign row, in brackets, empty without one.
func foreignID(v any) string {
	m, isMap := v.(map[string]any)
	if !isMap {
		return "[]"
	}
	return "[" + text(m["id"]) + "]"
}

func text(v any) string {
	s, _ := v.(string)
	return s
}

// state is all that KIC wants in Kong. The endpoints are part of it because they are
// in the real one, as targets: a replaced pod makes it sync.
type state struct {
	Rows      map[string][]row
	Endpoints []string
}

func newState() *state { return &state{Rows: map[string][]row{}} }

// add adds a row unless there is one with its key. It normalises the values to those
// of JSON.
func (s *state) add(kind string, r row) {
	r = normalise(r)
	key := r.key(kind)
	if slices.ContainsFunc(s.Rows[kind], func(other row) bool { return other.key(kind) == key }) {
		return
	}
	s.Rows[kind] = append(s.Rows[kind], r)
}

// hash is the hash of what KIC wants.
func (s *state) hash() string {
	for _, rows := range s.Rows {
		slices.SortFunc(rows, func(a, b row) int { return cmp.Compare(a.id(), b.id()) })
	}
	slices.Sort(s.Endpoints)
	b, err := json.Marshal(s)
	if err != nil {
		panic(fmt.Sprintf("kic: %v", err)) // rows come from JSON
	}
	return fmt.Sprintf("%x", sha256.Sum256(b))
}

func normalise(r row) row {
	b, err := json.Marshal(r)
	if err != nil {
		panic(fmt.Sprintf("kic: %v", err)) // rows come from objects of the API server
	}
	var out row
	if err := json.Unmarshal(b, &out); err != nil {
		panic(fmt.Sprintf("kic: %v", err))
	}
	return out
}
