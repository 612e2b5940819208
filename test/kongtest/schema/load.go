package schema

import (
	"bytes"
	"embed"
	"encoding/json"
	"fmt"
	"strings"
	"sync"
)

//go:embed plugins/*.json entities/*.json routes/*.json
var files embed.FS

// loaded is a schema and the JSON that Kong answers for it.
type loaded struct {
	rec      *record
	public   json.RawMessage
	priority int
	// protocols select this subschema of routes.
	protocols []string
}

// processSecret is a placeholder in the files for a default that Kong generates once,
// when it loads the schema.
const processSecret = "@process-secret"

// schemas are all schemas, parsed at first use. It panics for an invalid file, since
// the files are part of the program.
var schemas = sync.OnceValue(func() (all struct{ entities, plugins map[string]loaded }) {
	all.entities = load("entities", nil)
	all.plugins = load("plugins", all.entities["plugins"].rec)
	for name, p := range all.plugins {
		all.entities["plugins"].rec.subs[name] = p.rec
	}
	routes := all.entities["routes"].rec
	for _, r := range load("routes", routes) {
		for _, protocol := range r.protocols {
			routes.subs[protocol] = r.rec
		}
	}
	return all
})

func plugins() map[string]loaded  { return schemas().plugins }
func entities() map[string]loaded { return schemas().entities }

func load(dir string, base *record) map[string]loaded {
	out := map[string]loaded{}
	list, err := files.ReadDir(dir)
	if err != nil {
		panic(err)
	}
	for _, e := range list {
		b, err := files.ReadFile(dir + "/" + e.Name())
		if err != nil {
			panic(err)
		}
		l, err := parse(b, base)
		if err != nil {
			panic(fmt.Sprintf("schema: %s/%s: %v", dir, e.Name(), err))
		}
		out[strings.TrimSuffix(e.Name(), ".json")] = l
	}
	return out
}

func parse(b []byte, base *record) (loaded, error) {
	var head struct {
		Priority  int      `json:"x-priority"`
		SubKey    string   `json:"x-subschema-key"`
		SubErr    string   `json:"x-subschema-error"`
		Protocols []string `json:"x-protocols"`
	}
	b = bytes.ReplaceAll(b, []byte(processSecret), []byte(randomString(33)))
	if err := json.Unmarshal(b, &head); err != nil {
		return loaded{}, err
	}
	rec, err := parseRecord(b, base)
	if err != nil {
		return loaded{}, err
	}
	rec.subKey, rec.subErr, rec.subs = head.SubKey, head.SubErr, map[string]*record{}
	public, err := publish(b)
	return loaded{rec: rec, public: public, priority: head.Priority, protocols: head.Protocols}, err
}

// publish removes the attributes that Kong does not answer, and the shorthands of an
// entity. Kong answers the shorthands of records only.
func publish(b []byte) (json.RawMessage, error) {
	v := map[string]any{}
	if err := json.Unmarshal(b, &v); err != nil {
		return nil, err
	}
	delete(v, "shorthand_fields")
	return json.Marshal(withoutPrivate(v))
}

func withoutPrivate(v any) any {
	switch t := v.(type) {
	case map[string]any:
		for k, e := range t {
			if strings.HasPrefix(k, "x-") {
				delete(t, k)
				continue
			}
			t[k] = withoutPrivate(e)
		}
	case []any:
		for i, e := range t {
			t[i] = withoutPrivate(e)
		}
	}
	return v
}
