package kongtest

import (
	"context"
	"sync"
	"time"
)

// database is the store, its lock, and its faults.
type database struct {
	mu       sync.RWMutex
	store    *store
	down     bool
	readOnly bool
	frozen   chan struct{} // closed when the database answers again; nil while it answers
	locked   bool
	waiting  []*statement // that wait for the lock, in order of arrival
	late     []*statement // that a CommitLate fault keeps, in order of arrival
}

// statement is a write that the database has not run yet.
type statement struct {
	run  func() *response // called with the database locked
	done chan *response   // buffered
}

func newStatement(run func() *response) *statement {
	return &statement{run: run, done: make(chan *response, 1)}
}

// finish runs the statements in order.
func finish(list []*statement) {
	for _, st := range list {
		st.done <- st.run()
	}
}

// available answers 500 if the database is stopped, and after the time-out if it is
// frozen.
func (s *Server) available(ctx context.Context) *response {
	s.db.mu.RLock()
	down, frozen := s.db.down, s.db.frozen
	s.db.mu.RUnlock()
	if frozen != nil && !s.wait(ctx, frozen) {
		return unexpected()
	}
	if down {
		return unexpected()
	}
	return nil
}

// wait reports whether c was closed before the database time-out.
func (s *Server) wait(ctx context.Context, c <-chan struct{}) bool {
	timer := time.NewTimer(s.cfg.dbTimeout)
	defer timer.Stop()
	select {
	case <-c:
		return true
	case <-timer.C:
	case <-ctx.Done():
	case <-s.closing:
	}
	return false
}

// read runs fn with the database open for reading.
func (s *Server) read(ctx context.Context, fn func(*store)) *response {
	if resp := s.available(ctx); resp != nil {
		return resp
	}
	s.db.mu.RLock()
	defer s.db.mu.RUnlock()
	fn(s.db.store)
	return nil
}

// write runs one statement for a request. If the tables are locked it answers 500
// after the time-out. The statement stays in the queue, and the database runs it when
// the lock goes (measured).
func (s *Server) write(c *call, fn func(*tx) *response) *response {
	if resp := s.available(c.ctx()); resp != nil {
		return resp
	}
	st := newStatement(nil)
	givenUp := false
	st.run = func() *response {
		if s.db.readOnly {
			return unexpected()
		}
		return fn(s.transaction(c, givenUp))
	}

	s.db.mu.Lock()
	switch {
	case c.late != nil:
		givenUp = true
		c.late.statement = st
		s.db.late = append(s.db.late, st)
		s.db.mu.Unlock()
		return &response{drop: true}
	case !s.db.locked:
		defer s.db.mu.Unlock()
		return st.run()
	}
	s.db.waiting = append(s.db.waiting, st)
	s.db.mu.Unlock()

	timer := time.NewTimer(s.cfg.dbTimeout)
	defer timer.Stop()
	select {
	case resp := <-st.done:
		return resp
	case <-timer.C:
	case <-c.ctx().Done():
	case <-s.closing:
	}
	s.db.mu.Lock()
	defer s.db.mu.Unlock()
	givenUp = true
	return unexpected()
}

// transaction is the tx of a request. The caller holds the lock.
func (s *Server) transaction(c *call, late bool) *tx {
	return &tx{store: s.db.store, workspace: c.workspace,
		record: func(kind, entity, id string, before, after map[string]any, cascade bool) {
			s.journal.commit(Change{
				Time: s.cfg.clock(), Kind: kind, Entity: entity, ID: id, Workspace: c.workspace,
				Before: before, After: after, Actor: ActorAPI, Request: c.seq, Cascade: cascade, Late: late,
			})
		}}
}

// SetDatabaseDown stops PostgreSQL, or starts it again. While it is stopped every
// request that needs it is answered 500 immediately, and GET /status answers
// "reachable": false. Writes that wait for a lock are lost.
func (s *Server) SetDatabaseDown(down bool) {
	s.db.mu.Lock()
	defer s.db.mu.Unlock()
	s.db.down = down
	if down {
		for _, st := range s.db.waiting {
			st.done <- unexpected()
		}
		s.db.waiting = nil
	}
}

// SetDatabaseReadOnly makes PostgreSQL refuse writes, as a replica does before it is
// promoted. Reads work, GET /status answers "reachable": true, and every write that
// gets to the database is answered 500.
func (s *Server) SetDatabaseReadOnly(readOnly bool) {
	s.db.mu.Lock()
	defer s.db.mu.Unlock()
	s.db.readOnly = readOnly
}

// SetDatabaseFrozen makes PostgreSQL hang, or ends that. Every request that needs it
// is answered 500 after the time-out. Nothing is applied later.
func (s *Server) SetDatabaseFrozen(frozen bool) {
	s.db.mu.Lock()
	defer s.db.mu.Unlock()
	switch {
	case frozen && s.db.frozen == nil:
		s.db.frozen = make(chan struct{})
	case !frozen && s.db.frozen != nil:
		close(s.db.frozen)
		s.db.frozen = nil
	}
}

// SetDatabaseLocked locks the tables for writing, or unlocks them. Reads work. A
// write is answered 500 after the time-out, and is applied when the lock goes, in
// order of arrival.
func (s *Server) SetDatabaseLocked(locked bool) {
	s.db.mu.Lock()
	defer s.db.mu.Unlock()
	s.db.locked = locked
	if !locked {
		finish(s.db.waiting)
		s.db.waiting = nil
	}
}

// DatabaseQueue is the number of writes that wait for the lock.
func (s *Server) DatabaseQueue() int {
	s.db.mu.RLock()
	defer s.db.mu.RUnlock()
	return len(s.db.waiting)
}

// ReleaseLate commits the writes that CommitLate faults keep, in order of arrival.
func (s *Server) ReleaseLate() {
	s.db.mu.Lock()
	defer s.db.mu.Unlock()
	if s.db.down {
		s.db.late = nil
		return
	}
	finish(s.db.late)
	s.db.late = nil
}

// releaseOne commits one write if a CommitLate fault still keeps it.
func (s *Server) releaseOne(st *statement) {
	s.db.mu.Lock()
	defer s.db.mu.Unlock()
	for i, held := range s.db.late {
		if held == st {
			s.db.late = append(s.db.late[:i:i], s.db.late[i+1:]...)
			if !s.db.down {
				finish([]*statement{st})
			}
			return
		}
	}
}
