package tenancy

import (
	"fmt"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"pgregory.net/rapid"

	"github.com/pluginbinding/kong-plugin-operator/api/v1alpha1"
)

// kongAt is a gateway in a namespace, as old as its number says: 1 is the oldest.
func kongAt(namespace, name string, age int64, url string, allowed *v1alpha1.AllowedNamespaces, ids ...string) Gateway {
	gateway := &v1alpha1.KongGateway{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}}
	if allowed != nil {
		gateway.Spec.AllowedGateways = &v1alpha1.AllowedGateways{Namespaces: allowed}
	}
	policy, err := NewPolicy(gateway)
	if err != nil {
		panic(err)
	}
	return Gateway{
		Policy:    policy,
		Namespace: Namespace{Name: namespace, Labels: map[string]string{"team": namespace}},
		Created:   time.Unix(age, 0), URL: url, KongIDs: ids,
	}
}

func TestSameKong(t *testing.T) {
	many := make([]string, maxKongIDs)
	for i := range many {
		many[i] = fmt.Sprint("node-", i)
	}
	for _, tc := range []struct {
		name string
		a, b Gateway
		want bool
	}{
		{"nothing is known", Gateway{}, Gateway{}, false},
		{"one URL", Gateway{URL: "http://kong:8001"}, Gateway{URL: "http://kong:8001", KongIDs: []string{"db"}}, true},
		{"other URLs", Gateway{URL: "http://kong:8001"}, Gateway{URL: "http://other:8001"}, false},
		{"other URLs and one ID", Gateway{URL: "http://kong:8001", KongIDs: []string{"node-1", "db"}}, Gateway{URL: "http://other:8001", KongIDs: []string{"db"}}, true},
		{"other IDs", Gateway{KongIDs: []string{"db"}}, Gateway{KongIDs: []string{"db2"}}, false},
		{"empty IDs", Gateway{KongIDs: []string{""}}, Gateway{KongIDs: []string{""}}, false},
		{"a URL is no ID", Gateway{URL: "http://kong:8001"}, Gateway{KongIDs: []string{"http://kong:8001"}}, false},
		{"the last ID that counts", Gateway{KongIDs: many}, Gateway{KongIDs: []string{"node-15"}}, true},
		{"an ID that does not count", Gateway{KongIDs: append(many[:maxKongIDs:maxKongIDs], "node-16")}, Gateway{KongIDs: []string{"node-16"}}, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if SameKong(tc.a, tc.b) != tc.want || SameKong(tc.b, tc.a) != tc.want {
				t.Errorf("got %t", !tc.want)
			}
		})
	}
}

func TestGovern(t *testing.T) {
	const url = "http://kong-admin.kong:8001"
	platform := kongAt("kong", "main", 1, url, nil, "db")
	for _, tc := range []struct {
		name     string
		gateways []Gateway
		// want lists each gateway with its governor, and ! if it is refused.
		want map[string]string
	}{
		{"none", nil, map[string]string{}},
		{"one", []Gateway{platform}, map[string]string{"kong/main": "kong/main"}},
		{"another Kong", []Gateway{platform, kongAt("shop", "own", 2, "http://kong.shop:8001", nil, "db-shop")},
			map[string]string{"kong/main": "kong/main", "shop/own": "shop/own"}},
		{"a later one of another namespace, by URL", []Gateway{kongAt("shop", "own", 2, url, nil), platform},
			map[string]string{"kong/main": "kong/main", "shop/own": "kong/main!"}},
		{"a later one of another namespace, by ID", []Gateway{kongAt("shop", "own", 2, "http://10.0.0.7:8001", nil, "db"), platform},
			map[string]string{"kong/main": "kong/main", "shop/own": "kong/main!"}},
		{"a later one of the same namespace", []Gateway{platform, kongAt("kong", "second", 2, url, nil)},
			map[string]string{"kong/main": "kong/main", "kong/second": "kong/main"}},
		{"an older one of another namespace", []Gateway{platform, kongAt("shop", "own", 0, url, nil)},
			map[string]string{"shop/own": "shop/own", "kong/main": "shop/own!"}},
		{"equally old, by namespace", []Gateway{kongAt("b", "x", 1, url, nil), kongAt("a", "y", 1, url, nil)},
			map[string]string{"a/y": "a/y", "b/x": "a/y!"}},
		{"equally old, by name", []Gateway{kongAt("a", "y", 1, url, nil), kongAt("a", "x", 1, url, nil)},
			map[string]string{"a/x": "a/x", "a/y": "a/x"}},
		{"a namespace that is allowed", []Gateway{kongAt("kong", "main", 1, url, from(v1alpha1.NamespacesFromAll)), kongAt("shop", "own", 2, url, nil)},
			map[string]string{"kong/main": "kong/main", "shop/own": "kong/main"}},
		{"namespaces by a selector",
			[]Gateway{kongAt("kong", "main", 1, url, labelled("team", "shop")), kongAt("shop", "own", 2, url, nil), kongAt("bank", "own", 3, url, nil)},
			map[string]string{"kong/main": "kong/main", "shop/own": "kong/main", "bank/own": "kong/main!"}},
		{"one that is allowed allows nobody", // the governor decides
			[]Gateway{kongAt("kong", "main", 1, url, labelled("team", "shop")), kongAt("shop", "own", 2, url, from(v1alpha1.NamespacesFromAll)), kongAt("bank", "own", 3, url, nil)},
			map[string]string{"kong/main": "kong/main", "shop/own": "kong/main", "bank/own": "kong/main!"}},
		{"one that is refused governs nothing", // not even what only it leads to
			[]Gateway{platform, kongAt("shop", "own", 2, url, nil, "else"), kongAt("bank", "own", 3, "http://else:8001", nil, "else")},
			map[string]string{"kong/main": "kong/main", "shop/own": "kong/main!", "bank/own": "bank/own"}},
		{"by way of one that is allowed",
			[]Gateway{kongAt("kong", "main", 1, url, labelled("team", "shop")), kongAt("shop", "own", 2, url, nil, "node-9"), kongAt("bank", "own", 3, "http://10.0.0.9:8001", nil, "node-9")},
			map[string]string{"kong/main": "kong/main", "shop/own": "kong/main", "bank/own": "kong/main!"}},
		{"one that claims two Kongs needs the consent of both",
			[]Gateway{
				kongAt("kong", "main", 1, url, from(v1alpha1.NamespacesFromAll), "db"), kongAt("bank", "own", 2, "http://kong.bank:8001", nil, "db-bank"),
				kongAt("shop", "own", 3, "http://liar:8001", nil, "db-bank", "db"),
			},
			map[string]string{"kong/main": "kong/main", "bank/own": "bank/own", "shop/own": "bank/own!"}},
		{"one that claims two Kongs connects them with nobody's consent",
			[]Gateway{
				kongAt("kong", "main", 1, url, from(v1alpha1.NamespacesFromAll), "db"), kongAt("bank", "own", 2, "http://kong.bank:8001", from(v1alpha1.NamespacesFromAll), "db-bank"),
				kongAt("shop", "own", 3, "http://liar:8001", nil, "db-bank", "db"), kongAt("bank", "second", 4, "http://kong.bank:8001", nil, "db-bank"),
			},
			map[string]string{"kong/main": "kong/main", "bank/own": "bank/own", "shop/own": "kong/main", "bank/second": "bank/own"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got := map[string]string{}
			for key, governance := range Govern(tc.gateways) {
				got[key.String()] = governance.Governor.String()
				if !governance.Accepted() {
					got[key.String()] += "!"
				}
			}
			for key, want := range tc.want {
				if got[key] != want {
					t.Errorf("%s: got %q, want %q", key, got[key], want)
				}
			}
			if len(got) != len(tc.want) {
				t.Errorf("got %v", got)
			}
		})
	}
}

func TestRefusalOfAGateway(t *testing.T) {
	message := Govern([]Gateway{kongAt("kong", "main", 1, "u", nil), kongAt("shop", "own", 2, "u", nil)})[types.NamespacedName{Namespace: "shop", Name: "own"}].Message
	for _, words := range []string{
		"KongGateway kong/main governs this Kong, because it is older, and does not allow another KongGateway in namespace shop. ",
		"The operator programs no plugin through this KongGateway. ",
		"allow the namespace in its spec.allowedGateways, use that gateway in the gatewayRef of bindings, or delete this KongGateway.",
	} {
		if !strings.Contains(message, words) {
			t.Errorf("the message does not say %q:\n%s", words, message)
		}
	}
}

// A gateway that is added never changes the answer for an older one, whatever it says of itself.
func TestALaterGatewayHarmsNoOlderOne(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		draw := func(age int64) Gateway {
			namespace := rapid.SampledFrom([]string{"kong", "shop", "bank"}).Draw(t, "namespace")
			return kongAt(namespace, fmt.Sprint("g", age), age,
				rapid.SampledFrom([]string{"", "u1", "u2", "u3"}).Draw(t, "url"), drawNamespaces(t, "allowed"),
				rapid.SliceOfN(rapid.SampledFrom([]string{"", "k1", "k2", "k3"}), 0, 3).Draw(t, "ids")...)
		}
		var gateways []Gateway
		for age := range int64(rapid.IntRange(1, 6).Draw(t, "n")) {
			gateways = append(gateways, draw(age))
		}
		before := Govern(gateways)
		after := Govern(append([]Gateway{draw(99)}, gateways...))
		for key, was := range before {
			if after[key] != was {
				t.Fatalf("%s: %+v, and before %+v", key, after[key], was)
			}
			if governor := before[was.Governor]; !governor.Accepted() || governor.Governor != was.Governor {
				t.Fatalf("%s is governed by %s, which governs nothing", key, was.Governor)
			}
		}
		if len(after) != len(gateways)+1 {
			t.Fatalf("%d answers for %d gateways", len(after), len(gateways)+1)
		}
		if oldest := before[gateways[0].key()]; !oldest.Accepted() || oldest.Governor != gateways[0].key() {
			t.Fatalf("the oldest gateway: %+v", oldest)
		}
	})
}
