package processes

import (
	"bytes"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/google/uuid"
)

// Names of calls that the tests speak of.
const (
	nameList     = "K1" // list and watch, and what comes before them
	nameSecret   = "K2" // live read of a Secret
	nameHold     = "K3" // the finalizer goes on
	nameLive     = "K4" // live read of an object of ours
	nameStatus   = "K5" // status
	nameLetGo    = "K6" // the finalizer goes off
	nameEvent    = "K7"
	nameLease    = "K8"
	nameByID     = "G1" // one plugin by its ID
	nameByName   = "G2" // one plugin by its instance name
	nameScope    = "G3" // one entity of a scope
	namePost     = "G4"
	namePut      = "G5"
	nameDelete   = "G6"
	nameSchema   = "G7"
	nameKongList = "G8"
	nameProbe    = "G9"
)

// kubernetesCall names a request to the API server.
func kubernetesCall(method string, u *url.URL, body []byte) call {
	c := call{method: method, path: u.Path, query: u.RawQuery}
	resource, object, sub, ok := kubernetesPath(u.Path)
	if !ok {
		c.name, c.what = nameList, "discover"
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
	c.what = verb + " " + strings.TrimSuffix(resource+"."+sub, ".")
	c.name = kubernetesName(verb, resource, sub, body)
	return c
}

func kubernetesName(verb, resource, sub string, body []byte) string {
	switch {
	case resource == "leases":
		return nameLease
	case resource == "events":
		return nameEvent
	case resource == "secrets" && verb == "get":
		return nameSecret
	case verb == "get":
		return nameLive
	case verb == "list", strings.HasPrefix(verb, "watch"):
		return nameList
	case sub == "status":
		return nameStatus
	case bytes.Contains(body, []byte(`"finalizers":null`)):
		return nameLetGo
	default:
		return nameHold
	}
}

// kubernetesPath takes the path of a resource apart.
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

// kongCall names a request to the Admin API.
func kongCall(method string, u *url.URL) call {
	c := call{method: method, path: u.Path, query: u.RawQuery, writes: method != http.MethodGet}
	parts := append(strings.Split(strings.Trim(u.Path, "/"), "/"), "", "")
	collection, item, below := parts[0], parts[1], parts[2]
	switch {
	case method == http.MethodPost:
		c.name, c.what = namePost, "create "+collection
	case method == http.MethodPut:
		c.name, c.what = namePut, "put "+collection
	case method == http.MethodDelete:
		c.name, c.what = nameDelete, "delete "+collection
	case collection == "", collection == "status":
		c.name, c.what = nameProbe, "probe /"+collection
	case collection == "schemas":
		c.name, c.what = nameSchema, "get schema"
	case item == "":
		c.name, c.what = nameKongList, "list "+collection
		if tags := u.Query().Get("tags"); tags != "" {
			c.what += " by " + strconv.Itoa(strings.Count(tags, ",")+1) + " tags"
		}
	case below != "":
		c.name, c.what = nameKongList, "list "+below+" of "+collection
	case collection != "plugins":
		c.name, c.what = nameScope, "get "+collection
	case uuid.Validate(item) == nil:
		c.name, c.what = nameByID, "get plugin by id"
	default:
		c.name, c.what = nameByName, "get plugin by name"
	}
	return c
}
