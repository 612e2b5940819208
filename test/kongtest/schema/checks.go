package schema

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
)

// check is one entity check: a rule for several fields.
type check struct {
	name string
	arg  checkArg

	// fields are the fields that the check reads; must are those that it needs.
	fields []string
	must   []string

	lookup                     func(string) *field
	ifMatch, thenMatch, elseIf *field
	thenRequired               bool
}

// checkArg is the argument of any of Kong's checks. A plain list is in Names.
type checkArg struct {
	Names []string `json:"-"`

	IfField   string          `json:"if_field"`
	IfMatch   json.RawMessage `json:"if_match"`
	ThenField string          `json:"then_field"`
	ThenMatch json.RawMessage `json:"then_match"`
	ThenErr   string          `json:"then_err"`

	ThenOneOf []string        `json:"then_at_least_one_of"`
	ElseMatch json.RawMessage `json:"else_match"`
	ElseOneOf []string        `json:"else_then_at_least_one_of"`
	ElseErr   string          `json:"else_then_err"`

	Set1 []string `json:"set1"`
	Set2 []string `json:"set2"`

	FieldSources []string `json:"field_sources"`
	RunMissing   bool     `json:"run_with_missing_fields"`
	RunInvalid   bool     `json:"run_with_invalid_fields"`
	Fn           string   `json:"x-fn"`
}

func newCheck(name string, raw json.RawMessage, lookup func(string) *field) (check, error) {
	c := check{name: name, lookup: lookup}
	if raw[0] == '[' {
		if err := json.Unmarshal(raw, &c.arg.Names); err != nil {
			return c, err
		}
		c.fields, c.must = c.arg.Names, c.arg.Names
		return c, nil
	}
	if err := json.Unmarshal(raw, &c.arg); err != nil {
		return c, err
	}
	c.fields = c.sources()
	if c.arg.IfField != "" {
		c.must = []string{c.arg.IfField}
	}
	if name == "custom_entity_check" {
		c.must = c.arg.FieldSources
		if entityFuncs[c.arg.Fn] == nil {
			return c, fmt.Errorf("no function %q", c.arg.Fn)
		}
	}
	return c, c.refine()
}

func (c *check) sources() []string {
	var out []string
	for _, s := range [][]string{{c.arg.IfField, c.arg.ThenField}, c.arg.ThenOneOf, c.arg.ElseOneOf, c.arg.Set1, c.arg.Set2, c.arg.FieldSources} {
		for _, name := range s {
			if name != "" {
				out = append(out, name)
			}
		}
	}
	return out
}

// refine prepares the fields of the conditions.
func (c *check) refine() error {
	for _, m := range []struct {
		raw  json.RawMessage
		over string
		into **field
	}{
		{c.arg.IfMatch, c.arg.IfField, &c.ifMatch},
		{c.arg.ThenMatch, c.arg.ThenField, &c.thenMatch},
		{c.arg.ElseMatch, c.arg.IfField, &c.elseIf},
	} {
		if m.raw == nil {
			continue
		}
		f, err := c.lookup(m.over).refine(m.raw)
		if err != nil {
			return err
		}
		*m.into = f
	}
	var then struct {
		Required bool `json:"required"`
	}
	if c.arg.ThenMatch != nil {
		if err := json.Unmarshal(c.arg.ThenMatch, &then); err != nil {
			return err
		}
	}
	c.thenRequired = then.Required
	return nil
}

// appliesWithoutFields reports whether the check applies to an entity without any of
// its fields.
func (c *check) appliesWithoutFields() bool {
	switch c.name {
	case "at_least_one_of", "conditional_at_least_one_of", "mutually_required", "mutually_exclusive_sets":
		return true
	}
	return false
}

func (c *check) runsMissing() bool { return c.arg.RunMissing || c.appliesWithoutFields() }

// runsInvalid reports whether the check runs if a field has an error of its own.
func (c *check) runsInvalid() bool {
	switch c.name {
	case "at_least_one_of", "conditional_at_least_one_of", "only_one_of", "distinct", "conditional":
		return true
	}
	return c.arg.RunInvalid
}

func (r *record) runChecks(data map[string]any, full bool, errs map[string]any) {
	for i := range r.checks {
		r.checks[i].run(data, full, errs)
	}
}

// run applies the check if the entity has the fields that it needs. It adds to errs.
func (c *check) run(data map[string]any, full bool, errs map[string]any) {
	sub, missing, ok := c.gather(data, full, errs)
	if !ok {
		return
	}
	if len(missing) > 0 {
		for _, name := range missing {
			addError(errs, name, "field required for entity check"+onUpdate(full, " when updating"))
		}
		return
	}
	if msg := c.apply(sub, full, errs); msg != "" {
		list, _ := errs["@entity"].([]any)
		errs["@entity"] = append(list, msg)
	}
}

// gather returns the fields of the check, and the names of missing ones. ok is false
// if the check does not run.
func (c *check) gather(data map[string]any, full bool, errs map[string]any) (sub map[string]any, missing []string, ok bool) {
	sub = map[string]any{}
	allNil, allGood := true, true
	for _, name := range c.fields {
		if !indexable(data, name) {
			errs[brokenMark] = true
			return nil, nil, false
		}
		v, present := getPath(data, name)
		if !present {
			if !c.runsMissing() && slices.Contains(c.must, name) {
				missing = append(missing, name)
			}
		} else {
			allNil = false
			setPath(sub, name, v)
		}
		if c.isReference(name, v) {
			return nil, nil, false
		}
		if errs[name] != nil {
			allGood = false
		}
	}
	if !allGood && !c.runsInvalid() {
		return nil, nil, false
	}
	if allNil && !(full && c.appliesWithoutFields()) {
		return nil, nil, false
	}
	return sub, missing, true
}

func (c *check) isReference(name string, v any) bool {
	s, ok := v.(string)
	if !ok || !isReference(s) {
		return false
	}
	f := c.lookup(name)
	return f != nil && f.Type == "string" && f.Referenceable
}

// onUpdate returns words that Kong adds to the errors of a PATCH.
func onUpdate(full bool, words string) string {
	if full {
		return ""
	}
	return words
}

// apply applies the rule and returns an error message, or "".
func (c *check) apply(sub map[string]any, full bool, errs map[string]any) string {
	prefix := onUpdate(full, "when updating, ")
	switch c.name {
	case "at_least_one_of":
		if len(nonEmptyFields(sub, c.arg.Names)) == 0 {
			return prefix + "at least one of these fields must be non-empty: " + quoted(c.arg.Names)
		}
	case "only_one_of":
		if len(nonEmptyFields(sub, c.arg.Names)) != 1 {
			return "exactly one of these fields must be non-empty: " + quoted(c.arg.Names)
		}
	case "mutually_required":
		if n := len(nonEmptyFields(sub, c.arg.Names)); n > 0 && n < len(c.arg.Names) {
			return "all or none of these fields must be set: " + quoted(c.arg.Names)
		}
	case "mutually_exclusive":
		if len(nonEmptyFields(sub, c.arg.Names)) > 1 {
			return "only one or none of these fields must be set: " + quoted(c.arg.Names)
		}
	case "mutually_exclusive_sets":
		a, b := nonEmptyFields(sub, c.arg.Set1), nonEmptyFields(sub, c.arg.Set2)
		if len(a) > 0 && len(b) > 0 {
			return fmt.Sprintf("these sets are mutually exclusive: (%s), (%s)", quoted(a), quoted(b))
		}
	case "distinct":
		return c.distinct(sub)
	case "conditional":
		return c.conditional(sub, errs)
	case "conditional_at_least_one_of":
		return c.conditionalOneOf(sub, prefix)
	case "custom_entity_check":
		return entityFuncs[c.arg.Fn](sub)
	}
	return ""
}

// given returns the names of the fields that are not empty.
func nonEmptyFields(sub map[string]any, names []string) []string {
	var out []string
	for _, n := range names {
		if v, _ := getPath(sub, n); nonEmpty(v) {
			out = append(out, n)
		}
	}
	return out
}

func quoted(names []string) string {
	return "'" + strings.Join(names, "', '") + "'"
}

func (c *check) distinct(sub map[string]any) string {
	var seen []any
	for _, n := range nonEmptyFields(sub, c.arg.Names) {
		v, _ := getPath(sub, n)
		for _, s := range seen {
			if equal(s, v) {
				return "values of these fields must be distinct: " + quoted(c.arg.Names)
			}
		}
		seen = append(seen, v)
	}
	return ""
}

// conditional checks a field if another one matches. An error is reported twice: for
// the entity and for the field.
func (c *check) conditional(sub, errs map[string]any) string {
	v, present := getPath(sub, c.arg.IfField)
	if !present || c.ifMatch.validate(v) != nil {
		return ""
	}
	then, _ := getPath(sub, c.arg.ThenField)
	msg := fmt.Sprintf("failed conditional validation given value of field '%s'", c.arg.IfField)
	if c.thenRequired && then == nil {
		addError(errs, c.arg.ThenField, errRequired)
		return msg
	}
	err := c.thenMatch.validate(then)
	if err == nil {
		return ""
	}
	addError(errs, c.arg.ThenField, err)
	if c.arg.ThenErr != "" {
		return strings.ReplaceAll(c.arg.ThenErr, "%s", c.arg.IfField)
	}
	return msg
}

func (c *check) conditionalOneOf(sub map[string]any, prefix string) string {
	v, present := getPath(sub, c.arg.IfField)
	if !present {
		return ""
	}
	names, own := c.arg.ThenOneOf, c.arg.ThenErr
	if c.ifMatch.validate(v) != nil {
		if c.elseIf == nil || c.elseIf.validate(v) != nil {
			return ""
		}
		names, own = c.arg.ElseOneOf, c.arg.ElseErr
	}
	if len(nonEmptyFields(sub, names)) > 0 {
		return ""
	}
	if own != "" {
		return strings.ReplaceAll(own, "%s", quoted(names))
	}
	return prefix + "at least one of these fields must be non-empty: " + quoted(names)
}
