package contract

import (
	"sync"
	"testing"
)

func concurrencyFacts() []fact {
	return []fact{
		{
			Name:     "two POSTs at once",
			Kong:     "Of two concurrent creates Kong answers one with 201 and one with 409.",
			Operator: "Two replicas that both create leave one plugin.",
			Run: func(t *testing.T, a *Admin) {
				svc, name := a.Service(t, "s")
				sum := make([]int, 2)
				var wg sync.WaitGroup
				for i := range sum {
					wg.Go(func() { sum[i] = a.Do(t, "POST", "/plugins", rateLimiting(svc)).Status })
				}
				wg.Wait()
				if sum[0]+sum[1] != 201+409 {
					t.Errorf("answered %v", sum)
				}
				equal(t, "plugins", len(ids(a.Must(t, 200, "GET", "/services/"+name+"/plugins", nil))), 1)
			},
		},
		{
			Name:     "If-Match does not prevent a write",
			Kong:     "PATCH with If-Match answers 412 and applies the write.",
			Operator: "The operator sends no conditional headers. It treats a 412 as a write with an unknown outcome.",
			Run: func(t *testing.T, a *Admin) {
				svc, _ := a.Service(t, "s")
				path := "/plugins/" + text(a.Must(t, 201, "POST", "/plugins", rateLimiting(svc)).Body["id"])
				a.Must(t, 412, "PATCH", path, object{"enabled": false}, "If-Match", `"x"`)
				equal(t, "enabled", a.Must(t, 200, "GET", path, nil).Body["enabled"], false)
			},
		},
		{
			Name:     "If-None-Match does not prevent a write",
			Kong:     "PUT with If-None-Match: * answers 304 and applies the write.",
			Operator: "The operator does not use it to create only.",
			Run: func(t *testing.T, a *Admin) {
				svc, _ := a.Service(t, "s")
				path := "/plugins/" + a.ID()
				a.recordCreated(path)
				a.Must(t, 304, "PUT", path, rateLimiting(svc), "If-None-Match", "*")
				a.Must(t, 200, "GET", path, nil)
			},
		},
	}
}
