package adminapi

import (
	"net/url"
	"regexp"
	"strings"
	"unicode"
	"unicode/utf8"
)

const (
	maxName = 1024 // bytes; Kong accepts instance names of several hundred
	maxTags = 5    // Kong: "cannot query more than 5 tags"
)

var uuidPattern = regexp.MustCompile(`^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$`)

// uuid returns id in lower case, as Kong stores it, and reports whether it is a UUID.
func uuid(id string) (string, bool) {
	id = strings.ToLower(id)
	return id, uuidPattern.MatchString(id)
}

// idSegment returns an ID as a path segment. It refuses what is not a UUID.
func idSegment(op, id string) (string, *Error) {
	id, ok := uuid(id)
	if !ok {
		return "", invalid(op, "an ID must be a UUID")
	}
	return id, nil
}

// nameSegment returns a name as an escaped path segment. Kong unescapes a segment and reads
// a UUID as an ID. A proxy in front of Kong may resolve dots and slashes even if they are
// escaped. So nameSegment refuses names with these; callers can use the ID instead.
func nameSegment(op, what, name string) (string, *Error) {
	problem := textProblem(name)
	switch _, isID := uuid(name); {
	case problem != "":
	case name == "." || name == "..":
		problem = "must not be '.' or '..'"
	case strings.ContainsAny(name, `/\%?#`):
		problem = `must not contain any of / \ % ? #`
	case isID:
		problem = "must not look like a UUID, which Kong would read as an ID"
	}
	if problem != "" {
		return "", invalid(op, "%s %s", what, problem)
	}
	// Kong reads a plain + as a space.
	return strings.ReplaceAll(url.PathEscape(name), "+", "%2B"), nil
}

// endpointSegment is nameSegment for a path where Kong also has an endpoint with a fixed
// name.
func endpointSegment(op, what, name, endpoint string) (string, *Error) {
	if name == endpoint {
		return "", invalid(op, "%s must not be %q, which is an endpoint of the Admin API", what, endpoint)
	}
	return nameSegment(op, what, name)
}

// textProblem describes why s cannot be sent in a query or a path; "" means that it can.
func textProblem(s string) string {
	switch {
	case s == "":
		return "must not be empty"
	case len(s) > maxName:
		return "is too long"
	case !utf8.ValidString(s):
		return "must be valid UTF-8"
	case strings.ContainsFunc(s, unicode.IsControl):
		return "must not contain control characters"
	}
	return ""
}

// tagsQuery returns the filter of Kong for entities with all of the tags.
func tagsQuery(op string, tags []string) (string, *Error) {
	if len(tags) == 0 || len(tags) > maxTags {
		return "", invalid(op, "Kong filters by 1 to %d tags, not by %d", maxTags, len(tags))
	}
	for _, tag := range tags {
		problem := textProblem(tag)
		if problem == "" && strings.ContainsAny(tag, ",/") {
			problem = "must not contain ',' or '/'"
		}
		if problem != "" {
			return "", invalid(op, "a tag %s", problem)
		}
	}
	return strings.Join(tags, ","), nil
}
