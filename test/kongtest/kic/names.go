package kic

import (
	"crypto/sha256"
	"encoding/hex"
	"strconv"
	"strings"

	"github.com/google/uuid"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// DefaultTag is the tag on every row that KIC wrote.
const DefaultTag = "managed-by-ingress-controller"

// kongNamespace is the namespace of all IDs that Kong's tools derive from names.
var kongNamespace = uuid.MustParse("fd02801f-0957-4a15-a55a-c8d9606f30b5")

// ID is the ID that KIC gives to a row: kind is "services", "routes", "consumers" or
// "plugins", key is the name of the row, or the PluginKey.
func ID(kind, key string) string {
	return uuid.NewSHA1(uuid.NewSHA1(kongNamespace, []byte(kind)), []byte(key)).String()
}

// Scope names the entities that a plugin is for. An empty name means any.
type Scope struct{ Service, Route, Consumer string }

// PluginKey is the key of a plugin's ID.
func PluginKey(plugin string, s Scope) string {
	key := plugin
	for _, part := range [][2]string{{"service", s.Service}, {"route", s.Route}, {"consumer", s.Consumer}} {
		if part[1] != "" {
			key += ":" + part[0] + "/" + part[1]
		}
	}
	return key
}

// InstanceName is the instance name of a plugin in Kong. One KongPlugin makes several
// plugins, and instance names are unique: the scope's hash tells them apart.
func InstanceName(name string, s Scope) string {
	scope := ""
	for _, part := range [][2]string{{"service", s.Service}, {"route", s.Route}, {"consumer", s.Consumer}} {
		if part[1] != "" {
			scope += "_" + part[0] + "-" + part[1]
		}
	}
	sum := sha256.Sum256([]byte(scope))
	return name + "-" + hex.EncodeToString(sum[:])[:9]
}

// portForm is a port as the Ingress writes it: by name or by number.
func portForm(port networkingv1.ServiceBackendPort) string {
	if port.Name != "" {
		return port.Name
	}
	return strconv.Itoa(int(port.Number))
}

func ingressServiceName(namespace, service, port string) string {
	return strings.Join([]string{namespace, service, port}, ".")
}

// ingressRouteName has an empty part where the rule has no host, and _ for a wildcard.
func ingressRouteName(namespace, ingress, service, host, port string) string {
	return strings.Join([]string{namespace, ingress, service, strings.ReplaceAll(host, "*", "_"), port}, ".")
}

func httpRouteServiceName(namespace, name string, rule int) string {
	return strings.Join([]string{"httproute", namespace, name, strconv.Itoa(rule)}, ".")
}

// tags are the tags of a row that is made of an object, in KIC's order.
func tags(o metav1.Object, kind schema.GroupVersionKind, managedBy string, more ...string) []string {
	out := []string{"k8s-name:" + o.GetName()}
	if o.GetNamespace() != "" {
		out = append(out, "k8s-namespace:"+o.GetNamespace())
	}
	out = append(out, "k8s-kind:"+kind.Kind, "k8s-uid:"+string(o.GetUID()))
	if kind.Group != "" {
		out = append(out, "k8s-group:"+kind.Group)
	}
	out = append(out, "k8s-version:"+kind.Version)
	out = append(out, more...)
	out = append(out, list(o.GetAnnotations()["konghq.com/tags"])...)
	return append(out, managedBy)
}

// list splits a comma-separated annotation.
func list(value string) []string {
	var out []string
	for part := range strings.SplitSeq(value, ",") {
		if part = strings.TrimSpace(part); part != "" {
			out = append(out, part)
		}
	}
	return out
}
