package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/pluginbinding/kong-plugin-operator/internal/identity"
)

// kongConcurrency is how many requests the bare client sends at a time: as many as the operator
// by default.
const kongConcurrency = 8

// kong is the Kong of the bench: the stand-in in a process of its own, or a real Kong.
type kong struct {
	url         string
	description string // kind and version
	clusterID   string
	process     *exec.Cmd // of the stand-in
	client      *http.Client

	mu      sync.Mutex
	created []string // paths of what the bench created, in order
}

func openKong(ctx context.Context, o options) (*kong, error) {
	k := &kong{
		url:       strings.TrimRight(o.kongURL, "/"),
		clusterID: "bench-" + strings.ToLower(rand.Text()[:8]), // no other plugin has it in its tags
		client:    &http.Client{Timeout: time.Minute, Transport: &http.Transport{MaxIdleConnsPerHost: 64}},
	}
	if k.url == "" {
		if err := k.startStandIn(ctx, o); err != nil {
			return nil, err
		}
	}
	if err := k.inspect(ctx, o); err != nil {
		return nil, errors.Join(err, k.close(ctx))
	}
	return k, nil
}

func (k *kong) startStandIn(ctx context.Context, o options) error {
	k.process = exec.CommandContext(context.WithoutCancel(ctx), o.kongtest, "--listen=127.0.0.1:0")
	k.process.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // Ctrl-C goes to the bench only
	k.process.Stderr = os.Stderr
	out, err := k.process.StdoutPipe()
	if err != nil {
		return err
	}
	if err := k.process.Start(); err != nil {
		k.process = nil
		return fmt.Errorf("start the stand-in for Kong: %w", err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	k.url = strings.TrimSpace(line)
	return err
}

// inspect rejects a Kong that the bench cannot or should not use.
func (k *kong) inspect(ctx context.Context, o options) error {
	var root struct {
		Version       string `json:"version"`
		Configuration struct {
			Database string `json:"database"`
		} `json:"configuration"`
	}
	if err := k.do(ctx, http.MethodGet, "/", nil, &root); err != nil {
		return fmt.Errorf("%s does not answer as a Kong Admin API: %w", k.url, err)
	}
	if root.Configuration.Database == "" || root.Configuration.Database == "off" {
		return fmt.Errorf("%s is not a Kong with a database", k.url)
	}
	k.description = "Kong " + root.Version
	if k.process != nil {
		k.description = "stand-in for Kong " + root.Version
		if o.pace {
			k.description += ", at Kong's pace"
		}
	}
	for _, kind := range []string{"services", "routes", "plugins"} {
		list, err := k.list(ctx, kind, nil)
		if err != nil {
			return err
		}
		if len(list) > 0 && !o.force {
			return fmt.Errorf("%s has %s. The bench creates thousands of plugins. Use a Kong that nobody else uses, or set BENCH_FORCE=1", k.url, kind)
		}
	}
	return nil
}

// seed creates the services and routes of the plugins.
func (k *kong) seed(ctx context.Context, plugins []pluginSpec) error {
	pairs := (len(plugins) + minBindings - 1) / minBindings
	if err := inParallel(ctx, kongConcurrency, pairs, func(ctx context.Context, i int) error {
		name := entityName("service", i)
		return k.create(ctx, "services", map[string]any{"name": name, "url": "http://" + name + ".internal:8080"})
	}); err != nil {
		return err
	}
	return inParallel(ctx, kongConcurrency, pairs, func(ctx context.Context, i int) error {
		name := entityName("route", i)
		return k.create(ctx, "routes", map[string]any{
			"name": name, "paths": []string{"/" + name}, "service": map[string]any{"name": entityName("service", i)},
		})
	})
}

// create creates an entity. The bench removes it at the end.
func (k *kong) create(ctx context.Context, kind string, body map[string]any) error {
	var made struct {
		ID string `json:"id"`
	}
	if err := k.do(ctx, http.MethodPost, "/"+kind, body, &made); err != nil {
		return err
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.created = append(k.created, "/"+kind+"/"+made.ID)
	return nil
}

// bareRate measures how many plugins per second a plain HTTP client creates through the same
// proxy. It removes them again.
func (k *kong) bareRate(ctx context.Context, through string, plugins []pluginSpec) (float64, error) {
	bare := &kong{url: through, client: k.client}
	began := time.Now()
	err := inParallel(ctx, kongConcurrency, len(plugins), func(ctx context.Context, i int) error {
		s := plugins[i]
		return bare.create(ctx, "plugins", map[string]any{
			"name": s.plugin, "config": s.config, s.kind: map[string]any{"name": s.entity},
			"enabled": true, "instance_name": "bare." + s.name,
			"tags": identity.Binding{Cluster: k.clusterID + "-bare", Namespace: namespace, Name: s.name, UID: "none"}.OwnershipTags(),
		})
	})
	rate := float64(len(plugins)) / time.Since(began).Seconds()
	removed := inParallel(context.WithoutCancel(ctx), kongConcurrency, len(bare.created), func(ctx context.Context, i int) error {
		return k.do(ctx, http.MethodDelete, bare.created[i], nil, nil)
	})
	return rate, errors.Join(err, removed)
}

// owned returns the IDs of the plugins of the bench's bindings.
func (k *kong) owned(ctx context.Context) ([]string, error) {
	return k.list(ctx, "plugins", url.Values{"tags": {strings.Join(identity.ClusterTags(k.clusterID), ",")}})
}

// list reads all pages of a list.
func (k *kong) list(ctx context.Context, kind string, query url.Values) ([]string, error) {
	if query == nil {
		query = url.Values{}
	}
	query.Set("size", "1000")
	var ids []string
	for {
		var page struct {
			Data []struct {
				ID string `json:"id"`
			} `json:"data"`
			Offset string `json:"offset"`
		}
		if err := k.do(ctx, http.MethodGet, "/"+kind+"?"+query.Encode(), nil, &page); err != nil {
			return nil, err
		}
		for _, row := range page.Data {
			ids = append(ids, row.ID)
		}
		if page.Offset == "" {
			return ids, nil
		}
		query.Set("offset", page.Offset)
	}
}

// do sends a request without the proxy, and decodes the response into out, unless out is nil.
func (k *kong) do(ctx context.Context, method, path string, body, out any) error {
	var sent io.Reader = http.NoBody
	if body != nil {
		text, err := json.Marshal(body)
		if err != nil {
			return err
		}
		sent = bytes.NewReader(text)
	}
	req, err := http.NewRequestWithContext(ctx, method, k.url+path, sent)
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	res, err := k.client.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	switch {
	case err != nil:
		return err
	case res.StatusCode >= http.StatusMultipleChoices:
		return fmt.Errorf("%s %s: %s: %.300s", method, path, res.Status, text)
	case out == nil:
		return nil
	}
	return json.Unmarshal(text, out)
}

// close stops the stand-in, or removes what the bench created in a real Kong.
func (k *kong) close(ctx context.Context) error {
	if k.process != nil {
		err := k.process.Process.Signal(syscall.SIGTERM)
		return errors.Join(err, k.process.Wait())
	}
	plugins, err := k.owned(ctx)
	errs := []error{err}
	slices.Reverse(k.created) // routes before their services
	for i, id := range plugins {
		plugins[i] = "/plugins/" + id
	}
	for _, path := range append(plugins, k.created...) {
		errs = append(errs, k.do(ctx, http.MethodDelete, path, nil, nil))
	}
	return errors.Join(errs...)
}
