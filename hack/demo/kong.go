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
	created   []string        // paths of the entities that the demo created, in order
	existing  map[string]bool // IDs of the plugins that existed before
}

// observer covers the differences between the stand-in and a real Kong.
type observer interface {
	// name describes this kind of Kong.
	name() string
	// stallCreates makes creates hang, so that the operator can be killed during them. It
	// returns how many plugins Kong has by then. undo releases the requests.
	stallCreates() (after int, undo func())
	// watch starts to observe the operator. The function that it returns reports what was
	// observed since.
	watch(ctx context.Context) (func(ctx context.Context) (observation, error), error)
	// conflicts returns how often Kong has answered 409 to the operator, or -1 if unknown.
	conflicts() int
	// persistent reports whether this Kong outlives the demo.
	persistent() bool
	shutdown()
}

// openKong starts the stand-in, or checks the real gateway. It creates the services, routes and
// consumers of the samples.
func openKong(ctx context.Context, o options) (*kong, error) {
	k := &kong{existing: map[string]bool{}}
	if o.kongURL == "" {
		standIn := newStandIn()
		k.admin, k.observer, k.clusterID = newAdmin(standIn.URL()), standIn, "demo"
	} else {
		k.admin = newAdmin(o.kongURL)
		// A cluster ID of its own. Otherwise the next demo on this Kong would take over the
		// plugins of this one.
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

// inspect rejects a Kong that the demo cannot or should not use.
func (k *kong) inspect(ctx context.Context, force bool) error {
	root, err := k.get(ctx, "/")
	if err != nil {
		return fmt.Errorf("%s does not answer as a Kong Admin API: %w", k.url, err)
	}
	configuration, _ := root["configuration"].(map[string]any)
	if database := entity(configuration).text("database"); database == "" || database == "off" {
		return fmt.Errorf("%s is not a Kong with a database (database %q)", k.url, database)
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
		return fmt.Errorf("%s is not empty (%s). The demo adds plugins, also a global one. Use a Kong that nobody else uses, or set DEMO_FORCE=1",
			k.url, strings.Join(found, ", "))
	}
	return nil
}

// cartCount is the number of routes /cart/... . Each of them gets a binding.
const cartCount = 10

func cartName(i int) string { return fmt.Sprintf("cart-%02d", i) }

// seed creates the entities that other people manage in Kong.
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

// ensure creates an entity unless it exists.
func (k *kong) ensure(ctx context.Context, kind, name string, body entity) error {
	_, err := k.get(ctx, "/"+kind+"/"+name)
	if !errors.Is(err, errNotFound) {
		return err
	}
	_, err = k.create(ctx, kind, body)
	return err
}

// create creates an entity. The demo removes it at the end.
func (k *kong) create(ctx context.Context, kind string, body entity) (entity, error) {
	var made entity
	if err := k.do(ctx, http.MethodPost, "/"+kind, body, &made); err != nil {
		return nil, err
	}
	k.created = append(k.created, "/"+kind+"/"+made.id())
	return made, nil
}

// owned returns the plugins of this demo's bindings, or of those in some namespaces.
func (k *kong) owned(ctx context.Context, namespaces ...string) ([]entity, error) {
	tags := identity.ClusterTags(k.clusterID)
	for _, namespace := range namespaces {
		tags = append(tags, "k8s-namespace:"+namespace)
	}
	return k.list(ctx, "/plugins", tags...)
}

// close removes what the demo created from a Kong that outlives it.
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
