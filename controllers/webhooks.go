package controllers

import (
	"k8s.io/apimachinery/pkg/util/sets"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/webhook"

	"github.com/pluginbinding/kong-plugin-operator/controllers/admission"
)

// AddWebhooks registers the validating webhooks with a server. They need the indexes of AddIndexes, and
// share nothing with the reconcilers: every replica serves them, and one leads.
func AddWebhooks(mgr ctrl.Manager, server webhook.Server, o Options) {
	admission.New(admission.Options{
		Client: mgr.GetClient(), APIReader: mgr.GetAPIReader(),
		Namespaces: sets.New(o.Namespaces...), Selector: o.Selector,
		AllowedHosts: o.AllowedHosts, Registry: o.Registry, Clock: o.Clock,
		// Its own, so that a slow first list delays no reconcile. The informers are those of the manager.
		Ingress: &ingressObjects{cache: mgr.GetCache(), mapper: mgr.GetRESTMapper(), clock: o.Clock},
	}).Register(server, mgr.GetScheme())
}
