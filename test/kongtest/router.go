package kongtest

import "strings"

// handler answers one request.
type handler func(*call) *response

// endpoint is one path of the Admin API.
type endpoint struct {
	template string
	segments []string
	methods  map[string]handler
	entity   bool // of an entity or a collection of entities
}

// router finds the endpoint of a path. Literal segments win over parameters.
type router struct{ endpoints []*endpoint }

func (r *router) add(template string, methods map[string]handler) {
	r.endpoints = append(r.endpoints, &endpoint{template: template, segments: segments(template), methods: methods})
}

// addEntity is add for an entity or a collection of entities.
func (r *router) addEntity(template string, methods map[string]handler) {
	r.add(template, methods)
	r.endpoints[len(r.endpoints)-1].entity = true
}

func segments(path string) []string { return strings.Split(strings.TrimPrefix(path, "/"), "/") }

func isParam(segment string) bool { return strings.HasPrefix(segment, "{") }

// match returns the endpoint and the values of its parameters, still escaped. It
// ignores one trailing slash, as Kong does.
func (r *router) match(path string) (*endpoint, []string) {
	if len(path) > 1 {
		path = strings.TrimSuffix(path, "/")
	}
	want := segments(path)
	var best *endpoint
	for _, e := range r.endpoints {
		if e.matches(want) && (best == nil || e.before(best)) {
			best = e
		}
	}
	if best == nil {
		return nil, nil
	}
	return best, best.params(want)
}

func (e *endpoint) matches(path []string) bool {
	if len(path) != len(e.segments) {
		return false
	}
	for i, s := range e.segments {
		if isParam(s) && path[i] == "" || !isParam(s) && s != path[i] {
			return false
		}
	}
	return true
}

// before reports whether e is the more literal of two matching endpoints.
func (e *endpoint) before(other *endpoint) bool {
	for i, s := range e.segments {
		if isParam(s) != isParam(other.segments[i]) {
			return !isParam(s)
		}
	}
	return false
}

func (e *endpoint) params(path []string) []string {
	var out []string
	for i, s := range e.segments {
		if isParam(s) {
			out = append(out, path[i])
		}
	}
	return out
}

// allow is the value of the Allow header. GET implies HEAD. All have OPTIONS.
func (e *endpoint) allow() string {
	var list []string
	for _, m := range []string{"DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT"} {
		if _, has := e.methods[m]; has || m == "OPTIONS" || m == "HEAD" && e.methods["GET"] != nil {
			list = append(list, m)
		}
	}
	return strings.Join(list, ", ")
}
