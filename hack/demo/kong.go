package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/pluginbinding/kong-plugin-operator/internal/identity"
)

// kong is the Kong of the demo, the stand-in or a real one.
type kong struct {
	*admin
	observer
	clusterID string
	version   string
	created   []string        // paths of the entities the demo made, in that order
	existing  map[string]bool // IDs of the plugins that were there before it
}

// observer is what only the side of Kong can do or tell.
type observer interface {
	// name says what kind of Kong this is.
	name() string
	// stall makes creates hang, so that the operator can be killed amid them, and says
	// after how many to do it. The requests that hang are given up with undo.
	stallCreates() (after int, undo func())
	// watch begins to watch the operator. What it returns tells what was seen since.
	watch(ctx context.Context) (func(ctx context.Context) (observation, error), error)
	// conflicts is how often the operator was answered 409 so far; -1 if nobody knows.
	conflicts() int
	// keepsPlugins says whether this Kong lives on after the demo.
	persistent() bool
	shutdown()
}

// openKong starts the stand-in, or looks at the real gateway, and puts the services,
// routes and consumers there that the samples speak of.
func openKong(ctx context.Context, o options) (*kong, error) {
	k := &kong{existing: map[string]bool{}}
	if o.kongURL == "" {
		standIn := newStandIn()
		k.admin, k.observer, k.clusterID = newAdmin(standIn.URL()), standIn, "demo"
	} else {
		k.admin = newAdmin(o.kongURL)
		// A name of its own: the next demo on this Kong must not take this one's plugins
		// for its own.
		k.observer, k.clusterID = realGateway{k.admin}, "demo-"+strings.ToLower(rand.Text()[:8])
	}
	if err := k.inspect(ctx, o.force); err != nil {
		k.shutdown()
		return nil, err
	}
	if err := k.seed(ctx); err != nil {
		return nil, errors.Join(err, k.close(context.WithoutCancel(ctx)))
	}
	return k, nil
}

func (k *kong) String() string { return fmt.Sprintf("%s (%s, version %s)", k.url, k.name(), k.version) }

// inspect refuses a Kong that the demo cannot or should not use.
func (k *kong) inspect(ctx context.Context, force bool) error {
	root, err := k.get(ctx, "/")
	if err != nil {
		return fmt.Errorf("%s does not answer as a Kong Admin API: %w", k.url, err)
	}
	configuration, _ := root["configuration"].(map[string]any)
	if database := entity(configuration).text("database"); database == "" || database == "off" {
		return fmt.Errorf("%s is no Kong in DB mode (database %q)", k.url, database)
	}
	k.version = root.text("version")
	var found []string
	for _, kind := range []string{"services", "routes", "consumers", "plugins"} {
		list, err := k.list(ctx, "/"+kind)
		if err != nil {
			return err
		}
		if kind == "plugins" {
			for _, plugin := range list {
				k.existing[plugin.id()] = true
			}
		}
		if len(list) > 0 {
			found = append(found, fmt.Sprintf("%s: %d", kind, len(list)))
		}
	}
	if len(found) > 0 && !force {
		return fmt.Errorf("%s is not empty (%s). The demo adds a global plugin and others; take a Kong that nobody uses, or set DEMO_FORCE=1",
			k.url, strings.Join(found, ", "))
	}
	return nil
}

// cartCount is the number of routes /cart/..., each of which gets a binding.
const cartCount = 10

func cartName(i int) string { return fmt.Sprintf("cart-%02d", i) }

// seed puts there what other people manage in Kong.
func (k *kong) seed(ctx context.Context) error {
	for _, service := range []string{"orders", "payments", "cart"} {
		if err := k.ensure(ctx, "services", service, entity{"name": service, "url": "http://" + service + ".internal:8080"}); err != nil {
			return err
		}
	}
	routes := map[string]string{"orders-v1": "orders", "payments-v1": "payments"}
	for i := range cartCount {
		routes[cartName(i+1)] = "cart"
	}
	for route, service := range routes {
		body := entity{"name": route, "paths": []string{"/" + route}, "service": entity{"name": service}}
		if err := k.ensure(ctx, "routes", route, body); err != nil {
			return err
		}
	}
	for name, body := range map[string]entity{
		"alice": {"username": "alice", "custom_id": "crm-1001"},
		"bob":   {"username": "bob"},
	} {
		if err := k.ensure(ctx, "consumers", name, body); err != nil {
			return err
		}
	}
	return nil
}

// ensure makes an entity unless it is there.
func (k *kong) ensure(ctx context.Context, kind, name string, body entity) error {
	_, err := k.get(ctx, "/"+kind+"/"+name)
	if !errors.Is(err, errNotFound) {
		return err
	}
	_, err = k.create(ctx, kind, body)
	return err
}

// create makes an entity, to be removed at the end.
func (k *kong) create(ctx context.Context, kind string, body entity) (entity, error) {
	var made entity
	if err := k.do(ctx, http.MethodPost, "/"+kind, body, &made); err != nil {
		return nil, err
	}
	k.created = append(k.created, "/"+kind+"/"+made.id())
	return made, nil
}

// owned are the plugins of this demo's bindings, or of those in one namespace.
func (k *kong) owned(ctx context.Context, namespaces ...string) ([]entity, error) {
	tags := identity.ClusterTags(k.clusterID)
	for _, namespace := range namespaces {
		tags = append(tags, "k8s-namespace:"+namespace)
	}
	return k.list(ctx, "/plugins", tags...)
}

// close removes what the demo made from a Kong that lives on.
func (k *kong) close(ctx context.Context) error {
	defer k.shutdown()
	if !k.persistent() {
		return nil
	}
	plugins, err := k.owned(ctx)
	errs := []error{err}
	var doomed []string
	for _, plugin := range plugins {
		if !k.existing[plugin.id()] {
			doomed = append(doomed, "/plugins/"+plugin.id())
		}
	}
	slices.Reverse(k.created)
	for _, path := range append(doomed, k.created...) {
		errs = append(errs, k.do(ctx, http.MethodDelete, path, nil, nil))
	}
	return errors.Join(errs...)
}
