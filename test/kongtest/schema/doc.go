// Package schema has Kong's entity schemas and applies their rules: which values a
// write may have, which defaults it gets, how a PATCH merges, and the exact messages
// of errors. It behaves as kong.db.schema of Kong Gateway 3.9.1 (community edition)
// was measured to behave.
//
// The schemas are data: entities/*.json and plugins/*.json have the form in which
// Kong answers GET /schemas/... Kong's answer omits Lua functions. In their place the
// files name a Go function in an attribute that begins with "x-". Answers of this
// package omit these attributes, too.
//
// A write takes three steps, as in Kong: fill (defaults and shorthands), validate
// (fields, then entity checks), and read (the row as a later select returns it). An
// absent key differs from null: absent gets the default, null stays null.
//
// Values are those of encoding/json: map[string]any, []any, string, bool,
// float64 and nil. Whole floats print without a fraction, as Kong prints them.
package schema
