package kongtest

import (
	"bufio"
	"fmt"
	"io"
	"maps"
	"strconv"
	"strings"
)

// The generated rows of EndlessList and GiantPage are valid entities that the
// database does not have. Their IDs have a number, so that the offset of a page
// gives the number of its first row.

// generatedID is the ID of row n. The rows are in the order of their IDs.
func generatedID(n int64) string { return fmt.Sprintf("ffffffff-ffff-4fff-8fff-%012x", n) }

// generatedRows returns a function that makes row n of a kind.
func (s *Server) generatedRows(k *kind) func(n int64) []byte {
	body := map[string]map[string]any{
		"services":        {"host": "generated.example"},
		"routes":          {"paths": []any{"/generated"}},
		"consumers":       {"custom_id": "generated"},
		"plugins":         {"name": "key-auth"},
		"consumer_groups": {"name": "generated"},
	}[k.name]
	e, resp := s.validateInsert(k, body)
	panicOnError(resp, "generate "+k.name)
	e["created_at"], e["updated_at"] = seconds(s.cfg.clock()), seconds(s.cfg.clock())
	return func(n int64) []byte {
		row := maps.Clone(e)
		row["id"] = generatedID(n)
		row[k.endpointKey] = "generated-" + strconv.FormatInt(n, 10)
		return encode(row)
	}
}

// listedKind is the kind that the endpoint lists, or nil.
func (c *call) listedKind() *kind {
	template := c.template()
	return c.s.kinds[template[strings.LastIndexByte(template, '/')+1:]]
}

// endlessPage is a page with a next page. It has rows generated rows, or as many as
// the client asks for if rows is 0.
func (c *call) endlessPage(k *kind, rows int) *response {
	p, resp := c.page(k)
	if resp != nil {
		return resp
	}
	if rows == 0 {
		rows = p.size
	}
	var first int64
	if p.after != "" {
		last, err := strconv.ParseInt(p.after[strings.LastIndexByte(p.after, '-')+1:], 16, 64)
		if err != nil {
			return unexpected()
		}
		first = last + 1
	}
	row := c.s.generatedRows(k)
	data := make([]string, rows)
	for i := range data {
		data[i] = string(row(first + int64(i)))
	}
	suffix, resp := nextSuffix(c.query)
	if resp != nil {
		return resp
	}
	offset := encodeOffset(generatedID(first + int64(max(rows, 1)) - 1))
	next := encode(map[string]any{"offset": offset, "next": rawPath(c.r) + "?offset=" + escape(offset) + suffix})
	return &response{status: 200, raw: []byte(`{"data":[` + strings.Join(data, ",") + "]," + string(next[1:]))}
}

// giantPage is one page of at least size bytes. It is written while it is generated.
func (c *call) giantPage(k *kind, size int64) *response {
	row := c.s.generatedRows(k)
	return &response{status: 200, stream: func(w io.Writer) error {
		out := bufio.NewWriter(w)
		if _, err := out.WriteString(`{"data":[`); err != nil {
			return err
		}
		for n, written := int64(0), int64(0); written < size; n++ {
			b := row(n)
			if n > 0 {
				b = append([]byte{','}, b...)
			}
			if _, err := out.Write(b); err != nil {
				return err
			}
			written += int64(len(b))
		}
		if _, err := out.WriteString(`],"next":null}`); err != nil {
			return err
		}
		return out.Flush()
	}}
}
