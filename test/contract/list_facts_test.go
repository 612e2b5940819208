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
		p := a.Must(t, 201, "POST", "/plugins", limit(svc, object{"tags": append([]string{own}, list...)}))
		created = append(created, text(p.Body["id"]))
	}
	return created, own
}

// same compares lists of IDs without regard to order.
func same(t *testing.T, what string, got, want []string) {
	t.Helper()
	got, want = slices.Clone(got), slices.Clone(want)
	slices.Sort(got)
	slices.Sort(want)
	is(t, what, got, want)
}

func listFacts() []fact {
	return append(pagingFacts(), tagFacts()...)
}

func pagingFacts() []fact {
	return []fact{
		{
			Name:  "pages",
			Cites: "ordered by ID; next is a path with offset, tags and size, and null on the last page: the sweep follows next until null, and a list that broke off is no list",
			Run: func(t *testing.T, a *Admin) {
				created, own := tagged(t, a, nil, nil, nil, nil, nil)
				var seen []string
				path := "/plugins?size=2&tags=" + own
				for pages := 1; ; pages++ {
					page := a.Must(t, 200, "GET", path, nil)
					seen = append(seen, ids(page)...)
					if page.Body["next"] == nil {
						is(t, "pages", pages, 3)
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
			Name:  "a full last page is the last",
			Cites: "as many rows as the size and no more: next is null, no empty page follows",
			Run: func(t *testing.T, a *Admin) {
				_, own := tagged(t, a, nil, nil)
				page := a.Must(t, 200, "GET", "/plugins?size=2&tags="+own, nil)
				is(t, "next", page.Body["next"], nil)
				if _, has := page.Body["offset"]; has {
					t.Errorf("offset %v", page.Body["offset"])
				}
			},
		},
		{
			Name:  "a row deleted at the boundary",
			Cites: "keyset paging: deleting the last row of a page skips nothing on the next",
			Run: func(t *testing.T, a *Admin) {
				created, own := tagged(t, a, nil, nil, nil, nil)
				slices.Sort(created)
				first := a.Must(t, 200, "GET", "/plugins?size=2&tags="+own, nil)
				a.Must(t, 204, "DELETE", "/plugins/"+created[1], nil)
				is(t, "rest", ids(a.Must(t, 200, "GET", text(first.Body["next"]), nil)), created[2:])
			},
		},
		{
			Name:  "sizes",
			Cites: "1 to 1000, else 400 code 9: a sweep of N plugins takes ceil(N/1000) requests",
			Run: func(t *testing.T, a *Admin) {
				_, own := tagged(t, a, nil)
				a.Must(t, 200, "GET", "/plugins?size=1000&tags="+own, nil)
				for _, size := range []string{"0", "-1", "1001", "1.5"} {
					is(t, size, a.Must(t, 400, "GET", "/plugins?size="+size, nil).Body,
						object{"message": "size must be an integer between 1 and 1000", "code": 9, "name": "invalid size"})
				}
				is(t, "abc", a.Must(t, 400, "GET", "/plugins?size=abc", nil).Body["message"], "size must be a number")
			},
		},
		{
			Name:  "a bad offset",
			Cites: "400 code 7: an offset is used only as Kong gave it",
			Run: func(t *testing.T, a *Admin) {
				is(t, "body", a.Must(t, 400, "GET", "/plugins?offset=garbage", nil).Body,
					object{"message": "'garbage' is not a valid offset: bad json encoding", "code": 7, "name": "invalid offset"})
			},
		},
		{
			Name:  "no filter by plugin name",
			Cites: "unknown arguments are ignored: the key is looked up under the parent, not by ?name=",
			Run: func(t *testing.T, a *Admin) {
				created, own := tagged(t, a, nil)
				is(t, "list", ids(a.Must(t, 200, "GET", "/plugins?name=cors&foo=bar&tags="+own, nil)), created)
			},
		},
		{
			Name:  "lists under a parent",
			Cites: "tags are ignored and next lacks the size: whoever looks up a key there filters himself, and repeats the size",
			Run: func(t *testing.T, a *Admin) {
				svc, name := a.Service(t, "s")
				a.Must(t, 201, "POST", "/plugins", limit(svc))
				a.Must(t, 201, "POST", "/plugins", object{"name": "key-auth", "service": ref(svc)})
				page := a.Must(t, 200, "GET", "/services/"+name+"/plugins?size=1&tags="+a.Name("none"), nil)
				is(t, "rows", len(ids(page)), 1)
				is(t, "next", page.Body["next"], "/services/"+name+"/plugins?offset="+text(page.Body["offset"]))
				is(t, "rest", len(ids(a.Must(t, 200, "GET", text(page.Body["next"]), nil))), 1)
			},
		},
		{
			Name:  "a list under a parent has every scope with it",
			Cites: "GET /services/{id}/plugins also lists plugins for that service and a route or consumer: the holder of a key is the one whose whole scope is equal",
			Run: func(t *testing.T, a *Admin) {
				svc, name := a.Service(t, "s")
				one := text(a.Must(t, 201, "POST", "/plugins", limit(svc)).Body["id"])
				two := text(a.Must(t, 201, "POST", "/plugins", limit(svc, object{"route": ref(a.Route(t, name, "r"))})).Body["id"])
				same(t, "list", ids(a.Must(t, 200, "GET", "/services/"+svc+"/plugins", nil)), []string{one, two})
			},
		},
	}
}

func tagFacts() []fact {
	return []fact{
		{
			Name:  "all of the tags",
			Cites: "tags=a,b is both: owner tags select the operator's own rows",
			Run: func(t *testing.T, a *Admin) {
				created, own := tagged(t, a, []string{"a"}, []string{"a", "b"}, []string{"b"})
				same(t, "a,b", ids(a.Must(t, 200, "GET", "/plugins?tags="+own+",a,b", nil)), created[1:2])
			},
		},
		{
			Name:  "any of the tags",
			Cites: "tags=a/b is either",
			Run: func(t *testing.T, a *Admin) {
				x, y := a.Name("x"), a.Name("y")
				created, _ := tagged(t, a, []string{x}, []string{x, y}, []string{y}, nil)
				same(t, "x/y", ids(a.Must(t, 200, "GET", "/plugins?tags="+x+"/"+y, nil)), created[:3])
			},
		},
		{
			Name:  "what a tag filter may not be",
			Cites: "no mixing, at most five, not empty: 400 code 11; at most five of the six owner tags can be asked for at once",
			Run: func(t *testing.T, a *Admin) {
				for query, why := range map[string]string{
					"a,b/c": "invalid filter syntax", "": "cannot be null", "a,b,c,d,e,f": "cannot query more than 5 tags",
				} {
					is(t, query, a.Must(t, 400, "GET", "/plugins?tags="+query, nil).Body, object{
						"message": "invalid option (tags: " + why + ")", "options": object{"tags": why}, "name": "invalid options", "code": 11,
					})
				}
			},
		},
		{
			Name:  "owner tags",
			Cites: "tags with colons are stored and queried as they are: k8s-namespace:x needs no encoding of its own",
			Run: func(t *testing.T, a *Admin) {
				tags := []string{"managed-by:" + a.prefix, "k8s-namespace:team-a"}
				created, _ := tagged(t, a, tags)
				is(t, "list", ids(a.Must(t, 200, "GET", "/plugins?tags="+strings.Join(tags, ","), nil)), created)
			},
		},
		{
			Name:  "tags are a set of printable words",
			Cites: "duplicates are dropped, comma and slash are 400, space and UTF-8 are fine: user tags with , or / are refused early",
			Run: func(t *testing.T, a *Admin) {
				svc, _ := a.Service(t, "s")
				p := a.Must(t, 201, "POST", "/plugins", limit(svc, object{"tags": []string{"d", "d", "a b:c", "é"}}))
				is(t, "tags", sorted(p.Body["tags"]), []string{"a b:c", "d", "é"})
				for _, bad := range []string{"a,b", "a/b"} {
					path := "/plugins/" + text(p.Body["id"])
					is(t, bad, a.Must(t, 400, "PATCH", path, object{"tags": []string{bad}}).Body["code"], 2)
				}
			},
		},
		{
			Name:  "who has a tag",
			Cites: "GET /tags/{tag} lists tag, entity_name and entity_id of every entity with it",
			Run: func(t *testing.T, a *Admin) {
				created, own := tagged(t, a, nil)
				page := a.Must(t, 200, "GET", "/tags/"+url.PathEscape(own), nil)
				is(t, "data", page.Body["data"], []object{{"tag": own, "entity_name": "plugins", "entity_id": created[0]}})
			},
		},
	}
}
