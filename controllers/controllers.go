// Package controllers sets the reconcilers up: options, field indexes, watches and metrics. It
// makes the values that the reconcilers share and wires them together.
//
// Each reconciler has a package of its own below this one. They import each other nowhere; what
// two of them need is in internal/.
package controllers

import (
	"cmp"
	"context"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/client-go/tools/events"
	"k8s.io/client-go/util/workqueue"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/pluginbinding/kong-plugin-operator/controllers/konggateway"
	"github.com/pluginbinding/kong-plugin-operator/controllers/pluginbinding"
	"github.com/pluginbinding/kong-plugin-operator/controllers/pluginpolicy"
	"github.com/pluginbinding/kong-plugin-operator/internal/absence"
	"github.com/pluginbinding/kong-plugin-operator/internal/adminapi"
	"github.com/pluginbinding/kong-plugin-operator/internal/connection"
	"github.com/pluginbinding/kong-plugin-operator/internal/fairqueue"
	"github.com/pluginbinding/kong-plugin-operator/internal/inflight"
	"github.com/pluginbinding/kong-plugin-operator/internal/metrics"
	"github.com/pluginbinding/kong-plugin-operator/internal/programmed"
)

// UserAgent is what the operator calls itself to Kong and to the API server.
const UserAgent = connection.UserAgent

// Options of the reconcilers.
type Options struct {
	// ClusterID is in the ownership tags of this cluster's plugins in Kong.
	ClusterID string
	// Namespaces that the manager watches; empty for all.
	Namespaces []string
	// Selector of the KongGateways and PluginBindings that the manager watches; nil or empty for
	// all.
	Selector labels.Selector
	// RemoveOrphans allows the removal of plugins that carry this cluster's ownership tags and
	// belong to no binding.
	RemoveOrphans bool
	// ClusterCreatedAt is when this cluster was created. The operator does not remove older
	// plugins as orphans: under a cluster ID that was used before, their bindings may still be
	// restored.
	ClusterCreatedAt time.Time
	// IsLeader reports whether no other replica can lead now. The operator writes nothing to Kong
	// while it returns false. Nil if there is no other replica.
	IsLeader func() bool
	// Workers is how many bindings of one gateway are reconciled concurrently. Without it, nothing is
	// limited.
	Workers int
	// AllowedHosts restricts the hosts to which the adminURL of a KongGateway may lead, see
	// adminapi.Settings. Empty allows all.
	AllowedHosts []string
	// Registry takes the metrics.
	Registry prometheus.Registerer
	// Clock tells the time.
	Clock clock.PassiveClock
	// Writes tracks the writes to Kong, and what this process knows of those of an earlier leader, which
	// Kong may still apply for a while. Without it, New makes one.
	Writes *inflight.Tracker
	// LeadingSince is, without Writes, when this process began to lead; the first reconcile if it is zero.
	LeadingSince time.Time
	// Client and APIReader replace the manager's own, if set.
	Client    client.Client
	APIReader client.Reader
	// Clients replaces the clients of package adminapi, if set.
	Clients connection.ClientRegistry
}

// Reconcilers are the reconcilers, wired together.
type Reconcilers struct {
	Gateways    *konggateway.Reconciler
	Bindings    *pluginbinding.Reconciler
	Policies    *pluginpolicy.Reconciler
	Connections *connection.Registry
}

// Recorders take the events of each reconciler.
type Recorders struct {
	Gateways, Bindings, Policies events.EventRecorder
}

// workersPerGateway is how many times the workers of one gateway a controller has, so that gateways
// that answer slowly leave workers for the others. Most of them wait for a response of Kong.
const workersPerGateway = 32

// Delays after a failure. The delay of a binding is bounded, so that a gateway that was down for
// long is not left alone for as long again.
const (
	bindingBaseDelay = 100 * time.Millisecond
	bindingMaxDelay  = time.Minute
	gatewayBaseDelay = time.Second
	gatewayMaxDelay  = 15 * time.Second
)

// New makes the reconcilers.
func New(o Options, recorders Recorders) *Reconcilers {
	var (
		connections = connection.NewRegistry()
		selections  = connection.NewSelections()
		writes      = cmp.Or(o.Writes, inflight.NewTracker(o.Clock, o.LeadingSince))
		memory      = programmed.NewMemory()
		counters    = metrics.New(o.Registry)
		namespaces  = sets.New(o.Namespaces...)
		workers     = fairqueue.NewLimiter(workersPerGateway*o.Workers, o.Workers)
	)
	return &Reconcilers{
		Connections: connections,
		Gateways: &konggateway.Reconciler{
			Client:           o.Client,
			APIReader:        o.APIReader,
			Events:           recorders.Gateways,
			ClusterID:        o.ClusterID,
			Namespaces:       namespaces,
			Selector:         o.Selector,
			RemoveOrphans:    o.RemoveOrphans,
			ClusterCreatedAt: o.ClusterCreatedAt,
			AllowedHosts:     o.AllowedHosts,
			Connections:      connections,
			Selections:       selections,
			InFlight:         writes,
			Programmed:       memory,
			Metrics:          counters,
			Clients:          o.Clients,
			Clock:            o.Clock,
			Backoff:          workqueue.NewTypedItemExponentialFailureRateLimiter[types.NamespacedName](gatewayBaseDelay, gatewayMaxDelay),
			Limiter:          fairqueue.NewLimiter(gatewayWorkers, 1),
			BindingWorkers:   workers,
		},
		Bindings: &pluginbinding.Reconciler{
			Client:      o.Client,
			APIReader:   o.APIReader,
			Events:      recorders.Bindings,
			ClusterID:   o.ClusterID,
			Namespaces:  namespaces,
			Selector:    o.Selector,
			Connections: connections,
			InFlight:    writes,
			Programmed:  memory,
			Metrics:     counters,
			Clock:       o.Clock,
			Backoff:     workqueue.NewTypedItemExponentialFailureRateLimiter[types.NamespacedName](bindingBaseDelay, bindingMaxDelay),
			Absences:    absence.NewTracker(o.Clock),
			Limiter:     workers,
		},
		Policies: newPolicies(o, recorders.Policies, connections, selections),
	}
}

// newPolicies makes the reconciler of policies, without the objects that it targets.
func newPolicies(o Options, recorder events.EventRecorder, connections *connection.Registry, selections *connection.Selections) *pluginpolicy.Reconciler {
	return &pluginpolicy.Reconciler{
		Client:      o.Client,
		APIReader:   o.APIReader,
		Events:      recorder,
		Namespaces:  sets.New(o.Namespaces...),
		Selector:    o.Selector,
		Connections: connections,
		Selections:  selections,
		Clock:       o.Clock,
		Backoff:     workqueue.NewTypedItemExponentialFailureRateLimiter[types.NamespacedName](bindingBaseDelay, bindingMaxDelay),
		Limiter:     fairqueue.NewLimiter(policyWorkers, policyWorkersPerGateway),
	}
}

// AddToManager adds the reconcilers to a manager that has not started. The manager provides what
// the options leave out. It returns an error when an index, a metric or a controller of that name
// exists already.
func AddToManager(ctx context.Context, mgr ctrl.Manager, o Options) error {
	if err := AddIndexes(ctx, mgr.GetFieldIndexer()); err != nil {
		return err
	}
	if o.Client == nil {
		o.Client = mgr.GetClient()
	}
	if o.APIReader == nil {
		o.APIReader = mgr.GetAPIReader()
	}
	if o.Clients == nil {
		clients := adminapi.NewRegistry(adminapi.NewMetrics(o.Registry), o.IsLeader)
		if o.Writes != nil {
			clients.Report(o.Writes)
		}
		o.Clients = connection.AdminAPIClients{Registry: clients}
	}
	if err := o.Registry.Register(&ConditionCollector{Reader: mgr.GetCache()}); err != nil {
		return err
	}
	gateways := namespaceRecorder{mgr.GetEventRecorder("konggateway-controller"), mgr.GetCache()}
	routine := newRoutineEvents(o.Clock, gateways, mgr.GetCache())
	reconcilers := New(o, Recorders{
		Gateways: gateways,
		Bindings: namespaceRecorder{routine.bound(mgr.GetEventRecorder("pluginbinding-controller")), mgr.GetCache()},
		Policies: namespaceRecorder{routine.bound(mgr.GetEventRecorder("pluginpolicy-controller")), mgr.GetCache()},
	})
	routine.metrics = reconcilers.Bindings.Metrics
	if err := mgr.Add(routine); err != nil {
		return err
	}
	reconcilers.Bindings.Ingress = &ingressObjects{
		cache: mgr.GetCache(), mapper: mgr.GetRESTMapper(), clock: o.Clock,
		changed: func(binding types.NamespacedName) {
			reconcilers.Bindings.Hint(binding)
			reconcilers.Connections.EnqueueWaiting(ctx, binding)
		},
	}
	if err := addGatewayController(mgr, reconcilers); err != nil {
		return err
	}
	if err := addPolicyController(mgr, reconcilers); err != nil {
		return err
	}
	return addBindingController(mgr, reconcilers, workersPerGateway*o.Workers)
}
