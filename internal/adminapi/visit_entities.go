package adminapi

import (
	"context"
	"encoding/json"
)

// VisitEntities passes every entity of a kind to visit. If it returns an error, the list is
// incomplete. A Kong without entities of that kind at all, as the community edition is without
// consumer groups, has none. The list has the bounds and the deadline of VisitByTags.
func (c *Client) VisitEntities(ctx context.Context, kind EntityKind, visit func(Entity)) error {
	op := "list " + string(kind) + "s"
	path, known := collections[kind]
	if !known {
		return invalid(op, "unknown kind of entity")
	}
	failed := c.readList(withPriority(ctx, resyncing), list{
		op: op, path: path, maxRows: maxEntities,
		visit: func(r request, resp response, row json.RawMessage) (bool, *Error) {
			e, failed := decodeEntity(r, resp, row)
			if failed == nil {
				visit(e.entity(kind))
			}
			return true, failed
		},
	})
	if failed != nil && failed.Reason != NotFound {
		return failed
	}
	return nil
}
