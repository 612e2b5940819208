package kongtest

import (
	"net/http"
	"strings"
)

const (
	get    = http.MethodGet
	post   = http.MethodPost
	put    = http.MethodPut
	patch  = http.MethodPatch
	remove = http.MethodDelete
)

// routes registers all endpoints.
func (s *Server) routes() {
	for _, name := range kindNames {
		if k := s.kinds[name]; k != nil {
			s.entityRoutes(k)
			s.foreignRoutes(k)
		}
	}
	s.router.add("/", map[string]handler{get: getRoot})
	s.router.add("/status", map[string]handler{get: getStatus})
	s.router.add("/endpoints", map[string]handler{get: getEndpoints})
	s.router.add("/plugins/enabled", map[string]handler{get: getEnabled})
	s.router.add("/plugins/schema/{name}", map[string]handler{get: getConfigSchema})
	s.router.add("/schemas/plugins/validate", map[string]handler{post: postValidatePlugin})
	s.router.add("/schemas/plugins/{name}", map[string]handler{get: getPluginSchema})
	s.router.add("/schemas/{entity}", map[string]handler{get: getEntitySchema})
	s.router.add("/schemas/{entity}/validate", map[string]handler{post: postValidateEntity})
	s.router.addEntity("/tags", map[string]handler{get: getTags})
	s.router.addEntity("/tags/{tag}", map[string]handler{get: getTag})
	s.router.add("/config", map[string]handler{get: getConfig, post: postConfig})
	s.staticRoutes()
	if s.cfg.enterprise {
		s.router.add("/workspaces", map[string]handler{get: getWorkspaces})
		s.router.add("/workspaces/{id}", map[string]handler{get: getWorkspace})
	}
}

// entityRoutes adds /{kind} and /{kind}/{id}.
func (s *Server) entityRoutes(k *kind) {
	s.router.addEntity("/"+k.name, map[string]handler{
		get:  func(c *call) *response { return listEntities(c, k) },
		post: func(c *call) *response { return postEntity(c, k) },
	})
	s.router.addEntity("/"+k.name+"/{id}", map[string]handler{
		get:    func(c *call) *response { return getEntity(c, k, c.params[0]) },
		put:    func(c *call) *response { return putEntity(c, k, c.params[0]) },
		patch:  func(c *call) *response { return patchEntity(c, k, c.params[0]) },
		remove: func(c *call) *response { return deleteEntity(c, k, c.params[0]) },
	})
}

// foreignRoutes adds, for each reference of the child, /{children}/{id}/{field},
// /{parents}/{id}/{children} and /{parents}/{id}/{children}/{id}.
func (s *Server) foreignRoutes(child *kind) {
	for _, ref := range child.foreign {
		parent := s.kinds[ref.entity]
		n := &nested{parent: parent, child: child, field: ref.field}
		s.router.addEntity("/"+child.name+"/{id}/"+ref.field, map[string]handler{
			get: n.getParent, put: n.putParent, patch: n.patchParent, remove: n.deleteParent,
		})
		under := "/" + parent.name + "/{id}/" + child.name
		s.router.addEntity(under, map[string]handler{get: n.list, post: n.post})
		s.router.addEntity(under+"/{id}", map[string]handler{get: n.get, put: n.put, patch: n.patch, remove: n.delete})
	}
}

// staticRoutes adds collections that are always empty and fixed responses.
func (s *Server) staticRoutes() {
	for _, name := range []string{"ca_certificates", "certificates", "key-sets", "keys", "snis", "targets", "upstreams", "vaults"} {
		s.router.add("/"+name, map[string]handler{get: emptyList})
	}
	refuse := func(text string) map[string]handler {
		return map[string]handler{get: func(*call) *response { return message(http.StatusBadRequest, text) }}
	}
	const controlPlane = "this endpoint is only available when Kong is configured to run as Control Plane for the cluster"
	s.router.add("/clustering/data-planes", refuse(controlPlane))
	s.router.add("/clustering/status", refuse(controlPlane))
	s.router.add("/filter-chains", refuse("this endpoint is only available when wasm is enabled"))
	s.router.add("/debug/node/log-level", map[string]handler{
		get: func(*call) *response { return message(http.StatusOK, "log level: notice") },
	})
	s.router.add("/timers", map[string]handler{get: getTimers})
}

func emptyList(c *call) *response {
	if resp := c.s.available(c.ctx()); resp != nil {
		return resp
	}
	return ok(map[string]any{"data": []any{}, "next": nil})
}

// nested has the endpoints of children under a parent, and of the parent of a child.
type nested struct {
	parent, child *kind
	field         string
}

func (n *nested) list(c *call) *response {
	p, resp := c.find(n.parent, c.params[0])
	if resp != nil {
		return resp
	}
	return listChildren(c, n, str(p["id"]))
}

func (n *nested) post(c *call) *response {
	p, resp := c.find(n.parent, c.params[0])
	if resp != nil {
		return resp
	}
	c.decodeForm(n.child)
	c.post[n.field] = map[string]any{"id": p["id"]}
	return postEntity(c, n.child)
}

// belongs answers 404 unless both exist and the child refers to the parent.
func (n *nested) belongs(c *call) (parent, child map[string]any, resp *response) {
	if parent, resp = c.find(n.parent, c.params[0]); resp != nil {
		return nil, nil, resp
	}
	if child, resp = c.find(n.child, c.params[1]); resp != nil {
		return nil, nil, resp
	}
	if refID(child[n.field]) != str(parent["id"]) {
		return nil, nil, notFound()
	}
	return parent, child, nil
}

func (n *nested) get(c *call) *response {
	_, child, resp := n.belongs(c)
	if resp != nil {
		return resp
	}
	return ok(c.s.render(n.child, child))
}

// put creates the child, or moves it to this parent.
func (n *nested) put(c *call) *response {
	p, resp := c.find(n.parent, c.params[0])
	if resp != nil {
		return resp
	}
	c.decodeForm(n.child)
	c.post[n.field] = map[string]any{"id": p["id"]}
	return putEntity(c, n.child, c.params[1])
}

func (n *nested) patch(c *call) *response {
	p, child, resp := n.belongs(c)
	if resp != nil {
		return resp
	}
	c.decodePatch(n.child, child)
	if _, sent := c.post[n.field]; !sent {
		c.post[n.field] = map[string]any{"id": p["id"]}
	}
	return patchEntity(c, n.child, c.params[1])
}

func (n *nested) delete(c *call) *response {
	if _, _, resp := n.belongs(c); resp != nil {
		return resp
	}
	return deleteEntity(c, n.child, c.params[1])
}

// parentID is the ID of the child's parent, or "".
func (n *nested) parentID(c *call) (child map[string]any, id string, resp *response) {
	child, resp = c.find(n.child, c.params[0])
	if resp != nil {
		return nil, "", resp
	}
	return child, refID(child[n.field]), nil
}

func (n *nested) getParent(c *call) *response {
	return n.withParent(c, func(id string) *response { return getEntity(c, n.parent, id) })
}

func (n *nested) patchParent(c *call) *response {
	return n.withParent(c, func(id string) *response { return patchEntity(c, n.parent, id) })
}

func (n *nested) deleteParent(c *call) *response {
	return n.withParent(c, func(string) *response { return methodNotAllowed() })
}

func (n *nested) withParent(c *call, do func(id string) *response) *response {
	_, id, resp := n.parentID(c)
	if resp != nil {
		return resp
	}
	if id == "" {
		return notFound()
	}
	return do(id)
}

// putParent replaces the parent, or creates one and makes the child refer to it.
func (n *nested) putParent(c *call) *response {
	child, id, resp := n.parentID(c)
	if resp != nil {
		return resp
	}
	if id != "" {
		return putEntity(c, n.parent, id)
	}
	answer := putEntity(c, n.parent, c.s.newID())
	if answer.status != http.StatusOK {
		return answer
	}
	attach := *c
	attach.post = map[string]any{n.field: map[string]any{"id": answer.body.(map[string]any)["id"]}}
	attach.form = nil
	if resp := patchEntity(&attach, n.child, strings.ToLower(str(child["id"]))); resp.status != http.StatusOK {
		return resp
	}
	return answer
}
