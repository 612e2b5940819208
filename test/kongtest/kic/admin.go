package kic

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"

	"github.com/kong/go-kong/kong"
)

// UserAgent is the User-Agent of every request to Kong.
const UserAgent = "kong-ingress-controller/3.5.13"

// maxAnswer bounds an answer of the Admin API.
const maxAnswer = 64 << 20

// admin is a client of the Admin API.
type admin struct {
	url    string
	client *http.Client
}

// apiError is an answer that is no success.
type apiError struct {
	method, path string
	status       int
	message      string
}

func (e *apiError) Error() string {
	return fmt.Sprintf("%s %s failed: HTTP status %d (message: %q)", e.method, e.path, e.status, e.message)
}

func (a *admin) do(ctx context.Context, method, path string, body, answer any) error {
	var content io.Reader = http.NoBody
	if body != nil {
		b, err := json.Marshal(body)
		if err != nil {
			return err
		}
		content = bytes.NewReader(b)
	}
	req, err := http.NewRequestWithContext(ctx, method, a.url+path, content)
	if err != nil {
		return err
	}
	req.Header.Set("User-Agent", UserAgent)
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	resp, err := a.client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return fmt.Errorf("%s %s: %w", method, path, err)
	}
	if resp.StatusCode >= http.StatusMultipleChoices {
		var refused struct {
			Message string `json:"message"`
		}
		if json.Unmarshal(b, &refused) != nil {
			refused.Message = http.StatusText(resp.StatusCode)
		}
		return &apiError{method, path, resp.StatusCode, refused.Message}
	}
	if answer == nil {
		return nil
	}
	return json.Unmarshal(b, answer)
}

// rows are the rows of a kind with KIC's tag.
func (a *admin) rows(ctx context.Context, kind, tag string) ([]row, error) {
	var all []row
	next := "/" + kind + "?size=1000&tags=" + url.QueryEscape(tag)
	for next != "" {
		var page struct {
			Data []row  `json:"data"`
			Next string `json:"next"`
		}
		if err := a.do(ctx, http.MethodGet, next, nil, &page); err != nil {
			return nil, err
		}
		all = append(all, page.Data...)
		next = page.Next
		if next != "" && !strings.Contains(next, "tags=") {
			next += "&tags=" + url.QueryEscape(tag)
		}
	}
	return all, nil
}

// schema is the schema of a plugin.
func (a *admin) schema(ctx context.Context, plugin string) (kong.Schema, error) {
	var schema kong.Schema
	err := a.do(ctx, http.MethodGet, "/schemas/plugins/"+url.PathEscape(plugin), nil, &schema)
	return schema, err
}

// withDefaults is the plugin with all defaults: KIC sends them.
func withDefaults(r row, schema kong.Schema) (row, error) {
	plugin, err := convert[kong.Plugin](r)
	if err == nil {
		err = kong.FillPluginsDefaults(&plugin, schema)
	}
	if err != nil {
		return nil, fmt.Errorf("plugin %s: %w", text(r["name"]), err)
	}
	return convert[row](plugin)
}

// withoutDeprecations is what Kong has without the deprecated fields that only Kong
// fills.
func withoutDeprecations(want, has row, schema kong.Schema) (row, error) {
	wanted, err := convert[kong.Plugin](want)
	if err != nil {
		return nil, err
	}
	current, err := convert[kong.Plugin](has)
	if err != nil {
		return nil, err
	}
	if err := kong.ClearUnmatchingDeprecations(&wanted, &current, schema); err != nil {
		return nil, fmt.Errorf("plugin %s: %w", text(want["name"]), err)
	}
	return convert[row](current)
}

func convert[T any](v any) (T, error) {
	var out T
	b, err := json.Marshal(v)
	if err == nil {
		err = json.Unmarshal(b, &out)
	}
	return out, err
}
