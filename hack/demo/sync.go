package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/pluginbinding/kong-plugin-operator/api/v1alpha1"
)

// quietPeriod is how long nothing may change before everything counts as settled.
const quietPeriod = 2 * time.Second

// counts is what the API server holds, and how many write requests it has had.
type counts struct {
	versions map[string]string // resource versions of all bindings, gateways and events
	objects  int               // bindings and gateways
	writes   int               // requests
}

func (s *environment) count(ctx context.Context) (counts, error) {
	c := counts{versions: map[string]string{}}
	var (
		bindings v1alpha1.PluginBindingList
		gateways v1alpha1.KongGatewayList
		events   corev1.EventList
	)
	for _, list := range []client.ObjectList{&bindings, &gateways, &events} {
		if err := s.cluster.List(ctx, list); err != nil {
			return c, err
		}
	}
	for i := range bindings.Items {
		c.add("PluginBinding", &bindings.Items[i])
	}
	for i := range gateways.Items {
		c.add("KongGateway", &gateways.Items[i])
	}
	c.objects = len(c.versions)
	for i := range events.Items {
		event := &events.Items[i]
		c.add(fmt.Sprintf("Event %q (%s)", event.Message, event.Reason), event)
	}
	var err error
	c.writes, err = s.cluster.writeRequests(ctx)
	return c, err
}

func (c counts) add(kind string, o client.Object) {
	c.versions[kind+" "+o.GetNamespace()+"/"+o.GetName()] = o.GetResourceVersion()
}

// differenceTo returns an error for everything that has changed.
func (c counts) differenceTo(before counts) error {
	var errs []error
	for name, version := range c.versions {
		if before.versions[name] != version {
			errs = append(errs, fmt.Errorf("%s was written", name))
		}
	}
	for name := range before.versions {
		if _, still := c.versions[name]; !still {
			errs = append(errs, fmt.Errorf("%s is gone", name))
		}
	}
	if c.writes != before.writes {
		errs = append(errs, fmt.Errorf("the API server had %d write requests", c.writes-before.writes))
	}
	return errors.Join(errs...)
}

// waitUntilSettled waits until the gateway's status reports no difference in Kong, and until
// nothing has been written for a while.
func (s *walkthrough) waitUntilSettled(ctx context.Context) error {
	last, since := counts{}, s.now()
	return s.eventually(ctx, readyTimeout, func(ctx context.Context) error {
		if err := s.inSync(ctx); err != nil {
			return err
		}
		now, err := s.count(ctx)
		if err != nil {
			return err
		}
		if changed := now.differenceTo(last); changed != nil {
			last, since = now, s.now()
			return changed
		}
		if s.now().Sub(since) < quietPeriod {
			return errors.New("the last change was a moment ago")
		}
		return nil
	})
}

// inSync returns an error while the last resync reports a difference. The next resync then has
// to write the status.
func (s *walkthrough) inSync(ctx context.Context) error {
	if err := s.allBindingsReady(ctx); err != nil {
		return err
	}
	gateway, err := s.cluster.gateway(ctx)
	if err != nil {
		return err
	}
	plugins, err := s.kong.owned(ctx)
	if err != nil {
		return err
	}
	last := gateway.Status.LastResync
	if last == nil || last.Changed != 0 || last.Orphaned != 0 || int(last.Plugins) != len(plugins) {
		return fmt.Errorf("the gateway's last resync was %+v, with %d plugins in Kong", last, len(plugins))
	}
	return nil
}

// waitForFullResync waits until the operator has reconciled all objects and has resynced twice
// since it started.
func (s *walkthrough) waitForFullResync(ctx context.Context, objects int) error {
	var first float64
	return s.eventually(ctx, readyTimeout, func(ctx context.Context) error {
		is, err := s.operator.activity(ctx)
		if err != nil {
			return err
		}
		if first == 0 {
			first = is.lastResync
		}
		if is.reconciles < objects || is.queued > 0 || is.lastResync == first {
			return fmt.Errorf("%d reconciles for %d objects, %d queued, first resync at %.3f, last at %.3f",
				is.reconciles, objects, is.queued, first, is.lastResync)
		}
		return nil
	})
}
