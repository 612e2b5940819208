package kic

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"time"

	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// Defaults of Options: those of the real KIC, but for the namespace.
const (
	DefaultInterval     = 3 * time.Second
	DefaultIngressClass = "kong"
	DefaultNamespace    = "default"
)

// Options of a KIC. The zero value of every field but AdminURL stands for KIC's own.
type Options struct {
	// AdminURL is the base URL of the Admin API.
	AdminURL string
	// Interval is the time from one look at what it wants to the next.
	Interval time.Duration
	// StartDelay is the time from the start to the first look: three intervals.
	StartDelay time.Duration
	// Tag marks the rows that are KIC's.
	Tag string
	// IngressClass is the class of the objects that are KIC's, besides those without one.
	IngressClass string
	// Namespace is that of KIC's own pod, to which the events about its syncs belong.
	Namespace string
	// WatchNamespaces are those whose objects it sees, besides cluster-scoped ones; all if empty.
	WatchNamespaces []string
	// ReverseSync is --enable-reverse-sync: read and compare at every tick.
	ReverseSync bool
	// HTTPClient sends the requests to Kong.
	HTTPClient *http.Client
	// Log has a line for each sync.
	Log func(format string, args ...any)
}

func (o Options) withDefaults() Options {
	if o.Interval == 0 {
		o.Interval = DefaultInterval
	}
	if o.StartDelay == 0 {
		o.StartDelay = 3 * o.Interval
	}
	if o.Tag == "" {
		o.Tag = DefaultTag
	}
	if o.IngressClass == "" {
		o.IngressClass = DefaultIngressClass
	}
	if o.Namespace == "" {
		o.Namespace = DefaultNamespace
	}
	if o.HTTPClient == nil {
		o.HTTPClient = &http.Client{Timeout: 30 * time.Second, Transport: &http.Transport{MaxIdleConnsPerHost: 4}}
	}
	if o.Log == nil {
		o.Log = func(string, ...any) {}
	}
	return o
}

// Stats count what a KIC did since its start, over restarts.
type Stats struct {
	Ticks     int   // looks at what it wants
	Unchanged int   // ticks that found nothing new
	Syncs     int   // syncs that read Kong, those of the last valid state included
	Failed    int   // of these, ended by an error
	Conflicts int   // of these, ended by an answer 409
	Puts      int   // rows sent
	Deletes   int   // rows deleted
	LastError error // of the last tick; nil when it succeeded or found nothing new
}

// KIC is a running controller. Make one with Start.
type KIC struct {
	options Options
	admin   *admin
	look    func(context.Context) (*objects, error) // what KIC sees
	live    client.Reader                           // what the API server has now
	events  *events
	stop    context.CancelFunc
	work    sync.WaitGroup

	loopMu   sync.Mutex
	loopStop context.CancelFunc
	loopDone chan struct{}

	mu        sync.Mutex // guards the fields below
	stats     Stats
	ticked    chan struct{} // closed and replaced at the end of each tick
	applied   string        // hash of what the last sync wrote; empty after a failure
	lastValid *state        // what the last sync that succeeded wrote
}

// Start starts a controller and returns when it has read all objects; its first sync
// comes StartDelay later. It runs until Stop or the end of ctx.
func Start(ctx context.Context, config *rest.Config, options Options) (*KIC, error) {
	if options.AdminURL == "" {
		return nil, errors.New("kic: Options.AdminURL is empty")
	}
	options = options.withDefaults()
	scheme := newScheme()
	watched := cache.Options{Scheme: scheme}
	for _, namespace := range options.WatchNamespaces {
		if watched.DefaultNamespaces == nil {
			watched.DefaultNamespaces = map[string]cache.Config{}
		}
		watched.DefaultNamespaces[namespace] = cache.Config{}
	}
	cluster, err := cache.New(config, watched)
	if err != nil {
		return nil, fmt.Errorf("kic: %w", err)
	}
	live, err := client.New(config, client.Options{Scheme: scheme})
	if err != nil {
		return nil, fmt.Errorf("kic: %w", err)
	}
	events, err := newEvents(config, scheme, options)
	if err != nil {
		return nil, fmt.Errorf("kic: %w", err)
	}
	run, stop := context.WithCancel(ctx)
	k := &KIC{
		options: options, live: live, events: events, stop: stop, ticked: make(chan struct{}),
		admin: &admin{strings.TrimRight(options.AdminURL, "/"), options.HTTPClient},
		look:  func(ctx context.Context) (*objects, error) { return load(ctx, cluster, options.WatchNamespaces) },
	}
	k.work.Go(func() {
		if err := cluster.Start(run); err != nil {
			options.Log("kic: %v", err)
			stop() // so that nobody waits for it
		}
	})
	cluster.WaitForCacheSync(run) // the cache has started, or never will
	if _, err := k.look(ctx); err != nil {
		k.Stop()
		return nil, fmt.Errorf("kic: %w", err)
	}
	k.startLoop(run)
	return k, nil
}

// Stop ends the controller and waits until it has ended. What it wrote stays in Kong.
func (k *KIC) Stop() {
	k.stop()
	k.stopLoop()
	k.work.Wait()
	k.events.close()
	k.options.HTTPClient.CloseIdleConnections()
}

// Pause ends the syncs until a Restart, as a Deployment without replicas does.
func (k *KIC) Pause() { k.stopLoop() }

// Restart starts the controller anew: it forgets what it wrote, and its first sync
// comes StartDelay later.
func (k *KIC) Restart(ctx context.Context) {
	k.stopLoop()
	k.mu.Lock()
	k.applied, k.lastValid = "", nil
	k.mu.Unlock()
	k.startLoop(ctx)
}

func (k *KIC) startLoop(ctx context.Context) {
	k.loopMu.Lock()
	defer k.loopMu.Unlock()
	ctx, k.loopStop = context.WithCancel(ctx)
	done := make(chan struct{})
	k.loopDone = done
	go func() {
		defer close(done)
		k.loop(ctx)
	}()
}

func (k *KIC) stopLoop() {
	k.loopMu.Lock()
	defer k.loopMu.Unlock()
	if k.loopStop != nil {
		k.loopStop()
		<-k.loopDone
	}
}

func (k *KIC) loop(ctx context.Context) {
	timer := time.NewTimer(k.options.StartDelay)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		}
		timer.Reset(k.options.Interval)
		err := k.tick(ctx)
		k.mu.Lock()
		k.stats.Ticks++
		k.stats.LastError = err
		close(k.ticked)
		k.ticked = make(chan struct{})
		k.mu.Unlock()
	}
}

// tick compares what KIC wants with what it wrote last, and syncs if that differs.
func (k *KIC) tick(ctx context.Context) error {
	if err := k.admin.do(ctx, http.MethodGet, "/status", nil, nil); err != nil {
		return err
	}
	o, err := k.look(ctx)
	if err != nil {
		return err
	}
	want, failures := translate(o, k.options.Tag, k.options.IngressClass)
	hash := want.hash()
	k.mu.Lock()
	unchanged, fallback := hash == k.applied, k.lastValid
	if unchanged {
		k.stats.Unchanged++
	}
	k.mu.Unlock()
	if unchanged && !k.options.ReverseSync {
		return nil
	}
	for _, f := range failures {
		k.events.translationFailed(f)
	}
	if err = k.sync(ctx, want); err == nil {
		k.remember(hash, want)
		k.events.succeeded()
		return nil
	}
	k.remember("", fallback)
	if ctx.Err() == nil && fallback != nil {
		err = errors.Join(err, k.sync(ctx, fallback))
	}
	return err
}

func (k *KIC) remember(hash string, valid *state) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.applied, k.lastValid = hash, valid
}

func (k *KIC) sync(ctx context.Context, want *state) error {
	s := &syncer{admin: k.admin, tag: k.options.Tag, count: k.countWrite}
	err := s.sync(ctx, want)
	var refused *apiError
	conflict := errors.As(err, &refused) && refused.status == http.StatusConflict
	k.mu.Lock()
	k.stats.Syncs++
	if err != nil {
		k.stats.Failed++
	}
	if conflict {
		k.stats.Conflicts++
	}
	k.mu.Unlock()
	k.options.Log("kic: sync: %v", err)
	if err != nil && ctx.Err() == nil {
		k.events.applyFailed(err)
	}
	return err
}

func (k *KIC) countWrite(deleted bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if deleted {
		k.stats.Deletes++
	} else {
		k.stats.Puts++
	}
}
