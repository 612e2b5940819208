package api

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// What the samples are merged into.
var minimal = map[string]string{"PluginBinding": minimalBinding, "KongGateway": minimalGateway, "PluginPolicy": minimalPolicy}

// Samples that have, together, every field of each kind. What excludes each other is in
// different ones. A new field has to be added here, or TestBounds fails.
var samples = map[string][]string{
	"PluginBinding": {
		`
spec:
  gatewayRef: {name: kong, namespace: platform}
  scope: {service: {name: orders}, route: {name: orders}, consumer: {username: alice}}
  instanceName: orders-limit
  enabled: true
  protocols: [http]
  ordering: {before: {access: [key-auth]}, after: {access: [acl]}}
  condition: http.method == "GET"
  partials: [{id: "` + uuid + `", path: config.redis}]
  tags: [team]
  config: {minute: 5}
  configPatches: [{path: /redis/password, valueFrom: {secretKeyRef: {name: redis, key: password}}, format: String}]
  adoptionPolicy: Never
  deletionPolicy: Orphan
  managementPolicy: Observe
  pluginID: "` + uuid + `"
  replaces: {name: orders, namespace: shop}
  allowReplacementFrom: [shop]
status:
  pluginID: "` + uuid + `"
  pluginIDSource: Created
  gateway: {name: kong, namespace: platform, workspace: team}
  scope: {summary: global, serviceID: "` + uuid + `", routeID: "` + uuid + `", consumerID: "` + uuid + `", consumerGroupID: "` + uuid + `"}
  lastWriteTime: "2026-01-01T00:00:00Z"
  lastDrift: {time: "2026-01-01T00:00:00Z", fields: [config.minute]}
  conflict: {pluginID: "` + uuid + `", owner: nobody}
  acceptedDifferences: {generation: 1, updatedAt: 1, secretVersions: [redis@1], fields: [config.minute]}
  observedGeneration: 1
  conditions: [{type: Ready, status: "True", reason: Ready, message: "", lastTransitionTime: "2026-01-01T00:00:00Z", observedGeneration: 1}]
`,
		`
spec:
  scope: {service: {id: "` + uuid + `"}, route: {id: "` + uuid + `"}, consumer: {id: "` + uuid + `"}}
  configFrom: {secretKeyRef: {name: limits, key: config}}
  partials: [{name: redis}]
`,
		`spec: {scope: {consumer: {customID: crm-7}}, configFrom: {configMapKeyRef: {name: limits, key: config}}, configPatches: [{path: /a, prefix: "Bearer ", suffix: ";", valueFrom: {configMapKeyRef: {name: limits, key: a}}}]}`,
		`spec: {scope: {consumerGroup: {name: gold}}}`,
		`spec: {scope: {consumerGroup: {id: "` + uuid + `"}}}`,
	},
	"PluginPolicy": {
		`
spec:
  gatewayRef: {name: kong, namespace: platform}
  targetRefs: [{group: gateway.networking.k8s.io, kind: HTTPRoute, name: shop, sectionName: carts}]
  template:
    metadata: {labels: {team: shop}, annotations: {owner: shop}}
    spec:
      plugin: rate-limiting
      scope: {consumer: {username: alice}}
      enabled: true
      protocols: [http]
      ordering: {before: {access: [key-auth]}, after: {access: [acl]}}
      condition: http.method == "GET"
      partials: [{id: "` + uuid + `", path: config.redis}]
      tags: [team]
      config: {minute: 5}
      configPatches: [{path: /redis/password, valueFrom: {secretKeyRef: {name: redis, key: password}}, format: String}]
      adoptionPolicy: Never
      deletionPolicy: Orphan
      managementPolicy: Observe
  retention: 1h
status:
  targetSummary: HTTPRoute/shop
  targets: [{ref: {group: gateway.networking.k8s.io, kind: HTTPRoute, name: shop, sectionName: carts}, entities: 1, ready: 1}]
  bindings: {total: 1, ready: 1, retained: 1}
  observedGeneration: 1
  conditions: [{type: Ready, status: "True", reason: Ready, message: "", lastTransitionTime: "2026-01-01T00:00:00Z", observedGeneration: 1}]
`,
		`
spec:
  targetRefs: null
  entitySelector: {kind: Route, tags: [team-shop]}
  template: {spec: {scope: {consumer: {id: "` + uuid + `"}}, partials: [{name: redis}], configFrom: {secretKeyRef: {name: limits, key: config}}}}
`,
		`spec: {template: {spec: {scope: {consumer: {customID: crm-7}}, configFrom: {configMapKeyRef: {name: limits, key: config}}, configPatches: [{path: /a, prefix: "Bearer ", suffix: ";", valueFrom: {configMapKeyRef: {name: limits, key: a}}}]}}}`,
	},
	"KongGateway": {
		`
spec:
  workspace: team
  auth: {tokenSecretRef: {name: kong, key: token}, header: Kong-Admin-Token}
  tls: {caSecretRef: {name: ca, key: ca.crt}, clientCertSecretRef: {name: client}, serverName: kong, insecureSkipVerify: false}
  allowedBindings:
    namespaces: {from: Selector, selector: {matchLabels: {a: b}}}
    plugins: {allow: [cors], deny: [acl]}
    grants: [{namespaces: {from: Selector, selector: {matchLabels: {a: b}}}, plugins: [pre-function]}]
    code: Named
    globalPlugins: Denied
    entitySelectors: Denied
    entities: All
    adoption: Unowned
    maxBindingsPerNamespace: 100
  allowedGateways:
    namespaces: {from: Selector, selector: {matchLabels: {a: b}}}
  resyncInterval: 1m
  limits: {maxInFlight: 8, requestsPerSecond: 500, burst: 100, requestTimeout: 5s}
status:
  retainedPlugins: [{namespace: shop, pluginIDs: ["` + uuid + `"]}]
  version: 3.9.1
  edition: community
  database: postgres
  nodeID: "` + uuid + `"
  kongIDs: [kong]
  bindings: {total: 1, ready: 1}
  lastResync: {time: "2026-01-01T00:00:00Z", duration: 120ms, plugins: 1, changed: 1, orphaned: 1}
  resyncInterval: 1m0s
  observedGeneration: 1
  conditions: [{type: Ready, status: "True", reason: Ready, message: "", lastTransitionTime: "2026-01-01T00:00:00Z", observedGeneration: 1}]
`,
	},
}

// A trial puts one value at the bound, or one step over it, into a field of a sample.
type trial struct {
	name  string
	value any
	// message of the refusal; none means that the value is accepted.
	message string
}

// missing as a value takes the field away.
type missing struct{}

// trials of a field, from what its schema says and the value in the sample.
func trials(f field, sample any) []trial {
	var all []trial
	try := func(name string, value any, message string) {
		all = append(all, trial{name, value, message})
	}
	s := f.schema
	if f.required {
		try("missing", missing{}, "Required value")
	}
	switch s.Type {
	case "string":
		try("a number", int64(5), "must be of type")
		text := sample.(string)
		if s.MaxLength != nil {
			longest := int(*s.MaxLength)
			try(fmt.Sprintf("%d characters", longest), pad(f.path, text, longest), "")
			try(fmt.Sprintf("%d characters", longest+1), pad(f.path, text, longest+1), fmt.Sprintf("may not be more than %d", longest))
		}
		if s.MinLength != nil {
			try("empty", "", "should be at least")
		}
		if len(s.Enum) > 0 {
			wanted := make([]string, len(s.Enum))
			for i, value := range s.Enum {
				wanted[i] = string(value.Raw)
				try(wanted[i], strings.Trim(wanted[i], `"`), "")
			}
			try("Unheard-of", "Unheard-of", "supported values: "+strings.Join(wanted, ", "))
		}
		if s.Format == "date-time" {
			try("yesterday", "yesterday", "must be of type date-time")
		}
	case "integer":
		try("a text", "5", "must be of type integer")
		if s.Minimum != nil {
			least := int64(*s.Minimum)
			try(fmt.Sprint(least), least, "")
			try(fmt.Sprint(least-1), least-1, "should be greater than or equal to")
		}
		if s.Maximum != nil {
			most := int64(*s.Maximum)
			try(fmt.Sprint(most), most, "")
			try(fmt.Sprint(most+1), most+1, "should be less than or equal to")
		}
	case "boolean":
		try("a text", "true", "must be of type boolean")
		try("true", true, "")
		try("false", false, "")
	case "array":
		try("a text", "a", "must be of type array")
		if s.MinItems != nil {
			try("empty", []any{}, "should have at least")
		}
		if s.MaxItems != nil {
			most := int(*s.MaxItems)
			if choices := len(s.Items.Schema.Enum); choices == 0 || choices >= most {
				try(fmt.Sprintf("%d elements", most), repeat(s, sample, most), "")
			}
			try(fmt.Sprintf("%d elements", most+1), repeat(s, sample, most+1), fmt.Sprintf("must have at most %d items", most))
		}
		if s.XListType != nil && *s.XListType != "atomic" {
			first := sample.([]any)[0]
			try("one twice", []any{first, first}, "Duplicate value")
		}
	case "object":
		try("a text", "a", "must be of type object")
	}
	return all
}

// pad lengthens a text so that it stays what the rules of its field want.
func pad(path, text string, length int) string {
	more := length - len(text)
	switch {
	case strings.HasSuffix(path, "resyncInterval"), strings.HasSuffix(path, "requestTimeout"), strings.HasSuffix(path, "retention"):
		return strings.Repeat("0", more%2) + text + strings.Repeat("0s", more/2)
	case strings.HasSuffix(path, "adminURL"):
		return text + "/" + strings.Repeat("a", more-1)
	default:
		return text + strings.Repeat("a", more)
	}
}

// repeat makes a list of the sample's first element, each a little different where it may be.
func repeat(s *schema, sample any, n int) []any {
	list := make([]any, n)
	for i := range list {
		switch first := sample.([]any)[0].(type) {
		case string:
			list[i] = first
			if len(s.Items.Schema.Enum) == 0 {
				list[i] = fmt.Sprintf("%s-%d", first, i)
			}
		case map[string]any:
			element := maps.Clone(first)
			for _, key := range s.XListMapKeys {
				element[key] = fmt.Sprintf("%s%d", first[key], i)
			}
			if name, named := first["name"]; named { // a rule may want each of them once
				element["name"] = fmt.Sprintf("%s-%d", name, i)
			}
			list[i] = element
		}
	}
	return list
}

// at walks to the field and returns what holds it, and under which key or index.
func at(o map[string]any, path string) (holder any, key string, ok bool) {
	parts := strings.Split(strings.NewReplacer("[]", ".[]", "{}", ".{}").Replace(path), ".")
	var current any = o
	for _, part := range parts[:len(parts)-1] {
		if current, ok = child(current, part); !ok {
			return nil, "", false
		}
	}
	key = parts[len(parts)-1]
	_, ok = child(current, key)
	return current, key, ok
}

func child(holder any, key string) (any, bool) {
	switch holder := holder.(type) {
	case map[string]any:
		value, ok := holder[onlyKey(holder, key)]
		return value, ok
	case []any:
		return holder[0], true
	}
	return nil, false
}

// onlyKey is the key, or that of the only value of a map if the path says {}.
func onlyKey(holder map[string]any, key string) string {
	if key == "{}" && len(holder) == 1 {
		return slices.Collect(maps.Keys(holder))[0]
	}
	return key
}

func set(holder any, key string, value any) {
	switch holder := holder.(type) {
	case map[string]any:
		if _, ok := value.(missing); ok {
			delete(holder, onlyKey(holder, key))
		} else {
			holder[onlyKey(holder, key)] = value
		}
	case []any:
		holder[0] = value
	}
}

// send tries to create the object or, where the trial is in the status, to write that.
func send(t *testing.T, o, existing *unstructured.Unstructured, path string) error {
	t.Helper()
	if !strings.HasPrefix(path, "status") {
		delete(o.Object, "status")
		return api.Create(t.Context(), o, client.DryRunAll)
	}
	existing = existing.DeepCopy()
	existing.Object["status"] = o.Object["status"]
	return api.Status().Update(t.Context(), existing, client.DryRunAll)
}

func TestBounds(t *testing.T) {
	count := 0
	for kind, crd := range crds(t) {
		bases := samples[kind]
		existing := apply(t, object(t, minimal[kind]))
		for _, f := range fields(t, crd) {
			if f.path == "" || f.path == "status" || kubernetes(f.path) {
				continue
			}
			base := slices.IndexFunc(bases, func(sample string) bool {
				_, _, ok := at(object(t, minimal[kind], sample).Object, f.path)
				return ok
			})
			if base < 0 {
				t.Errorf("%s: no sample has %s", kind, f.path)
				continue
			}
			holder, key, _ := at(object(t, minimal[kind], bases[base]).Object, f.path)
			value, _ := child(holder, key)
			for _, trial := range trials(f, value) {
				count++
				t.Run(kind+"/"+f.path+"/"+trial.name, func(t *testing.T) {
					o := object(t, minimal[kind], bases[base])
					holder, key, _ := at(o.Object, f.path)
					set(holder, key, trial.value)
					judge(t, refusals(t, send(t, o, existing, f.path)), f.path, trial.message)
				})
			}
		}
	}
	t.Logf("%d trials", count)
}

// judge looks only at what was said of this field: a value within bounds may still not go
// with the others of the sample, which is for the rules to say.
func judge(t *testing.T, got []refusal, path, message string) {
	t.Helper()
	path = strings.ReplaceAll(path, "{}", "")
	ofField := slices.DeleteFunc(slices.Clone(got), func(r refusal) bool {
		return !strings.HasPrefix(anyElement(r.field), path)
	})
	switch {
	case message == "" && len(ofField) > 0:
		t.Errorf("refused, and should be accepted: %v", ofField)
	case message != "" && !slices.ContainsFunc(ofField, func(r refusal) bool { return strings.Contains(r.message, message) }):
		t.Errorf("should be refused with %q: %v", message, got)
	}
}
