package contract

import (
	"os"
	"testing"
	"time"

	"github.com/pluginbinding/kong-plugin-operator/test/kongtest"
)

// fact is one behaviour of Kong that the operator relies on.
type fact struct {
	Name     string
	Kong     string // what Kong does
	Operator string // what the operator does because of it
	Run      func(t *testing.T, a *Admin)
}

// facts is the table of what holds for any Kong in DB mode.
func facts() []fact {
	var all []fact
	for _, part := range [][]fact{
		generalFacts(), createFacts(), scopeFacts(), putFacts(), patchFacts(), deleteFacts(),
		listFacts(), valueFacts(), errorFacts(), configFacts(), schemaFacts(), concurrencyFacts(),
	} {
		all = append(all, part...)
	}
	return all
}

// TestContract checks the facts against the stand-in, and against the gateway at
// KONG_ADMIN_URL if that is set.
func TestContract(t *testing.T) {
	all := facts()
	seen := map[string]bool{}
	for _, f := range all {
		if f.Kong == "" || f.Operator == "" || seen[f.Name] {
			t.Errorf("fact %q: a description is missing, or the name is not unique", f.Name)
		}
		seen[f.Name] = true
	}
	t.Run("kongtest", func(t *testing.T) {
		for _, f := range all {
			t.Run(f.Name, func(t *testing.T) { f.Run(t, newAdmin(t, kongtest.Start(t).URL())) })
		}
	})
	t.Logf("%d facts hold for the stand-in", len(all))
	if url := os.Getenv("KONG_ADMIN_URL"); url != "" {
		t.Run("gateway", func(t *testing.T) {
			for _, f := range all {
				t.Run(f.Name, func(t *testing.T) { f.Run(t, newAdmin(t, url)) })
			}
		})
		t.Logf("%d facts tried on %s", len(all), url)
	}
}

// standInFact is a fact that needs a database, or a node, of its own.
type standInFact struct {
	Name     string
	Kong     string // as in fact
	Operator string
	Options  []kongtest.Option
	Run      func(t *testing.T, a *Admin, srv *kongtest.Server)
}

// databaseTimeout is the stand-in's time-out here. Kong's is five seconds.
const databaseTimeout = 20 * time.Millisecond

// TestStandInOnly runs the facts that a shared gateway cannot be used for. They were
// measured on Kong 3.9.1 with a PostgreSQL of its own. Package kongtest replays the
// recordings.
func TestStandInOnly(t *testing.T) {
	all := standInFacts()
	for _, f := range all {
		if f.Kong == "" || f.Operator == "" {
			t.Errorf("fact %q: a description is missing", f.Name)
		}
		t.Run(f.Name, func(t *testing.T) {
			opts := append([]kongtest.Option{kongtest.WithDatabaseTimeout(databaseTimeout)}, f.Options...)
			srv := kongtest.Start(t, opts...)
			f.Run(t, newAdmin(t, srv.URL()), srv)
		})
	}
	t.Logf("%d facts for the stand-in only", len(all))
}
