package adminapi

import (
	"net/url"
	"regexp"
	"strings"
	"unicode"
	"unicode/utf8"
)

const (
	maxName = 1024 // bytes; Kong takes instance names of several hundred
	maxTags = 5    // Kong: "cannot query more than 5 tags"
)

var uuidPattern = regexp.MustCompile(`^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$`)

// uuid returns id in lower case, as Kong stores it, and whether it is a UUID at all.
func uuid(id string) (string, bool) {
	id = strings.ToLower(id)
	return id, uuidPattern.MatchString(id)
}

// idSegment checks an ID and returns it as a path segment.
func idSegment(op, id string) (string, *Error) {
	id, ok := uuid(id)
	if !ok {
		return "", invalid(op, "an ID must be a UUID")
	}
	return id, nil
}

// nameSegment checks a name and returns it escaped, as a path segment. Kong unescapes a
// segment and takes what has the form of a UUID for an ID; proxies in front of it may
// resolve dots and slashes even when they are escaped. So names with such things in them
// are refused: they can be referred to by ID.
func nameSegment(op, what, name string) (string, *Error) {
	problem := textProblem(name)
	switch _, isID := uuid(name); {
	case problem != "":
	case name == "." || name == "..":
		problem = "must not be '.' or '..'"
	case strings.ContainsAny(name, `/\%?#`):
		problem = `must not hold any of / \ % ? #`
	case isID:
		problem = "must not look like a UUID, which Kong would read as an ID"
	}
	if problem != "" {
		return "", invalid(op, "%s %s", what, problem)
	}
	// Kong reads a plain + as a space.
	return strings.ReplaceAll(url.PathEscape(name), "+", "%2B"), nil
}

// endpointSegment is nameSegment for a place in a path where Kong has an endpoint of its
// own beside the names of entities.
func endpointSegment(op, what, name, endpoint string) (string, *Error) {
	if name == endpoint {
		return "", invalid(op, "%s must not be %q, which is an endpoint of the Admin API", what, endpoint)
	}
	return nameSegment(op, what, name)
}

// textProblem says what is wrong with a value for a query or a path, "" if nothing.
func textProblem(s string) string {
	switch {
	case s == "":
		return "must not be empty"
	case len(s) > maxName:
		return "is too long"
	case !utf8.ValidString(s):
		return "must be valid UTF-8"
	case strings.ContainsFunc(s, unicode.IsControl):
		return "must not hold control characters"
	}
	return ""
}

// tagsQuery checks tags and returns them as Kong's filter for entities with all of them.
func tagsQuery(op string, tags []string) (string, *Error) {
	if len(tags) == 0 || len(tags) > maxTags {
		return "", invalid(op, "Kong filters by 1 to %d tags, not %d", maxTags, len(tags))
	}
	for _, tag := range tags {
		problem := textProblem(tag)
		if problem == "" && strings.ContainsAny(tag, ",/") {
			problem = "must not hold ',' or '/'"
		}
		if problem != "" {
			return "", invalid(op, "a tag %s", problem)
		}
	}
	return strings.Join(tags, ","), nil
}
