package controllers

import (
	"context"

	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/pluginbinding/kong-plugin-operator/internal/gateway"
)

// Options of the two controllers together.
type Options struct {
	// Cluster is the cluster id that marks this cluster's plugins in Kong.
	Cluster string
	// Namespaces that the manager watches; empty for all.
	Namespaces []string
	// RemoveOrphans allows the removal of plugins that bear this cluster's marks and belong
	// to no binding.
	RemoveOrphans bool
	// Workers is how many bindings are reconciled at the same time.
	Workers int
	// Registry takes the metrics.
	Registry prometheus.Registerer
	// Clock tells the time.
	Clock clock.PassiveClock
	// Client and Live stand in for the manager's own, if set.
	Client client.Client
	Live   client.Reader
	// Dialer stands in for a pool of gateway clients, if set.
	Dialer Dialer
}

// AddToManager wires the two controllers together and adds them to a manager that has not
// started.
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
		o.Dialer = PoolDialer{gateway.NewPool(gateway.NewMetrics(o.Registry))}
	}
	connections, ledger, metrics := NewConnections(), NewLedger(o.Clock), NewMetrics(o.Registry)
	if err := o.Registry.Register(&BindingCollector{Reader: mgr.GetCache()}); err != nil {
		return err
	}
	gateways := &KongGatewayReconciler{
		Client:        o.Client,
		Live:          o.Live,
		Events:        mgr.GetEventRecorder("konggateway-controller"),
		Cluster:       o.Cluster,
		Namespaces:    sets.New(o.Namespaces...),
		RemoveOrphans: o.RemoveOrphans,
		Connections:   connections,
		Ledger:        ledger,
		Metrics:       metrics,
		Dialer:        o.Dialer,
		Clock:         o.Clock,
	}
	if err := gateways.SetupWithManager(mgr); err != nil {
		return err
	}
	bindings := &PluginBindingReconciler{
		Client:      o.Client,
		Live:        o.Live,
		Events:      mgr.GetEventRecorder("pluginbinding-controller"),
		Cluster:     o.Cluster,
		Connections: connections,
		Ledger:      ledger,
		Metrics:     metrics,
		Clock:       o.Clock,
	}
	return bindings.SetupWithManager(mgr, o.Workers)
}
