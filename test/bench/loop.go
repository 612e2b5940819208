package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"

	"github.com/pluginbinding/kong-plugin-operator/api/v1alpha1"
	"github.com/pluginbinding/kong-plugin-operator/internal/identity"
)

// loopNamespace contains the bindings of the loop.
const loopNamespace = namespace + "-loop"

// loop is the yardstick: what any controller of such objects has to do, on the same machine, in the
// same run, with as many requests at a time as the operator has workers. It watches its objects, as it
// would not know of any otherwise. It decides nothing, reads nothing and emits no events. So the
// operator's share of its rate shows what the operator's promises cost, whatever the machine. The operator
// does not run meanwhile.
type loop struct {
	users   client.Client // who makes, changes and deletes the bindings
	own     client.Client // with the operator's user, so that its requests are counted
	kong    *kong         // through the proxy
	cluster string        // in the ownership tags
	plugins []pluginSpec
	unwatch context.CancelFunc
	// bindings as the last response contained them, by their place in plugins.
	bindings []*v1alpha1.PluginBinding
}

func (s *environment) newLoop(ctx context.Context) (*loop, error) {
	config, err := clientcmd.BuildConfigFromFlags("", s.cluster.kubeconfig)
	if err != nil {
		return nil, err
	}
	config.QPS = -1
	own, err := client.New(config, client.Options{Scheme: s.cluster.Scheme()})
	if err != nil {
		return nil, err
	}
	plugins := s.plugins[:min(s.n, s.loopMax)]
	l := &loop{
		users: s.cluster, own: own, plugins: plugins,
		kong:    &kong{url: s.proxy.url, client: s.kong.client},
		cluster: s.kong.clusterID + "-loop", bindings: make([]*v1alpha1.PluginBinding, len(plugins)),
	}
	if err := l.users.Create(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: loopNamespace}}); err != nil {
		return nil, err
	}
	if err := inParallel(ctx, apiServerConcurrency, len(plugins), func(ctx context.Context, i int) error {
		binding, err := plugins[i].binding()
		if err != nil {
			return err
		}
		binding.Namespace, l.bindings[i] = loopNamespace, binding
		return l.users.Create(ctx, binding)
	}); err != nil {
		return nil, err
	}
	return l, l.watch(ctx, config)
}

// watch keeps a copy of all bindings until unwatch is called.
func (l *loop) watch(ctx context.Context, config *rest.Config) error {
	copies, err := cache.New(config, cache.Options{Scheme: l.own.Scheme()})
	if err != nil {
		return err
	}
	if _, err := copies.GetInformer(ctx, &v1alpha1.PluginBinding{}, cache.BlockUntilSynced(false)); err != nil {
		return err
	}
	var running context.Context
	running, l.unwatch = context.WithCancel(context.WithoutCancel(ctx))
	go func() { _ = copies.Start(running) }() // what it does not get costs nothing
	if !copies.WaitForCacheSync(ctx) {
		return errors.New("the loop's watch did not start")
	}
	return nil
}

// plugin is the plugin of a binding, as the operator would send it.
func (l *loop) plugin(i int) map[string]any {
	spec, b := l.plugins[i], l.bindings[i]
	owner := identity.Binding{Cluster: l.cluster, Namespace: b.Namespace, Name: b.Name, UID: string(b.UID)}
	tags := owner.OwnershipTags()
	for _, tag := range b.Spec.Tags {
		tags = append(tags, string(tag))
	}
	return map[string]any{
		"name": spec.plugin, "config": spec.config, spec.kind: map[string]any{"name": spec.entity},
		"enabled": true, "instance_name": owner.InstanceName(), "tags": tags,
	}
}

// create adds the finalizer, creates the plugin, and records it.
func (l *loop) create(ctx context.Context, i int) error {
	base := l.bindings[i].DeepCopy()
	controllerutil.AddFinalizer(l.bindings[i], v1alpha1.PluginFinalizer)
	if err := l.own.Patch(ctx, l.bindings[i], client.MergeFrom(base)); err != nil {
		return err
	}
	var made struct {
		ID string `json:"id"`
	}
	if err := l.kong.do(ctx, http.MethodPost, "/plugins", l.plugin(i), &made); err != nil {
		return err
	}
	return l.patchStatus(ctx, i, made.ID)
}

// change writes the plugin, and says so.
func (l *loop) change(ctx context.Context, i int) error {
	id := string(l.bindings[i].Status.PluginID)
	if err := l.kong.do(ctx, http.MethodPut, "/plugins/"+id, l.plugin(i), nil); err != nil {
		return err
	}
	return l.patchStatus(ctx, i, id)
}

// delete deletes the plugin, and lets the binding go.
func (l *loop) delete(ctx context.Context, i int) error {
	if err := l.kong.do(ctx, http.MethodDelete, "/plugins/"+string(l.bindings[i].Status.PluginID), nil, nil); err != nil {
		return err
	}
	base := l.bindings[i].DeepCopy()
	controllerutil.RemoveFinalizer(l.bindings[i], v1alpha1.PluginFinalizer)
	return l.own.Patch(ctx, l.bindings[i], client.MergeFrom(base))
}

// patchStatus writes the status that the operator would write.
func (l *loop) patchStatus(ctx context.Context, i int, id string) error {
	base := l.bindings[i].DeepCopy()
	l.setStatus(i, id)
	return l.own.Status().Patch(ctx, l.bindings[i], client.MergeFrom(base))
}

// setStatus sets the status of a binding whose plugin is in Kong.
func (l *loop) setStatus(i int, id string) {
	b := l.bindings[i]
	now, text := metav1.Now(), "Kong holds plugin "+id+" as declared"
	scope := &v1alpha1.BoundScope{Summary: l.plugins[i].kind + " " + l.plugins[i].entity}
	if l.plugins[i].kind == "route" {
		scope.RouteID = id // any ID: it counts as much as the right one
	} else {
		scope.ServiceID = id
	}
	b.Status.PluginID, b.Status.PluginIDSource, b.Status.Scope = v1alpha1.UUID(id), v1alpha1.PluginIDCreated, scope
	b.Status.Gateway = &v1alpha1.BoundGateway{Name: gatewayName, Namespace: namespace}
	b.Status.ObservedGeneration, b.Status.LastWriteTime = b.Generation, &now
	for _, c := range []metav1.Condition{
		{Type: v1alpha1.ConditionAccepted, Reason: v1alpha1.ReasonAccepted, Message: "the gateway allows this binding"},
		{Type: v1alpha1.ConditionResolvedRefs, Reason: v1alpha1.ReasonResolvedRefs, Message: "every Secret and every part of the scope was found"},
		{Type: v1alpha1.ConditionProgrammed, Reason: v1alpha1.ReasonProgrammed, Message: text},
		{Type: v1alpha1.ConditionReady, Reason: v1alpha1.ReasonReady, Message: text},
	} {
		c.Status, c.ObservedGeneration = metav1.ConditionTrue, b.Generation
		meta.SetStatusCondition(&b.Status.Conditions, c)
	}
}

// loopCreate measures the mirror image of the first creation: all bindings are there already.
func (s *environment) loopCreate(ctx context.Context, p *phase) error {
	var err error
	if s.loop, err = s.newLoop(ctx); err != nil {
		return err
	}
	return s.measureLoop(ctx, p, http.MethodPost, s.loop.all, s.loop.create)
}

// loopChange measures the mirror image of the change of all: all are changed already.
func (s *environment) loopChange(ctx context.Context, p *phase) error {
	l := s.loop
	if err := inParallel(ctx, apiServerConcurrency, len(l.plugins), func(ctx context.Context, i int) error {
		return l.users.Patch(ctx, l.bindings[i], tagPatch("all"))
	}); err != nil {
		return err
	}
	return s.measureLoop(ctx, p, http.MethodPut, l.all, l.change)
}

// loopDelete measures the mirror image of the deletion: users delete the bindings meanwhile.
func (s *environment) loopDelete(ctx context.Context, p *phase) error {
	l := s.loop
	err := s.measureLoop(ctx, p, http.MethodDelete, func(ctx context.Context, turn func(int)) error {
		return inParallel(ctx, apiServerConcurrency, len(l.plugins), func(ctx context.Context, i int) error {
			err := l.users.Delete(ctx, l.bindings[i])
			turn(i)
			return err
		})
	}, l.delete)
	l.unwatch()
	s.loop = nil
	return err
}

// all hands out all bindings at once.
func (l *loop) all(_ context.Context, turn func(int)) error {
	for i := range l.plugins {
		turn(i)
	}
	return nil
}

// measureLoop runs the loop over the bindings that feed hands out, and measures its rate as that of the
// operator is measured: in Kong.
func (s *environment) measureLoop(ctx context.Context, p *phase, method string,
	feed func(ctx context.Context, turn func(int)) error, work func(context.Context, int) error,
) error {
	l := s.loop
	if _, _, err := s.cluster.audit.next(); err != nil {
		return err
	}
	mark, began, queue := s.proxy.mark(), time.Now(), make(chan int, len(l.plugins))
	theirs, profiled := cpuOf(s.cluster.processes), s.profileLoop(ctx, method)
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error {
		defer close(queue)
		return feed(ctx, func(i int) { queue <- i })
	})
	for range kongConcurrency {
		group.Go(func() error {
			for i := range queue {
				if err := work(ctx, i); err != nil {
					return fmt.Errorf("the loop's binding %s: %w", l.plugins[i].name, err)
				}
			}
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		return err
	}
	p.Seconds = time.Since(began).Seconds()
	defer profiled()
	p.Figures[figServerMS] = 1000 * (cpuOf(s.cluster.processes) - theirs) / float64(len(l.plugins))
	p.Figures[figBindings] = float64(len(l.plugins))
	n, first, last := writesIn(s.proxy.since(mark), method)
	p.Figures[figRate] = float64(n) / last.Sub(first).Seconds()
	return nil
}

// compareWithLoop records the share of the loop's rate that the operator reached, and what one binding
// cost the API server, which had used so much of the processor before.
func (s *environment) compareWithLoop(p *phase, with string, theirs float64) {
	p.Figures[figServerMS] = 1000 * (cpuOf(s.cluster.processes) - theirs) / float64(s.n)
	if rate := s.measured.figure(with, figRate); rate > 0 {
		p.Figures[figLoopShare] = 100 * p.Figures[figRate] / rate
	}
}
