package adminapi

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
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

// Resolve returns the ID of the entity that ref refers to. It looks up an ID as well. A
// response with another entity is Unavailable. Several consumers with one custom_id are
// Ambiguous.
func (c *Client) Resolve(ctx context.Context, kind EntityKind, ref EntityRef) (string, error) {
	op := "get " + string(kind)
	collection, ok := collections[kind]
	if !ok || !ref.fits(kind) {
		return "", invalid(op, "the reference must set exactly one field, and this kind must have it")
	}
	var id string
	var failed *Error
	switch {
	case ref.CustomID != "":
		id, failed = c.consumerByCustomID(ctx, op, ref.CustomID)
	case ref.ID != "":
		id, failed = c.entityByID(ctx, op, collection, ref.ID)
	default:
		id, failed = c.entityByName(ctx, op, collection, ref.Name+ref.Username) // one of the two is empty
	}
	if failed != nil {
		return "", failed
	}
	return id, nil
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
	ID       string  `json:"id"`
	Name     *string `json:"name"`
	Username *string `json:"username"`
	CustomID *string `json:"custom_id"`
}

func (c *Client) entityByID(ctx context.Context, op, collection, id string) (string, *Error) {
	id, failed := idSegment(op, id)
	if failed != nil {
		return "", failed
	}
	return c.getEntity(ctx, op, collection+"/"+id, func(e entityJSON) bool { return e.ID == id })
}

func (c *Client) entityByName(ctx context.Context, op, collection, name string) (string, *Error) {
	segment, failed := nameSegment(op, "name", name)
	if failed != nil {
		return "", failed
	}
	return c.getEntity(ctx, op, collection+"/"+segment, func(e entityJSON) bool {
		if collection == collections[Consumer] {
			return value(e.Username) == name
		}
		return value(e.Name) == name
	})
}

// getEntity returns the ID of the entity at path. matches reports whether it is the requested
// one.
func (c *Client) getEntity(ctx context.Context, op, path string, matches func(entityJSON) bool) (string, *Error) {
	r := request{op: op, method: http.MethodGet, path: path}
	resp, failed := c.call(ctx, r, http.StatusOK)
	if failed != nil {
		return "", failed
	}
	e, failed := decodeEntity(r, resp, resp.body)
	if failed != nil {
		return "", failed
	}
	if !matches(e) {
		return "", r.malformed(resp, "Kong returned another entity")
	}
	return e.ID, nil
}

// consumerByCustomID uses the filter of Kong and checks every row again.
func (c *Client) consumerByCustomID(ctx context.Context, op, customID string) (string, *Error) {
	if problem := textProblem(customID); problem != "" {
		return "", invalid(op, "custom_id %s", problem)
	}
	found := map[string]bool{}
	id := ""
	filter := url.Values{"custom_id": {customID}}
	failed := c.readList(ctx, list{op: op, path: collections[Consumer], filter: filter, maxRows: maxEntities, visit: func(r request, resp response, row json.RawMessage) (bool, *Error) {
		e, failed := decodeEntity(r, resp, row)
		if failed == nil && value(e.CustomID) == customID {
			id = e.ID
			found[id] = true
		}
		return len(found) < 2, failed
	}})
	switch {
	case failed != nil:
		return "", failed
	case len(found) == 0:
		return "", c.absent(op, "consumer")
	case len(found) > 1:
		return "", &Error{Reason: Ambiguous, Op: op, Message: "more than one consumer has this custom_id"}
	}
	return id, nil
}

// Entities returns the IDs of all entities of a kind by every reference to them. It leaves out
// a custom_id of several consumers. An incomplete list is an error.
func (c *Client) Entities(ctx context.Context, kind EntityKind) (map[EntityRef]string, error) {
	op := "list " + string(kind) + "s"
	collection, ok := collections[kind]
	if !ok {
		return nil, invalid(op, "unknown kind of entity")
	}
	ids, ambiguous := map[EntityRef]string{}, map[EntityRef]bool{}
	failed := c.readList(ctx, list{op: op, path: collection, maxRows: maxEntities, visit: func(r request, resp response, row json.RawMessage) (bool, *Error) {
		e, failed := decodeEntity(r, resp, row)
		if failed != nil {
			return false, failed
		}
		for _, ref := range e.refs(kind) {
			ambiguous[ref] = ambiguous[ref] || ids[ref] != "" && ids[ref] != e.ID
			ids[ref] = e.ID
		}
		return true, nil
	}})
	if failed != nil {
		return nil, failed
	}
	for ref, several := range ambiguous {
		if several {
			delete(ids, ref)
		}
	}
	return ids, nil
}

// refs returns all references to the entity.
func (e entityJSON) refs(kind EntityKind) []EntityRef {
	refs := []EntityRef{{ID: e.ID}}
	switch {
	case kind == Consumer && value(e.Username) != "":
		refs = append(refs, EntityRef{Username: value(e.Username)})
	case kind != Consumer && value(e.Name) != "":
		refs = append(refs, EntityRef{Name: value(e.Name)})
	}
	if kind == Consumer && value(e.CustomID) != "" {
		refs = append(refs, EntityRef{CustomID: value(e.CustomID)})
	}
	return refs
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
