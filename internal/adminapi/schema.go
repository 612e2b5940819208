package adminapi

import (
	"cmp"
	"context"
	"net/http"
	"sync"

	"golang.org/x/sync/singleflight"

	"github.com/pluginbinding/kong-plugin-operator/internal/plugin"
)

const (
	opGetSchema = "get schema"

	// Bounds on the schemas that one client holds. Kong 3.9 has 45 plugins with 2 MB of schemas.
	maxSchemas     = 256
	maxSchemaBytes = 8 << 20 // as JSON, see Settings.MaxSchemaBytes
)

// Schema returns the schema of a plugin, or NotFound if Kong does not have that plugin
// installed. It caches schemas until a probe shows another version of Kong or of a plugin.
// Concurrent calls for one plugin share a request. Callers share the schema and must not
// change it.
func (c *Client) Schema(ctx context.Context, pluginName string) (*plugin.Schema, error) {
	segment, failed := endpointSegment(opGetSchema, "the plugin's name", pluginName, "validate")
	if failed != nil {
		return nil, failed
	}
	if schema, ok := c.schemas.get(pluginName); ok {
		return schema, nil
	}
	done := c.schemas.flight.DoChan(pluginName, func() (any, error) {
		// The context of the first caller must not cancel the request of the others.
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), begunPatience+c.settings.RequestTimeout)
		defer cancel()
		schema, failed := c.fetchSchema(ctx, pluginName, segment)
		if failed != nil {
			return nil, failed
		}
		return schema, nil
	})
	select {
	case result := <-done:
		if result.Err != nil {
			return nil, result.Err
		}
		return result.Val.(*plugin.Schema), nil
	case <-ctx.Done():
		return nil, &Error{Reason: Unavailable, Op: opGetSchema, Message: "cancelled", err: ctx.Err()}
	}
}

func (c *Client) fetchSchema(ctx context.Context, name, segment string) (*plugin.Schema, *Error) {
	generation := c.schemas.generation()
	r := request{op: opGetSchema, method: http.MethodGet, path: "/schemas/plugins/" + segment, limit: maxSchemaBody}
	resp, failed := c.call(ctx, r, http.StatusOK)
	if failed != nil {
		if failed.Status == http.StatusNotFound && c.notFoundTrusted.Load() && resp.isExactly("No plugin named '"+name+"'") {
			failed.Reason, failed.Message = NotFound, "the plugin is not installed"
		}
		return nil, failed
	}
	schema, err := plugin.ParseSchema(resp.body)
	if err != nil {
		failed = r.malformed(resp, "the response is not the schema of a plugin")
		failed.err = err
		return nil, failed
	}
	c.schemas.put(generation, name, schema, len(resp.body))
	return schema, nil
}

// schemaCache holds the schemas of one state of Kong. The zero value is ready for use.
type schemaCache struct {
	flight   singleflight.Group
	maxBytes int // maxSchemaBytes if 0

	mu    sync.Mutex
	state string // the versions of Kong and of its plugins
	gen   int    // number of changes of state
	byKey map[string]cachedSchema
	order []string // oldest first
	bytes int
}

type cachedSchema struct {
	schema *plugin.Schema
	bytes  int
}

// invalidateUnless empties the cache unless it belongs to this state of Kong.
func (s *schemaCache) invalidateUnless(state string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.state != state {
		s.state, s.byKey, s.order, s.bytes = state, nil, nil, 0
		s.gen++
	}
}

func (s *schemaCache) generation() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.gen
}

func (s *schemaCache) get(name string) (*plugin.Schema, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	cached, ok := s.byKey[name]
	return cached.schema, ok
}

// put stores a schema that was requested in generation gen, unless Kong changed since. It
// evicts the oldest schemas to stay within the bounds.
func (s *schemaCache) put(gen int, name string, schema *plugin.Schema, size int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if gen != s.gen || s.state == "" {
		return
	}
	if s.byKey == nil {
		s.byKey = map[string]cachedSchema{}
	}
	if old, ok := s.byKey[name]; ok {
		s.bytes -= old.bytes
	} else {
		s.order = append(s.order, name)
	}
	s.byKey[name] = cachedSchema{schema: schema, bytes: size}
	s.bytes += size
	limit := cmp.Or(s.maxBytes, maxSchemaBytes)
	for len(s.order) > maxSchemas || s.bytes > limit && len(s.order) > 1 {
		oldest := s.order[0]
		s.bytes -= s.byKey[oldest].bytes
		delete(s.byKey, oldest)
		s.order = s.order[1:]
	}
}
