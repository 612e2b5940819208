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

// kind describes a kind of entity to the generic endpoints.
type kind struct {
	name        string
	endpointKey string      // the field that a path segment names if it is not a UUID
	utf8Name    bool        // endpointKey allows name characters only
	uniques     []string    // unique fields, in the order of PostgreSQL's checks
	foreign     []reference // in the order of PostgreSQL's checks
	scope       []string    // fields of the composite unique key, if any

	// unsupported are references to kinds that the stand-in does not have, by field.
	unsupported map[string]string
}

// kindNames is the order of kinds: parents before children.
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

// nameProblem is Kong's error for the value of a name field, or "".
func nameProblem(s string) string {
	if i := invalidUTF8(s); i > 0 {
		return "invalid utf-8 character sequence detected at position " + itoa(i)
	}
	if !namePattern.MatchString(s) {
		return "invalid value '" + s + "': the only accepted ascii characters are alphanumerics or ., -, _, and ~"
	}
	return ""
}

// tagProblem is Kong's error for a tag, or "".
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

// invalidUTF8 is the position of the first invalid byte, from 1; 0 if all are valid.
func invalidUTF8(s string) int {
	for i, r := range s {
		if r == utf8.RuneError && !strings.HasPrefix(s[i:], "\uFFFD") {
			return i + 1
		}
	}
	return 0
}
