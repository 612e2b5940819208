package adminapi

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"strconv"
)

const (
	pageSize = 1000 // the most that Kong allows
	maxPages = 10000
)

// page of a list.
type page struct {
	rows   []json.RawMessage
	offset string // of the next page, "" on the last one
}

// decodePage reads one page. A list that does not say how it goes on is malformed: taking
// it for the last page would make what follows absent.
func decodePage(r request, a response) (page, *Error) {
	var body struct {
		Data   []json.RawMessage `json:"data"`
		Next   json.RawMessage   `json:"next"`
		Offset *string           `json:"offset"`
	}
	if json.Unmarshal(a.body, &body) != nil || body.Data == nil || body.Next == nil {
		return page{}, r.malformed(a, "the answer is not a list of Kong")
	}
	p := page{rows: body.Data}
	last := string(body.Next) == "null"
	if body.Offset != nil {
		p.offset = *body.Offset
	}
	if last != (p.offset == "") {
		return page{}, r.malformed(a, "the list does not say where it goes on")
	}
	return p, nil
}

// list walks all pages of the list at path and hands every row to visit, until that says
// that it has seen enough. The pages are asked for one by one by the offset in the answer:
// Kong's own links drop the page size under a parent. A page of configs that is too large to
// read is asked for in halves.
func (c *Client) list(ctx context.Context, op, path string, filter url.Values, visit func(request, response, json.RawMessage) (more bool, failed *Error)) *Error {
	size := pageSize
	query := url.Values{"size": {strconv.Itoa(size)}}
	for key, values := range filter {
		query[key] = values
	}
	r := request{op: op, method: http.MethodGet, path: path, query: query, limit: maxListBody}
	seen := map[string]bool{}
	for {
		a, failed := c.call(ctx, r, http.StatusOK)
		if failed != nil && size > 1 && errors.Is(failed, errTooLarge) {
			size /= 2
			query.Set("size", strconv.Itoa(size))
			continue
		}
		if failed != nil {
			return failed
		}
		p, failed := decodePage(r, a)
		if failed != nil {
			return failed
		}
		for _, row := range p.rows {
			if more, failed := visit(r, a, row); failed != nil || !more {
				return failed
			}
		}
		if p.offset == "" {
			return nil
		}
		if seen[p.offset] || len(seen) >= maxPages {
			return r.malformed(a, "the list has no end")
		}
		seen[p.offset] = true
		query.Set("offset", p.offset)
	}
}

// absent is what a walk over a whole list without a match means.
func (c *Client) absent(op, what string) *Error {
	if c.trusted.Load() {
		return &Error{Reason: NotFound, Op: op, Message: "no such " + what}
	}
	return &Error{Reason: Unavailable, Op: op, Message: "no such " + what + " (not taken for an answer about the entity)"}
}
