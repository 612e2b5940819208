package plugin

import (
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// elements has sets of elements of each kind, with deprecated fields that can be translated
// and others.
const elements = `{"fields":[{"config":{"type":"record","fields":[
	{"records":{"type":"set","elements":{"type":"record","fields":[
		{"a":{"type":"string"}},{"n":{"type":"number","default":1}},
		{"set":{"type":"set","elements":{"type":"string"}}},
		{"map":{"type":"map","values":{"type":"array","elements":{"type":"number"}}}},
		{"inner":{"type":"record","required":true,"fields":[{"b":{"type":"boolean","default":true}},{"free":{"type":"json"}}]}}
	],"shorthand_fields":[
		{"old":{"type":"string","deprecation":{"replaced_with":[{"path":["a"]}]}}},
		{"lost":{"type":"number"}}
	]}}},
	{"bare":{"type":"set"}},
	{"abstract":{"type":"set","elements":{"type":"record"}}}
]}}]}`

// element draws a value, mostly one that an element of the set may have.
func element(depth int) *rapid.Generator[any] {
	return rapid.Custom(func(t *rapid.T) any {
		kinds := 9
		if depth == 0 {
			kinds = 5
		}
		switch rapid.IntRange(0, kinds-1).Draw(t, "kind") {
		case 0:
			return nil
		case 1:
			return rapid.Bool().Draw(t, "bool")
		case 2:
			return rapid.SampledFrom([]string{"", "x", "y"}).Draw(t, "string")
		case 3:
			return rapid.SampledFrom([]float64{0, 1, 2, 0.1, 0.30000000000000004, 0.3, 2.9999999999999996, 3, 1234567890123456, 1234567890123500}).Draw(t, "number")
		case 4:
			return json.Number(rapid.SampledFrom([]string{"1", "0.3", "-0", "x"}).Draw(t, "json number"))
		case 5:
			return rapid.SliceOfN(element(depth-1), 0, 3).Draw(t, "list")
		}
		m := map[string]any{}
		for _, name := range []string{"a", "n", "set", "map", "inner", "b", "free", "old", "lost", "unknown"} {
			if rapid.IntRange(0, 3).Draw(t, name) == 0 {
				m[name] = element(depth-1).Draw(t, "value")
			}
		}
		return m
	})
}

// The canonical forms find what comparing each element with each other finds.
func TestSameSetIsThatOfAllPairs(t *testing.T) {
	s := parsed(t, []byte(elements))
	rapid.Check(t, func(t *rapid.T) {
		f := s.config.fields[rapid.SampledFrom([]string{"records", "bare", "abstract"}).Draw(t, "set")]
		desired := rapid.SliceOfN(element(3), 0, 4).Draw(t, "desired")
		live := slices.Clone(desired)
		if rapid.Bool().Draw(t, "others") {
			live = rapid.SliceOfN(element(3), 0, 4).Draw(t, "live")
		}
		for i, l := range live {
			if rapid.Bool().Draw(t, "as Kong answers it") {
				live[i] = answer(f.elements, l)
			}
		}
		c := &comparer{}
		want := among(desired, live, func(d, l any) bool { return c.same(f.elements, d, l) }) &&
			among(live, desired, func(l, d any) bool { return c.same(f.elements, d, l) })
		if got := (&comparer{}).sameSet(f.elements, desired, live); got != want {
			t.Fatalf("got %v, want %v", got, want)
		}
	})
}

func TestDifferencesInSets(t *testing.T) {
	s := parsed(t, []byte(elements))
	for _, tt := range []struct {
		reason, desired, live string
		same                  bool
	}{
		{"maps, nested sets, and what Kong fills in", `[{"map":{"k":[1,2],"null":null},"set":["x","y"]},{"a":"z"}]`,
			`[{"a":"z","n":1,"inner":{"b":true}},{"map":{"k":[1,2]},"set":["y","x"],"n":1,"inner":{"b":true}}]`, true},
		{"another value in a map", `[{"map":{"k":[1,2]}}]`, `[{"map":{"k":[2,1]},"n":1,"inner":{"b":true}}]`, false},
		{"not what Kong fills in", `[{"a":"x"}]`, `[{"a":"x","n":2,"inner":{"b":true}}]`, false},
		{"a deprecated field that moved", `[{"old":"x"}]`, `[{"a":"x","n":1,"inner":{"b":true}}]`, true},
		{"a deprecated field of which nobody knows where it went", `[{"lost":5}]`, `[{"a":null,"n":5,"inner":{"b":true}}]`, true},
		{"a field that the schema does not have", `[{"unknown":5}]`, `[{"unknown":5,"n":1,"inner":{"b":true}}]`, true},
		{"numbers that Kong rounds", `[{"n":0.30000000000000004},{"n":3.14159265358979}]`,
			`[{"n":3.1415926535898,"inner":{"b":true}},{"n":0.3,"inner":{"b":true}}]`, true},
		{"a list and an object with the same contents", `[{"inner":{"free":["k","v"]}}]`, `[{"n":1,"inner":{"b":true,"free":{"k":"v"}}}]`, false},
		{"an element less", `[{"a":"x"},{"a":"y"}]`, `[{"a":"x","n":1,"inner":{"b":true}}]`, false},
		{"an element more", `[{"a":"x"}]`, `[{"a":"x","n":1,"inner":{"b":true}},{"a":"y","n":1,"inner":{"b":true}}]`, false},
	} {
		var desired, live []any
		decode(t, []byte(tt.desired), &desired)
		decode(t, []byte(tt.live), &live)
		if got := (&comparer{}).sameSet(s.config.fields["records"].elements, desired, live); got != tt.same {
			t.Errorf("%s: %v", tt.reason, got)
		}
	}
}

// answer is what Kong makes of an element that is a record.
func answer(f *field, value any) any {
	m, ok := asMap(value)
	if !ok || f == nil || f.record == nil {
		return value
	}
	out := map[string]any{}
	for name, inner := range f.record.fields {
		v, declared := m[name]
		if !declared {
			v = inner.missing()
		}
		out[name] = answer(inner, v)
	}
	return out
}

// records makes n elements of the set, and what Kong answers, in another order.
func records(n int) (desired, live Plugin) {
	var d, l []any
	for i := range n {
		d = append(d, map[string]any{"a": fmt.Sprint("name-", i), "n": float64(i) + 0.1, "set": []any{"x", "y"}})
		l = append(l, map[string]any{
			"a": fmt.Sprint("name-", i), "n": float64(i) + 0.1, "set": []any{"y", "x"}, "map": nil,
			"inner": map[string]any{"b": true, "free": nil},
		})
	}
	rand.Shuffle(n, func(i, j int) { l[i], l[j] = l[j], l[i] })
	return Plugin{Config: map[string]any{"records": d}}, Plugin{Config: map[string]any{"records": l}}
}

// The work on a set grows with its size, not with the square of it.
func TestCompareSteps(t *testing.T) {
	s := parsed(t, []byte(elements))
	steps := func(n int) int {
		desired, live := records(n)
		fields, steps := compare(desired, live, s)
		if len(fields) > 0 {
			t.Fatal(fields)
		}
		return steps
	}
	if few, many := steps(100), steps(5000); many > 60*few {
		t.Errorf("%d steps for 100 records, %d for 5,000", few, many)
	}
}

// What cannot be compared within the budget is a difference, and the work ends.
func TestCompareHasABudget(t *testing.T) {
	s := parsed(t, []byte(elements))
	// Each element has to be compared with all others: nobody knows where "lost" went.
	desired, live := records(3000)
	for _, d := range desired.Config["records"].([]any) {
		d.(map[string]any)["lost"] = nil
	}
	fields, steps := compare(desired, live, s)
	if !slices.Equal(fields, []string{"config.records"}) {
		t.Errorf("differences: %v", fields)
	}
	if steps > 2*maxCompareSteps {
		t.Errorf("%d steps", steps)
	}
	// The same with few is exact.
	desired, live = records(30)
	for _, d := range desired.Config["records"].([]any) {
		d.(map[string]any)["lost"] = nil
	}
	if fields, _ := compare(desired, live, s); len(fields) > 0 {
		t.Errorf("differences: %v", fields)
	}
}

// Without budget nothing is the same, not even what is.
func TestCompareWithoutBudget(t *testing.T) {
	c := &comparer{steps: maxCompareSteps + 1}
	if len(c.cloneObjects(map[string]any{"x": 1.0})) > 0 || c.sameValue(1.0, 1.0) || c.isSubset("x", "x") || c.same(&field{}, "x", "x") || c.sameSet(nil, []any{"x"}, []any{"x"}) {
		t.Error("the same")
	}
	r := &record{names: []string{"new"}, fields: map[string]*field{"new": {kind: "string"}}}
	if got := r.findReplacement(deprecatedField{name: "old", kind: "string"}, "x", nil, map[string]any{"new": "x"}, c); got != "old" {
		t.Errorf("found %s", got)
	}
}

// A value of another type than those of JSON equals none, as outside of sets.
func TestSameSetOfOtherTypes(t *testing.T) {
	if c := (&comparer{}); c.sameSet(nil, []any{[]string{"x"}}, []any{[]string{"x"}}) || c.sameValue([]string{"x"}, []string{"x"}) {
		t.Error("the same")
	}
	for _, tt := range []struct {
		desired, live any
		same          bool
	}{
		{json.Number("x"), json.Number("x"), true},
		{json.Number("x"), "x", false},
		{json.Number("0.30000000000000004"), 0.3, true},
		{math.Copysign(0, -1), 0.0, true},
		{int64(5), 5.0, true},
		{true, "true", false},
		{nil, "null", false},
	} {
		if got := (&comparer{}).sameSet(nil, []any{tt.desired}, []any{tt.live}); got != tt.same {
			t.Errorf("%#v and %#v: %v", tt.desired, tt.live, got)
		}
	}
}

// A schema with many fields times a config with many elements.
func TestCompareHasABudgetForTheSchema(t *testing.T) {
	var fields, old, replaced []string
	for i := range 1500 {
		fields = append(fields, fmt.Sprintf(`{"f%d":{"type":"string","auto":true}}`, i))
		old = append(old, fmt.Sprintf(`{"o%d":{"type":"string"}}`, i))
		replaced = append(replaced, fmt.Sprintf(`{"r%d":{"type":"record","deprecation":{"replaced_with":[{"path":["big"]},{"path":["big","x"]}]}}}`, i))
	}
	record := `{"type":"record","fields":[` + strings.Join(fields, ",") + `,{"big":{"type":"record"}}],"shorthand_fields":[` +
		strings.Join(old, ",") + `,` + strings.Join(replaced, ",") + `]}`
	s := parsed(t, []byte(`{"fields":[{"config":{"type":"record","fields":[{"list":{"type":"array","elements":`+record+`}},{"set":{"type":"set","elements":`+
		record+`}},{"one":`+record+`}]}}]}`))
	big := map[string]any{}
	for i := range 1500 {
		big[fmt.Sprint(i)] = "x"
	}
	one := map[string]any{"big": big}
	var list []any
	for i := range 1500 {
		list = append(list, map[string]any{"f0": fmt.Sprint(i)})
		one[fmt.Sprint("o", i)] = "x"
		one[fmt.Sprint("r", i)] = big
	}
	for _, name := range []string{"list", "set", "one"} {
		var value any = list
		if name == "one" {
			value = one
		}
		p := Plugin{Config: map[string]any{name: value}}
		differences, steps := compare(p, p, s)
		if len(differences) == 0 || steps > 2*maxCompareSteps {
			t.Errorf("%s: %d differences, %d steps", name, len(differences), steps)
		}
		if got := PreserveServerFields(p, p, s); len(got.Config) == 0 {
			t.Errorf("%s: the config is lost", name)
		}
	}
}

// acceptable returns a copy of a value without the fields that Kong refuses, and without the
// deprecated ones that have no canonical form (see TestCompareHasABudget).
func acceptable(f *field, value any) any {
	m, ok := value.(map[string]any)
	if !ok {
		return value
	}
	m = maps.Clone(m)
	for name, inner := range m {
		switch {
		case f == nil || f.record == nil:
		case f.record.fields[name] == nil:
			delete(m, name)
		default:
			m[name] = acceptable(f.record.fields[name], inner)
		}
	}
	return m
}

// Whatever a config holds: twice as much of it takes about twice the steps.
func TestCompareStepsOfAnyConfig(t *testing.T) {
	s := parsed(t, []byte(elements))
	rapid.Check(t, func(t *rapid.T) {
		name := rapid.SampledFrom([]string{"records", "bare", "abstract", "unknown"}).Draw(t, "field")
		kinds := rapid.SliceOfN(element(2), 1, 5).Draw(t, "kinds")
		different := rapid.IntRange(0, 3).Draw(t, "different elements")
		steps := func(n int) int {
			var desired, live []any
			for i := range n {
				e := acceptable(s.config.fields["records"].elements, kinds[i%len(kinds)])
				if m, ok := e.(map[string]any); ok {
					m["a"] = fmt.Sprint(i) // distinct
				}
				desired = append(desired, e)
				live = append(live, answer(s.config.fields["records"].elements, e))
			}
			for i := range different {
				live[i*7%n] = fmt.Sprint("another", i)
			}
			slices.Reverse(live)
			_, steps := compare(Plugin{Config: map[string]any{name: desired}}, Plugin{Config: map[string]any{name: live}}, s)
			return steps
		}
		if few, many := steps(100), steps(1000); many > 20*few+10_000 {
			t.Fatalf("%d steps for 100 elements, %d for 1,000", few, many)
		}
	})
}
