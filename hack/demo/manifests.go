package main

import (
	"fmt"
	"strings"
)

const (
	// cartNamespace is the namespace of the bindings that the demo adds to the samples.
	cartNamespace = "cart"
	// conflictBinding is the binding in whose place somebody has created a plugin.
	conflictBinding = "cart-service"
)

// cartManifest declares the namespace of a team that may use the samples' gateway, and a
// binding for each of its routes.
func cartManifest() string {
	var b strings.Builder
	b.WriteString(`apiVersion: v1
kind: Namespace
metadata:
  name: ` + cartNamespace + `
  labels:
    kong-access: allowed
`)
	for i := range cartCount {
		b.WriteString("---\n" + rateLimit(cartName(i+1), "route", cartName(i+1)))
	}
	return b.String()
}

// rateLimit declares a binding with a rate limit of 100 a minute.
func rateLimit(name, kind, scope string) string {
	return fmt.Sprintf(`apiVersion: kong.pluginbinding.io/v1alpha1
kind: PluginBinding
metadata:
  name: %s
  namespace: %s
spec:
  gatewayRef: {name: kong, namespace: kong-demo}
  plugin: rate-limiting
  scope:
    %s: {name: %s}
  config: {minute: 100, policy: local}
`, name, cartNamespace, kind, scope)
}
