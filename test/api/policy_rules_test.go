package api

import (
	"fmt"
	"reflect"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/pluginbinding/kong-plugin-operator/api/v1alpha1"
)

// What the rules of a policy say.
const (
	oneOfTargets   = "set exactly one of targetRefs and entitySelector"
	eachOnce       = "name each target once"
	badTarget      = "must be a Service (no group), an Ingress (group networking.k8s.io), an HTTPRoute, GRPCRoute, TCPRoute, TLSRoute or UDPRoute (group gateway.networking.k8s.io), or a KongConsumer or KongConsumerGroup (group configuration.konghq.com)"
	noSection      = "sectionName names a rule of an HTTPRoute or GRPCRoute; in Kong nothing tells the parts of other kinds apart"
	badSection     = "must be the name of a rule: lower-case letters, digits, '-' and '.'"
	twoConsumers   = "template.spec.scope.consumer does not combine with the targets KongConsumer and KongConsumerGroup"
	selectedTwice  = "template.spec.scope.consumer does not combine with entitySelector.kind Consumer"
	longRetention  = "must be at most 720h"
	badLabelKey    = "must have valid label keys"
	badAnnotation  = "must have valid annotation keys"
	ownLabel       = "must not hold labels of kong.pluginbinding.io, which the operator sets"
	ownAnnotation  = "must not hold annotations of kong.pluginbinding.io except paused"
	badLabelValue  = "must be the value of a label: letters, digits, '-', '_' and '.'"
	emptyMetadata  = "set labels or annotations, or leave out metadata"
	sameGatewayRef = "gatewayRef is immutable; to use another KongGateway, create another PluginPolicy and delete this one"
	samePlugin2    = "plugin is immutable; create another PluginPolicy for another plugin"
	beforeOrAfter  = "set before or after, or leave out ordering"
	oneSource      = "set exactly one of secretKeyRef and configMapKeyRef"
	prefixString   = "prefix and suffix need the format String"
	eitherConfig   = "config and configFrom exclude each other"
)

// target is a list of one target, and template a spec of the bindings.
func target(ref string) string    { return `spec: {targetRefs: [` + ref + `]}` }
func template(spec string) string { return `spec: {template: {spec: ` + spec + `}}` }
func metadata(data string) string { return `spec: {template: {metadata: ` + data + `}}` }

// selects is a policy without targets.
func selects(selector string) string {
	return `spec: {targetRefs: null, entitySelector: ` + selector + `}`
}

const templatePatch = `{configPatches: [{path: %q, valueFrom: {secretKeyRef: {name: %q, key: %q}}}]}`

var policyRules = []ruleCase{
	{name: "minimal"},
	{name: "every kind of target", with: target(`{kind: Service, name: a}, {group: networking.k8s.io, kind: Ingress, name: a},
		{group: gateway.networking.k8s.io, kind: HTTPRoute, name: a, sectionName: carts}, {group: gateway.networking.k8s.io, kind: HTTPRoute, name: a, sectionName: pay.v1},
		{group: gateway.networking.k8s.io, kind: GRPCRoute, name: a, sectionName: b}, {group: gateway.networking.k8s.io, kind: TCPRoute, name: a},
		{group: gateway.networking.k8s.io, kind: TLSRoute, name: a}, {group: gateway.networking.k8s.io, kind: UDPRoute, name: a},
		{group: configuration.konghq.com, kind: KongConsumer, name: a}, {group: configuration.konghq.com, kind: KongConsumerGroup, name: a}`)},

	// gatewayRef
	{name: "gateway as a path", with: `spec: {gatewayRef: {name: a/b}}`, field: "spec.gatewayRef.name", message: badObjectName},
	{name: "gateway's namespace as a path", with: `spec: {gatewayRef: {namespace: ".."}}`, field: "spec.gatewayRef.namespace", message: badNamespace},

	// targetRefs and entitySelector
	{name: "neither targets nor a selector", with: `spec: {targetRefs: null}`, field: "spec", message: oneOfTargets},
	{name: "targets and a selector", with: `spec: {entitySelector: {kind: Route, tags: [a]}}`, field: "spec", message: oneOfTargets},
	{name: "one target twice", with: target(`{kind: Service, name: a}, {kind: Service, name: b}, {group: "", kind: Service, name: a}`), field: "spec.targetRefs", message: eachOnce},
	{name: "a Service with a group", with: target(`{group: apps, kind: Service, name: a}`), field: "spec.targetRefs[0]", message: badTarget},
	{name: "an Ingress without a group", with: target(`{kind: Ingress, name: a}`), field: "spec.targetRefs[0]", message: badTarget},
	{name: "a Gateway", with: target(`{group: gateway.networking.k8s.io, kind: Gateway, name: a}`), field: "spec.targetRefs[0]", message: badTarget},
	{name: "a KongPlugin", with: target(`{group: configuration.konghq.com, kind: KongPlugin, name: a}`), field: "spec.targetRefs[0]", message: badTarget},
	{name: "a part of an Ingress", with: target(`{group: networking.k8s.io, kind: Ingress, name: a, sectionName: b}`), field: "spec.targetRefs[0]", message: noSection},
	{name: "a part that is no name", with: target(`{group: gateway.networking.k8s.io, kind: HTTPRoute, name: a, sectionName: "a,b"}`), field: "spec.targetRefs[0].sectionName", message: badSection},
	{name: "a target that is a path", with: target(`{kind: Service, name: a/b}`), field: "spec.targetRefs[0].name", message: badObjectName},
	{name: "a selector", with: selects(`{kind: Consumer, tags: ["team:shop", "k8s-kind:Ingress", managed-by-decK]}`)},
	{name: "a selector with a list of tags in one", with: selects(`{kind: Route, tags: ["a,b"]}`), field: "spec.entitySelector.tags[0]", message: badTag},

	// template
	{name: "a template for a consumer", with: template(`{scope: {consumer: {username: alice}}}`)},
	{name: "a template for a consumer on a consumer", with: `spec: {targetRefs: [{group: configuration.konghq.com, kind: KongConsumer, name: a}], template: {spec: {scope: {consumer: {username: alice}}}}}`,
		field: "spec", message: twoConsumers},
	{name: "a template for a consumer on a group", with: `spec: {targetRefs: [{group: configuration.konghq.com, kind: KongConsumerGroup, name: a}], template: {spec: {scope: {consumer: {username: alice}}}}}`,
		field: "spec", message: twoConsumers},
	{name: "a template for a consumer on selected consumers", with: `spec: {targetRefs: null, entitySelector: {kind: Consumer, tags: [a]}, template: {spec: {scope: {consumer: {username: alice}}}}}`,
		field: "spec", message: selectedTwice},
	{name: "a template for a consumer by two names", with: template(`{scope: {consumer: {username: alice, customID: "7"}}}`), field: "spec.template.spec.scope.consumer", message: oneConsumer},
	{name: "a template for a consumer that is a path", with: template(`{scope: {consumer: {username: a/b}}}`), field: "spec.template.spec.scope.consumer.username", message: badUsername},
	{name: "a template for a consumer named like an id", with: template(`{scope: {consumer: {username: "` + uuid + `"}}}`), field: "spec.template.spec.scope.consumer.username", message: likeUUID},
	{name: "a template for a consumer with a name for an id", with: template(`{scope: {consumer: {id: alice}}}`), field: "spec.template.spec.scope.consumer.id", message: badUUID},
	{name: "a template of what is no plugin", with: template(`{plugin: Rate-Limiting}`), field: "spec.template.spec.plugin", message: badPlugin},
	{name: "a template with an empty ordering", with: template(`{ordering: {}}`), field: "spec.template.spec.ordering", message: beforeOrAfter},
	{name: "a template before what is no plugin", with: template(`{ordering: {before: {access: [Key Auth]}}}`), field: "spec.template.spec.ordering.before.access[0]", message: badPlugin},
	{name: "a template after what is no plugin", with: template(`{ordering: {after: {access: [a/b]}}}`), field: "spec.template.spec.ordering.after.access[0]", message: badPlugin},
	{name: "a template with a blank condition", with: template(`{condition: " "}`), field: "spec.template.spec.condition", message: blankCondition},
	{name: "a template with a NUL character in the condition", with: template(`{condition: "a\0b"}`), field: "spec.template.spec.condition", message: nulCondition},
	{name: "a template with a partial without a name", with: template(`{partials: [{}]}`), field: "spec.template.spec.partials[0]", message: idOrName},
	{name: "a template with a name for a partial's id", with: template(`{partials: [{id: redis}]}`), field: "spec.template.spec.partials[0].id", message: badUUID},
	{name: "a template with an id for a partial's name", with: template(`{partials: [{name: "` + uuid + `"}]}`), field: "spec.template.spec.partials[0].name", message: likeUUID},
	{name: "a template with a partial that is a path", with: template(`{partials: [{name: a/b}]}`), field: "spec.template.spec.partials[0].name", message: badName},
	{name: "a template with a partial outside the config", with: template(`{partials: [{name: a, path: redis}]}`), field: "spec.template.spec.partials[0].path", message: badPartialPath},
	{name: "a template with a tag of two", with: template(`{tags: ["a,b"]}`), field: "spec.template.spec.tags[0]", message: badTag},
	{name: "a template with a tag of an owner", with: template(`{tags: ["k8s-name:a"]}`), field: "spec.template.spec.tags[0]", message: ownerTag},
	{name: "a template with two configs", with: template(`{config: {}, configFrom: {secretKeyRef: {name: a, key: b}}}`), field: "spec.template.spec", message: eitherConfig},
	{name: "a template with a config from a path", with: template(`{configFrom: {secretKeyRef: {name: ../a, key: b}}}`), field: "spec.template.spec.configFrom.secretKeyRef.name", message: badObjectName},
	{name: "a template with a config from a key that is a path", with: template(`{configFrom: {secretKeyRef: {name: a, key: a/b}}}`), field: "spec.template.spec.configFrom.secretKeyRef.key", message: badKey},
	{name: "a template with a config from nowhere", with: template(`{configFrom: {}}`), field: "spec.template.spec.configFrom", message: oneSource},
	{name: "a template with a patch from nowhere", with: template(`{configPatches: [{path: /a, valueFrom: {}}]}`), field: "spec.template.spec.configPatches[0].valueFrom", message: oneSource},
	{name: "a template with a config from a ConfigMap that is a path", with: template(`{configFrom: {configMapKeyRef: {name: ../a, key: b}}}`), field: "spec.template.spec.configFrom.configMapKeyRef.name", message: badObjectName},
	{name: "a template with a config from a key of a ConfigMap that is a path", with: template(`{configFrom: {configMapKeyRef: {name: a, key: a/b}}}`), field: "spec.template.spec.configFrom.configMapKeyRef.key", message: badMapKey},
	{name: "a template with a patch from a ConfigMap that is a path", with: template(`{configPatches: [{path: /a, valueFrom: {configMapKeyRef: {name: a_b, key: b}}}]}`), field: "spec.template.spec.configPatches[0].valueFrom.configMapKeyRef.name", message: badObjectName},
	{name: "a template with a patch from a key of a ConfigMap with a space", with: template(`{configPatches: [{path: /a, valueFrom: {configMapKeyRef: {name: a, key: "b c"}}}]}`), field: "spec.template.spec.configPatches[0].valueFrom.configMapKeyRef.key", message: badMapKey},
	{name: "a template with a JSON patch and a prefix", with: template(`{configPatches: [{path: /a, prefix: x, format: JSON, valueFrom: {secretKeyRef: {name: a, key: b}}}]}`), field: "spec.template.spec.configPatches[0]", message: prefixString},
	{name: "a template with a patch nowhere", with: template(fmt.Sprintf(templatePatch, "minute", "a", "b")), field: "spec.template.spec.configPatches[0].path", message: badPointer},
	{name: "a template with a patch from a path", with: template(fmt.Sprintf(templatePatch, "/a", "a/b", "b")), field: "spec.template.spec.configPatches[0].valueFrom.secretKeyRef.name", message: badObjectName},
	{name: "a template with a patch from a key that is a path", with: template(fmt.Sprintf(templatePatch, "/a", "a", "b/c")), field: "spec.template.spec.configPatches[0].valueFrom.secretKeyRef.key", message: badKey},

	// metadata
	{name: "labels and annotations", with: metadata(`{labels: {team: shop, example.com/a_b.c: ""}, annotations: {kong.pluginbinding.io/paused: "true", example.com/owner: "Ann, and Bob"}}`)},
	{name: "empty metadata", with: metadata(`{}`), field: "spec.template.metadata", message: emptyMetadata},
	{name: "a label that is none", with: metadata(`{labels: {a b: c}}`), field: "spec.template.metadata.labels", message: badLabelKey},
	{name: "a label of the operator", with: metadata(`{labels: {kong.pluginbinding.io/policy: other}}`), field: "spec.template.metadata.labels", message: ownLabel},
	{name: "a label with a value that is none", with: metadata(`{labels: {team: a b}}`), field: "spec.template.metadata.labels[team]", message: badLabelValue},
	{name: "an annotation that is none", with: metadata(`{annotations: {/a: c}}`), field: "spec.template.metadata.annotations", message: badAnnotation},
	{name: "an annotation of the operator", with: metadata(`{annotations: {kong.pluginbinding.io/entity-gone-since: now}}`), field: "spec.template.metadata.annotations", message: ownAnnotation},

	// retention
	{name: "no retention", with: `spec: {retention: 0s}`},
	{name: "longest retention", with: `spec: {retention: 720h}`},
	{name: "too long a retention", with: `spec: {retention: 720h1s}`, field: "spec.retention", message: longRetention},
	{name: "retention in days", with: `spec: {retention: 1d}`, field: "spec.retention", message: badDuration},
}

// What a policy does not let change.
var policyTransitions = []transition{
	{name: "another gateway", change: update(`spec: {gatewayRef: {name: other}}`), field: "spec.gatewayRef", message: sameGatewayRef},
	{name: "another plugin", change: update(`spec: {template: {spec: {plugin: acl}}}`), field: "spec.template.spec.plugin", message: samePlugin2},
	{name: "another target", change: update(`spec: {targetRefs: [{kind: Service, name: a}]}`)},
	{name: "a selector instead", change: update(`spec: {targetRefs: null, entitySelector: {kind: Route, tags: [a]}}`)},
	{name: "another template", change: update(`spec: {template: {spec: {enabled: false, config: {minute: 5}, scope: {consumer: {username: alice}}}}}`)},
}

func TestPolicyTransitions(t *testing.T) {
	for _, tc := range policyTransitions {
		t.Run(tc.name, func(t *testing.T) {
			o := apply(t, object(t, minimalPolicy, tc.before))
			expect(t, tc.change(t, o), tc.field, tc.message)
		})
	}
}

// A template is the spec of a binding without what differs from binding to binding, field by field.
func TestTemplateFollowsTheBinding(t *testing.T) {
	differs := map[string]bool{
		"gatewayRef": true, "instanceName": true, "pluginID": true, "replaces": true, "allowReplacementFrom": true,
		"scope": true, // only its consumer
	}
	shape := func(of reflect.Type) map[string]string {
		fields := map[string]string{}
		for field := range of.Fields() {
			name, _, _ := strings.Cut(field.Tag.Get("json"), ",")
			if !differs[name] {
				fields[name] = field.Type.String() + " " + field.Tag.Get("json")
			}
		}
		return fields
	}
	binding, template := shape(reflect.TypeFor[v1alpha1.PluginBindingSpec]()), shape(reflect.TypeFor[v1alpha1.PluginTemplateSpec]())
	if diff := cmp.Diff(binding, template); diff != "" {
		t.Errorf("fields of the template (-binding +template):\n%s", diff)
	}
}
