package plugin

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
)

// kitchen has a field of each kind that comparing knows.
const kitchen = `{"fields":[
	{"protocols":{"type":"set","default":["http","https"]}},
	{"config":{"type":"record","required":true,"fields":[
		{"string":{"type":"string"}},
		{"number":{"type":"number","default":5}},
		{"set":{"type":"set","elements":{"type":"string"}}},
		{"numbers":{"type":"set","elements":{"type":"number"}}},
		{"records":{"type":"set","elements":{"type":"record","fields":[{"a":{"type":"string"}},{"b":{"type":"integer","default":1}}]}}},
		{"array":{"type":"array","elements":{"type":"string"},"default":["x","y"]}},
		{"bare":{"type":"set"}},
		{"map":{"type":"map","keys":{"type":"string"},"values":{"type":"set","elements":{"type":"string"}}}},
		{"free":{"type":"map"}},
		{"json":{"type":"json"}},
		{"abstract":{"type":"record"}},
		{"optional":{"type":"record","fields":[{"a":{"type":"number","default":1}}]}},
		{"required":{"type":"record","required":true,"fields":[{"a":{"type":"number","default":1}},{"b":{"type":"string"}}]}},
		{"defaulted":{"type":"record","default":{"a":2},"fields":[{"a":{"type":"number","default":1}},{"b":{"type":"boolean","default":true}}]}}
	],"shorthand_fields":[
		{"old":{"type":"string","deprecation":{"replaced_with":[{"path":["string"]}]}}},
		{"old_deep":{"type":"string","deprecation":{"replaced_with":[{"path":["required","b"]}]}}},
		{"old_two":{"type":"integer","deprecation":{"replaced_with":[{"path":["number"]},{"path":["optional","a"]}]}}},
		{"old_list":{"type":"array","deprecation":{"replaced_with":[{"path":["set"]}]}}},
		{"other_shape":{"type":"array","deprecation":{"replaced_with":[{"path":["string"]}]}}},
		{"other_deep":{"type":"array","deprecation":{"replaced_with":[{"path":["required","b"]}]}}},
		{"to_nowhere":{"type":"string","deprecation":{"replaced_with":[{"path":["string","nowhere"]}]}}}
	]}}
]}`

// kitchenAnswer is what Kong makes of an empty config.
const kitchenAnswer = `{"string":null,"number":5,"set":null,"numbers":null,"records":null,"array":["x","y"],
	"bare":null,"map":null,"free":null,"json":null,"abstract":null,"optional":null,
	"required":{"a":1,"b":null},"defaulted":{"a":2,"b":true}}`

func TestDifferencesInConfig(t *testing.T) {
	s := parsed(t, []byte(kitchen))
	for _, tt := range []struct {
		reason string
		want   string
		// have is laid over what Kong makes of an empty config
		have string
		diff []string
	}{
		{"nothing declared, all at default", `{}`, `{}`, nil},
		{"null is what Kong shows for unset", `{"string":null}`, `{}`, nil},
		{"declared null, something there", `{"string":null}`, `{"string":"x"}`, []string{"config.string"}},
		{"declared null over a default", `{"number":null}`, `{}`, []string{"config.number"}},
		{"declared something, null there", `{"string":"x"}`, `{}`, []string{"config.string"}},
		{"set by hand, and not declared", `{}`, `{"string":"x","number":6}`, []string{"config.number", "config.string"}},
		{"a string is not a number", `{"string":"5"}`, `{"string":5}`, []string{"config.string"}},
		{"a number is not a string", `{"number":6}`, `{"number":"6"}`, []string{"config.number"}},
		{"a number is not a boolean", `{"string":true}`, `{"string":1}`, []string{"config.string"}},
		{"numbers compare as numbers", `{"number":6.0}`, `{"number":6}`, nil},
		{"Kong writes sixteen digits", `{"number":0.30000000000000004}`, `{"number":0.3}`, nil},
		{"older ones write fourteen", `{"number":3.14159265358979}`, `{"number":3.1415926535898}`, nil},
		{"integers stay exact", `{"number":9007199254740991}`, `{"number":9007199254740992}`, []string{"config.number"}},

		{"a set is in no order", `{"set":["a","b"]}`, `{"set":["b","a"]}`, nil},
		{"a set has each element once", `{"set":["a","b","a"]}`, `{"set":["b","a"]}`, nil},
		{"an element less", `{"set":["a","b"]}`, `{"set":["b"]}`, []string{"config.set"}},
		{"an element more", `{"set":["b"]}`, `{"set":["a","b"]}`, []string{"config.set"}},
		{"an empty set as an empty object", `{"set":[]}`, `{"set":{}}`, nil},
		{"an empty set is not an unset one", `{"set":[]}`, `{}`, []string{"config.set"}},
		{"a set that is something else", `{"set":["a"]}`, `{"set":"a"}`, []string{"config.set"}},
		{"numbers in a set, rounded", `{"numbers":[1,0.30000000000000004]}`, `{"numbers":[0.3,1]}`, nil},
		{"records in a set, filled in", `{"records":[{"a":"x"},{"a":"y","b":2}]}`, `{"records":[{"a":"y","b":2},{"a":"x","b":1}]}`, nil},
		{"records in a set, another", `{"records":[{"a":"x"}]}`, `{"records":[{"a":"x","b":2}]}`, []string{"config.records"}},
		{"a record that is none", `{"records":["x"]}`, `{"records":[{"a":null,"b":1}]}`, []string{"config.records"}},
		{"null in a set", `{"records":[null]}`, `{"records":[null]}`, nil},
		{"a set of which the elements are not known", `{"bare":[1,{"a":[]}]}`, `{"bare":[{"a":{}},1]}`, nil},

		{"an array is in order", `{"array":["a","b"]}`, `{"array":["b","a"]}`, []string{"config.array"}},
		{"an array of another length", `{"array":["a","b"]}`, `{"array":["a"]}`, []string{"config.array"}},
		{"an array back at its default", `{}`, `{"array":["y","x"]}`, []string{"config.array"}},

		{"keys of a map that are null", `{"map":{"a":["x","y"],"n":null}}`, `{"map":{"a":["y","x"],"m":null}}`, nil},
		{"a key more", `{"map":{"a":["x"]}}`, `{"map":{"a":["x"],"b":["y"]}}`, []string{"config.map"}},
		{"a key less", `{"map":{"a":["x"],"b":["y"]}}`, `{"map":{"a":["x"]}}`, []string{"config.map"}},
		{"another value", `{"map":{"a":["x"]}}`, `{"map":{"a":["y"]}}`, []string{"config.map"}},
		{"an empty map as an empty list", `{"map":{}}`, `{"map":[]}`, nil},
		{"a map that is something else", `{"map":{}}`, `{"map":["a"]}`, []string{"config.map"}},
		{"a map of which the values are not known", `{"free":{"a":{"b":null}}}`, `{"free":{"a":[]}}`, nil},
		{"the same, an element more", `{"free":{"a":[1]}}`, `{"free":{"a":[1,2]}}`, []string{"config.free"}},
		{"free JSON", `{"json":{"a":[1,{"b":true}]}}`, `{"json":{"a":[1.0,{"b":true,"c":null}]}}`, nil},
		{"free JSON, something more", `{"json":{"a":1}}`, `{"json":{"a":1,"b":2}}`, []string{"config.json"}},
		{"a record of which the fields are not known", `{"abstract":{"a":1}}`, `{"abstract":{"a":1}}`, nil},
		{"the same, another value", `{"abstract":{"a":1}}`, `{"abstract":{"a":2}}`, []string{"config.abstract"}},

		{"a record that need not be there", `{"optional":{}}`, `{"optional":{"a":1}}`, nil},
		{"it is not there", `{"optional":{}}`, `{}`, []string{"config.optional"}},
		{"it is there by hand", `{}`, `{"optional":{"a":1}}`, []string{"config.optional"}},
		{"a record by parts", `{"required":{"b":"x"}}`, `{"required":{"a":2,"b":"y"}}`, []string{"config.required.a", "config.required.b"}},
		{"a record with a default, declared, has its fields' defaults", `{"defaulted":{}}`, `{"defaulted":{"a":1,"b":true}}`, nil},
		{"its own default is gone then", `{"defaulted":{}}`, `{}`, []string{"config.defaulted.a"}},

		{"a field that this Kong does not have", `{}`, `{"new":"x"}`, nil},
		{"a declared field that the schema does not have", `{"new":{"a":[1]}}`, `{"new":{"a":[1],"b":2}}`, nil},
		{"the same, another value", `{"new":{"a":[1]}}`, `{"new":{"a":[2]}}`, []string{"config.new"}},
		{"the same, not there", `{"new":{"a":[1]}}`, `{}`, []string{"config.new"}},

		{"a deprecated field at its new place", `{"old":"x","old_deep":"y","old_two":7,"old_list":["b","a"]}`,
			`{"string":"x","required":{"a":1,"b":"y"},"number":7,"optional":{"a":7},"set":["a","b"]}`, nil},
		{"the new place differs", `{"old_deep":"y"}`, `{"required":{"a":1,"b":"z"}}`, []string{"config.required.b"}},
		{"the new place wins", `{"old":"x","string":"y","old_deep":"x","required":{"b":"y"}}`,
			`{"string":"y","required":{"a":1,"b":"y"}}`, nil},
		{"there is no room at the new place", `{"old_deep":"x","required":"s"}`, `{}`, []string{"config.required"}},
		{"one of another shape is compared where it is shown", `{"other_shape":["a"]}`, `{"other_shape":["a"],"string":"A"}`, nil},
		{"the same, deep inside", `{"other_deep":["a"]}`, `{"other_deep":["a"],"required":{"a":1,"b":"A"}}`, nil},
		{"the same, another value", `{"other_shape":["a"]}`, `{"other_shape":["b"],"string":"B"}`, []string{"config.other_shape"}},
		{"one that led nowhere has to turn up somewhere", `{"to_nowhere":"a"}`, `{"string":"a"}`, nil},
		{"it does not", `{"to_nowhere":"a"}`, `{}`, []string{"config.to_nowhere"}},
		{"deprecated fields that nobody declared", `{}`, `{"old":"x","other_shape":["a"]}`, nil},
	} {
		t.Run(tt.reason, func(t *testing.T) {
			var want, have map[string]any
			decode(t, []byte(tt.want), &want)
			decode(t, []byte(kitchenAnswer), &have)
			decode(t, []byte(tt.have), &have) // lays it over: Unmarshal keeps other keys
			if got := Differences(Plugin{Config: want}, Plugin{Config: have}, s); !slices.Equal(got, tt.diff) {
				t.Errorf("got %v, want %v", got, tt.diff)
			}
		})
	}
}

func TestDifferencesWithoutSchema(t *testing.T) {
	for _, tt := range []struct {
		reason     string
		want, have string
		diff       []string
	}{
		{"only what is declared", `{"a":{"b":1}}`, `{"a":{"b":1,"c":2},"d":3}`, nil},
		{"inside arrays too", `{"a":[{"b":1}]}`, `{"a":[{"b":1,"c":2}]}`, nil},
		{"null is as good as absent", `{"a":null,"b":{"c":null}}`, `{"a":null,"b":{}}`, nil},
		{"empty is empty", `{"a":[],"b":{}}`, `{"a":{},"b":[]}`, nil},
		{"arrays are in order", `{"a":[1,2]}`, `{"a":[2,1]}`, []string{"config.a"}},
		{"the field is named as a whole", `{"a":{"b":{"c":1}}}`, `{"a":{"b":{"c":2}}}`, []string{"config.a"}},
		{"an object that is none", `{"a":{"b":1}}`, `{"a":"b"}`, []string{"config.a"}},
		{"a list that is none", `{"a":[1]}`, `{"a":{"b":1}}`, []string{"config.a"}},
		{"a scalar that is none", `{"a":"b","c":null}`, `{"a":["b"],"c":{}}`, []string{"config.a", "config.c"}},
	} {
		var want, have map[string]any
		decode(t, []byte(tt.want), &want)
		decode(t, []byte(tt.have), &have)
		if got := Differences(Plugin{Config: want}, Plugin{Config: have}, nil); !slices.Equal(got, tt.diff) {
			t.Errorf("%s: got %v, want %v", tt.reason, got, tt.diff)
		}
	}
}

func TestDifferencesBesideConfig(t *testing.T) {
	s := parsed(t, []byte(kitchen))
	base := Plugin{
		Name: "cors", InstanceName: "i", Enabled: true,
		Protocols: []string{"https", "http"}, Tags: []string{"a", "b"},
		Ordering: map[string]map[string][]string{"before": {"access": {"acl", "jwt"}}},
	}
	for _, tt := range []struct {
		reason     string
		want, have func(p *Plugin)
		diff       []string
	}{
		{"the same", nil, nil, nil},
		{"what Kong assigns", nil, func(p *Plugin) { p.ID = "x"; p.CreatedAt = 1; p.UpdatedAt = 2 }, nil},
		{"the name", nil, func(p *Plugin) { p.Name = "acl" }, []string{"plugin"}},
		{"the instance name", nil, func(p *Plugin) { p.InstanceName = "" }, []string{"instanceName"}},
		{"enabled", nil, func(p *Plugin) { p.Enabled = false }, []string{"enabled"}},
		{"all scopes, sorted", nil, func(p *Plugin) { p.Scope = Scope{"a", "b", "c", "d"} },
			[]string{"scope.consumer", "scope.consumerGroup", "scope.route", "scope.service"}},
		{"protocols in another order", nil, func(p *Plugin) { p.Protocols = []string{"http", "https"} }, nil},
		{"protocols", nil, func(p *Plugin) { p.Protocols = []string{"http"} }, []string{"protocols"}},
		{"protocols at the schema's default", func(p *Plugin) { p.Protocols = nil }, nil, nil},
		{"protocols not at the schema's default", func(p *Plugin) { p.Protocols = nil },
			func(p *Plugin) { p.Protocols = []string{"tcp"} }, []string{"protocols"}},
		{"protocols that Kong does not show", func(p *Plugin) { p.Protocols = nil }, func(p *Plugin) { p.Protocols = nil }, nil},
		{"tags in another order, one twice", nil, func(p *Plugin) { p.Tags = []string{"b", "a", "b"} }, nil},
		{"tags", nil, func(p *Plugin) { p.Tags = []string{"b"} }, []string{"tags"}},
		{"no tags", func(p *Plugin) { p.Tags = nil }, func(p *Plugin) { p.Tags = []string{} }, nil},
		{"ordering in another order", nil, func(p *Plugin) {
			p.Ordering = map[string]map[string][]string{"before": {"access": {"jwt", "acl"}}, "after": {}}
		}, nil},
		{"another ordering", nil, func(p *Plugin) {
			p.Ordering = map[string]map[string][]string{"after": {"access": {"acl", "jwt"}}}
		}, []string{"ordering"}},
		{"more ordering", func(p *Plugin) { p.Ordering = nil }, nil, []string{"ordering"}},
	} {
		want, have := base, base
		if tt.want != nil {
			tt.want(&want)
		}
		if tt.have != nil {
			tt.have(&have)
		}
		if got := Differences(want, have, s); !slices.Equal(got, tt.diff) {
			t.Errorf("%s: got %v, want %v", tt.reason, got, tt.diff)
		}
	}
	want, have := base, base
	want.Protocols = nil
	have.Protocols = []string{"tcp"}
	if got := Differences(want, have, nil); len(got) > 0 {
		t.Errorf("protocols without a schema: %v", got)
	}
}

// Numbers as other decoders of JSON give them.
func TestNumbersOfOtherDecoders(t *testing.T) {
	for _, tt := range []struct {
		want, have any
		same       bool
	}{
		{5, 5.0, true},
		{int64(5), json.Number("5"), true},
		{json.Number("5"), 5, true},
		{json.Number("x"), json.Number("x"), true},
		{json.Number("x"), 5.0, false},
		{[]string{"a"}, []string{"a"}, false},
	} {
		if got := (&comparer{}).sameValue(tt.want, tt.have); got != tt.same {
			t.Errorf("%#v and %#v: %v", tt.want, tt.have, got)
		}
	}
}

// hasDeprecated says whether a record has deprecated fields, at whatever depth.
func hasDeprecated(r *record) bool {
	if len(r.deprecated) > 0 {
		return true
	}
	var inField func(f *field) bool
	inField = func(f *field) bool {
		return f != nil && (f.record != nil && hasDeprecated(f.record) || inField(f.elements) || inField(f.values))
	}
	return slices.ContainsFunc(r.names, func(name string) bool { return inField(r.fields[name]) })
}

// checkReflexive compares any two configs, both ways, and each with itself. A plugin is
// its own equal unless a deprecated field is declared: answers show its replacement too.
func checkReflexive(t *testing.T, s *Schema, raw ...[]byte) {
	t.Helper()
	var plugins []Plugin
	for _, config := range raw {
		p := Plugin{Name: "x"}
		if json.Unmarshal(config, &p.Config) == nil {
			plugins = append(plugins, p)
		}
	}
	for _, a := range plugins {
		if got := Differences(a, a, s); len(got) > 0 && (s == nil || !hasDeprecated(s.config)) {
			t.Fatalf("%v is not its own equal: %v", a.Config, got)
		}
		for _, b := range plugins {
			diff := Differences(a, b, s)
			if !slices.IsSorted(diff) || len(slices.Compact(slices.Clone(diff))) != len(diff) {
				t.Fatalf("not sorted and unique: %v", diff)
			}
			if got := Differences(PreserveServerFields(a, b, s), b, s); !slices.Equal(got, diff) {
				t.Fatalf("%v before PreserveServerFields, %v after", diff, got)
			}
		}
	}
}

func FuzzDifferences(f *testing.F) {
	f.Add([]byte(kitchenAnswer), []byte(`{}`))
	f.Add([]byte(`{"old":"x","records":[{"a":1}],"map":{"a":["b"]}}`), []byte(`{"other_shape":["x"],"to_nowhere":"x"}`))
	f.Add([]byte(`{"required":{"b":[{}]},"json":[1,2,{"a":[]}]}`), []byte(`{"records":[[],{},null,1]}`))
	s := parsed(f, []byte(kitchen))
	noDeprecated := parsed(f, []byte(strings.ReplaceAll(kitchen, "shorthand_fields", "none")))
	makes := parsed(f, []byte(maker))
	f.Fuzz(func(t *testing.T, want, have []byte) {
		checkReflexive(t, s, want, have)
		checkReflexive(t, noDeprecated, want, have)
		checkReflexive(t, makes, want, have)
		checkReflexive(t, nil, want, have)
	})
}
