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

// decodePage decodes one page. A page without a consistent "next" is malformed: if the
// client took it for the last page, everything after it would seem absent.
func decodePage(r request, resp response) (page, *Error) {
	var body struct {
		Data   []json.RawMessage `json:"data"`
		Next   json.RawMessage   `json:"next"`
		Offset *string           `json:"offset"`
	}
	if json.Unmarshal(resp.body, &body) != nil || body.Data == nil || body.Next == nil {
		return page{}, r.malformed(resp, "the response is not a list of Kong")
	}
	p := page{rows: body.Data}
	last := string(body.Next) == "null"
	if body.Offset != nil {
		p.offset = *body.Offset
	}
	if last != (p.offset == "") {
		return page{}, r.malformed(resp, "the list does not say where it continues")
	}
	return p, nil
}

// list reads the list at path page by page and passes every row to visit, until visit
// returns false. It builds each request from the offset in the response: Kong's own links
// drop the page size under a parent. If a page is too large to read, list halves the page
// size.
func (c *Client) list(ctx context.Context, op, path string, filter url.Values, visit func(request, response, json.RawMessage) (more bool, failed *Error)) *Error {
	size := pageSize
	query := url.Values{"size": {strconv.Itoa(size)}}
	for key, values := range filter {
		query[key] = values
	}
	r := request{op: op, method: http.MethodGet, path: path, query: query, limit: maxListBody}
	seen := map[string]bool{}
	for {
		resp, failed := c.call(ctx, r, http.StatusOK)
		if failed != nil && size > 1 && errors.Is(failed, errTooLarge) {
			size /= 2
			query.Set("size", strconv.Itoa(size))
			continue
		}
		if failed != nil {
			return failed
		}
		p, failed := decodePage(r, resp)
		if failed != nil {
			return failed
		}
		for _, row := range p.rows {
			if more, failed := visit(r, resp, row); failed != nil || !more {
				return failed
			}
		}
		if p.offset == "" {
			return nil
		}
		if seen[p.offset] || len(seen) >= maxPages {
			return r.malformed(resp, "the list has no end")
		}
		seen[p.offset] = true
		query.Set("offset", p.offset)
	}
}

// absent is the Error for a complete list without a match.
func (c *Client) absent(op, what string) *Error {
	if c.notFoundTrusted.Load() {
		return &Error{Reason: NotFound, Op: op, Message: "no such " + what}
	}
	return &Error{Reason: Unavailable, Op: op, Message: "no such " + what + " " + notProof}
}
