package admission

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"maps"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/pluginbinding/kong-plugin-operator/api/v1alpha1"
	"github.com/pluginbinding/kong-plugin-operator/internal/adminapi"
	"github.com/pluginbinding/kong-plugin-operator/internal/connection"
	"github.com/pluginbinding/kong-plugin-operator/internal/message"
	"github.com/pluginbinding/kong-plugin-operator/internal/plugin"
	"github.com/pluginbinding/kong-plugin-operator/internal/reference"
)

// Bounds on what the package keeps.
const (
	// maxGateways is the number of connections.
	maxGateways = 32
	// maxAge is how long a connection lives, with its schemas and verdicts. A new token, a new version of
	// Kong or a new plugin is known after that.
	maxAge = time.Minute
	// maxSchemaBytes bounds the schemas of one connection, as JSON.
	maxSchemaBytes = 1 << 20
	// maxVerdicts is the number of verdicts of one connection.
	maxVerdicts = 128
	// maxRefusals bounds the fields of one verdict, and maxText the length of each of their texts.
	maxRefusals = 16
	maxText     = 256
)

// pause is how long a Kong that did not answer is not asked again.
const pause = 10 * time.Second

// gateways holds the connections.
type gateways struct {
	reader  connection.SettingsReader
	clients *adminapi.Registry
	clock   clock.PassiveClock
	slots   *slots

	mu      sync.Mutex
	entries map[types.NamespacedName]*entry
}

func newGateways(o Options) *gateways {
	return &gateways{
		reader: connection.SettingsReader{AllowedHosts: o.AllowedHosts, Secret: func(ctx context.Context, key types.NamespacedName) (*corev1.Secret, error) {
			secret := &corev1.Secret{}
			return secret, o.APIReader.Get(ctx, key, secret)
		}},
		// A client that never leads refuses to write.
		clients: adminapi.NewRegistry(nil, func() bool { return false }),
		clock:   o.Clock,
		slots:   newSlots(maxAsked, maxAskedPerGateway, maxAskedPerNamespace),
		entries: map[types.NamespacedName]*entry{},
	}
}

// entry is one connection, with what its Kong has said.
type entry struct {
	uid        types.UID
	generation int64
	since      time.Time

	mu          sync.Mutex
	pausedUntil time.Time
	verdicts    map[[sha256.Size]byte]verdict
	// connecting has one element while somebody makes the client.
	connecting chan struct{}
	client     Kong
}

// question is what to ask.
type question struct {
	namespace string
	known     plugin.Known
	spec      *v1alpha1.PluginBindingSpec
}

// verdict is what Kong says about a content.
type verdict struct {
	refused  []refusal
	warnings []string
}

// refusal is one field that Kong refuses, by its path in Kong.
type refusal struct{ path, message string }

// key identifies the content, and what is left out of it. Namespaces share no verdicts: the time that
// an answer takes tells nobody what others declare.
func (q question) key() ([sha256.Size]byte, error) {
	text, err := json.Marshal([]any{q.namespace, plugin.Body(q.known.Plugin), q.spec.ConfigPatches})
	return sha256.Sum256(text), err
}

// ask returns Kong's verdict, from memory if it has given it before. Its error is an *uncheckedError.
func (g *gateways) ask(ctx context.Context, gateway *v1alpha1.KongGateway, q question) (verdict, error) {
	name := client.ObjectKeyFromObject(gateway)
	key, err := q.key()
	if err != nil {
		return verdict{}, &uncheckedError{}
	}
	e := g.entry(gateway)
	if v, done, err := e.known(key, name, g.clock.Now()); done {
		return v, err
	}
	if !g.slots.acquire(ctx, name) {
		return verdict{}, busy(name)
	}
	defer g.slots.release(name)
	if v, done, err := e.known(key, name, g.clock.Now()); done { // the one before may have found out
		return v, err
	}
	v, err := g.askKong(ctx, gateway, e, q)
	var unasked *uncheckedError
	switch {
	case err == nil:
		e.remember(key, v)
	case errors.As(err, &unasked):
	case errors.Is(ctx.Err(), context.Canceled): // the caller went away, which says nothing about Kong
		err = silent(name)
	default:
		g.suspend(name, e)
		err = silent(name)
	}
	return v, err
}

// find returns the entities in Kong, and false if one does not exist or Kong does not answer. It keeps
// nothing: an entity may come at any time.
func (g *gateways) find(ctx context.Context, gateway *v1alpha1.KongGateway, entities []reference.ScopeEntity) ([]adminapi.Entity, bool) {
	name := client.ObjectKeyFromObject(gateway)
	e := g.entry(gateway)
	if e.isPaused(g.clock.Now()) || !g.slots.acquire(ctx, name) {
		return nil, false
	}
	defer g.slots.release(name)
	if e.isPaused(g.clock.Now()) { // the one before may have found out
		return nil, false
	}
	kong, err := g.connect(ctx, gateway, e)
	var found []adminapi.Entity
	for i := 0; err == nil && i < len(entities); i++ {
		var entity adminapi.Entity
		entity, err = kong.Resolve(ctx, entities[i].Kind, entities[i].Ref)
		found = append(found, entity)
	}
	var unasked *uncheckedError
	switch reason := adminapi.ReasonForError(err); {
	case err == nil, errors.As(err, &unasked), errors.Is(ctx.Err(), context.Canceled):
	case reason == adminapi.NotFound, reason == adminapi.Ambiguous, reason == adminapi.Invalid: // an answer, too
	default:
		g.suspend(name, e)
	}
	return found, err == nil
}

// askKong asks. Its error is an *uncheckedError if the Kong is not to blame.
func (g *gateways) askKong(ctx context.Context, gateway *v1alpha1.KongGateway, e *entry, q question) (verdict, error) {
	kong, err := g.connect(ctx, gateway, e)
	if err != nil {
		return verdict{}, err
	}
	schema, err := kong.Schema(ctx, q.known.Plugin.Name)
	switch {
	case adminapi.IsNotFound(err): // the condition will say so, and it can be installed later
		return verdict{}, &uncheckedError{}
	case err != nil:
		return verdict{}, err
	case len(plugin.CodeFields(q.known.Plugin, schema)) > 0:
		return verdict{}, &uncheckedError{}
	}
	err = kong.ValidateConfig(ctx, q.known.Plugin)
	var kongErr *adminapi.Error
	switch {
	case err == nil:
		return verdict{warnings: deprecations(q.known.Plugin, schema)}, nil
	case errors.As(err, &kongErr) && kongErr.Reason == adminapi.Rejected:
		return verdict{refused: refusals(kongErr, q.known, schema)}, nil
	case errors.As(err, &kongErr) && kongErr.Reason == adminapi.Invalid:
		return verdict{}, &uncheckedError{}
	}
	return verdict{}, err
}

// refusals are those of Kong's messages that refuse the plugin whatever was left out.
func refusals(e *adminapi.Error, known plugin.Known, schema *plugin.Schema) (refused []refusal) {
	fields := e.Fields
	if len(fields) == 0 {
		fields = []adminapi.FieldError{{Message: e.Message}}
	}
	for _, f := range fields {
		if len(refused) < maxRefusals && known.Refuses(f.Path, f.Message, schema) {
			refused = append(refused, refusal{message.Truncate(f.Path, maxText), message.Truncate(f.Message, maxText)})
		}
	}
	return refused
}

// connect returns the client of the entry. The first caller makes it, and the others wait for it.
func (g *gateways) connect(ctx context.Context, gateway *v1alpha1.KongGateway, e *entry) (Kong, error) {
	select {
	case e.connecting <- struct{}{}:
		defer func() { <-e.connecting }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	if e.client != nil {
		return e.client, nil
	}
	settings, err := g.reader.Settings(ctx, gateway)
	if err != nil {
		return nil, &uncheckedError{} // a Secret is missing; the gateway's condition says so
	}
	settings.RequestTimeout = min(settings.RequestTimeout, checkTimeout)
	settings.MaxInFlight, settings.MaxSchemaBytes = maxAskedPerGateway, maxSchemaBytes
	created, _, err := g.clients.GetOrCreate(settings.Name, settings)
	if err != nil {
		return nil, &uncheckedError{} // so does the gateway's condition about its URL
	}
	info, err := created.Probe(ctx)
	switch {
	case err != nil:
		return nil, err
	case info.DBLess() || !info.DatabaseReachable:
		return nil, errors.New("this Kong has no database")
	}
	e.client = created
	return e.client, nil
}

// entry returns the connection of a gateway as it is now.
func (g *gateways) entry(gateway *v1alpha1.KongGateway) *entry {
	name, now := client.ObjectKeyFromObject(gateway), g.clock.Now()
	g.mu.Lock()
	defer g.mu.Unlock()
	e := g.entries[name]
	if e != nil && e.uid == gateway.UID && e.generation == gateway.Generation && now.Sub(e.since) < maxAge {
		return e
	}
	g.remove(name)
	for len(g.entries) >= maxGateways {
		g.remove(g.oldest())
	}
	e = newEntry(gateway.UID, gateway.Generation, now)
	g.entries[name] = e
	return e
}

func newEntry(uid types.UID, generation int64, since time.Time) *entry {
	return &entry{
		uid: uid, generation: generation, since: since,
		verdicts: map[[sha256.Size]byte]verdict{}, connecting: make(chan struct{}, 1),
	}
}

func (g *gateways) oldest() (name types.NamespacedName) {
	var since time.Time
	for candidate, e := range g.entries {
		if since.IsZero() || e.since.Before(since) {
			name, since = candidate, e.since
		}
	}
	return name
}

// remove drops a connection. The requests on it end by themselves.
func (g *gateways) remove(name types.NamespacedName) {
	delete(g.entries, name)
	g.clients.Remove(name.String())
}

// suspend asks nothing for a while after Kong did not answer as it should, and connects anew after that:
// the token may be another one. What Kong has said stays known.
func (g *gateways) suspend(name types.NamespacedName, failed *entry) {
	next := newEntry(failed.uid, failed.generation, failed.since)
	next.pausedUntil = g.clock.Now().Add(pause)
	failed.mu.Lock()
	failed.pausedUntil = next.pausedUntil // for those who wait
	maps.Copy(next.verdicts, failed.verdicts)
	failed.mu.Unlock()
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.entries[name] == failed {
		g.remove(name)
		g.entries[name] = next
	}
}

// known returns what needs no question: a verdict, or that Kong did not answer a moment ago.
func (e *entry) known(key [sha256.Size]byte, name types.NamespacedName, now time.Time) (v verdict, done bool, err error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if v, done = e.verdicts[key]; done {
		return v, true, nil
	}
	if now.Before(e.pausedUntil) {
		return verdict{}, true, silent(name)
	}
	return verdict{}, false, nil
}

// isPaused reports whether Kong did not answer a moment ago.
func (e *entry) isPaused(now time.Time) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return now.Before(e.pausedUntil)
}

// remember keeps a verdict. When there are too many, all go: they are cheap to get again.
func (e *entry) remember(key [sha256.Size]byte, v verdict) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if len(e.verdicts) >= maxVerdicts {
		clear(e.verdicts)
	}
	e.verdicts[key] = v
}
