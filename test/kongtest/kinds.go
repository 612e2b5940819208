package kongtest

import (
	"regexp"
	"strings"
	"unicode/utf8"
)

// reference is a foreign key field of an entity.
type reference struct {
	field   string // "service"
	entity  string // "services"
	cascade bool   // deleting the parent deletes the child
}

// kind is what the generic endpoints need to know about an entity.
type kind struct {
	name        string
	endpointKey string      // what a path segment that is not a UUID is looked up by
	utf8Name    bool        // endpointKey is limited to name characters
	uniques     []string    // unique fields, in the order PostgreSQL checks them
	foreign     []reference // in the order PostgreSQL checks them
	scope       []string    // fields of the composite unique key, if any

	// unsupported are references to entities that the stand-in never has any of.
	unsupported map[string]string
}

// Order of entities whose keys are checked or listed; parents come first.
var kindNames = []string{"services", "routes", "consumers", "plugins", "consumer_groups"}

func newKinds(enterprise bool) map[string]*kind {
	kinds := map[string]*kind{
		"services": {
			name: "services", endpointKey: "name", utf8Name: true, uniques: []string{"name"},
			unsupported: map[string]string{"client_certificate": "certificates"},
		},
		"consumers": {name: "consumers", endpointKey: "username", uniques: []string{"username", "custom_id"}},
		"routes": {
			name: "routes", endpointKey: "name", utf8Name: true, uniques: []string{"name"},
			foreign: []reference{{field: "service", entity: "services"}},
		},
		"plugins": {
			name: "plugins", endpointKey: "instance_name", utf8Name: true, uniques: []string{"instance_name"},
			scope: []string{"name", "route", "service", "consumer"},
			foreign: []reference{
				{field: "route", entity: "routes", cascade: true},
				{field: "service", entity: "services", cascade: true},
				{field: "consumer", entity: "consumers", cascade: true},
			},
		},
	}
	if enterprise {
		addConsumerGroups(kinds)
	}
	return kinds
}

func addConsumerGroups(kinds map[string]*kind) {
	kinds["consumer_groups"] = &kind{name: "consumer_groups", endpointKey: "name", utf8Name: true, uniques: []string{"name"}}
	p := kinds["plugins"]
	p.scope = append(p.scope, "consumer_group")
	p.foreign = append(p.foreign, reference{field: "consumer_group", entity: "consumer_groups", cascade: true})
}

var uuidPattern = regexp.MustCompile(`^[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}$`)

func isUUID(s string) bool { return uuidPattern.MatchString(s) }

var namePattern = regexp.MustCompile(`^[0-9A-Za-z.\-_~\x{80}-\x{10FFFF}]+$`)

// nameProblem says what is wrong with a value of a name field, "" if nothing.
func nameProblem(s string) string {
	if i := invalidUTF8(s); i > 0 {
		return "invalid utf-8 character sequence detected at position " + itoa(i)
	}
	if !namePattern.MatchString(s) {
		return "invalid value '" + s + "': the only accepted ascii characters are alphanumerics or ., -, _, and ~"
	}
	return ""
}

// tagProblem says what is wrong with a tag, "" if nothing.
func tagProblem(s string) string {
	if s == "" {
		return "length must be at least 1"
	}
	bad := strings.ContainsAny(s, ",/") || invalidUTF8(s) > 0
	for i := 0; i < len(s) && !bad; i++ {
		bad = s[i] < 0x20 || s[i] == 0x7f
	}
	if bad {
		return "invalid tag '" + s + "': expected printable ascii (except `,` and `/`) or valid utf-8 sequences"
	}
	return ""
}

// invalidUTF8 is the 1-based position of the first invalid byte, 0 if there is none.
func invalidUTF8(s string) int {
	for i, r := range s {
		if r == utf8.RuneError && !strings.HasPrefix(s[i:], "\uFFFD") {
			return i + 1
		}
	}
	return 0
}
