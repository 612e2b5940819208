// Package connection is the runtime of one gateway: the port to its Kong, whether it can be
// used, and the snapshot of what that Kong holds. A registry holds the Connection of every
// gateway and carries requests to reconcile between the controllers.
//
// It knows keys of objects and values of Kong. It must not import a controller or a client
// of the API server.
package connection

import (
	"context"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/pluginbinding/kong-plugin-operator/internal/adminapi"
)

// databaseTimeout is Kong's own: a write that PostgreSQL holds up answers 500 after 5 s, and
// Kong may still apply it when PostgreSQL goes on (Kong 3.9.1, pg_timeout).
const databaseTimeout = 5 * time.Second

// Connection is what this process knows of one KongGateway. The gateway controller writes it
// after each probe. The binding controller reads it, so that a gateway that is down costs one
// probe and not one request per binding.
type Connection struct {
	// Client is nil as long as the gateway's spec does not make a connection.
	Client AdminClient
	// Info is the result of the last successful probe.
	Info adminapi.Info
	// Problem is nil when bindings can be programmed.
	Problem *Problem
	// Snapshot is the last complete list of what this Kong holds, nil if there is none.
	Snapshot *Snapshot
	// RequestTimeout is how long a request of this connection may take.
	RequestTimeout time.Duration
	// Bindings is the number of the gateway's bindings when they were last counted.
	Bindings int
}

// LongestWrite is how long after its start Kong may still apply a write.
func (c *Connection) LongestWrite() time.Duration { return c.RequestTimeout + databaseTimeout }

// isUsable reports whether nothing is known against the connection.
func (c Connection) isUsable() bool { return c.Problem == nil || c.Problem.Suspected }

// Problem says why bindings cannot be programmed on a gateway.
type Problem struct {
	// Permanent: the gateway can never be used as it is (DB-less, too old), in contrast to one
	// that does not respond now.
	Permanent bool
	// Suspected: a probe failed, and the next one will tell. Bindings make no requests until then, and
	// nothing is said about it.
	Suspected bool
	Message   string
}

// Registry holds the Connection of every KongGateway of this process. It is safe for
// concurrent use.
type Registry struct {
	mu      sync.RWMutex
	entries map[types.NamespacedName]Connection
	// closed are the gateways whose connection no reconcile of a binding may take any more.
	closed map[types.NamespacedName]bool
	// writes are what is known of the writes to each Kong.
	writes map[types.NamespacedName]*writes

	// changedGateways carries gateways whose bindings have to be reconciled, bindings single
	// bindings, waiting single bindings that others wait for to act, and probes gateways that have
	// to be probed now.
	changedGateways chan types.NamespacedName
	bindings        chan types.NamespacedName
	waiting         chan types.NamespacedName
	probes          chan types.NamespacedName
	// policies carries single policies that have to be reconciled, and policiesOf gateways all of
	// whose policies have to be.
	policies   chan types.NamespacedName
	policiesOf chan types.NamespacedName
	// probeRequested are the gateways of probes that have not been probed since.
	probeRequested map[types.NamespacedName]bool
}

// buffer is how many requests a channel holds before its writers wait.
const buffer = 64

// NewRegistry returns an empty registry.
func NewRegistry() *Registry {
	return &Registry{
		entries:         map[types.NamespacedName]Connection{},
		closed:          map[types.NamespacedName]bool{},
		writes:          map[types.NamespacedName]*writes{},
		changedGateways: make(chan types.NamespacedName, buffer),
		bindings:        make(chan types.NamespacedName, buffer),
		waiting:         make(chan types.NamespacedName, buffer),
		probes:          make(chan types.NamespacedName, buffer),
		policies:        make(chan types.NamespacedName, buffer),
		policiesOf:      make(chan types.NamespacedName, buffer),
		probeRequested:  map[types.NamespacedName]bool{},
	}
}

// ChangedGateways carries the gateways whose bindings have to be reconciled. Only the binding
// controller reads it.
func (r *Registry) ChangedGateways() <-chan types.NamespacedName { return r.changedGateways }

// Bindings carries the bindings that have to be reconciled. Only the binding controller reads
// it.
func (r *Registry) Bindings() <-chan types.NamespacedName { return r.bindings }

// Waiting carries the bindings that waited for a place in Kong which another plugin has left. While
// nobody takes it, no plugin protects it. So they come before those of Bindings. Only the binding
// controller reads it.
func (r *Registry) Waiting() <-chan types.NamespacedName { return r.waiting }

// Probes carries the gateways that have to be reconciled, mostly to be probed. Only the gateway controller reads
// it.
func (r *Registry) Probes() <-chan types.NamespacedName { return r.probes }

// Policies carries the policies that have to be reconciled, because their entities changed in Kong.
// Only the policy controller reads it.
func (r *Registry) Policies() <-chan types.NamespacedName { return r.policies }

// PoliciesOf carries the gateways whose policies have to be reconciled. Only the policy controller
// reads it.
func (r *Registry) PoliciesOf() <-chan types.NamespacedName { return r.policiesOf }

// Get returns the connection of a gateway, false before its first probe and while it is closed.
func (r *Registry) Get(gateway types.NamespacedName) (Connection, bool) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	if r.closed[gateway] {
		return Connection{}, false
	}
	connection, ok := r.entries[gateway]
	return connection, ok
}

// Last returns the connection of a gateway also while it is closed, for who closed it.
func (r *Registry) Last(gateway types.NamespacedName) (Connection, bool) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	connection, ok := r.entries[gateway]
	return connection, ok
}

// Close makes Get return no connection for the gateway until Open, whatever Set stores. A
// reconcile that took the connection before can still use it.
func (r *Registry) Close(gateway types.NamespacedName) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.closed[gateway] = true
}

// Open ends what Close began, and reports whether the gateway was closed.
func (r *Registry) Open(gateway types.NamespacedName) (wasClosed bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	wasClosed = r.closed[gateway]
	delete(r.closed, gateway)
	return wasClosed
}

// Set stores a connection and reports whether its bindings have to be reconciled: it became
// usable or unusable, another Kong or one with other plugins responds, or it is another
// connection altogether.
func (r *Registry) Set(gateway types.NamespacedName, next Connection) (changed bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	last, known := r.entries[gateway]
	r.entries[gateway] = next
	if last.Client != next.Client {
		delete(r.writes, gateway)
	}
	switch {
	case !known || last.Client != next.Client:
		return true
	case next.Problem != nil && next.Problem.Suspected:
		return false
	case last.isUsable() != next.isUsable():
		return true
	case next.Problem != nil:
		return *last.Problem != *next.Problem
	default:
		return last.Info.Version != next.Info.Version || last.Info.Edition != next.Info.Edition || last.Info.Installed != next.Info.Installed
	}
}

// Remove drops the connection of a gateway that no longer exists. A closed gateway stays closed: a
// cache can show it for a moment longer.
func (r *Registry) Remove(gateway types.NamespacedName) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.entries, gateway)
	delete(r.probeRequested, gateway)
	delete(r.writes, gateway)
}

// EnqueueBindings requests a reconcile of all bindings of a gateway. It waits until the
// request is taken or ctx ends.
func (r *Registry) EnqueueBindings(ctx context.Context, gateway types.NamespacedName) {
	send(ctx, r.changedGateways, gateway)
}

// EnqueueBinding requests a reconcile of one binding. It waits until the request is taken or
// ctx ends.
func (r *Registry) EnqueueBinding(ctx context.Context, binding types.NamespacedName) {
	send(ctx, r.bindings, binding)
}

// EnqueueWaiting requests a reconcile of one binding that waited for a place in Kong. It waits until
// the request is taken or ctx ends.
func (r *Registry) EnqueueWaiting(ctx context.Context, binding types.NamespacedName) {
	send(ctx, r.waiting, binding)
}

// EnqueueGateway requests a reconcile of a gateway. It waits until the request is taken or ctx ends.
func (r *Registry) EnqueueGateway(ctx context.Context, gateway types.NamespacedName) {
	send(ctx, r.probes, gateway)
}

// EnqueuePolicy requests a reconcile of one policy. It waits until the request is taken or ctx ends.
func (r *Registry) EnqueuePolicy(ctx context.Context, policy types.NamespacedName) {
	send(ctx, r.policies, policy)
}

// EnqueuePolicies requests a reconcile of all policies of a gateway. It waits until the request is
// taken or ctx ends.
func (r *Registry) EnqueuePolicies(ctx context.Context, gateway types.NamespacedName) {
	send(ctx, r.policiesOf, gateway)
}

func send(ctx context.Context, to chan<- types.NamespacedName, key types.NamespacedName) {
	select {
	case to <- key:
	case <-ctx.Done():
	}
}

// RequestProbe requests a probe of a gateway, once until it has been probed. A gateway that is
// known to be down keeps its own pace.
func (r *Registry) RequestProbe(gateway types.NamespacedName) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.probeRequested[gateway] || r.entries[gateway].Problem != nil {
		return
	}
	select {
	case r.probes <- gateway:
		r.probeRequested[gateway] = true
	default:
		// So many gateways wait for a probe that the next failure has to ask again.
	}
}

// TakeProbeRequest reports whether a probe of the gateway was requested, and drops the
// request.
func (r *Registry) TakeProbeRequest(gateway types.NamespacedName) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	requested := r.probeRequested[gateway]
	delete(r.probeRequested, gateway)
	return requested
}
