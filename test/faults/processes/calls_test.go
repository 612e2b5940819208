package processes

import (
	"bytes"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/google/uuid"
)

// Names of the calls that these tests refer to. Package faults uses the same names.
const (
	kubeLease               = "kube/lease"
	kubeEvent               = "kube/create-event"
	kubeGetSecret           = "kube/get-secret"
	kubeGetBinding          = "kube/get-binding"
	kubeAddBindingFinalizer = "kube/add-binding-finalizer"
	kubeRemoveFinalizer     = "kube/remove-binding-finalizer"
	kubePatchBindingStatus  = "kube/patch-binding-status"
	kubePatchGatewayStatus  = "kube/patch-gateway-status"
	kubeWatchListBindings   = "kube/watch-list-pluginbindings"

	kongProbe           = "kong/probe"
	kongGetPlugin       = "kong/get-plugin" // by its ID
	kongGetPluginByName = "kong/get-plugin-by-name"
	kongCreatePlugin    = "kong/create-plugin"
	kongPutPlugin       = "kong/put-plugin"
	kongDeletePlugin    = "kong/delete-plugin"
	kongListOwned       = "kong/list-plugins-by-2-tags" // a resync: the plugins of this cluster
	kongListTagged      = "kong/list-plugins-by-5-tags" // those of one binding
	kongListOfService   = "kong/list-plugins-of-services"
)

// kubernetesCall names a request to the API server.
func kubernetesCall(method string, u *url.URL, body []byte) call {
	c := call{method: method, path: u.Path, query: u.RawQuery}
	resource, object, sub, ok := kubernetesPath(u.Path)
	if !ok {
		c.name = "kube/discover"
		return c
	}
	c.writes = method != http.MethodGet
	verb := map[string]string{
		http.MethodPost: "create", http.MethodPut: "update", http.MethodPatch: "patch", http.MethodDelete: "delete",
	}[method]
	switch {
	case verb == "" && u.Query().Get("watch") != "":
		c.lasts, verb = true, "watch"
		if u.Query().Get("sendInitialEvents") == "true" {
			verb = "watch-list"
		}
	case verb == "" && object == "":
		verb = "list"
	case verb == "":
		verb = "get"
	}
	c.name = kubernetesName(verb, resource, sub, body)
	return c
}

func kubernetesName(verb, resource, sub string, body []byte) string {
	switch resource {
	case "leases":
		return kubeLease
	case "events":
		return kubeEvent
	}
	if verb == "list" || strings.HasPrefix(verb, "watch") {
		return "kube/" + verb + "-" + resource
	}
	kind, known := map[string]string{"secrets": "secret", "pluginbindings": "binding", "konggateways": "gateway", "pluginpolicies": "policy"}[resource]
	switch {
	case !known:
		return "kube/" + verb + "-" + resource
	case verb == "patch" && bytes.Contains(body, []byte(`"ownerReferences"`)): // of a policy
		return "kube/apply-" + kind
	case verb == "patch" && sub == "status":
		return "kube/patch-" + kind + "-status"
	case verb == "patch" && bytes.Contains(body, []byte(`"finalizers":null`)):
		return "kube/remove-" + kind + "-finalizer"
	case verb == "patch":
		return "kube/add-" + kind + "-finalizer"
	default:
		return "kube/" + verb + "-" + kind
	}
}

// kubernetesPath splits the path of a resource.
func kubernetesPath(path string) (resource, object, sub string, ok bool) {
	parts := strings.Split(strings.Trim(path, "/"), "/")
	switch {
	case len(parts) > 2 && parts[0] == "api":
		parts = parts[2:]
	case len(parts) > 3 && parts[0] == "apis":
		parts = parts[3:]
	default:
		return "", "", "", false
	}
	if len(parts) > 2 && parts[0] == "namespaces" {
		parts = parts[2:]
	}
	parts = append(parts, "", "")
	return parts[0], parts[1], parts[2], true
}

// isKongCall reports whether a call goes to Kong, and not to the API server.
func isKongCall(name string) bool { return strings.HasPrefix(name, "kong/") }

// kongCall names a request to the Admin API.
func kongCall(method string, u *url.URL) call {
	parts := append(strings.Split(strings.Trim(u.Path, "/"), "/"), "", "")
	return call{
		name:   "kong/" + kongName(method, parts[0], parts[1], parts[2], u.Query().Get("tags")),
		method: method, path: u.Path, query: u.RawQuery, writes: method != http.MethodGet,
	}
}

func kongName(method, collection, item, below, tags string) string {
	verbs := map[string]string{http.MethodPost: "create", http.MethodPut: "put", http.MethodDelete: "delete"}
	kind := strings.TrimSuffix(collection, "s")
	switch {
	case verbs[method] != "":
		return verbs[method] + "-" + kind
	case collection == "":
		return "probe"
	case collection == "status":
		return "probe-status"
	case collection == "schemas":
		return "get-schema"
	case item == "" && tags != "":
		return "list-" + collection + "-by-" + strconv.Itoa(strings.Count(tags, ",")+1) + "-tags"
	case item == "":
		return "list-" + collection
	case below != "":
		return "list-" + below + "-of-" + collection
	case collection == "plugins" && uuid.Validate(item) != nil:
		return "get-plugin-by-name"
	default:
		return "get-" + kind
	}
}
