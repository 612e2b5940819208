package adminapi

import (
	"context"
	"encoding/json"
	"math"
	"net/url"
	"strings"
)

// TagSet is one to five tags, separated by commas, as in Kong's filter for entities that have all of
// them.
type TagSet string

// NewTagSet makes a set of tags. No tag may hold a comma or a slash.
func NewTagSet(tags ...string) TagSet { return TagSet(strings.Join(tags, ",")) }

// Tags are the tags of the set.
func (s TagSet) Tags() []string { return strings.Split(string(s), ",") }

// maxTaggedLists is how many sets of tags EntitiesAndTagged lists one by one. For more it reads all
// entities of the kind, because a list costs Kong about as much as a page of all entities.
const maxTaggedLists = requestsPerPage

// EntitiesByTags passes every entity of a kind that has all tags of the set to visit. If it returns
// an error, the list is incomplete. The list has the bounds and the deadline of VisitByTags.
func (c *Client) EntitiesByTags(ctx context.Context, kind EntityKind, set TagSet, visit func(Entity)) error {
	failed := c.listTagged(ctx, "list "+string(kind)+"s", kind, set, func(e entityJSON) { visit(e.entity(kind)) })
	if failed != nil {
		return failed // not the nil *Error as an error
	}
	return nil
}

// readTagged visits the entities of all sets, and reports whether it read all entities of the kind.
func (c *Client) readTagged(ctx context.Context, op string, l *lookup, sets []TagSet) (complete bool, failed *Error) {
	if len(sets) > maxTaggedLists {
		l.tagged = newTaggedSets(sets)
		return c.readEntities(ctx, op, l, math.MaxInt)
	}
	for _, set := range sets {
		failed := c.listTagged(ctx, op, l.kind, set, func(e entityJSON) {
			l.visit(set, e.entity(l.kind))
			l.add(e)
		})
		if failed != nil {
			return false, failed
		}
	}
	return false, nil
}

func (c *Client) listTagged(ctx context.Context, op string, kind EntityKind, set TagSet, visit func(entityJSON)) *Error {
	path, known := collections[kind]
	if !known {
		return invalid(op, "unknown kind of entity")
	}
	tags := set.Tags()
	filter, failed := tagsQuery(op, tags)
	if failed != nil {
		return failed
	}
	failed = c.readList(ctx, list{
		op: op, path: path, filter: url.Values{"tags": {filter}}, maxRows: maxEntities,
		visit: func(r request, resp response, row json.RawMessage) (bool, *Error) {
			e, failed := decodeEntity(r, resp, row)
			if failed == nil && hasAll(e.tags(), tags) { // a proxy may drop the filter
				visit(e)
			}
			return true, failed
		},
	})
	if failed != nil && failed.Reason == NotFound {
		return nil // this Kong has no entities of this kind at all
	}
	return failed
}

// tags of an entity, without nulls.
func (e entityJSON) tags() []string {
	tags := make([]string, 0, len(e.Tags))
	for _, tag := range e.Tags {
		if tag != nil {
			tags = append(tags, *tag)
		}
	}
	return tags
}

// taggedSets are sets of tags by their first tag, so that an entity is compared with few of them.
type taggedSets map[string][]TagSet

func newTaggedSets(sets []TagSet) taggedSets {
	byFirst := taggedSets{}
	for _, set := range sets {
		first := set.Tags()[0]
		byFirst[first] = append(byFirst[first], set)
	}
	return byFirst
}

// visitTagged visits an entity for each set whose tags it has.
func (l *lookup) visitTagged(e Entity) {
	for i, tag := range e.Tags {
		if len(l.tagged[tag]) == 0 || hasAll(e.Tags[:i], []string{tag}) { // a tag may come twice
			continue
		}
		for _, set := range l.tagged[tag] {
			if hasAll(e.Tags, set.Tags()) {
				l.visit(set, e)
			}
		}
	}
}
