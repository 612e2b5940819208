package contract

import (
	"sync"
	"testing"
)

func concurrencyFacts() []fact {
	return []fact{
		{
			Name:  "two POSTs at once",
			Cites: "always one 201 and one 409: two replicas that both create leave one plugin",
			Run: func(t *testing.T, a *Admin) {
				svc, name := a.Service(t, "s")
				sum := make([]int, 2)
				var wg sync.WaitGroup
				for i := range sum {
					wg.Go(func() { sum[i] = a.Do(t, "POST", "/plugins", limit(svc)).Status })
				}
				wg.Wait()
				if sum[0]+sum[1] != 201+409 {
					t.Errorf("answered %v", sum)
				}
				is(t, "plugins", len(ids(a.Must(t, 200, "GET", "/services/"+name+"/plugins", nil))), 1)
			},
		},
		{
			Name:  "If-Match is worse than nothing",
			Cites: "412 with the write done: no conditional headers are sent, and a 412 would be a write of unknown outcome",
			Run: func(t *testing.T, a *Admin) {
				svc, _ := a.Service(t, "s")
				path := "/plugins/" + text(a.Must(t, 201, "POST", "/plugins", limit(svc)).Body["id"])
				a.Must(t, 412, "PATCH", path, object{"enabled": false}, "If-Match", `"x"`)
				is(t, "enabled", a.Must(t, 200, "GET", path, nil).Body["enabled"], false)
			},
		},
		{
			Name:  "If-None-Match is worse than nothing",
			Cites: "PUT with If-None-Match: * answers 304 with the write done: it is no create-only",
			Run: func(t *testing.T, a *Admin) {
				svc, _ := a.Service(t, "s")
				path := "/plugins/" + a.ID()
				a.note(path)
				a.Must(t, 304, "PUT", path, limit(svc), "If-None-Match", "*")
				a.Must(t, 200, "GET", path, nil)
			},
		},
	}
}
