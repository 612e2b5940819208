package adminapi

import "sync"

// Registry holds one Client per key for as long as its Settings stay the same. It is safe
// for concurrent use. The zero value is an empty Registry without metrics.
type Registry struct {
	metrics  *Metrics
	isLeader func() bool
	writes   Writes

	mu      sync.Mutex
	clients map[string]*Client
}

// NewRegistry returns an empty Registry. Its clients report to m, which may be nil. They
// send writes only while isLeader returns true; nil means always.
func NewRegistry(m *Metrics, isLeader func() bool) *Registry {
	return &Registry{metrics: m, isLeader: isLeader}
}

// Writes learns of every write to Kong.
type Writes interface {
	// Sending is called before isLeader. The function that it returns is called when the request has
	// ended: with open if Kong may still apply the write.
	Sending() (ended func(open bool))
}

// Report makes the clients that the Registry creates from now on report their writes.
func (r *Registry) Report(writes Writes) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.writes = writes
}

// GetOrCreate returns the client for key. It returns the existing client if the Settings
// are equal (Clock, Transport and Dial are not compared). Otherwise it creates one, which accepts no 404
// before its first Probe, and changed is true. Requests of a replaced client complete.
// Settings that cannot be used return an Error with Reason Invalid; the Registry then holds
// no client for key, because the old one represents Settings that no longer apply.
func (r *Registry) GetOrCreate(key string, s Settings) (client *Client, changed bool, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	old, ok := r.clients[key]
	if ok && old.givenSettings.equal(s) {
		return old, false, nil
	}
	if ok {
		delete(r.clients, key)
		old.Close()
	}
	client, err = New(s, r.metrics)
	if err != nil {
		return nil, ok, err
	}
	client.isLeader, client.writes = r.isLeader, r.writes
	if r.clients == nil {
		r.clients = map[string]*Client{}
	}
	r.clients[key] = client
	return client, true, nil
}

// Remove closes the client for key, if there is one, and deletes its metrics.
func (r *Registry) Remove(key string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if c, ok := r.clients[key]; ok {
		delete(r.clients, key)
		c.Close()
		r.metrics.Forget(c.givenSettings.Name)
	}
}
