package kongtest

import (
	"fmt"
	"io"
	"net/http"
	"sort"
	"strconv"
	"strings"
)

// response is a response of the Admin API. A step that returns nil has not answered.
type response struct {
	status      int
	body        any // encoded as JSON unless raw is set
	raw         []byte
	contentType string
	header      http.Header
	stream      func(io.Writer) error // writes the body instead of body and raw
	drop        bool                  // close the connection instead of answering
	notKong     bool                  // without Kong's headers
}

func jsonResponse(status int, body any) *response { return &response{status: status, body: body} }

func message(status int, text string) *response {
	return jsonResponse(status, map[string]any{"message": text})
}

func ok(body any) *response       { return jsonResponse(http.StatusOK, body) }
func created(body any) *response  { return jsonResponse(http.StatusCreated, body) }
func noContent() *response        { return &response{status: http.StatusNoContent} }
func notFound() *response         { return message(http.StatusNotFound, "Not found") }
func methodNotAllowed() *response { return message(http.StatusMethodNotAllowed, "Method not allowed") }
func cannotParse() *response      { return message(http.StatusBadRequest, "Cannot parse JSON body") }
func tooManyArguments() *response { return message(http.StatusBadRequest, "Too many arguments") }
func unauthorized() *response     { return message(http.StatusUnauthorized, "Invalid RBAC credentials") }
func unexpected() *response {
	return message(http.StatusInternalServerError, "An unexpected error occurred")
}
func unexpectedHappened() *response {
	return message(http.StatusInternalServerError, "An unexpected error happened")
}

// failure is Kong's form of an error: message, name, code and mostly the wrong
// fields.
func failure(status, code int, name, text string, fields map[string]any) *response {
	body := map[string]any{"message": text, "name": name, "code": code}
	if fields != nil {
		body["fields"] = fields
	}
	return jsonResponse(status, body)
}

func schemaViolation(text string, fields map[string]any) *response {
	return failure(http.StatusBadRequest, 2, "schema violation", text, fields)
}

func primaryKeyViolation(pk map[string]any) *response {
	return failure(http.StatusBadRequest, 3, "primary key violation",
		fmt.Sprintf("primary key violation on key '%s'", luaTable(pk)), pk)
}

func missingReference(field, entity, id string) *response {
	key := map[string]any{"id": id}
	return failure(http.StatusBadRequest, 4, "foreign key violation",
		fmt.Sprintf("the foreign key '%s' does not reference an existing '%s' entity.", luaTable(key), entity),
		map[string]any{field: key})
}

func stillReferenced(parent, child string) *response {
	return failure(http.StatusBadRequest, 4, "foreign key violation",
		fmt.Sprintf("an existing '%s' entity references this '%s' entity", child, parent),
		map[string]any{"@referenced_by": child})
}

func uniqueViolation(key map[string]any) *response {
	return failure(http.StatusConflict, 5, "unique constraint violation",
		fmt.Sprintf("UNIQUE violation detected on '%s'", luaTable(key)), key)
}

func noSuchID(id string) *response {
	key := map[string]any{"id": id}
	return failure(http.StatusNotFound, 6, "not found",
		fmt.Sprintf("could not find the entity with primary key '%s'", luaTable(key)), key)
}

func noSuchKey(field, value string) *response {
	key := map[string]any{field: value}
	return failure(http.StatusNotFound, 6, "not found",
		fmt.Sprintf("could not find the entity with '%s'", luaTable(key)), key)
}

func invalidOffset(offset, why string) *response {
	return failure(http.StatusBadRequest, 7, "invalid offset",
		fmt.Sprintf("'%s' is not a valid offset: %s", offset, why), nil)
}

func invalidSize(why string) *response {
	return failure(http.StatusBadRequest, 9, "invalid size", why, nil)
}

func invalidUnique(field, why string) *response {
	return failure(http.StatusBadRequest, 10, "invalid unique "+field, why, nil)
}

func invalidTags(why string) *response {
	resp := failure(http.StatusBadRequest, 11, "invalid options", "invalid option (tags: "+why+")", nil)
	resp.body.(map[string]any)["options"] = map[string]any{"tags": why}
	return resp
}

func withoutDatabase(verb, entity string) *response {
	return failure(http.StatusMethodNotAllowed, 12, "operation unsupported",
		fmt.Sprintf("cannot %s '%s' entities when not using a database", verb, entity), nil)
}

// unresolved is the response to references by name to missing entities. refs maps
// the reference to the field and the value that were looked up.
func unresolved(refs map[string]map[string]string, entities map[string]string) *response {
	fields := map[string]any{}
	var parts []string
	for _, field := range sortedKeys(refs) {
		sub := map[string]any{}
		for _, by := range sortedKeys(refs[field]) {
			text := fmt.Sprintf("the foreign key cannot be resolved with '%s' for an existing '%s' entity",
				luaTable(map[string]any{by: refs[field][by]}), entities[field])
			sub[by] = text
			parts = append(parts, field+"."+by+": "+text)
		}
		fields[field] = sub
	}
	text := fmt.Sprintf("foreign key unresolved (%s)", parts[0])
	if len(parts) > 1 {
		text = fmt.Sprintf("%d foreign keys unresolved (%s)", len(parts), strings.Join(parts, "; "))
	}
	return failure(http.StatusBadRequest, 13, "foreign keys unresolved", text, fields)
}

// luaTable formats a table as Kong's messages do: {a="x",b=null,c={id="U"}}.
func luaTable(v any) string {
	switch x := v.(type) {
	case nil:
		return "null"
	case string:
		return `"` + strings.ReplaceAll(strings.ReplaceAll(x, `\`, `\\`), `"`, `\"`) + `"`
	case bool:
		return strconv.FormatBool(x)
	case float64:
		return strconv.FormatFloat(x, 'g', 14, 64)
	case []any:
		var parts []string
		for i, e := range x {
			switch {
			case e == nil: // a hole
			case len(parts) == i:
				parts = append(parts, luaTable(e))
			default:
				parts = append(parts, "["+itoa(i+1)+"]="+luaTable(e))
			}
		}
		return "{" + strings.Join(parts, ",") + "}"
	case map[string]any:
		parts := make([]string, 0, len(x))
		for _, k := range sortedKeys(x) {
			parts = append(parts, k+"="+luaTable(x[k]))
		}
		return "{" + strings.Join(parts, ",") + "}"
	default:
		return fmt.Sprint(x)
	}
}

func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	sort.Strings(keys)
	return keys
}
