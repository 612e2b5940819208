// Package schema holds Kong's entity schemas and the rules Kong applies to
// them: what a write may contain, which defaults it gets, how a PATCH merges,
// and the exact words of every refusal. It is a port of the behaviour of
// kong.db.schema as measured on Kong Gateway 3.9.1 (community edition).
//
// The schemas themselves are data: entities/*.json and plugins/*.json have the
// form in which Kong answers GET /schemas/... Where Kong has a Lua function,
// which its own answer leaves out, the files name a Go function in an attribute
// that starts with "x-"; those attributes are not answered either.
//
// A write goes through the same four steps as in Kong: fill (defaults and
// shorthands), validate (fields, then entity checks), read (what the row looks
// like when it is selected again), answer. An absent key and a null are
// different things all along: absent takes the default, null stays null.
//
// Values are those of encoding/json: map[string]any, []any, string, bool,
// float64 and nil. Whole floats print without a fraction, as Kong prints them.
package schema
