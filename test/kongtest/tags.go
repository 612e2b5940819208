package kongtest

import (
	"cmp"
	"math"
	"regexp"
	"slices"
	"strings"
)

// tagFilter is the tags argument of a list: all of the tags, or any of them.
type tagFilter struct {
	tags []string
	any  bool
}

const tagBytes = `[\x20-\x2B\x2D\x2E\x30-\x7E\x80-\xF4]`

// The expressions match bytes. Their input is the result of latin1.
var (
	tagsAll = regexp.MustCompile(`^(` + tagBytes + `+(,|$))+$`)
	tagsAny = regexp.MustCompile(`^(` + tagBytes + `+(/|$))+$`)
)

const maxTags = 5

// parseTags reads a tags argument. why is Kong's error, or "". An argument without a
// value ("?tags") breaks Kong (500).
func parseTags(v any) (filter tagFilter, why string, resp *response) {
	if list, repeated := v.([]any); repeated {
		v = list[0]
	}
	if v == nil {
		return filter, "", nil
	}
	s, isString := v.(string)
	if !isString {
		return filter, "", unexpected()
	}
	switch {
	case s == "":
		return filter, "cannot be null", nil
	case tagsAll.MatchString(latin1(s)):
		filter.tags = strings.Split(s, ",")
	case tagsAny.MatchString(latin1(s)):
		filter.tags, filter.any = strings.Split(s, "/"), true
	default:
		return filter, "invalid filter syntax", nil
	}
	if len(filter.tags) > maxTags {
		why = "cannot query more than 5 tags"
	}
	return filter, why, nil
}

// latin1 maps each byte to the rune of the same number, for regular expressions
// over bytes.
func latin1(s string) string {
	out := make([]rune, len(s))
	for i := range len(s) {
		out[i] = rune(s[i])
	}
	return string(out)
}

func (f tagFilter) accepts(e map[string]any) bool {
	if f.tags == nil {
		return true
	}
	has, _ := e["tags"].([]any)
	for _, want := range f.tags {
		if contains(has, want) == f.any {
			return f.any
		}
	}
	return !f.any
}

func contains(list []any, s string) bool {
	for _, v := range list {
		if v == s {
			return true
		}
	}
	return false
}

// tagRow is one row of the tags table.
type tagRow struct {
	tag, entity, id string
	ordinal         int // index among the tags of its entity, from 1
}

func (r tagRow) compare(other tagRow) int {
	return cmp.Or(cmp.Compare(r.id, other.id), cmp.Compare(r.ordinal, other.ordinal))
}

// tagRows lists tags by the ID of their entity. With only it lists that tag.
func (t *store) tagRows(workspace, only string) []tagRow {
	var out []tagRow
	for _, name := range kindNames {
		tab := t.tables[name]
		if tab == nil {
			continue
		}
		for _, id := range tab.ids {
			r := tab.rows[id]
			if r.workspace != workspace {
				continue
			}
			tags, _ := r.entity["tags"].([]any)
			for i, v := range tags {
				if only == "" || only == str(v) {
					out = append(out, tagRow{str(v), name, id, i + 1})
				}
			}
		}
	}
	slices.SortFunc(out, tagRow.compare)
	return out
}

// getTags answers GET /tags.
func getTags(c *call) *response { return c.tags("", "/tags") }

// getTag answers GET /tags/{tag}.
func getTag(c *call) *response {
	tag := unescape(c.params[0], false)
	if why := tagProblem(tag); why != "" {
		return invalidUnique("tag", why)
	}
	return c.tags(tag, "/tags/"+c.params[0])
}

func (c *call) tags(only, path string) *response {
	size, resp := parseSize(c.query["size"])
	if resp != nil {
		return resp
	}
	if size, resp = checkSize(size); resp != nil {
		return resp
	}
	after, resp := c.tagOffset()
	if resp != nil {
		return resp
	}
	if c.s.isDBLess() {
		return unexpected()
	}
	var rows []tagRow
	if resp := c.s.read(c.ctx(), func(st *store) { rows = st.tagRows(c.workspace, only) }); resp != nil {
		return resp
	}
	suffix := ""
	if s := str(c.query["size"]); s != "" && only == "" {
		suffix = "&size=" + s
	}
	return tagPage(rowsAfter(rows, after), int(size), only, path, suffix)
}

func (c *call) tagOffset() (after *tagRow, resp *response) {
	v, sent := c.query["offset"]
	if !sent {
		return nil, nil
	}
	token, isString := v.(string)
	if !isString {
		return nil, unexpected()
	}
	key, resp := decodeOffset(token)
	if resp != nil {
		return nil, resp
	}
	if len(key) == 0 || !isUUID(str(key[0])) {
		return nil, unexpected()
	}
	row := tagRow{id: strings.ToLower(str(key[0])), ordinal: math.MaxInt}
	if len(key) > 1 {
		n, _ := key[1].(float64)
		row.ordinal = int(n)
	}
	return &row, nil
}

func rowsAfter(rows []tagRow, after *tagRow) []tagRow {
	if after == nil {
		return rows
	}
	for i, r := range rows {
		if r.compare(*after) > 0 {
			return rows[i:]
		}
	}
	return nil
}

func tagPage(rows []tagRow, size int, only, path, suffix string) *response {
	body := map[string]any{"next": nil}
	if len(rows) > size {
		last := rows[size-1]
		rows = rows[:size]
		offset := encodeOffset(last.id, last.ordinal)
		if only != "" {
			offset = encodeOffset(last.id)
		}
		body["offset"] = offset
		body["next"] = path + "?offset=" + escape(offset) + suffix
	}
	data := make([]any, len(rows))
	for i, r := range rows {
		data[i] = map[string]any{"tag": r.tag, "entity_name": r.entity, "entity_id": r.id}
	}
	body["data"] = data
	return ok(body)
}
