package adminapi

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
)

// EntityKind is a kind of entity that a plugin can be scoped to.
type EntityKind string

// The kinds of entities that a plugin can be scoped to.
const (
	Service       EntityKind = "service"
	Route         EntityKind = "route"
	Consumer      EntityKind = "consumer"
	ConsumerGroup EntityKind = "consumer group"
)

// collections maps each kind to its path.
var collections = map[EntityKind]string{
	Service:       "/services",
	Route:         "/routes",
	Consumer:      "/consumers",
	ConsumerGroup: "/consumer_groups",
}

// EntityRef refers to an entity by exactly one of its fields: a consumer by ID, Username or
// CustomID, anything else by ID or Name.
type EntityRef struct{ ID, Name, Username, CustomID string }

// Entity is what the operator uses of a service, route, consumer or consumer group.
type Entity struct {
	// ID is a UUID in lower case.
	ID string
	// Name is the name, or the username of a consumer; CustomID is the custom_id of a consumer.
	// Either is empty if the entity has none, or one longer than 512 bytes.
	Name, CustomID string
	// Tags, at most 100. Longer tags than 512 bytes are left out.
	Tags []string
	// ServiceID and Protocols are those of a route, empty for other kinds.
	ServiceID string
	Protocols []string
}

// Resolve returns the entity that ref refers to. It looks up an ID as well. A response with
// another entity is Unavailable. Several consumers with one custom_id are Ambiguous.
func (c *Client) Resolve(ctx context.Context, kind EntityKind, ref EntityRef) (Entity, error) {
	e, failed := c.resolve(ctx, kind, ref)
	if failed != nil {
		return Entity{}, failed
	}
	return e, nil
}

func (c *Client) resolve(ctx context.Context, kind EntityKind, ref EntityRef) (Entity, *Error) {
	op := "get " + string(kind)
	if _, ok := collections[kind]; !ok || !ref.fits(kind) {
		return Entity{}, invalid(op, "the reference must set exactly one field, and this kind must have it")
	}
	switch {
	case ref.CustomID != "":
		return c.consumerByCustomID(ctx, op, ref.CustomID)
	case ref.ID != "":
		return c.entityByID(ctx, op, kind, ref.ID)
	}
	return c.entityByName(ctx, op, kind, ref.Name+ref.Username) // one of the two is empty
}

// fits reports whether exactly one field is set, and the kind has this field.
func (ref EntityRef) fits(kind EntityKind) bool {
	set := 0
	for _, field := range []string{ref.ID, ref.Name, ref.Username, ref.CustomID} {
		if field != "" {
			set++
		}
	}
	if kind == Consumer {
		return set == 1 && ref.Name == ""
	}
	return set == 1 && ref.Username == "" && ref.CustomID == ""
}

// entityJSON holds the fields of services, routes, consumers and consumer groups that the
// client uses.
type entityJSON struct {
	ID       string    `json:"id"`
	Name     *string   `json:"name"`
	Username *string   `json:"username"`
	CustomID *string   `json:"custom_id"`
	Tags     []*string `json:"tags"`

	Service *struct {
		ID string `json:"id"`
	} `json:"service"`
	Protocols []*string `json:"protocols"`
}

// Bounds on what the client keeps of one entity.
const (
	maxEntityStrings = 100
	maxEntityString  = 512 // bytes
)

// entity returns what the client keeps.
func (e entityJSON) entity(kind EntityKind) Entity {
	kept := Entity{ID: e.ID, Name: short(e.Name), Tags: shortOnes(e.Tags)}
	if kind == Consumer {
		kept.Name, kept.CustomID = short(e.Username), short(e.CustomID)
	}
	if kind == Route {
		kept.Protocols = shortOnes(e.Protocols)
		if e.Service != nil {
			kept.ServiceID, _ = uuid(e.Service.ID)
		}
	}
	return kept
}

// short copies a string, unless it is null or long.
func short(s *string) string {
	if s == nil || len(*s) > maxEntityString {
		return ""
	}
	return strings.Clone(*s)
}

// shortOnes copies the first strings of a list. It leaves out nulls and long strings.
func shortOnes(list []*string) []string {
	var short []string
	for _, s := range list {
		if s != nil && len(*s) <= maxEntityString && len(short) < maxEntityStrings {
			short = append(short, strings.Clone(*s))
		}
	}
	return short
}

func (c *Client) entityByID(ctx context.Context, op string, kind EntityKind, id string) (Entity, *Error) {
	id, failed := idSegment(op, id)
	if failed != nil {
		return Entity{}, failed
	}
	return c.getEntity(ctx, op, kind, id, func(e entityJSON) bool { return e.ID == id })
}

func (c *Client) entityByName(ctx context.Context, op string, kind EntityKind, name string) (Entity, *Error) {
	segment, failed := nameSegment(op, "name", name)
	if failed != nil {
		failed.Message += "; refer to the " + string(kind) + " by id"
		return Entity{}, failed
	}
	return c.getEntity(ctx, op, kind, segment, func(e entityJSON) bool {
		if kind == Consumer {
			return value(e.Username) == name
		}
		return value(e.Name) == name
	})
}

// getEntity returns the entity at the path segment. matches reports whether it is the requested
// one.
func (c *Client) getEntity(ctx context.Context, op string, kind EntityKind, segment string, matches func(entityJSON) bool) (Entity, *Error) {
	r := request{op: op, method: http.MethodGet, path: collections[kind] + "/" + segment}
	resp, failed := c.call(ctx, r, http.StatusOK)
	if failed != nil {
		return Entity{}, failed
	}
	e, failed := decodeEntity(r, resp, resp.body)
	if failed != nil {
		return Entity{}, failed
	}
	if !matches(e) {
		return Entity{}, r.malformed(resp, "Kong returned another entity")
	}
	return e.entity(kind), nil
}

// consumerByCustomID uses the filter of Kong and checks every row again.
func (c *Client) consumerByCustomID(ctx context.Context, op, customID string) (Entity, *Error) {
	if problem := textProblem(customID); problem != "" {
		return Entity{}, invalid(op, "custom_id %s", problem)
	}
	var found Entity
	several := false
	visit := func(r request, resp response, row json.RawMessage) (bool, *Error) {
		e, failed := decodeEntity(r, resp, row)
		if failed == nil && value(e.CustomID) == customID {
			several = found.ID != "" && found.ID != e.ID
			found = e.entity(Consumer)
		}
		return !several, failed
	}
	failed := c.readList(ctx, list{op: op, path: collections[Consumer], filter: url.Values{"custom_id": {customID}}, maxRows: maxEntities, visit: visit})
	switch {
	case failed != nil:
		return Entity{}, failed
	case found.ID == "":
		return Entity{}, c.absent(op, "consumer")
	case several:
		return Entity{}, &Error{Reason: Ambiguous, Op: op, Message: "more than one consumer has this custom_id"}
	}
	return found, nil
}

func decodeEntity(r request, resp response, raw []byte) (entityJSON, *Error) {
	var e entityJSON
	if json.Unmarshal(raw, &e) != nil {
		return entityJSON{}, r.malformed(resp, "the response is not an entity of Kong")
	}
	id, ok := uuid(e.ID)
	if !ok {
		return entityJSON{}, r.malformed(resp, "Kong returned an entity without a valid id")
	}
	e.ID = id
	return e, nil
}
