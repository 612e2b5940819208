package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
)

// userAgent distinguishes the demo's requests from the operator's.
const userAgent = "kong-plugin-operator-demo"

// errNotFound is Kong's 404.
var errNotFound = errors.New("not found")

// entity is a service, route, consumer or plugin as Kong shows it.
type entity map[string]any

func (e entity) id() string     { return e.text("id") }
func (e entity) config() entity { config, _ := e["config"].(map[string]any); return config }

func (e entity) text(field string) string {
	text, _ := e[field].(string)
	return text
}

func (e entity) tags() []string {
	list, _ := e["tags"].([]any)
	tags := make([]string, 0, len(list))
	for _, tag := range list {
		if text, ok := tag.(string); ok {
			tags = append(tags, text)
		}
	}
	return tags
}

// tagValue returns the value of the tag prefix:value.
func (e entity) tagValue(prefix string) string {
	for _, tag := range e.tags() {
		if value, found := strings.CutPrefix(tag, prefix+":"); found {
			return value
		}
	}
	return ""
}

// canonical returns a text that is equal for equal entities. Kong returns the elements of a set
// in random order.
func (e entity) canonical() string {
	text, err := json.Marshal(ordered(map[string]any(e)))
	if err != nil {
		panic(err) // it came from JSON
	}
	return string(text)
}

func ordered(v any) any {
	switch v := v.(type) {
	case map[string]any:
		out := make(map[string]any, len(v))
		for key, value := range v {
			out[key] = ordered(value)
		}
		return out
	case []any:
		out := slices.Clone(v)
		slices.SortFunc(out, func(a, b any) int { return strings.Compare(fmt.Sprint(a), fmt.Sprint(b)) })
		return out
	default:
		return v
	}
}

// admin is a client of the Admin API, like a person with curl.
type admin struct {
	url  string
	http *http.Client
}

func newAdmin(base string) *admin {
	return &admin{url: strings.TrimRight(base, "/"), http: &http.Client{Timeout: 10 * time.Second}}
}

// do sends a request and decodes the response into out, unless out is nil.
func (a *admin) do(ctx context.Context, method, path string, body, out any) error {
	sent, err := json.Marshal(body)
	if err != nil {
		return err
	}
	if body == nil {
		sent = nil
	}
	req, err := http.NewRequestWithContext(ctx, method, a.url+path, bytes.NewReader(sent))
	if err != nil {
		return err
	}
	req.Header.Set("User-Agent", userAgent)
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	res, err := a.http.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	return read(res, out)
}

func read(res *http.Response, out any) error {
	text, err := io.ReadAll(res.Body)
	asked := res.Request.Method + " " + res.Request.URL.Path
	switch {
	case err != nil:
		return fmt.Errorf("%s: %w", asked, err)
	case res.StatusCode == http.StatusNotFound:
		return fmt.Errorf("%s: %w", asked, errNotFound)
	case res.StatusCode >= http.StatusMultipleChoices:
		return fmt.Errorf("%s: %s: %s", asked, res.Status, text)
	case out == nil:
		return nil
	}
	if err := json.Unmarshal(text, out); err != nil {
		return fmt.Errorf("%s: %w", asked, err)
	}
	return nil
}

// get reads one entity.
func (a *admin) get(ctx context.Context, path string) (entity, error) {
	var e entity
	err := a.do(ctx, http.MethodGet, path, nil, &e)
	return e, err
}

// list reads all pages of a list of the entities that have all these tags.
func (a *admin) list(ctx context.Context, path string, tags ...string) ([]entity, error) {
	query := url.Values{"size": {"1000"}}
	if len(tags) > 0 {
		query.Set("tags", strings.Join(tags, ","))
	}
	var all []entity
	for {
		var page struct {
			Data   []entity `json:"data"`
			Offset string   `json:"offset"`
		}
		if err := a.do(ctx, http.MethodGet, path+"?"+query.Encode(), nil, &page); err != nil {
			return nil, err
		}
		all = append(all, page.Data...)
		if page.Offset == "" {
			return all, nil
		}
		query.Set("offset", page.Offset)
	}
}

// withoutTimestamps returns the entity without created_at and updated_at.
func (e entity) withoutTimestamps() entity {
	out := maps.Clone(e)
	delete(out, "created_at")
	delete(out, "updated_at")
	return out
}
