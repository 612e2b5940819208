package controllers

import (
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

	"github.com/pluginbinding/kong-plugin-operator/internal/adminapi"
)

// Options of the two controllers together.
type Options struct {
	// Cluster is the cluster id that marks this cluster's plugins in Kong.
	Cluster string
	// Namespaces that the manager watches; empty for all.
	Namespaces []string
	// Selector of the KongGateways and PluginBindings that the manager watches; nil or empty
	// for all.
	Selector labels.Selector
	// RemoveOrphans allows the removal of plugins that bear this cluster's marks and belong
	// to no binding.
	RemoveOrphans bool
	// Since is when this cluster was made. Plugins that are older are not removed as orphans:
	// under a cluster id that was used before, their bindings may still be restored.
	Since time.Time
	// Leads reports whether no other replica can lead now; nothing is written to Kong while
	// it does not. Nil if there is no other.
	Leads func() bool
	// Workers is how many bindings are reconciled at the same time.
	Workers int
	// Registry takes the metrics.
	Registry prometheus.Registerer
	// Clock tells the time.
	Clock clock.PassiveClock
	// LeadingSince is since when this process leads, if somebody knows better than that it
	// does when it first reconciles. For a while after that, a write of an earlier leader can
	// still be done, and nothing is made or removed.
	LeadingSince time.Time
	// Client and Live stand in for the manager's own, if set.
	Client client.Client
	Live   client.Reader
	// Dialer stands in for a pool of gateway clients, if set.
	Dialer Dialer
}

// Operator is the two controllers, wired together.
type Operator struct {
	Gateways    *KongGatewayReconciler
	Bindings    *PluginBindingReconciler
	Connections *Connections
}

// Recorders make the events of the two controllers.
type Recorders struct{ Gateways, Bindings events.EventRecorder }

// New wires the two controllers together. Without Workers it is taken to be run by one.
func New(o Options, recorders Recorders) *Operator {
	connections, ledger, metrics := NewConnections(), NewLedger(o.Clock, o.LeadingSince), NewMetrics(o.Registry)
	return &Operator{
		Connections: connections,
		Gateways: &KongGatewayReconciler{
			Client:        o.Client,
			Live:          o.Live,
			Events:        recorders.Gateways,
			Cluster:       o.Cluster,
			Namespaces:    sets.New(o.Namespaces...),
			Selector:      o.Selector,
			RemoveOrphans: o.RemoveOrphans,
			Since:         o.Since,
			Connections:   connections,
			Ledger:        ledger,
			Metrics:       metrics,
			Dialer:        o.Dialer,
			Clock:         o.Clock,
			backoff:       workqueue.NewTypedItemExponentialFailureRateLimiter[types.NamespacedName](gatewayFirst, gatewayMost),
		},
		Bindings: &PluginBindingReconciler{
			Client:      o.Client,
			Live:        o.Live,
			Events:      recorders.Bindings,
			Cluster:     o.Cluster,
			Namespaces:  sets.New(o.Namespaces...),
			Selector:    o.Selector,
			Connections: connections,
			Ledger:      ledger,
			Metrics:     metrics,
			Clock:       o.Clock,
			backoff:     workqueue.NewTypedItemExponentialFailureRateLimiter[types.NamespacedName](retryFirst, retryMost),
			turns:       newTurns(o.Workers),
		},
	}
}

// AddToManager wires the two controllers together and adds them to a manager that has not
// started. The manager gives what the options leave out.
func AddToManager(ctx context.Context, mgr ctrl.Manager, o Options) error {
	if err := SetupIndexes(ctx, mgr.GetFieldIndexer()); err != nil {
		return err
	}
	if o.Client == nil {
		o.Client = mgr.GetClient()
	}
	if o.Live == nil {
		o.Live = mgr.GetAPIReader()
	}
	if o.Dialer == nil {
		o.Dialer = PoolDialer{adminapi.NewRegistry(adminapi.NewMetrics(o.Registry), o.Leads)}
	}
	if err := o.Registry.Register(&BindingCollector{Reader: mgr.GetCache()}); err != nil {
		return err
	}
	operator := New(o, Recorders{
		Gateways: mgr.GetEventRecorder("konggateway-controller"),
		Bindings: mgr.GetEventRecorder("pluginbinding-controller"),
	})
	if err := operator.Gateways.SetupWithManager(mgr); err != nil {
		return err
	}
	return operator.Bindings.SetupWithManager(mgr, o.Workers)
}
