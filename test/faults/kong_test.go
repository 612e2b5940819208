package faults

import (
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"time"

	"github.com/pluginbinding/kong-plugin-operator/test/kongtest"
)

// IDs of the entities that every run finds in Kong.
const (
	ordersID   = "11111111-1111-4111-8111-111111111111"
	paymentsID = "22222222-2222-4222-8222-222222222222"
	routeID    = "33333333-3333-4333-8333-333333333333"
	corsID     = "44444444-4444-4444-8444-444444444444"
	ingressID  = "55555555-5555-4555-8555-555555555555"
)

// standIn is a Kong that runs use one after another, because its schemas take longer to load
// than a run takes.
type standIn struct {
	server *kongtest.Server
	fresh  kongtest.Snapshot
	now    atomic.Pointer[func() time.Time]
}

// standIns holds one stand-in for each run that can be under way.
var standIns chan *standIn

func newStandIn() *standIn {
	k := &standIn{}
	k.server = kongtest.New(kongtest.WithSeed(1), kongtest.WithClock(func() time.Time {
		if now := k.now.Load(); now != nil {
			return (*now)()
		}
		return epoch
	}))
	k.server.Seed("services", map[string]any{"id": ordersID, "name": "orders", "url": "http://127.0.0.1:9"})
	k.server.Seed("services", map[string]any{"id": paymentsID, "name": "payments", "url": "http://127.0.0.1:9"})
	k.server.Seed("routes", map[string]any{"id": routeID, "name": "orders-v1", "paths": []any{"/orders"}, "service": map[string]any{"id": ordersID}})
	// Plugins of other owners.
	k.server.Seed("plugins", map[string]any{"id": corsID, "name": "cors", "service": map[string]any{"id": ordersID}})
	k.server.Seed("plugins", map[string]any{"id": ingressID, "name": "key-auth", "tags": []any{"managed-by-ingress-controller"}, "route": map[string]any{"id": routeID}})
	k.fresh = k.server.Snapshot()
	return k
}

// reset restores the initial state.
func (k *standIn) reset(now func() time.Time) {
	k.server.SetDatabaseDown(true)
	k.server.ReleaseLate() // thrown away, since the database is down
	k.server.SetDatabaseDown(false)
	k.server.Restore(k.fresh)
	k.server.Journal().Reset()
	k.now.Store(&now)
}

// serve handles a request without a network. It returns an error when the stand-in closes the
// connection.
func (k *standIn) serve(r *http.Request) (answer *http.Response, err error) {
	in := r.Clone(r.Context())
	in.RequestURI = r.URL.RequestURI()
	if in.Body == nil {
		in.Body = http.NoBody
	}
	recorder := httptest.NewRecorder()
	defer func() {
		switch p := recover(); p {
		case nil:
		case http.ErrAbortHandler:
			answer, err = nil, errClosed
		default:
			panic(p)
		}
	}()
	k.server.Handler().ServeHTTP(recorder, in)
	answer = recorder.Result()
	answer.Request = r
	return answer, nil
}

func closeStandIns() {
	for {
		select {
		case k := <-standIns:
			k.server.Close()
		default:
			return
		}
	}
}
