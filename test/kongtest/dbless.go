package kongtest

import (
	"net/http"
)

const (
	emptyConfigHash   = "00000000000000000000000000000000"
	dblessWorkspaceID = "0dc6f45b-8f8d-40d2-a504-473544ee190b"
)

// SetDBLess takes the database away, or brings it back. What is in it stays.
func (s *Server) SetDBLess(dbless bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.dbless = dbless
}

func (s *Server) isDBLess() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.dbless
}

func (s *Server) hash() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.configHash
}

func needsDBLess() *reply {
	return message(http.StatusBadRequest, "this endpoint is only available when Kong is configured to not use a database")
}
func getConfig(c *call) *reply  { return needsDBLess() }
func postConfig(c *call) *reply { return needsDBLess() }
