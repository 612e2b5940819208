package plugin

import (
	"encoding/json"
	"testing"
)

func TestBody(t *testing.T) {
	for _, tt := range []struct {
		reason string
		plugin Plugin
		want   string
	}{{
		reason: "what is not set is not sent",
		plugin: Plugin{ID: "id", UpdatedAt: 1, Name: "cors"},
		want:   `{"config":{},"enabled":false,"name":"cors","tags":[]}`,
	}, {
		reason: "everything",
		plugin: Plugin{
			ID: "id", Name: "cors", InstanceName: "i", Enabled: true,
			Scope:     Scope{ServiceID: "s", RouteID: "r", ConsumerID: "c", ConsumerGroupID: "g"},
			Protocols: []string{"http"}, Tags: []string{"t"},
			Ordering:  map[string]map[string][]string{"before": {"access": {"acl"}}},
			Config:    map[string]any{"a": 5.0, "b": nil},
			CreatedAt: 7, UpdatedAt: 8,
		},
		want: `{"config":{"a":5,"b":null},"consumer":{"id":"c"},"consumer_group":{"id":"g"},"created_at":7,` +
			`"enabled":true,"instance_name":"i","name":"cors","ordering":{"before":{"access":["acl"]}},` +
			`"protocols":["http"],"route":{"id":"r"},"service":{"id":"s"},"tags":["t"]}`,
	}, {
		reason: "names go before the IDs that they had",
		plugin: Plugin{
			Name:       "cors",
			Scope:      Scope{ServiceID: "s", RouteID: "r", ConsumerID: "c", ConsumerGroupID: "g"},
			ScopeNames: ScopeNames{Service: "orders", Consumer: "alice", ConsumerGroup: "gold"},
		},
		want: `{"config":{},"consumer":{"username":"alice"},"consumer_group":{"name":"gold"},"enabled":false,"name":"cors",` +
			`"route":{"id":"r"},"service":{"name":"orders"},"tags":[]}`,
	}} {
		raw, err := json.Marshal(Body(tt.plugin))
		if err != nil {
			t.Fatal(err)
		}
		if string(raw) != tt.want {
			t.Errorf("%s:\n%s", tt.reason, raw)
		}
	}
}
