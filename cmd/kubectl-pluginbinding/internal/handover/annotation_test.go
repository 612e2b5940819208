package handover

import "testing"

// Only the one name goes from the annotation and comes back. The rest stays as people wrote it.
func TestAnnotation(t *testing.T) {
	for name, c := range map[string]struct{ was, detached, changed, back string }{
		"alone":                        {"limit", "", "", "limit"},
		"first":                        {"limit, auth", " auth", " auth", "limit, auth"},
		"last":                         {"auth,limit", "auth", "auth", "auth,limit"},
		"with its namespace":           {"auth, shop:limit", "auth", "auth", "auth, shop:limit"},
		"beside another namespace's":   {"other:limit,limit", "other:limit", "other:limit", "other:limit,limit"},
		"somebody else changes it too": {"auth,limit", "auth", "auth,cors", "auth,cors,limit"},
		"somebody else puts it back":   {"auth,limit", "auth", "limit,auth", "limit,auth"},
	} {
		t.Run(name, func(t *testing.T) {
			item := &Item{KongPlugin: Ref{Kind: "KongPlugin", Namespace: "shop", Name: "limit"}, Object: &Ref{Kind: "Ingress", Namespace: "shop", Name: "web"}, Annotation: c.was}
			if !item.isAttached(c.was) || item.isAttached(c.detached) {
				t.Error("it is not attached before, or still afterwards")
			}
			if got := item.detached(c.was); got != c.detached {
				t.Errorf("detached %q, want %q", got, c.detached)
			}
			if got := item.attached(c.changed); got != c.back {
				t.Errorf("attached %q, want %q", got, c.back)
			}
		})
	}
}

func TestAnnotationOfAnotherNamespace(t *testing.T) {
	item := &Item{KongPlugin: Ref{Kind: "KongPlugin", Namespace: "plugins", Name: "limit"}, Object: &Ref{Kind: "Ingress", Namespace: "shop", Name: "web"}}
	if got := item.attached("auth"); got != "auth,plugins:limit" {
		t.Errorf("attached %q", got)
	}
	cluster := &Item{KongPlugin: Ref{Kind: "KongClusterPlugin", Name: "limit"}, Object: &Ref{Kind: "Ingress", Namespace: "shop", Name: "web"}}
	if got := cluster.attached("auth"); got != "auth,limit" || !cluster.isAttached(got) {
		t.Errorf("attached %q", got)
	}
}
