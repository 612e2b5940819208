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

// loaded is a schema with the JSON that Kong answers for it.
type loaded struct {
	rec      *record
	public   json.RawMessage
	priority int
	// protocols are those a subschema of routes is for.
	protocols []string
}

// processSecret stands in the files for a default that Kong draws once, when it
// loads the schema.
const processSecret = "@process-secret"

// entities and plugins are parsed when first used. The files are part of the
// program: one that does not parse is a bug, and panics.
var (
	plugins  = sync.OnceValue(func() map[string]loaded { return load("plugins") })
	entities = sync.OnceValue(loadEntities)
)

func load(dir string) map[string]loaded {
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
		l, err := parse(b)
		if err != nil {
			panic(fmt.Sprintf("schema: %s/%s: %v", dir, e.Name(), err))
		}
		out[strings.TrimSuffix(e.Name(), ".json")] = l
	}
	return out
}

func parse(b []byte) (loaded, error) {
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
	rec, err := parseRecord(b)
	if err != nil {
		return loaded{}, err
	}
	rec.subKey, rec.subErr = head.SubKey, head.SubErr
	public, err := publish(b)
	return loaded{rec: rec, public: public, priority: head.Priority, protocols: head.Protocols}, err
}

// publish drops the attributes that stand for what Kong does not show.
func publish(b []byte) (json.RawMessage, error) {
	var v any
	if err := json.Unmarshal(b, &v); err != nil {
		return nil, err
	}
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

func loadEntities() map[string]loaded {
	out := load("entities")
	out["plugins"].rec.subs = map[string]*record{}
	for name, p := range plugins() {
		out["plugins"].rec.subs[name] = p.rec
	}
	out["routes"].rec.subs = map[string]*record{}
	for _, r := range load("routes") {
		for _, protocol := range r.protocols {
			out["routes"].rec.subs[protocol] = r.rec
		}
	}
	return out
}
