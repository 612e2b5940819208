package plugin

import (
	"slices"
	"testing"
)

const secretive = `{"fields":[{"config":{"type":"record","fields":[
	{"plain":{"type":"string"}},
	{"encrypted":{"type":"string","encrypted":true}},
	{"referenceable":{"type":"string","referenceable":true}},
	{"record":{"type":"record","required":true,"fields":[{"plain":{"type":"string"}},{"password":{"type":"string","encrypted":true,"referenceable":true}}]}},
	{"whole":{"type":"record","encrypted":true,"fields":[{"plain":{"type":"string"}}]}},
	{"list":{"type":"array","elements":{"type":"record","fields":[{"key":{"type":"string","encrypted":true}}]}}},
	{"headers":{"type":"map","keys":{"type":"string"},"values":{"type":"string","referenceable":true}}},
	{"numbers":{"type":"map","values":{"type":"number"}}}
],"shorthand_fields":[
	{"old_plain":{"type":"string","deprecation":{"replaced_with":[{"path":["record","plain"]}]}}},
	{"old_password":{"type":"string","deprecation":{"replaced_with":[{"path":["record","password"]}]}}},
	{"old_secret":{"type":"string","encrypted":true,"deprecation":{"replaced_with":[{"path":["plain"]}]}}},
	{"old_lost":{"type":"string"}}
]}}]}`

func TestSensitive(t *testing.T) {
	s := parsed(t, []byte(secretive))
	for path, want := range map[string]bool{
		"plugin": false, "scope.service": false, "condition": false, "configuration": false,
		"config": true, "config.plain": false, "config.encrypted": true, "config.referenceable": true,
		"config.record": true, "config.record.plain": false, "config.record.password": true, "config.record.unknown": true,
		"config.whole.plain": true, "config.list": true, "config.headers": true, "config.numbers": false, "config.numbers.x": true,
		"config.old_plain": false, "config.old_password": true, "config.old_secret": true, "config.old_lost": true, "config.unknown": true,
	} {
		if got := s.Sensitive(path); got != want {
			t.Errorf("%s: %v", path, got)
		}
	}
	var none *Schema
	if !none.Sensitive("config") || !none.Sensitive("config.plain") || none.Sensitive("tags") {
		t.Error("without a schema all of the config is sensitive, and nothing else")
	}
	kongs := schemaOf(t, "rate-limiting")
	if kongs.Sensitive("config.minute") || !kongs.Sensitive("config.redis.password") || !kongs.Sensitive("config.redis_password") {
		t.Error("Kong's own schema")
	}
}

// What is shown to somebody else is the same whether a guessed secret is right or not.
func TestPublicDifferencesTellNoSecret(t *testing.T) {
	s := schemaOf(t, "rate-limiting")
	live, ok := insert("rate-limiting", map[string]any{"minute": 5.0, "policy": "redis", "redis": map[string]any{"host": "a", "password": "hunter2"}})
	if !ok {
		t.Fatal("Kong refuses it")
	}
	for _, tt := range []struct {
		minute float64
		want   []string
	}{{5, nil}, {6, []string{"config.minute"}}} {
		for _, guess := range []string{"hunter2", "hunter3"} {
			for _, name := range []string{"redis", "redis_password"} {
				config := map[string]any{"minute": tt.minute, "policy": "redis", "redis": map[string]any{"host": "a", "password": guess}}
				if name == "redis_password" {
					config["redis"], config[name] = map[string]any{"host": "a"}, guess
				}
				got := PublicDifferences(Plugin{Config: config}, Plugin{Config: live}, s)
				if !slices.Equal(got, tt.want) {
					t.Errorf("%s, %s: %v", name, guess, got)
				}
			}
		}
	}
}
