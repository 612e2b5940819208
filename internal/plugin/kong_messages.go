package plugin

import (
	"bytes"
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// MessageUnknownField is what Kong says about a field that its version does not have.
const MessageUnknownField = "unknown field"

// kongMessages are the messages of Kong that contain no value (kong/db/schema/init.lua and
// kong/api).
var kongMessages = map[string]bool{
	MessageUnknownField:                  true,
	"required field missing":             true,
	"expected an array":                  true,
	"expected a set":                     true,
	"expected a map":                     true,
	"expected a record":                  true,
	"expected a string":                  true,
	"expected a number":                  true,
	"expected a boolean":                 true,
	"expected an integer":                true,
	"expected a function":                true,
	"expected a valid timestamp":         true,
	"expected a valid UUID":              true,
	"value must be null":                 true,
	"value must not be null":             true,
	"missing primary key":                true,
	"field required for entity check":    true,
	"entity check failed":                true,
	"An unexpected error occurred":       true,
	"An unexpected error happened":       true,
	"Cannot parse JSON body":             true,
	"Not found":                          true,
	"Method not allowed":                 true,
	"Unauthorized":                       true,
	"Forbidden":                          true,
	"Invalid authentication credentials": true,
	"No API key found in request":        true,
	"API rate limit exceeded":            true,
	"cannot create 'plugins' entities when not using a database":           true,
	"cannot create or update 'plugins' entities when not using a database": true,
}

// entityFields are the fields of a plugin entity.
var entityFields = []string{
	"id", "name", "instance_name", "service", "route", "consumer", "consumer_group", "enabled", "protocols", "tags", "ordering",
	"config", "created_at", "updated_at",
}

// newerFields are the fields of a plugin entity that only newer versions of Kong Enterprise
// have.
var newerFields = []string{FieldCondition, FieldPartials}

// kongWords are the words of kongMessages and the names of all these fields. They are Kong's, and
// no secret because a Secret has a key of that name.
var kongWords = func() map[string]bool {
	words := map[string]bool{}
	for message := range kongMessages {
		for _, word := range strings.Fields(message) {
			words[word] = true
		}
	}
	for _, name := range slices.Concat(entityFields, newerFields) {
		words[name] = true
	}
	return words
}()

func isKongWord(word string) bool { return kongWords[word] }

// namesFields matches the messages of Kong's entity checks, which contain names of fields.
var namesFields = regexp.MustCompile(`^(?:at least one of these fields must be non-empty: ` +
	`|only one of these fields must be non-empty: ` +
	`|values of these fields must be distinct: ` +
	`|all or none of these fields must be set: ` +
	`|failed conditional validation given value of field )` +
	`('[A-Za-z0-9_.]+'(?:, '[A-Za-z0-9_.]+')*)$`)

// isKongMessage reports whether the message is a fixed text of Kong, or one that the schema
// alone determines. It contains no value then.
func isKongMessage(message string, s *Schema) bool {
	switch {
	case kongMessages[message]:
		return true
	case s == nil:
		return false
	case s.messages[message]:
		return true
	}
	m := namesFields.FindStringSubmatch(message)
	return m != nil && !slices.ContainsFunc(strings.Split(m[1], ", "), func(name string) bool {
		name = strings.TrimPrefix(strings.Trim(name, "'"), "config.")
		return s.config.find(strings.Split(name, ".")) == nil
	})
}

// constraintsJSON are the constraints of a field from which Kong makes messages. They are raw,
// because a constraint in an unexpected form must not make the schema unreadable.
type constraintsJSON struct {
	Err        json.RawMessage `json:"err"`
	OneOf      json.RawMessage `json:"one_of"`
	Between    json.RawMessage `json:"between"`
	Gt         json.RawMessage `json:"gt"`
	LenEq      json.RawMessage `json:"len_eq"`
	LenMin     json.RawMessage `json:"len_min"`
	LenMax     json.RawMessage `json:"len_max"`
	StartsWith json.RawMessage `json:"starts_with"`
	MatchNone  json.RawMessage `json:"match_none"`
	MatchAll   json.RawMessage `json:"match_all"`
	MatchAny   json.RawMessage `json:"match_any"`
}

// addMessages adds the messages that Kong makes from the constraints alone.
func (c *constraintsJSON) addMessages(messages map[string]bool) {
	for _, constraint := range []struct {
		raw    json.RawMessage
		format string
	}{
		{c.Err, "%s"},
		{c.OneOf, "expected one of: %s"},
		{c.Gt, "value must be greater than %s"},
		{c.LenEq, "length must be %s"},
		{c.LenMin, "length must be at least %s"},
		{c.LenMax, "length must be at most %s"},
		{c.StartsWith, "should start with: %s"},
	} {
		if words := luaWords(constraint.raw); len(words) > 0 {
			messages[fmt.Sprintf(constraint.format, strings.Join(words, ", "))] = true
		}
	}
	if limits := luaWords(c.Between); len(limits) == 2 {
		messages[fmt.Sprintf("value should be between %s and %s", limits[0], limits[1])] = true
	}
	for _, raw := range []json.RawMessage{c.MatchNone, c.MatchAll, c.MatchAny} {
		// match_any is one object, the others are lists of them.
		raw = bytes.TrimSpace(raw)
		if !bytes.HasPrefix(raw, []byte("[")) {
			raw = slices.Concat([]byte("["), raw, []byte("]"))
		}
		var matches []struct {
			Err string `json:"err"`
		}
		if json.Unmarshal(raw, &matches) == nil {
			for _, match := range matches {
				messages[match.Err] = true
			}
		}
	}
	delete(messages, "")
}

// luaWords returns a string or a number, or a list of them, as Lua prints them; nil for
// anything else.
func luaWords(raw json.RawMessage) []string {
	var value any
	if json.Unmarshal(raw, &value) != nil {
		return nil
	}
	list, ok := value.([]any)
	if !ok {
		list = []any{value}
	}
	var words []string
	for _, e := range list {
		switch v := e.(type) {
		case string:
			words = append(words, v)
		case float64:
			words = append(words, strconv.FormatFloat(v, 'g', 14, 64))
		default:
			return nil
		}
	}
	return words
}
