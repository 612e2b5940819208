package adminapi

import (
	"encoding/json"
	"fmt"
	"net/http"
	"testing"

	"github.com/pluginbinding/kong-plugin-operator/test/kongtest/schema"
)

// A resync reads one page per thousand plugins.
func BenchmarkDecodePage(b *testing.B) {
	const rows = 1000
	r := request{op: opListPlugins, method: http.MethodGet, path: "/plugins"}
	a := response{status: http.StatusOK, body: pageOf(b, rows)}
	b.SetBytes(int64(len(a.body)))
	b.ReportAllocs()
	for b.Loop() {
		p, failed := decodePage(r, a)
		if failed != nil || len(p.rows) != rows {
			b.Fatal(len(p.rows), failed)
		}
		for _, row := range p.rows {
			if _, failed := decodePlugin(r, a, row); failed != nil {
				b.Fatal(failed)
			}
		}
	}
}

// pageOf is a page of plugins with all the fields that Kong fills in and an owner's tags.
func pageOf(tb testing.TB, rows int) []byte {
	tb.Helper()
	entity, violation := schema.Insert("plugins", map[string]any{
		"name": "rate-limiting", "config": map[string]any{"minute": 60.0, "policy": "local"},
	})
	if violation != nil {
		tb.Fatal(violation)
	}
	data := make([]map[string]any, rows)
	for i := range data {
		data[i] = wire(fmt.Sprintf("00000000-0000-4000-8000-%012d", i), "rate-limiting", map[string]any{
			"config":        entity["config"],
			"instance_name": fmt.Sprintf("production.shop.orders-%d", i),
			"service":       map[string]any{"id": fmt.Sprintf("00000000-0000-4000-9000-%012d", i)},
			"tags": []string{
				"managed-by:plugin-binding-operator", "k8s-cluster:production", "k8s-kind:PluginBinding",
				"k8s-namespace:shop", fmt.Sprintf("k8s-name:orders-%d", i), fmt.Sprintf("k8s-uid:00000000-0000-4000-a000-%012d", i),
			},
		})
	}
	body, err := json.Marshal(map[string]any{"data": data, "next": nil})
	if err != nil {
		tb.Fatal(err)
	}
	return body
}
