// Package admission refuses PluginBindings and PluginPolicies whose config Kong refuses, at the time
// at which somebody applies them.
//
// It is a courtesy, not a guard: an object that it cannot check is admitted, and the object's
// conditions tell the rest later. Every replica serves it, so it has connections of its own, apart
// from those of the leader. They make two kinds of requests: reads, and validations, which write
// nothing.
//
// The callers of a webhook are not authenticated: whoever reaches the port can send any object in any
// namespace. So the package reads no Secret and no ConfigMap for an object, never asks Kong about
// code, and asks only the Kong of a gateway that exists, is accepted and allows the namespace. All
// that it does and keeps has a bound.
//
// It must not import a reconciler, HTTP or a client of Kong.
package admission

import (
	"context"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/webhook"
	"sigs.k8s.io/controller-runtime/pkg/webhook/admission"

	"github.com/pluginbinding/kong-plugin-operator/internal/adminapi"
	"github.com/pluginbinding/kong-plugin-operator/internal/kic"
	"github.com/pluginbinding/kong-plugin-operator/internal/plugin"
)

// The paths of the webhooks.
const (
	PathPluginBinding = "/validate-kong-pluginbinding-io-v1alpha1-pluginbinding"
	PathPluginPolicy  = "/validate-kong-pluginbinding-io-v1alpha1-pluginpolicy"
)

// checkTimeout is shorter than the 3 s after which the API server goes on without an answer: it leaves
// time for the way there and back.
const checkTimeout = 2500 * time.Millisecond

// Options of the webhooks.
type Options struct {
	// Client reads KongGateways, PluginBindings and Namespaces from the cache.
	Client client.Reader
	// APIReader reads the Secrets of KongGateways.
	APIReader client.Reader
	// Namespaces that the operator watches; empty for all.
	Namespaces sets.Set[string]
	// Selector of what the operator watches; nil or empty for everything.
	Selector labels.Selector
	// AllowedHosts restricts the hosts to which the adminURL of a KongGateway may lead.
	AllowedHosts []string
	// Registry takes the metrics.
	Registry prometheus.Registerer
	// Clock tells the time.
	Clock clock.PassiveClock
	// Ingress has the objects of Kong's ingress controller; nil if nobody is to be warned of them.
	Ingress IngressObjects
}

// IngressObjects are the objects of Kong's ingress controller. Every method answers from a cache.
type IngressObjects interface {
	kic.Objects
	// Installed reports whether the cluster has kinds of the ingress controller.
	Installed() bool
}

// Kong is what the package may ask of a Kong.
type Kong interface {
	Probe(ctx context.Context) (adminapi.Info, error)
	Schema(ctx context.Context, pluginName string) (*plugin.Schema, error)
	ValidateConfig(ctx context.Context, p plugin.Plugin) error
	Resolve(ctx context.Context, kind adminapi.EntityKind, ref adminapi.EntityRef) (adminapi.Entity, error)
}

var _ Kong = (*adminapi.Client)(nil)

// Webhooks validate the two kinds.
type Webhooks struct {
	Bindings admission.Validator[*pluginBinding]
	Policies admission.Validator[*pluginPolicy]
}

// New makes the webhooks.
func New(o Options) *Webhooks {
	c := &checker{Options: o, gateways: newGateways(o), tenants: newTenants(), counts: newCounts(o.Registry)}
	return &Webhooks{Bindings: bindingValidator{c}, Policies: policyValidator{c}}
}

// Register adds the webhooks to a server.
func (w *Webhooks) Register(server webhook.Server, scheme *runtime.Scheme) {
	server.Register(PathPluginBinding, admission.WithValidator(scheme, w.Bindings))
	server.Register(PathPluginPolicy, admission.WithValidator(scheme, w.Policies))
}

// newCounts counts what became of the objects that had to be checked.
func newCounts(registry prometheus.Registerer) *prometheus.CounterVec {
	counts := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "kong_operator_admission_checks_total",
		Help: "Objects with a new config that the webhooks got, by result: accepted and refused by Kong, or unchecked.",
	}, []string{"result"})
	registry.MustRegister(counts)
	for _, result := range []string{accepted, refused, unchecked} {
		counts.WithLabelValues(result)
	}
	return counts
}

// Results in the metric.
const (
	accepted  = "accepted"
	refused   = "refused"
	unchecked = "unchecked"
)
