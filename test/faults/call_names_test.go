package faults

// Names of the calls that a simulation counts. A call that the operator makes for a KongGateway
// has another name than the same call for a PluginBinding.
const (
	kubeGetSecret              = "kube/get-secret"
	kubeGetBinding             = "kube/get-binding"   // from the API server, not from the cache
	kubeGetGateway             = "kube/get-gateway"   // from the API server, not from the cache
	kubeListBindings           = "kube/list-bindings" // from the API server, not from the cache
	kubeAddBindingFinalizer    = "kube/add-binding-finalizer"
	kubeAddGatewayFinalizer    = "kube/add-gateway-finalizer"
	kubeRemoveBindingFinalizer = "kube/remove-binding-finalizer"
	kubeRemoveGatewayFinalizer = "kube/remove-gateway-finalizer"
	kubePatchBindingStatus     = "kube/patch-binding-status"
	kubePatchGatewayStatus     = "kube/patch-gateway-status"
	kubeCreateEvent            = "kube/create-event"

	kongGetPlugin       = "kong/get-plugin" // by its ID
	kongGetPluginByName = "kong/get-plugin-by-name"
	kongGetEntity       = "kong/get-entity" // a service, route or consumer of a scope
	kongCreatePlugin    = "kong/create-plugin"
	kongPutPlugin       = "kong/put-plugin"
	kongDeletePlugin    = "kong/delete-plugin"
	kongGetSchema       = "kong/get-schema"
	kongList            = "kong/list"
	kongValidatePlugin  = "kong/validate-plugin"
	kongProbe           = "kong/probe"
)
