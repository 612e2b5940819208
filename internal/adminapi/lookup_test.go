package adminapi

import (
	"fmt"
	"net/http"
	"runtime"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/pluginbinding/kong-plugin-operator/test/kongtest"
)

// manyRefs are references of a kind by name, which begin with prefix.
func manyRefs(kind EntityKind, prefix string, n int) []EntityRef {
	refs := make([]EntityRef, n)
	for i := range refs {
		if kind == Consumer {
			refs[i].Username = fmt.Sprint(prefix, i)
		} else {
			refs[i].Name = fmt.Sprint(prefix, i)
		}
	}
	return refs
}

// TestEntities holds both ways, asking for one entity after the other and reading all, to the same
// result.
func TestEntities(t *testing.T) {
	srv := kongtest.Start(t, kongtest.WithEnterprise())
	service := seedID(t, srv, "services", map[string]any{"name": "payments", "url": "http://up:80", "tags": []any{"k8s-namespace:shop", "x"}})
	route := seedID(t, srv, "routes", map[string]any{"name": "r", "paths": []any{"/r"}, "protocols": []any{"https"}, "service": map[string]any{"id": service}})
	alice := seedID(t, srv, "consumers", map[string]any{"username": "alice", "custom_id": "a b/c"})
	group := seedID(t, srv, "consumer_groups", map[string]any{"name": "gold"})
	seedID(t, srv, "consumers", map[string]any{"username": "not-wanted"})
	c := probed(t, srv.URL())
	payments := Entity{ID: service, Name: "payments", Tags: []string{"k8s-namespace:shop", "x"}}
	whole := Entity{ID: alice, Name: "alice", CustomID: "a b/c"}
	tests := []struct {
		kind EntityKind
		want map[EntityRef]Entity
	}{
		{Service, map[EntityRef]Entity{{Name: "payments"}: payments, {ID: service}: payments, {ID: strings.ToUpper(service)}: payments}},
		{Route, map[EntityRef]Entity{{Name: "r"}: {ID: route, Name: "r", ServiceID: service, Protocols: []string{"https"}}}},
		{Consumer, map[EntityRef]Entity{{Username: "alice"}: whole, {CustomID: "a b/c"}: whole, {ID: alice}: whole}},
		{ConsumerGroup, map[EntityRef]Entity{{Name: "gold"}: {ID: group, Name: "gold"}}},
	}
	unusable := []EntityRef{{}, {Name: "a/b"}, {Username: "a/b"}, {ID: "x"}, {CustomID: "a\n"}, {Name: "payments", ID: service}}
	for _, tt := range tests {
		for name, missing := range map[string][]EntityRef{"one by one": manyRefs(tt.kind, "missing", 1), "all": manyRefs(tt.kind, "missing", requestsPerPage)} {
			wanted := slices.Concat(missing, unusable)
			for ref := range tt.want {
				wanted = append(wanted, ref)
			}
			got, err := c.Entities(t.Context(), tt.kind, wanted)
			if diff := cmp.Diff(tt.want, got, cmpopts.SortSlices(strings.Compare)); err != nil || diff != "" {
				t.Errorf("%ss, %s: %v\n%s", tt.kind, name, err, diff)
			}
		}
	}
	_, err := c.Entities(t.Context(), "upstream", nil)
	wantReason(t, err, Invalid)
}

// The community edition has no consumer groups: none of them exists.
func TestEntitiesOfAMissingKind(t *testing.T) {
	c := probed(t, kongtest.Start(t).URL())
	for _, n := range []int{1, requestsPerPage} {
		got, err := c.Entities(t.Context(), ConsumerGroup, manyRefs(ConsumerGroup, "x", n))
		if err != nil || len(got) != 0 {
			t.Errorf("%d: got %v, %v", n, got, err)
		}
	}
	c.notFoundTrusted.Store(false)
	for _, n := range []int{1, requestsPerPage} {
		_, err := c.Entities(t.Context(), ConsumerGroup, manyRefs(ConsumerGroup, "x", n))
		wantReason(t, err, Unavailable)
	}
}

// consumers is a Kong with this many consumers, of which it makes up the page that is asked for.
type consumers struct {
	count        int
	pages, names int
}

func (k *consumers) answer(r *http.Request) *http.Response {
	if name, ok := strings.CutPrefix(r.URL.Path, "/consumers/"); ok {
		k.names++
		n := 0
		if _, err := fmt.Sscanf(name, "u%d", &n); err != nil || n >= k.count {
			return newResponse(404, jsonType, notFoundBody)
		}
		return newResponse(200, jsonType, k.row(n))
	}
	k.pages++
	from := 0
	_, _ = fmt.Sscan(r.URL.Query().Get("offset"), &from)
	to := min(from+pageSize, k.count)
	var rows []string
	for n := from; n < to; n++ {
		rows = append(rows, k.row(n))
	}
	next := `null`
	if to < k.count {
		next = fmt.Sprintf(`"/x","offset":"%d"`, to)
	}
	return newResponse(200, jsonType, `{"data":[`+strings.Join(rows, ",")+`],"next":`+next+`}`)
}

func (k *consumers) row(n int) string {
	return fmt.Sprintf(`{"id":"00000000-0000-4000-8000-%012d","username":"u%d","custom_id":null,"tags":["t%d"],"created_at":1795383024}`, n, n, n)
}

// TestEntitiesAsksForTheCheaperWay counts the requests.
func TestEntitiesAsksForTheCheaperWay(t *testing.T) {
	tests := []struct {
		count, wanted    int
		atMostPages      int
		atMostSingles    int
		found            int
		name, thatIsWhat string
	}{
		{name: "a few of many", thatIsWhat: "one by one", count: 1_000_000, wanted: 5, atMostPages: 0, atMostSingles: 5, found: 5},
		{name: "some of many", thatIsWhat: "one by one, after as much reading", count: 1_000_000, wanted: 100, atMostPages: 10, atMostSingles: 100, found: 100},
		{name: "many of few", thatIsWhat: "one page", count: 900, wanted: 1000, atMostPages: 1, atMostSingles: 0, found: 900},
		{name: "many of some", thatIsWhat: "all pages", count: 20_000, wanted: 2000, atMostPages: 20, atMostSingles: 0, found: 2000},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			k := &consumers{count: tt.count}
			c := answerer(t, k.answer)
			got, err := c.Entities(t.Context(), Consumer, manyRefs(Consumer, "u", tt.wanted))
			if err != nil || len(got) != tt.found {
				t.Fatalf("%d found, %v", len(got), err)
			}
			if k.pages > tt.atMostPages || k.names > tt.atMostSingles {
				t.Errorf("%s: %d pages and %d single requests", tt.thatIsWhat, k.pages, k.names)
			}
			ref := EntityRef{Username: "u0"}
			if e := got[ref]; e.ID != "00000000-0000-4000-8000-000000000000" || len(e.Tags) != 1 || e.Tags[0] != "t0" {
				t.Errorf("got %+v", e)
			}
		})
	}
}

// Reading 300,000 consumers keeps the wanted ones only. On a busy machine that takes longer than a list may,
// so no time passes.
func TestEntitiesKeepsWhatIsWanted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := &consumers{count: 300_000}
		c := answerer(t, k.answer)
		wanted := manyRefs(Consumer, "nobody", 300*requestsPerPage)
		wanted[0] = EntityRef{Username: "u7"}
		held := func() uint64 {
			runtime.GC()
			var m runtime.MemStats
			runtime.ReadMemStats(&m)
			return m.HeapAlloc
		}
		before := held()
		got, err := c.Entities(t.Context(), Consumer, wanted)
		after := held()
		if err != nil || len(got) != 1 || k.pages != 300 || k.names != 0 {
			t.Fatalf("%d found, %v, %d pages, %d single requests", len(got), err, k.pages, k.names)
		}
		if after > before+8<<20 {
			t.Errorf("%d MiB more are held for one entity", (after-before)>>20)
		}
		runtime.KeepAlive(got)
	})
}

func TestEntitiesOfOddLists(t *testing.T) {
	rows := []map[string]any{{"id": id1, "custom_id": "x", "username": "a"}, {"id": id2, "custom_id": "x", "username": ""}}
	p := &pages{rows: rows, size: 1}
	c := trusting(t, serve(t, p.ServeHTTP))
	wanted := append(manyRefs(Consumer, "missing", 2*requestsPerPage), EntityRef{CustomID: "x"}, EntityRef{Username: "a"}, EntityRef{ID: id2})
	got, err := c.Entities(t.Context(), Consumer, wanted)
	want := map[EntityRef]Entity{{ID: id2}: {ID: id2, CustomID: "x"}, {Username: "a"}: {ID: id1, Name: "a", CustomID: "x"}}
	if diff := cmp.Diff(want, got); err != nil || diff != "" {
		t.Errorf("%v\n%s", err, diff)
	}
	p.rows = append(p.rows, map[string]any{"id": "x"})
	wanted = append(wanted, manyRefs(Consumer, "more", 2*requestsPerPage)...)
	got, err = c.Entities(t.Context(), Consumer, wanted)
	if wantReason(t, err, Unavailable); got != nil {
		t.Errorf("got %v with an error", got)
	}
}

// A custom_id that one consumer on the pages read has can be another's as well.
func TestACustomIDIsAskedForAgainAfterAPartOfTheList(t *testing.T) {
	rows := []map[string]any{{"id": id1, "custom_id": "x"}}
	for i := range 3 {
		rows = append(rows, map[string]any{"id": fmt.Sprintf("00000000-0000-4000-9000-%012d", i)})
	}
	p := &pages{rows: append(rows, map[string]any{"id": id2, "custom_id": "x"}), size: 1}
	c := trusting(t, serve(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/consumers" {
			write(w, 404, jsonType, notFoundBody)
			return
		}
		p.ServeHTTP(w, r)
	}))
	got, err := c.Entities(t.Context(), Consumer, append(manyRefs(Consumer, "missing", requestsPerPage), EntityRef{CustomID: "x"}))
	if err != nil || len(got) != 0 {
		t.Errorf("got %v, %v", got, err)
	}
}

func TestEntityIsBounded(t *testing.T) {
	var tags []string
	for i := range 3 * maxEntityStrings {
		tags = append(tags, fmt.Sprint("tag", i))
	}
	tags[0] = strings.Repeat("x", maxEntityString+1)
	body := toJSON(t, map[string]any{"id": id1, "name": "a", "tags": tags})
	c := answerer(t, func(*http.Request) *http.Response { return newResponse(200, jsonType, body) })
	got, err := c.Resolve(t.Context(), Service, EntityRef{Name: "a"})
	if err != nil || len(got.Tags) != maxEntityStrings || got.Tags[0] != "tag1" {
		t.Errorf("%d tags, %v", len(got.Tags), err)
	}
}
