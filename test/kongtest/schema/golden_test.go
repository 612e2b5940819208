package schema

import (
	"cmp"
	"encoding/json"
	"os"
	"slices"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
)

// exchange is a write that was sent to a real Kong 3.9.1, and its answer.
// Answers are without what the store sets; references are as the body gave them.
type exchange struct {
	Name    string         `json:"name"`
	Entity  string         `json:"entity"`
	Body    map[string]any `json:"body"`
	Current map[string]any `json:"current"`
	Patch   map[string]any `json:"patch"`
	Answer  map[string]any `json:"answer"`
	Message string         `json:"message"`
	Fields  map[string]any `json:"fields"`
}

func golden(t *testing.T, file string) []exchange {
	t.Helper()
	b, err := os.ReadFile("testdata/" + file)
	if err != nil {
		t.Fatal(err)
	}
	var list []exchange
	if err := json.Unmarshal(b, &list); err != nil {
		t.Fatal(err)
	}
	for _, x := range list {
		resolve(x.Body)
		resolve(x.Answer)
	}
	return list
}

// resolve replaces references by name with an ID, as the store does.
func resolve(e map[string]any) {
	for _, field := range []string{"service", "route", "consumer"} {
		value, _ := e[field].(map[string]any)
		for _, by := range []string{"name", "username", "custom_id"} {
			if name, isString := value[by].(string); isString && value["id"] == nil {
				e[field] = map[string]any{"id": uuid.NewSHA1(uuid.NameSpaceURL, []byte(name)).String()}
			}
		}
	}
}

// TestInsertAccepts: what Kong completed, we complete alike.
func TestInsertAccepts(t *testing.T) {
	for _, x := range golden(t, "accepted.json") {
		t.Run(x.Name, func(t *testing.T) {
			got, v := Insert(x.Entity, x.Body)
			if v != nil {
				t.Fatalf("refused: %s", v.Message())
			}
			for _, name := range autoFields {
				delete(got, name)
			}
			sameEntity(t, x.Entity, x.Answer, got)
		})
	}
}

// TestInsertRefuses: what Kong refused, we refuse in its words.
func TestInsertRefuses(t *testing.T) {
	for _, x := range golden(t, "refused.json") {
		t.Run(x.Name, func(t *testing.T) {
			got, v := Insert(x.Entity, x.Body)
			sameRefusal(t, x, got, v)
		})
	}
}

// TestUpdate: a PATCH gives what it gave in Kong.
func TestUpdate(t *testing.T) {
	for _, x := range golden(t, "changed.json") {
		t.Run(x.Name, func(t *testing.T) {
			got, v := Update(x.Entity, x.Current, x.Patch)
			if x.Message != "" {
				sameRefusal(t, x, got, v)
				return
			}
			if v != nil {
				t.Fatalf("refused: %s", v.Message())
			}
			sameEntity(t, x.Entity, x.Answer, got)
		})
	}
}

func sameRefusal(t *testing.T, x exchange, got map[string]any, v *Violation) {
	t.Helper()
	if v == nil {
		t.Fatalf("accepted, Kong says %s\n%v", x.Message, got)
	}
	if d := gocmp.Diff(x.Message, v.Message()); d != "" {
		t.Errorf("message (-Kong +ours):\n%s", d)
	}
	if d := gocmp.Diff(x.Fields, v.Fields); d != "" {
		t.Errorf("fields (-Kong +ours):\n%s", d)
	}
}

// sameEntity compares through JSON, as a client sees it, and knows that sets
// have no order and that a secret Kong drew is drawn again.
func sameEntity(t *testing.T, entity string, want, got map[string]any) {
	t.Helper()
	want, got = throughJSON(t, want), throughJSON(t, got)
	rec := mustEntity(entity)
	rec.sortSets(want)
	rec.sortSets(got)
	for _, path := range []string{"config.secret", "config.provision_key"} {
		w, _ := getPath(want, path)
		g, _ := getPath(got, path)
		ws, _ := w.(string)
		gs, _ := g.(string)
		if len(ws) >= 32 && len(ws) == len(gs) {
			setPath(got, path, w)
		}
	}
	if d := gocmp.Diff(want, got); d != "" {
		t.Errorf("entity (-Kong +ours):\n%s", d)
	}
}

func throughJSON(t *testing.T, m map[string]any) map[string]any {
	t.Helper()
	b, err := json.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	var out map[string]any
	if err := json.Unmarshal(b, &out); err != nil {
		t.Fatal(err)
	}
	return out
}

func (r *record) sortSets(data map[string]any) {
	sub := r.sub(data)
	for _, nf := range r.fields {
		f := r.resolve(nf.name, sub)
		switch v := data[nf.name].(type) {
		case []any:
			if f.Type == "set" {
				slices.SortFunc(v, func(a, b any) int { return cmp.Compare(luaString(a), luaString(b)) })
			}
		case map[string]any:
			if f.rec != nil {
				f.rec.sortSets(v)
			}
		}
	}
}
