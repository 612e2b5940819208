package adminapi

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
)

const pageSize = 1000 // the most that Kong allows

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
	if len(p.offset) > maxOffset {
		return page{}, r.malformed(resp, "the offset of the next page is too long")
	}
	return p, nil
}

// list is one list that the client reads page by page.
type list struct {
	op     string
	path   string
	filter url.Values
	// pageSize is the number of rows on a page; 0 for the most that Kong allows.
	pageSize int
	// maxRows bounds the number of rows on all pages.
	maxRows int
	// visit gets every row, until it returns false.
	visit func(request, response, json.RawMessage) (more bool, failed *Error)
	// afterPage runs after each page but the last; the list ends early if it returns false.
	// Nil means to read on.
	afterPage func(pages int) (more bool)
}

// readList reads a list within a fixed time. An Admin API whose list never ends costs at most
// that time, and the memory of one page. The pages are one sequence: a 429 to one of them does not
// make the list start again.
func (c *Client) readList(ctx context.Context, l list) *Error {
	if ctx.Value(sequenceKey{}) == nil {
		ctx = WithSequence(ctx)
	}
	timeout := c.settings.listTimeout()
	listCtx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	failed := c.readPages(listCtx, l)
	if failed != nil && failed.Reason == Unavailable && listCtx.Err() != nil && ctx.Err() == nil {
		failed.Message = fmt.Sprintf("the list did not end within %s", timeout)
	}
	return failed
}

// readPages builds each request from the offset in the response: Kong's own links drop the page
// size under a parent.
func (c *Client) readPages(ctx context.Context, l list) *Error {
	query := url.Values{}
	for key, values := range l.filter {
		query[key] = values
	}
	r := request{op: l.op, method: http.MethodGet, path: l.path, query: query, page: true}
	size := cmp.Or(l.pageSize, pageSize)
	bounds := listBounds{maxRows: l.maxRows, seen: map[string]bool{}}
	for {
		resp, p, failed := c.readPage(ctx, r, &size)
		if failed != nil {
			return failed
		}
		for _, row := range p.rows {
			if more, failed := l.visit(r, resp, row); failed != nil || !more {
				return failed
			}
		}
		if p.offset == "" {
			return nil
		}
		if problem := bounds.exceeded(p, len(resp.body)); problem != "" {
			return r.malformed(resp, problem)
		}
		if l.afterPage != nil && !l.afterPage(len(bounds.seen)) {
			return nil
		}
		query.Set("offset", p.offset)
	}
}

// readPage requests one page of at most size rows. If that is too large to read, it halves size.
func (c *Client) readPage(ctx context.Context, r request, size *int) (response, page, *Error) {
	for {
		r.query.Set("size", strconv.Itoa(*size))
		resp, failed := c.call(ctx, r, http.StatusOK)
		if failed != nil && *size > 1 && (errors.Is(failed, errTooLarge) || errors.Is(failed, errTooManyValues)) {
			*size /= 2
			continue
		}
		if failed != nil {
			return response{}, page{}, failed
		}
		p, failed := decodePage(r, resp)
		if failed == nil && len(p.rows) > *size {
			failed = r.malformed(resp, "the page has more rows than requested")
		}
		return resp, p, failed
	}
}

// listBounds counts what a list has sent so far.
type listBounds struct {
	maxRows int
	seen    map[string]bool // the offsets
	rows    int
	bytes   int
}

// exceeded counts one more page and describes the bound that the list exceeds; "" means none.
func (b *listBounds) exceeded(p page, size int) string {
	b.rows += len(p.rows)
	b.bytes += size
	switch {
	case b.seen[p.offset]:
		return "the list has no end: it returned the same offset twice"
	case len(b.seen) >= maxPages:
		return fmt.Sprintf("the list has more than %d pages", maxPages)
	case b.rows >= b.maxRows:
		return fmt.Sprintf("the list has more than %d rows", b.maxRows)
	case b.bytes >= maxListBytes:
		return fmt.Sprintf("the list has more than %d MiB", maxListBytes>>20)
	}
	b.seen[p.offset] = true
	return ""
}

// absent is the Error for a complete list without a match.
func (c *Client) absent(op, what string) *Error {
	if c.notFoundTrusted.Load() {
		return &Error{Reason: NotFound, Op: op, Message: "no such " + what}
	}
	return &Error{Reason: Unavailable, Op: op, Message: "no such " + what + " " + notProof}
}
