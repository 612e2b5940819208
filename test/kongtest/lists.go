package kongtest

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"math"
	"net/http"
	"strconv"
	"strings"
)

const (
	defaultPageSize = 100
	maxPageSize     = 1000
)

// page are the arguments of a list.
type page struct {
	size   int
	after  string // the page begins after this ID
	filter tagFilter
}

// listEntities answers GET /{kind}.
func listEntities(c *call, k *kind) *response {
	if resp, found := c.byCustomID(k); found {
		return resp
	}
	suffix, resp := nextSuffix(c.query)
	if resp != nil {
		return resp
	}
	p, resp := c.page(k)
	if resp != nil {
		return resp
	}
	if c.s.isDBLess() && p.filter.tags != nil {
		return unexpected()
	}
	of := func(t *table) []string {
		if len(p.filter.tags) == 0 || p.filter.any {
			return t.ids
		}
		return t.withRarest(p.filter.tags)
	}
	return c.list(k, p, "/"+k.name, suffix, of, p.filter.accepts)
}

// listChildren answers GET /{parents}/{id}/{children}. Kong checks tags but does not
// filter by them, and next lacks the size (measured).
func listChildren(c *call, n *nested, parentID string) *response {
	p, resp := c.page(n.child)
	if resp != nil {
		return resp
	}
	path := "/" + n.parent.name + "/" + c.params[0] + "/" + n.child.name
	of := func(t *table) []string { return t.refs[refKey(n.field, parentID)] }
	return c.list(n.child, p, path, "", of, func(map[string]any) bool { return true })
}

// nextSuffix are the arguments of the query that next repeats. Arguments that are no
// strings break Kong here (500).
func nextSuffix(q args) (string, *response) {
	suffix := ""
	switch tags := q["tags"].(type) {
	case string:
		suffix = "&tags=" + escape(tags)
	case []any:
		suffix = "&tags=" + escape(str(tags[0]))
	}
	switch size := q["size"].(type) {
	case nil:
	case string:
		suffix += "&size=" + size
	default:
		return "", unexpected()
	}
	return suffix, nil
}

// page reads size, offset and tags in Kong's order.
func (c *call) page(k *kind) (page, *response) {
	filter, why, resp := parseTags(c.query["tags"])
	if resp != nil {
		return page{}, resp
	}
	size, resp := parseSize(c.query["size"])
	if resp != nil {
		return page{}, resp
	}
	offset, sent := c.query["offset"]
	token, isString := offset.(string)
	if sent && !isString {
		return page{}, unexpected()
	}
	if size, resp = checkSize(size); resp != nil {
		return page{}, resp
	}
	if why != "" {
		return page{}, invalidTags(why)
	}
	p := page{size: int(size), filter: filter}
	if sent {
		p.after, resp = c.s.decodeOffset(k, token)
	}
	return p, resp
}

// parseSize reads a number as Lua does; the default is defaultPageSize.
func parseSize(v any) (float64, *response) {
	if v == nil {
		return defaultPageSize, nil
	}
	s, isString := v.(string)
	n, isNumber := luaNumber(s)
	if !isString || !isNumber {
		return 0, invalidSize("size must be a number")
	}
	return n, nil
}

func checkSize(n float64) (float64, *response) {
	if n != math.Floor(n) || n < 1 || n > maxPageSize {
		return 0, invalidSize("size must be an integer between 1 and " + itoa(maxPageSize))
	}
	return n, nil
}

// luaNumber is Lua's tonumber: blanks around, decimals, exponents and hexadecimals.
func luaNumber(s string) (float64, bool) {
	s = strings.Trim(s, " \t\n\v\f\r")
	if s == "" || strings.Contains(s, "_") {
		return 0, false
	}
	if n, err := strconv.ParseInt(s, 0, 64); err == nil && strings.HasPrefix(strings.ToLower(strings.TrimLeft(s, "+-")), "0x") {
		return float64(n), true
	}
	n, err := strconv.ParseFloat(s, 64)
	return n, err == nil || math.IsInf(n, 0)
}

// list answers one page of the rows with the IDs of of that accept accepts.
func (c *call) list(k *kind, p page, path, suffix string, of func(*table) []string, accept func(map[string]any) bool) *response {
	var rows []record
	resp := c.s.read(c.ctx(), func(st *store) {
		t := st.tables[k.name]
		rows = t.after(of(t), p.after, c.workspace, p.size+1, accept)
	})
	if resp != nil {
		return resp
	}
	rest := map[string]any{"next": nil}
	if len(rows) > p.size {
		rows = rows[:p.size]
		offset := c.s.encodeOffset(k, str(rows[p.size-1].entity["id"]))
		rest["offset"] = offset
		rest["next"] = path + "?offset=" + escape(offset) + suffix
	}
	return &response{status: http.StatusOK, raw: c.s.encodeList(k, rows, rest)}
}

// encodeList encodes {"data":[rows],...rest}.
func (s *Server) encodeList(k *kind, rows []record, rest map[string]any) []byte {
	var b bytes.Buffer
	b.WriteString(`{"data":[`)
	for i, r := range rows {
		if i > 0 {
			b.WriteByte(',')
		}
		b.Write(s.encodeRow(k, r))
	}
	b.WriteString("],")
	b.Write(encode(rest)[1:])
	return b.Bytes()
}

// encodeRow is a row as JSON. It is encoded once: otherwise lists of a thousand rows
// would take longer than Kong's.
func (s *Server) encodeRow(k *kind, r record) []byte {
	if b := r.encoded.Load(); b != nil {
		return *b
	}
	b := encode(s.render(k, r.entity))
	r.encoded.Store(&b)
	return b
}

// encodeOffset is the primary key as JSON in base64. A Kong without a database uses
// the key of its own storage.
func (s *Server) encodeOffset(k *kind, id string) string {
	if s.isDBLess() {
		return base64.RawURLEncoding.EncodeToString([]byte(k.name + "|" + dblessWorkspaceID + "|*|" + id + "\x00"))
	}
	return encodeOffset(id)
}

func encodeOffset(key ...any) string {
	b, _ := json.Marshal(key) // strings and integers always encode
	return base64.RawStdEncoding.EncodeToString(b)
}

// decodeOffset returns the ID after which the page begins.
func (s *Server) decodeOffset(k *kind, token string) (string, *response) {
	if s.isDBLess() {
		b, err := base64.RawURLEncoding.DecodeString(token)
		id, isOurs := strings.CutPrefix(string(b), k.name+"|"+dblessWorkspaceID+"|*|")
		if err != nil || !isOurs {
			return "", invalidOffset(token, "bad base64 encoding")
		}
		return strings.TrimSuffix(id, "\x00"), nil
	}
	key, resp := decodeOffset(token)
	if resp != nil {
		return "", resp
	}
	if len(key) == 0 || !isUUID(str(key[0])) {
		return "", unexpected() // PostgreSQL refuses it
	}
	return strings.ToLower(str(key[0])), nil
}

func decodeOffset(token string) ([]any, *response) {
	b, ok := luaBase64(token)
	if !ok {
		return nil, invalidOffset(token, "bad base64 encoding")
	}
	var key []any
	if err := json.Unmarshal(b, &key); err != nil {
		return nil, invalidOffset(token, "bad json encoding")
	}
	return key, nil
}

// luaBase64 decodes standard base64 with or without padding.
func luaBase64(s string) ([]byte, bool) {
	s = strings.TrimRight(s, "=")
	if len(s)%4 == 1 {
		return nil, false
	}
	b, err := base64.RawStdEncoding.DecodeString(s)
	return b, err == nil
}

// byCustomID answers GET /consumers?custom_id=x, Kong's only filter by field.
func (c *call) byCustomID(k *kind) (*response, bool) {
	id, sent := c.query["custom_id"]
	if k.name != "consumers" || !sent {
		return nil, false
	}
	value, isString := id.(string)
	if !isString || value == "" {
		return message(http.StatusBadRequest, "custom_id must be an unempty string"), true
	}
	data := []any{}
	resp := c.s.read(c.ctx(), func(st *store) {
		if r, found := st.tables[k.name].byKey(c.workspace, "custom_id", value); found {
			data = append(data, c.s.render(k, r.entity))
		}
	})
	if resp != nil {
		return resp, true
	}
	return ok(map[string]any{"data": data, "next": nil}), true
}
