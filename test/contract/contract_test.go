package contract

import (
	"os"
	"testing"
	"time"

	"github.com/pluginbinding/kong-plugin-operator/test/kongtest"
)

// fact is one thing Kong does, and why it matters.
type fact struct {
	Name  string
	Cites string // what Kong does, and the operator's rule that relies on it
	Run   func(t *testing.T, a *Admin)
}

// facts is the table: what holds for any Kong in DB mode.
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

// TestContract holds the stand-in, and a real gateway if KONG_ADMIN_URL names one,
// to the facts.
func TestContract(t *testing.T) {
	all := facts()
	seen := map[string]bool{}
	for _, f := range all {
		if f.Cites == "" || seen[f.Name] {
			t.Errorf("fact %q: no citation, or not the only one of this name", f.Name)
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

// standInFact needs a database or a node of its own.
type standInFact struct {
	Name    string
	Cites   string
	Options []kongtest.Option
	Run     func(t *testing.T, a *Admin, srv *kongtest.Server)
}

// patience is the stand-in's database time-out here; Kong's is five seconds.
const patience = 20 * time.Millisecond

// TestStandInOnly runs the facts that no shared gateway can be used for. They were
// measured on Kong 3.9.1 with a PostgreSQL of its own; the recordings of that are
// replayed in test/kongtest.
func TestStandInOnly(t *testing.T) {
	all := standInFacts()
	for _, f := range all {
		if f.Cites == "" {
			t.Errorf("fact %q: no citation", f.Name)
		}
		t.Run(f.Name, func(t *testing.T) {
			opts := append([]kongtest.Option{kongtest.WithDatabaseTimeout(patience)}, f.Options...)
			srv := kongtest.Start(t, opts...)
			f.Run(t, newAdmin(t, srv.URL()), srv)
		})
	}
	t.Logf("%d facts for the stand-in only", len(all))
}
