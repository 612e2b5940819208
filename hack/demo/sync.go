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

// quietPeriod is how long nothing has to happen before things count as settled.
const quietPeriod = 2 * time.Second

// counts is what the API server holds, and how often somebody wanted to change it.
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

// differenceTo complains of everything that is not as before.
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
		errs = append(errs, fmt.Errorf("the API server had %d requests to write", c.writes-before.writes))
	}
	return errors.Join(errs...)
}

// waitUntilSettled waits until the gateway's status speaks of a Kong in which nothing differs, and
// until nothing has been written for a while.
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
			return errors.New("there was a change a moment ago")
		}
		return nil
	})
}

// inSync complains while the last sweep still speaks of a difference: the sweep after it
// has to write that there is none.
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
	sweep := gateway.Status.LastResync
	if sweep == nil || sweep.Changed != 0 || sweep.Orphaned != 0 || int(sweep.Plugins) != len(plugins) {
		return fmt.Errorf("the gateway's last sweep was %+v, with %d plugins in Kong", sweep, len(plugins))
	}
	return nil
}

// waitForFullResync waits until the operator has been through all objects and has swept Kong
// twice since it started.
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
			return fmt.Errorf("%d passes for %d objects, %d waiting, first sweep at %.3f, last at %.3f",
				is.reconciles, objects, is.queued, first, is.lastResync)
		}
		return nil
	})
}
