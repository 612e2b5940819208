package pluginbinding

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/pluginbinding/kong-plugin-operator/api/v1alpha1"
	"github.com/pluginbinding/kong-plugin-operator/internal/adminapi"
	"github.com/pluginbinding/kong-plugin-operator/internal/plugin"
	"github.com/pluginbinding/kong-plugin-operator/internal/reference"
)

// firstRefusalDelay is how long a refused plugin is not sent again unless something changed. Each
// further refusal doubles it, up to slowRetry.
const firstRefusalDelay = time.Minute

// maxComparedRoutes bounds how many routes of a service are compared with each other.
const maxComparedRoutes = 100

// refusals remembers in this process what Kong refused. The zero value is ready for use. It is safe
// for concurrent use, and has one entry per binding at most.
type refusals struct {
	mu      sync.Mutex
	entries map[types.NamespacedName]refusal
}

// sent is what a refusal is about. If any of it changes, the plugin is sent again.
type sent struct {
	uid types.UID
	// fingerprint of the plugin as it was sent.
	fingerprint uint64
	// schema is another one when Kong's version, or that of a plugin, changes.
	schema *plugin.Schema
	// requestedAt is the request for an immediate reconcile.
	requestedAt string
}

// refusal is a refusal of Kong.
type refusal struct {
	sent
	result stepResult
	// routes are the protocols of the routes, if Kong refused the plugin because of them.
	byProtocols bool
	routes      string
	delay       time.Duration
	until       time.Time
}

func (r *refusals) get(key types.NamespacedName) (refusal, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	last, known := r.entries[key]
	return last, known
}

func (r *refusals) set(key types.NamespacedName, last refusal) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.entries == nil {
		r.entries = map[types.NamespacedName]refusal{}
	}
	r.entries[key] = last
}

func (r *refusals) forget(key types.NamespacedName) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.entries, key)
}

// refusedBefore returns the result of the last refusal while the same plugin would be refused again,
// as far as is known. Kong then gets no write.
func (r *Reconciler) refusedBefore(ctx context.Context, s *state, target plugin.Plugin) *stepResult {
	s.sent = sent{
		uid: s.binding.UID, fingerprint: plugin.Fingerprint(target), schema: s.desired.schema, requestedAt: reference.RequestedAt(s.binding),
	}
	last, known := r.refusals.get(client.ObjectKeyFromObject(s.binding))
	left := last.until.Sub(r.Clock.Now())
	if !known || last.sent != s.sent || left <= 0 {
		return nil
	}
	result := last.result
	result.requeueAfter = left
	if last.byProtocols {
		if s.routeProtocols(ctx) != last.routes {
			return nil
		}
		result.requeueAfter = min(left, s.resyncInterval())
	}
	return &result
}

// noteRefusal remembers a refusal of what was sent last, and says when to send it again.
func (r *Reconciler) noteRefusal(ctx context.Context, s *state, err error, result *stepResult) {
	refused := result.reason == v1alpha1.ReasonRejected || result.reason == v1alpha1.ReasonUnsupportedField
	if !refused || s.sent == (sent{}) {
		return
	}
	key := client.ObjectKeyFromObject(s.binding)
	next := refusal{sent: s.sent, delay: firstRefusalDelay, byProtocols: refusesProtocols(err)}
	if last, known := r.refusals.get(key); known && last.sent == s.sent {
		next.delay = min(2*last.delay, slowRetry)
	}
	next.until = r.Clock.Now().Add(next.delay)
	result.requeueAfter, result.requeueWithBackoff = next.delay, false
	if next.byProtocols {
		next.routes = s.routeProtocols(ctx)
		result.requeueAfter = min(next.delay, s.resyncInterval())
	}
	next.result = *result
	r.refusals.set(key, next)
}

// refusesProtocols reports whether Kong refused the plugin's protocols. It compares them with those
// of the routes, and no event tells that those change.
func refusesProtocols(err error) bool {
	kongErr := asKongError(err)
	return kongErr != nil && kongErr.Reason == adminapi.Rejected &&
		slices.ContainsFunc(kongErr.Fields, func(f adminapi.FieldError) bool { return f.Path == "protocols" })
}

// routeProtocols describes the protocols of the routes that the plugin applies to. It is the same
// text until they change, or while Kong does not say.
func (s *state) routeProtocols(ctx context.Context) string {
	var (
		routes []adminapi.Entity
		err    error
	)
	switch scope := s.desired.plugin.Scope; {
	case scope.RouteID != "":
		var route adminapi.Entity
		route, err = s.client().Resolve(ctx, adminapi.Route, adminapi.EntityRef{ID: scope.RouteID})
		routes = []adminapi.Entity{route}
	case scope.ServiceID != "":
		routes, err = s.client().FirstEntities(ctx, adminapi.Route, scope.ServiceID, maxComparedRoutes)
	}
	if err != nil {
		return ""
	}
	words := make([]string, 0, len(routes))
	for _, route := range routes {
		words = append(words, fmt.Sprint(route.ID, slices.Sorted(slices.Values(route.Protocols))))
	}
	slices.Sort(words)
	return strings.Join(words, " ")
}
