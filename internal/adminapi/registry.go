package adminapi

import "sync"

// Pool keeps one Client per gateway for as long as its Settings stay the same. It is safe
// for concurrent use. The zero value is an empty pool without metrics.
type Registry struct {
	metrics *Metrics
	leads   func() bool

	mu      sync.Mutex
	clients map[string]*Client
}

// NewPool returns an empty Pool whose clients report to m, which may be nil, and send writes
// only while leads says so, if it is not nil.
func NewRegistry(m *Metrics, leads func() bool) *Registry { return &Registry{metrics: m, leads: leads} }

// Set returns the client for key: the one it has when the Settings are equal (Transport is
// not compared), and otherwise a new one, which knows nothing of Kong before its first
// Probe; changed says so. Requests of a replaced client run to their end. Settings that
// cannot be used are an error of kind Invalid, and the pool has no client for key then: the
// old one speaks for something that nobody asks for any more.
func (p *Registry) GetOrCreate(key string, s Settings) (client *Client, changed bool, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	old, ok := p.clients[key]
	if ok && old.asked.equal(s) {
		return old, false, nil
	}
	if ok {
		delete(p.clients, key)
		old.Close()
	}
	client, err = New(s, p.metrics)
	if err != nil {
		return nil, ok, err
	}
	client.leads = p.leads
	if p.clients == nil {
		p.clients = map[string]*Client{}
	}
	p.clients[key] = client
	return client, true, nil
}

// Remove closes the client for key, if there is one, and forgets its metrics.
func (p *Registry) Remove(key string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if c, ok := p.clients[key]; ok {
		delete(p.clients, key)
		c.Close()
		p.metrics.Forget(c.asked.Name)
	}
}
