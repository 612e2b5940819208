package kongtest

import (
	"fmt"
	"testing"
)

// BenchmarkServer measures the stand-in with 10,000 plugins in it: it has to be
// faster than the Kong it stands for.
func BenchmarkServer(b *testing.B) {
	s := Start(b)
	for i := range 10_000 {
		svc := s.Seed("services", map[string]any{"name": fmt.Sprint("svc", i), "url": "http://up"})
		s.Seed("plugins", map[string]any{
			"name": "rate-limiting", "config": map[string]any{"minute": 5.0}, "tags": []any{"t"},
			"service": map[string]any{"id": svc["id"]},
		})
	}
	id := str(s.Plugins()[5000]["id"])
	for name, path := range map[string]string{
		"get": "/plugins/" + id, "page of 1000": "/plugins?size=1000&tags=t", "under a parent": "/services/svc77/plugins",
	} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				if a := do(b, s, "GET", path, ""); a.status != 200 {
					b.Fatalf("status %d", a.status)
				}
			}
		})
	}
	b.Run("patch", func(b *testing.B) {
		for i := 0; b.Loop(); i++ {
			body := fmt.Sprintf(`{"config":{"minute":%d}}`, i+1)
			if a := do(b, s, "PATCH", "/plugins/"+id, body); a.status != 200 {
				b.Fatalf("status %d: %s", a.status, a.raw)
			}
		}
	})
}
