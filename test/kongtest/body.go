package kongtest

import (
	"bytes"
	"encoding/json"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"strings"
)

const (
	typeJSON      = "application/json"
	typeForm      = "application/x-www-form-urlencoded"
	typeMultipart = "multipart/form-data"
)

// maxBody is the limit of nginx in front of the Admin API (10m).
const maxBody = 10 << 20

func takesBody(method string) bool {
	return method == http.MethodPost || method == http.MethodPut || method == http.MethodPatch
}

// checkContentType refuses bodies that Kong does not read: of an unknown type, of a
// type in another case, and without a type (measured).
func checkContentType(r *http.Request, body []byte) *response {
	if !takesBody(r.Method) {
		return nil
	}
	ct := r.Header.Get("Content-Type")
	if ct == "" {
		if len(body) == 0 {
			return nil
		}
		return unsupportedMediaType()
	}
	for _, prefix := range []string{typeJSON, typeForm, typeMultipart} {
		if strings.HasPrefix(ct, prefix) {
			return nil
		}
	}
	return unsupportedMediaType()
}

// parseBody reads the arguments of a write. The arguments of a form are strings; the
// schema decides their types (see form.go).
func parseBody(r *http.Request, body []byte, limit int) (post map[string]any, form args, resp *response) {
	ct := r.Header.Get("Content-Type")
	switch {
	case !takesBody(r.Method) || ct == "":
		return map[string]any{}, nil, nil
	case strings.HasPrefix(ct, typeJSON):
		post, resp = parseJSON(body)
		return post, nil, resp
	case strings.HasPrefix(ct, typeForm):
		form, more := parseArgs(string(body), limit)
		if more && limit == maxEntityArgs {
			return nil, nil, tooManyArguments()
		}
		return map[string]any{}, form, nil
	default:
		return map[string]any{}, parseMultipart(ct, body), nil
	}
}

// parseJSON reads a JSON body. An array is an object without fields. Other values
// break Kong's handlers (500).
func parseJSON(body []byte) (map[string]any, *response) {
	dec := json.NewDecoder(bytes.NewReader(body))
	var v any
	if err := dec.Decode(&v); err != nil {
		return nil, cannotParse()
	}
	if _, err := dec.Token(); err != io.EOF {
		return nil, cannotParse()
	}
	switch x := v.(type) {
	case map[string]any:
		return x, nil
	case []any:
		return map[string]any{}, nil
	case bool:
		if !x {
			return nil, cannotParse()
		}
	}
	return nil, unexpected()
}

func parseMultipart(contentType string, body []byte) args {
	out := args{}
	_, params, err := mime.ParseMediaType(contentType)
	if err != nil {
		return out
	}
	parts := multipart.NewReader(bytes.NewReader(body), params["boundary"])
	for {
		part, err := parts.NextRawPart()
		if err != nil {
			return out
		}
		value, err := io.ReadAll(part)
		if err != nil {
			return out
		}
		out.add(part.FormName(), string(value))
	}
}
