package contract

import (
	"net/url"
	"slices"
	"strings"
	"testing"
)

// tagged creates one plugin per list of tags, all with the fact's own tag, and
// returns their IDs in the order created and the tag.
func tagged(t *testing.T, a *Admin, tags ...[]string) (created []string, own string) {
	t.Helper()
	own = a.Name("all")
	for i, list := range tags {
		svc, _ := a.Service(t, string(rune('a'+i)))
		p := a.Must(t, 201, "POST", "/plugins", rateLimiting(svc, object{"tags": append([]string{own}, list...)}))
		created = append(created, text(p.Body["id"]))
	}
	return created, own
}

// same compares lists of IDs in any order.
func same(t *testing.T, what string, got, want []string) {
	t.Helper()
	got, want = slices.Clone(got), slices.Clone(want)
	slices.Sort(got)
	slices.Sort(want)
	equal(t, what, got, want)
}

func listFacts() []fact {
	return append(pagingFacts(), tagFacts()...)
}

func pagingFacts() []fact {
	return []fact{
		{
			Name:     "pages",
			Kong:     "Lists are ordered by ID. next is a path with offset, tags and size, and null on the last page.",
			Operator: "A resync follows next until it is null. A list without its last page is not used.",
			Run: func(t *testing.T, a *Admin) {
				created, own := tagged(t, a, nil, nil, nil, nil, nil)
				var seen []string
				path := "/plugins?size=2&tags=" + own
				for pages := 1; ; pages++ {
					page := a.Must(t, 200, "GET", path, nil)
					seen = append(seen, ids(page)...)
					if page.Body["next"] == nil {
						equal(t, "pages", pages, 3)
						break
					}
					path = text(page.Body["next"])
					if want := "/plugins?offset=" + text(page.Body["offset"]) + "&tags=" + own + "&size=2"; path != want {
						t.Fatalf("next %q, want %q", path, want)
					}
				}
				if !slices.IsSorted(seen) {
					t.Errorf("not in order: %v", seen)
				}
				same(t, "all", seen, created)
			},
		},
		{
			Name:     "a full last page is the last",
			Kong:     "next is null when exactly size rows were left.",
			Operator: "No empty page follows.",
			Run: func(t *testing.T, a *Admin) {
				_, own := tagged(t, a, nil, nil)
				page := a.Must(t, 200, "GET", "/plugins?size=2&tags="+own, nil)
				equal(t, "next", page.Body["next"], nil)
				if _, has := page.Body["offset"]; has {
					t.Errorf("offset %v", page.Body["offset"])
				}
			},
		},
		{
			Name:     "a row deleted at the boundary",
			Kong:     "Paging is by key: deleting the last row of a page skips no row of the next.",
			Operator: "A resync misses no plugin because another was deleted.",
			Run: func(t *testing.T, a *Admin) {
				created, own := tagged(t, a, nil, nil, nil, nil)
				slices.Sort(created)
				first := a.Must(t, 200, "GET", "/plugins?size=2&tags="+own, nil)
				a.Must(t, 204, "DELETE", "/plugins/"+created[1], nil)
				equal(t, "rest", ids(a.Must(t, 200, "GET", text(first.Body["next"]), nil)), created[2:])
			},
		},
		{
			Name:     "page sizes",
			Kong:     "size is 1 to 1000, anything else 400 code 9.",
			Operator: "A resync of N plugins takes ceil(N/1000) requests.",
			Run: func(t *testing.T, a *Admin) {
				_, own := tagged(t, a, nil)
				a.Must(t, 200, "GET", "/plugins?size=1000&tags="+own, nil)
				for _, size := range []string{"0", "-1", "1001", "1.5"} {
					equal(t, size, a.Must(t, 400, "GET", "/plugins?size="+size, nil).Body,
						object{"message": "size must be an integer between 1 and 1000", "code": 9, "name": "invalid size"})
				}
				equal(t, "abc", a.Must(t, 400, "GET", "/plugins?size=abc", nil).Body["message"], "size must be a number")
			},
		},
		{
			Name:     "a bad offset",
			Kong:     "400 code 7.",
			Operator: "The operator sends offsets only as Kong answered them.",
			Run: func(t *testing.T, a *Admin) {
				equal(t, "body", a.Must(t, 400, "GET", "/plugins?offset=garbage", nil).Body,
					object{"message": "'garbage' is not a valid offset: bad json encoding", "code": 7, "name": "invalid offset"})
			},
		},
		{
			Name:     "no filter by plugin name",
			Kong:     "Kong ignores unknown arguments.",
			Operator: "The operator looks a key up under the parent, not with ?name=.",
			Run: func(t *testing.T, a *Admin) {
				created, own := tagged(t, a, nil)
				equal(t, "list", ids(a.Must(t, 200, "GET", "/plugins?name=cors&foo=bar&tags="+own, nil)), created)
			},
		},
		{
			Name:     "lists under a parent",
			Kong:     "Kong ignores tags there, and next lacks the size.",
			Operator: "The operator filters such lists itself and repeats the size.",
			Run: func(t *testing.T, a *Admin) {
				svc, name := a.Service(t, "s")
				a.Must(t, 201, "POST", "/plugins", rateLimiting(svc))
				a.Must(t, 201, "POST", "/plugins", object{"name": "key-auth", "service": ref(svc)})
				page := a.Must(t, 200, "GET", "/services/"+name+"/plugins?size=1&tags="+a.Name("none"), nil)
				equal(t, "rows", len(ids(page)), 1)
				equal(t, "next", page.Body["next"], "/services/"+name+"/plugins?offset="+text(page.Body["offset"]))
				equal(t, "rest", len(ids(a.Must(t, 200, "GET", text(page.Body["next"]), nil))), 1)
			},
		},
		{
			Name:     "a list under a parent has every scope with it",
			Kong:     "GET /services/{id}/plugins also lists plugins of that service and a route or a consumer.",
			Operator: "The holder of a key is the plugin whose whole scope is equal.",
			Run: func(t *testing.T, a *Admin) {
				svc, name := a.Service(t, "s")
				one := text(a.Must(t, 201, "POST", "/plugins", rateLimiting(svc)).Body["id"])
				two := text(a.Must(t, 201, "POST", "/plugins", rateLimiting(svc, object{"route": ref(a.Route(t, name, "r"))})).Body["id"])
				same(t, "list", ids(a.Must(t, 200, "GET", "/services/"+svc+"/plugins", nil)), []string{one, two})
			},
		},
	}
}

func tagFacts() []fact {
	return []fact{
		{
			Name:     "all of the tags",
			Kong:     "tags=a,b lists entities with both tags.",
			Operator: "The operator selects its plugins by ownership tags.",
			Run: func(t *testing.T, a *Admin) {
				created, own := tagged(t, a, []string{"a"}, []string{"a", "b"}, []string{"b"})
				same(t, "a,b", ids(a.Must(t, 200, "GET", "/plugins?tags="+own+",a,b", nil)), created[1:2])
			},
		},
		{
			Name:     "any of the tags",
			Kong:     "tags=a/b lists entities with either tag.",
			Operator: "The operator does not use it.",
			Run: func(t *testing.T, a *Admin) {
				x, y := a.Name("x"), a.Name("y")
				created, _ := tagged(t, a, []string{x}, []string{x, y}, []string{y}, nil)
				same(t, "x/y", ids(a.Must(t, 200, "GET", "/plugins?tags="+x+"/"+y, nil)), created[:3])
			},
		},
		{
			Name:     "limits of a tag filter",
			Kong:     "Mixing ',' and '/', more than five tags and an empty filter are 400 code 11.",
			Operator: "The operator filters by at most five of its six ownership tags.",
			Run: func(t *testing.T, a *Admin) {
				for query, why := range map[string]string{
					"a,b/c": "invalid filter syntax", "": "cannot be null", "a,b,c,d,e,f": "cannot query more than 5 tags",
				} {
					equal(t, query, a.Must(t, 400, "GET", "/plugins?tags="+query, nil).Body, object{
						"message": "invalid option (tags: " + why + ")", "options": object{"tags": why}, "name": "invalid options", "code": 11,
					})
				}
			},
		},
		{
			Name:     "ownership tags",
			Kong:     "Kong stores and filters tags with colons as they are.",
			Operator: "k8s-namespace:x needs no encoding.",
			Run: func(t *testing.T, a *Admin) {
				tags := []string{"managed-by:" + a.prefix, "k8s-namespace:team-a"}
				created, _ := tagged(t, a, tags)
				equal(t, "list", ids(a.Must(t, 200, "GET", "/plugins?tags="+strings.Join(tags, ","), nil)), created)
			},
		},
		{
			Name:     "tags are a set of printable text",
			Kong:     "Kong drops duplicates, refuses ',' and '/' with 400, and accepts spaces and UTF-8.",
			Operator: "The operator refuses such tags of a user first.",
			Run: func(t *testing.T, a *Admin) {
				svc, _ := a.Service(t, "s")
				p := a.Must(t, 201, "POST", "/plugins", rateLimiting(svc, object{"tags": []string{"d", "d", "a b:c", "é"}}))
				equal(t, "tags", sorted(p.Body["tags"]), []string{"a b:c", "d", "é"})
				for _, bad := range []string{"a,b", "a/b"} {
					path := "/plugins/" + text(p.Body["id"])
					equal(t, bad, a.Must(t, 400, "PATCH", path, object{"tags": []string{bad}}).Body["code"], 2)
				}
			},
		},
		{
			Name:     "entities with a tag",
			Kong:     "GET /tags/{tag} lists tag, entity_name and entity_id.",
			Operator: "The operator does not use it; administrators do.",
			Run: func(t *testing.T, a *Admin) {
				created, own := tagged(t, a, nil)
				page := a.Must(t, 200, "GET", "/tags/"+url.PathEscape(own), nil)
				equal(t, "data", page.Body["data"], []object{{"tag": own, "entity_name": "plugins", "entity_id": created[0]}})
			},
		},
	}
}
