package adminapi

import (
	"context"
	"encoding/json"
	"fmt"
)

// A page of a list costs Kong and the operator about as much as requestsPerPage requests for
// single entities.
const requestsPerPage = 10

// lookup finds the wanted entities of one kind. Its memory grows with what is wanted, not with
// what Kong has.
type lookup struct {
	kind   EntityKind
	wanted map[EntityRef]bool
	found  map[EntityRef]Entity
	// ambiguous holds the custom_ids that several consumers have.
	ambiguous map[EntityRef]bool
	// tagged are the sets of tags to look for while all entities are read, and visit gets what has
	// all tags of a set.
	tagged taggedSets
	visit  func(TagSet, Entity)
}

// Entities returns the wanted entities of a kind. It leaves out references to which no entity or
// several entities answer, and references that Resolve would refuse as Invalid. If it returns an
// error, nothing is known about any of them.
//
// It takes at most twice as long as the faster of two ways. The first is to ask for one entity
// after the other. The second is to read all entities of the kind, at most 2,000,000, and to keep
// the wanted ones. Each way has the deadline of a list, see VisitByTags.
func (c *Client) Entities(ctx context.Context, kind EntityKind, wanted []EntityRef) (map[EntityRef]Entity, error) {
	return c.EntitiesAndTagged(ctx, kind, wanted, nil, nil)
}

// EntitiesAndTagged is Entities for references and sets of tags at once. It passes every entity that
// has all tags of a set to visit, with that set. What it visited before an error proves nothing. For
// a few sets, it makes a list for each; for more, it reads all entities of the kind.
func (c *Client) EntitiesAndTagged(ctx context.Context, kind EntityKind, wanted []EntityRef, sets []TagSet, visit func(TagSet, Entity)) (map[EntityRef]Entity, error) {
	op := "list " + string(kind) + "s"
	if _, ok := collections[kind]; !ok {
		return nil, invalid(op, "unknown kind of entity")
	}
	l := lookup{kind: kind, wanted: map[EntityRef]bool{}, found: map[EntityRef]Entity{}, ambiguous: map[EntityRef]bool{}, visit: visit}
	for _, ref := range wanted {
		if ref.sendable(kind) {
			l.wanted[ref.canonical()] = true
		}
	}
	complete, failed := c.readTagged(withPriority(ctx, resyncing), op, &l, sets)
	if failed == nil && !complete {
		failed = c.readWanted(withPriority(ctx, resyncing), op, &l)
	}
	if failed != nil {
		return nil, failed
	}
	entities := make(map[EntityRef]Entity, len(l.found))
	for _, ref := range wanted {
		if e, ok := l.found[ref.canonical()]; ok {
			entities[ref] = e
		}
	}
	return entities, nil
}

// readWanted finds the wanted entities that are not found yet.
func (c *Client) readWanted(ctx context.Context, op string, l *lookup) *Error {
	if pages := (len(l.wanted) - len(l.found)) / requestsPerPage; pages > 0 {
		if complete, failed := c.readEntities(ctx, op, l, pages); complete || failed != nil {
			return failed
		}
	}
	return c.askForEntities(ctx, op, l)
}

// FirstEntities returns the first entities of a kind, in Kong's order, at most limit (1 to 1000). It
// takes one request. With a serviceID the kind must be Route, and only routes of that service count;
// ReferenceMissing means that the service does not exist.
func (c *Client) FirstEntities(ctx context.Context, kind EntityKind, serviceID string, limit int) ([]Entity, error) {
	op, path := "list "+string(kind)+"s", collections[kind]
	if path == "" || limit < 1 || limit > pageSize || serviceID != "" && kind != Route {
		return nil, invalid(op, "the list needs a known kind and a limit from 1 to %d; only routes can be those of a service", pageSize)
	}
	if serviceID != "" {
		segment, failed := idSegment(op, serviceID)
		if failed != nil {
			return nil, failed
		}
		path = collections[Service] + "/" + segment + path
	}
	var first []Entity
	failed := c.readList(ctx, list{
		op: op, path: path, pageSize: limit, maxRows: limit,
		visit: func(r request, resp response, row json.RawMessage) (bool, *Error) {
			e, failed := decodeEntity(r, resp, row)
			if failed == nil {
				first = append(first, e.entity(kind))
			}
			return len(first) < limit, failed
		},
		afterPage: func(int) bool { return false },
	})
	switch {
	case failed != nil && failed.Reason == NotFound && serviceID != "":
		failed.Reason, failed.Message = ReferenceMissing, "the service does not exist"
		return nil, failed
	case failed != nil:
		return nil, failed
	}
	return first, nil
}

// canonical returns the reference with its ID as Kong stores it.
func (ref EntityRef) canonical() EntityRef {
	ref.ID, _ = uuid(ref.ID)
	return ref
}

// sendable reports whether Resolve would send a request for the reference.
func (ref EntityRef) sendable(kind EntityKind) bool {
	if !ref.fits(kind) {
		return false
	}
	var failed *Error
	switch {
	case ref.ID != "":
		_, failed = idSegment("", ref.ID)
	case ref.CustomID != "":
		return textProblem(ref.CustomID) == ""
	default:
		_, failed = nameSegment("", "", ref.Name+ref.Username)
	}
	return failed == nil
}

// readEntities reads the list of all entities, at most the given number of pages, and reports
// whether that was the complete list.
func (c *Client) readEntities(ctx context.Context, op string, l *lookup, maxPages int) (complete bool, failed *Error) {
	complete = true
	failed = c.readList(ctx, list{
		op: op, path: collections[l.kind], maxRows: maxEntities,
		visit: func(r request, resp response, row json.RawMessage) (bool, *Error) {
			e, failed := decodeEntity(r, resp, row)
			if failed == nil {
				l.add(e)
			}
			return true, failed
		},
		afterPage: func(pages int) bool {
			complete = pages < maxPages
			return complete
		},
	})
	if failed != nil && failed.Reason == NotFound {
		return true, nil // this Kong has no entities of this kind at all
	}
	return complete, failed
}

// add keeps an entity if it is wanted, and visits it for each set of tags that it has.
func (l *lookup) add(e entityJSON) {
	if len(l.tagged) > 0 {
		l.visitTagged(e.entity(l.kind))
	}
	for _, ref := range e.refs(l.kind) {
		if !l.wanted[ref] || l.ambiguous[ref] {
			continue
		}
		if other, ok := l.found[ref]; ok && other.ID != e.ID {
			l.ambiguous[ref] = true
			delete(l.found, ref)
			continue
		}
		l.found[ref] = e.entity(l.kind)
	}
}

// askForEntities asks for the wanted entities that are not found yet, one after the other. It
// asks again for each custom_id: another consumer with it can be on a page that was not read.
func (c *Client) askForEntities(ctx context.Context, op string, l *lookup) *Error {
	timeout := c.settings.listTimeout()
	askCtx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	for ref := range l.wanted {
		if _, ok := l.found[ref]; ok && ref.CustomID == "" || l.ambiguous[ref] {
			continue
		}
		e, failed := c.resolve(askCtx, l.kind, ref)
		switch {
		case failed == nil:
			l.found[ref] = e
		case failed.Reason == NotFound || failed.Reason == Ambiguous:
			delete(l.found, ref)
		case askCtx.Err() != nil && ctx.Err() == nil:
			return &Error{Reason: Unavailable, Op: op, Message: fmt.Sprintf("looking up %d references did not end within %s", len(l.wanted), timeout), err: failed}
		default:
			return failed
		}
	}
	return nil
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
