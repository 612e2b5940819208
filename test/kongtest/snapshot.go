package kongtest

import "reflect"

// Snapshot is a backup of the database.
type Snapshot struct{ store *store }

// Snapshot takes a backup of the database.
func (s *Server) Snapshot() Snapshot {
	s.db.mu.RLock()
	defer s.db.mu.RUnlock()
	return Snapshot{s.db.store.clone()}
}

// Restore restores a backup. The journal has each changed row with ActorBackdoor. A
// snapshot can be restored several times, but only in the server that made it.
func (s *Server) Restore(snap Snapshot) {
	panicOnError(s.backdoorTx(defaultWorkspace, func(t *tx) *response {
		t.restore(snap.store)
		return nil
	}), "restore")
}

// restore makes the store equal to another and records the differences. It deletes
// children first and creates parents first.
func (t *tx) restore(to *store) {
	for i := len(kindNames) - 1; i >= 0; i-- {
		t.restoreDeletions(kindNames[i], to)
	}
	for _, name := range kindNames {
		t.restoreRows(name, to)
	}
}

func (t *tx) restoreDeletions(name string, to *store) {
	tab := t.tables[name]
	if tab == nil {
		return
	}
	for _, id := range append([]string(nil), tab.ids...) {
		if _, kept := to.tables[name].rows[id]; !kept {
			before := tab.rows[id].entity
			tab.remove(id)
			t.record("delete", name, id, before, nil, false)
		}
	}
}

func (t *tx) restoreRows(name string, to *store) {
	if t.tables[name] == nil {
		return
	}
	old := t.tables[name]
	t.tables[name] = to.tables[name].clone()
	for _, id := range to.tables[name].ids {
		before, existed := old.rows[id]
		after := to.tables[name].rows[id]
		switch {
		case !existed:
			t.record("create", name, id, nil, after.entity, false)
		case before.workspace != after.workspace || !reflect.DeepEqual(before.entity, after.entity):
			t.record("update", name, id, before.entity, after.entity, false)
		}
	}
}
