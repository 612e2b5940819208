package controllers

import (
	"context"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"

	"github.com/pluginbinding/kong-plugin-operator/api/v1alpha1"
	"github.com/pluginbinding/kong-plugin-operator/internal/adminapi"
)

// Connection is what this process knows of one KongGateway. The gateway controller writes
// it after each probe; the binding controller reads it, so that a gateway that is down
// costs one probe and not one request per binding.
type Connection struct {
	// Kong is nil as long as the gateway's spec cannot be turned into a connection.
	Kong Kong
	// Info is the answer of the last good probe.
	Info adminapi.Info
	// Problem is nil when bindings can be programmed.
	Problem *Problem
	// View is the last complete reading of what this Kong holds, nil if there is none.
	View *View
	// RequestTimeout is how long a request of this connection may take.
	RequestTimeout time.Duration
}

// Problem says why bindings cannot be programmed on a gateway.
type Problem struct {
	// Permanent: the gateway can never be used as it is (DB-less, too old), as against
	// one that does not answer now.
	Permanent bool
	Message   string
}

// Connections holds the Connection of every KongGateway of this process, and carries the
// news between the two controllers.
type Connections struct {
	mu      sync.RWMutex
	entries map[types.NamespacedName]Connection

	// changed carries the gateways whose bindings have to look again, woken the single
	// bindings of which the sweep saw something, and suspects the gateways of which a
	// binding heard nothing good and that should be probed now.
	changed  chan event.GenericEvent
	woken    chan event.GenericEvent
	suspects chan event.GenericEvent
	// suspected are the gateways of suspects that have not been probed since.
	suspected map[types.NamespacedName]bool
}

// NewConnections returns an empty set.
func NewConnections() *Connections {
	return &Connections{
		entries:   map[types.NamespacedName]Connection{},
		changed:   make(chan event.GenericEvent, 64),
		woken:     make(chan event.GenericEvent, 64),
		suspects:  make(chan event.GenericEvent, 64),
		suspected: map[types.NamespacedName]bool{},
	}
}

// Changed carries the gateways whose bindings have to look again. Whoever runs the
// controllers reads it; nothing else does.
func (c *Connections) Changed() <-chan event.GenericEvent { return c.changed }

// Woken carries the bindings of which a sweep saw something new, and those whose turn it is.
func (c *Connections) Woken() <-chan event.GenericEvent { return c.woken }

// Suspects carries the gateways that have to be probed now.
func (c *Connections) Suspects() <-chan event.GenericEvent { return c.suspects }

// Get returns the connection of a gateway; false before its first probe.
func (c *Connections) Get(key types.NamespacedName) (Connection, bool) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	connection, ok := c.entries[key]
	return connection, ok
}

// several reports whether there is more than one gateway.
func (c *Connections) several() bool {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return len(c.entries) > 1
}

// set stores a connection and reports whether bindings have to look again: it became
// usable or unusable, another Kong or one with other plugins answers, or it is another
// connection altogether.
func (c *Connections) set(key types.NamespacedName, next Connection) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	last, known := c.entries[key]
	c.entries[key] = next
	if !known || last.Kong != next.Kong {
		return true
	}
	if (last.Problem == nil) != (next.Problem == nil) {
		return true
	}
	if last.Problem != nil {
		return *last.Problem != *next.Problem
	}
	return last.Info.Version != next.Info.Version || last.Info.Edition != next.Info.Edition || last.Info.Installed != next.Info.Installed
}

func (c *Connections) remove(key types.NamespacedName) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.entries, key)
	delete(c.suspected, key)
}

// announce makes the bindings of a gateway look again.
func (c *Connections) announce(ctx context.Context, key types.NamespacedName) {
	gw := &v1alpha1.KongGateway{}
	gw.Namespace, gw.Name = key.Namespace, key.Name
	send(ctx, c.changed, gw)
}

// wake makes one binding look again.
func (c *Connections) wake(ctx context.Context, key types.NamespacedName) {
	binding := &v1alpha1.PluginBinding{}
	binding.Namespace, binding.Name = key.Namespace, key.Name
	send(ctx, c.woken, binding)
}

func send(ctx context.Context, to chan<- event.GenericEvent, object client.Object) {
	select {
	case to <- event.GenericEvent{Object: object}:
	case <-ctx.Done():
	}
}

// suspect asks for a probe of a gateway, once until it has been probed. A gateway that is
// known to be down is probed at its own pace.
func (c *Connections) suspect(key types.NamespacedName) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.suspected[key] || c.entries[key].Problem != nil {
		return
	}
	gw := &v1alpha1.KongGateway{}
	gw.Namespace, gw.Name = key.Namespace, key.Name
	select {
	case c.suspects <- event.GenericEvent{Object: gw}:
		c.suspected[key] = true
	default:
		// So many are waiting to be probed that this one's turn comes with the next failure.
	}
}

// takeSuspicion reports whether a probe was asked for, and forgets it.
func (c *Connections) takeSuspicion(key types.NamespacedName) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	suspected := c.suspected[key]
	delete(c.suspected, key)
	return suspected
}
