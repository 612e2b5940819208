package api

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"sigs.k8s.io/controller-runtime/pkg/client"
)

// A ruleCase is one object at its creation.
type ruleCase struct {
	name string
	// with is merged into the minimal object of the kind.
	with string
	// field and message of the refusal; none means that the object is accepted.
	field, message string
}

// What the rules say, for those that stand at more than one field.
const (
	badName       = "must start with a letter or a digit and hold only letters, digits, '.', '_', '~' and '-'"
	likeUUID      = "must not look like a UUID, because Kong would read it as an ID; use the field id for an ID"
	badUUID       = "must be a UUID in lower case, as Kong shows it in the id of an entity"
	badPlugin     = "must be the name of a Kong plugin such as rate-limiting: lower-case letters, digits, '-' and '_'"
	badDuration   = "must be a duration such as 500ms, 30s or 1m30s"
	badTag        = "must not hold ',' or '/', which Kong refuses in tags"
	ownerTag      = "must not start with managed-by or k8s-, which are the prefixes of ownership tags"
	badPointer    = "must be a JSON pointer into the config, such as /redis/password"
	idOrName      = "set exactly one of id and name"
	oneConsumer   = "set exactly one of id, username and customID"
	someScope     = "set at least one of service, route, consumer and consumerGroup, or leave out scope for a global plugin"
	badUsername   = "must start with a letter or a digit and hold only letters, digits and . _ ~ @ + = : -; name other consumers by id or customID"
	badURL        = "must be an http or https URL with a host, such as https://kong-admin.kong:8444"
	noQuery       = "must not have a query or a fragment"
	noUser        = "must not hold credentials; use auth.tokenSecretRef"
	badHeader     = "must be the name of an HTTP header: letters, digits and '-'"
	ownHeader     = "must not be a header that HTTP itself uses"
	badObjectName = "must be the name of a Kubernetes object: lower-case letters, digits, '-' and '.'"
	badNamespace  = "must be the name of a namespace: lower-case letters, digits and '-'"
	badKey        = "must be a key of a Secret: letters, digits, '-', '_' and '.'"
	badMapKey     = "must be a key of a ConfigMap: letters, digits, '-', '_' and '.'"
	needless      = "selector must be set when from is Selector, and only then"
	manyTerms     = "selector must have at most 32 matchLabels and at most 32 matchExpressions"
	needlessGrant = "the gateway's own namespace needs no grant; set namespaces.from to Selector or All"
)

// Messages about what newer versions of Kong Enterprise have.
const (
	blankCondition = "must not be blank; without a condition the plugin runs for all requests"
	nulCondition   = "must not hold a NUL character, which Kong's database cannot store"
	badPartialPath = "must be a path into the config, such as config.redis"
)

const uuid = "5a0dc2a4-6c5b-4b3f-9d6e-0a1b2c3d4e5f"

var bindingRules = []ruleCase{
	{name: "minimal"},
	{
		name: "everything that goes together",
		with: `spec: {
  gatewayRef: {name: kong, namespace: platform},
  scope: {service: {name: orders}, route: {id: "` + uuid + `"}, consumer: {username: alice@example.com}},
  instanceName: orders-limit, enabled: false, protocols: [http, https],
  ordering: {before: {access: [key-auth]}, after: {access: [acl, cors]}},
  condition: "http.method == \"GET\"\n&& http.path ^= \"/a\"", partials: [{id: "` + uuid + `"}, {name: redis-1, path: config.redis}],
  tags: ["team:payments", "on call"], config: {minute: 5, nested: {list: [1, null]}},
  configPatches: [{path: /redis/password, valueFrom: {secretKeyRef: {name: redis, key: password}}}],
  adoptionPolicy: Never, deletionPolicy: Orphan, managementPolicy: Observe, pluginID: "` + uuid + `"}`,
	},

	// plugin
	{name: "plugin in capitals", with: `spec: {plugin: Rate-Limiting}`, field: "spec.plugin", message: badPlugin},
	{name: "plugin as a path", with: `spec: {plugin: ../services}`, field: "spec.plugin", message: badPlugin},
	{name: "plugin with a query", with: `spec: {plugin: "acl?size=1"}`, field: "spec.plugin", message: badPlugin},
	{name: "plugin of one's own", with: `spec: {plugin: my_plugin-2}`},

	// gatewayRef
	{name: "gateway as a path", with: `spec: {gatewayRef: {name: a/b}}`, field: "spec.gatewayRef.name", message: badObjectName},
	{name: "gateway in capitals", with: `spec: {gatewayRef: {name: Kong}}`, field: "spec.gatewayRef.name", message: badObjectName},
	{name: "gateway with dots", with: `spec: {gatewayRef: {name: kong.eu-1}}`},
	{name: "replaced binding as a path", with: `spec: {replaces: {name: a/b}}`, field: "spec.replaces.name", message: badObjectName},
	{name: "replaced binding's namespace as a path", with: `spec: {replaces: {name: a, namespace: ".."}}`, field: "spec.replaces.namespace", message: badNamespace},
	{name: "replacement from a namespace with dots", with: `spec: {allowReplacementFrom: [shop, a.b]}`, field: "spec.allowReplacementFrom[1]", message: badNamespace},
	{name: "gateway's namespace as a path", with: `spec: {gatewayRef: {namespace: ".."}}`, field: "spec.gatewayRef.namespace", message: badNamespace},
	{name: "gateway's namespace with dots", with: `spec: {gatewayRef: {namespace: a.b}}`, field: "spec.gatewayRef.namespace", message: badNamespace},

	// scope
	{name: "empty scope", with: `spec: {scope: {}}`, field: "spec.scope", message: someScope},
	{name: "consumer and consumer group", with: `spec: {scope: {consumer: {username: alice}, consumerGroup: {name: gold}}}`,
		field: "spec.scope", message: "consumer and consumerGroup exclude each other"},
	{name: "service and consumer group", with: `spec: {scope: {service: {name: orders}, consumerGroup: {name: gold}}}`},
	{name: "unknown scope", with: `spec: {scope: {service: {name: orders}}, consumer: null}`},

	{name: "empty service", with: `spec: {scope: {service: {}}}`, field: "spec.scope.service", message: idOrName},
	{name: "service by both", with: `spec: {scope: {service: {id: "` + uuid + `", name: a}}}`, field: "spec.scope.service", message: idOrName},
	{name: "service with a name for an id", with: `spec: {scope: {service: {id: orders}}}`, field: "spec.scope.service.id", message: badUUID},
	{name: "service id in capitals", with: `spec: {scope: {service: {id: "` + strings.ToUpper(uuid) + `"}}}`, field: "spec.scope.service.id", message: badUUID},
	{name: "service with an id for a name", with: `spec: {scope: {service: {name: "` + uuid + `"}}}`, field: "spec.scope.service.name", message: likeUUID},
	{name: "service with an id in capitals for a name", with: `spec: {scope: {service: {name: "` + strings.ToUpper(uuid) + `"}}}`, field: "spec.scope.service.name", message: likeUUID},
	{name: "service as a path", with: `spec: {scope: {service: {name: a/b}}}`, field: "spec.scope.service.name", message: badName},
	{name: "service one level up", with: `spec: {scope: {service: {name: ".."}}}`, field: "spec.scope.service.name", message: badName},
	{name: "service with a query", with: `spec: {scope: {service: {name: "a?x"}}}`, field: "spec.scope.service.name", message: badName},
	{name: "service with a line break", with: `spec: {scope: {service: {name: "a\nb"}}}`, field: "spec.scope.service.name", message: badName},
	{name: "service with a line break at the end", with: `spec: {scope: {service: {name: "a\n"}}}`, field: "spec.scope.service.name", message: badName},
	{name: "service with a name almost like an id", with: `spec: {scope: {service: {name: "` + uuid + `.v1"}}}`},

	{name: "empty route", with: `spec: {scope: {route: {}}}`, field: "spec.scope.route", message: idOrName},
	{name: "route by both", with: `spec: {scope: {route: {id: "` + uuid + `", name: a}}}`, field: "spec.scope.route", message: idOrName},
	{name: "route with a name for an id", with: `spec: {scope: {route: {id: ../x}}}`, field: "spec.scope.route.id", message: badUUID},
	{name: "route with an id for a name", with: `spec: {scope: {route: {name: "` + uuid + `"}}}`, field: "spec.scope.route.name", message: likeUUID},
	{name: "route as a path", with: `spec: {scope: {route: {name: a%2Fb}}}`, field: "spec.scope.route.name", message: badName},
	{name: "route named as KIC does", with: `spec: {scope: {route: {name: shop.orders.orders.example.com.80_x~1}}}`},

	{name: "empty consumer group", with: `spec: {scope: {consumerGroup: {}}}`, field: "spec.scope.consumerGroup", message: idOrName},
	{name: "consumer group with a name for an id", with: `spec: {scope: {consumerGroup: {id: gold}}}`, field: "spec.scope.consumerGroup.id", message: badUUID},
	{name: "consumer group with an id for a name", with: `spec: {scope: {consumerGroup: {name: "` + uuid + `"}}}`, field: "spec.scope.consumerGroup.name", message: likeUUID},
	{name: "consumer group as a path", with: `spec: {scope: {consumerGroup: {name: "gold members"}}}`, field: "spec.scope.consumerGroup.name", message: badName},

	{name: "empty consumer", with: `spec: {scope: {consumer: {}}}`, field: "spec.scope.consumer", message: oneConsumer},
	{name: "consumer by id and name", with: `spec: {scope: {consumer: {id: "` + uuid + `", username: a}}}`, field: "spec.scope.consumer", message: oneConsumer},
	{name: "consumer by both names", with: `spec: {scope: {consumer: {customID: "7", username: a}}}`, field: "spec.scope.consumer", message: oneConsumer},
	{name: "consumer by all", with: `spec: {scope: {consumer: {customID: "7", username: a, id: "` + uuid + `"}}}`, field: "spec.scope.consumer", message: oneConsumer},
	{name: "consumer with a name for an id", with: `spec: {scope: {consumer: {id: alice}}}`, field: "spec.scope.consumer.id", message: badUUID},
	{name: "consumer with an id for a name", with: `spec: {scope: {consumer: {username: "` + uuid + `"}}}`, field: "spec.scope.consumer.username", message: likeUUID},
	{name: "consumer as a path", with: `spec: {scope: {consumer: {username: a/b}}}`, field: "spec.scope.consumer.username", message: badUsername},
	{name: "consumer one level up", with: `spec: {scope: {consumer: {username: ".."}}}`, field: "spec.scope.consumer.username", message: badUsername},
	{name: "consumer named as by LDAP", with: `spec: {scope: {consumer: {username: "uid=alice+x:y~z@example.com"}}}`},
	{name: "consumer by any custom id", with: `spec: {scope: {consumer: {customID: "crm/7?x=ä"}}}`},

	// instanceName
	{name: "instance name as a path", with: `spec: {instanceName: a/b}`, field: "spec.instanceName", message: badName},
	{name: "instance name like an id", with: `spec: {instanceName: "` + uuid + `"}`, field: "spec.instanceName", message: likeUUID},
	{name: "instance name where Kong has something else", with: `spec: {instanceName: enabled}`, field: "spec.instanceName", message: "instanceName must not be enabled, because /plugins/enabled is another endpoint of Kong"},
	{name: "instance name as Kong takes it", with: `spec: {instanceName: A.b_c~d-1}`},

	// ordering
	{name: "empty ordering", with: `spec: {ordering: {}}`, field: "spec.ordering", message: "set before or after, or leave out ordering"},
	{name: "ordering before what is no plugin", with: `spec: {ordering: {before: {access: [Key Auth]}}}`, field: "spec.ordering.before.access[0]", message: badPlugin},
	{name: "ordering after what is no plugin", with: `spec: {ordering: {after: {access: [acl, a/b]}}}`, field: "spec.ordering.after.access[1]", message: badPlugin},

	// condition, partials
	{name: "blank condition", with: `spec: {condition: " \t"}`, field: "spec.condition", message: blankCondition},
	{name: "condition with a NUL character", with: `spec: {condition: "a\0b"}`, field: "spec.condition", message: nulCondition},
	{name: "partial without a name", with: `spec: {partials: [{path: config.redis}]}`, field: "spec.partials[0]", message: idOrName},
	{name: "partial by both", with: `spec: {partials: [{name: a}, {id: "` + uuid + `", name: a}]}`, field: "spec.partials[1]", message: idOrName},
	{name: "partial with a name for an id", with: `spec: {partials: [{id: redis}]}`, field: "spec.partials[0].id", message: badUUID},
	{name: "partial with an id for a name", with: `spec: {partials: [{name: "` + uuid + `"}]}`, field: "spec.partials[0].name", message: likeUUID},
	{name: "partial as a path", with: `spec: {partials: [{name: a/b}]}`, field: "spec.partials[0].name", message: badName},
	{name: "partial outside the config", with: `spec: {partials: [{name: a, path: redis}]}`, field: "spec.partials[0].path", message: badPartialPath},
	{name: "partial for the whole config", with: `spec: {partials: [{name: a, path: config}]}`, field: "spec.partials[0].path", message: badPartialPath},

	// tags
	{name: "tag with a comma", with: `spec: {tags: ["a,b"]}`, field: "spec.tags[0]", message: badTag},
	{name: "tag with a slash", with: `spec: {tags: [a/b]}`, field: "spec.tags[0]", message: badTag},
	{name: "tag of an owner", with: `spec: {tags: [ok, "managed-by:me"]}`, field: "spec.tags[1]", message: ownerTag},
	{name: "tag of the ingress controller", with: `spec: {tags: [managed-by-ingress-controller]}`, field: "spec.tags[0]", message: ownerTag},
	{name: "tag of a Kubernetes object", with: `spec: {tags: ["k8s-name:other"]}`, field: "spec.tags[0]", message: ownerTag},
	{name: "as many tags as there may be", with: tags(32)},
	{name: "too many tags", with: tags(33), field: "spec.tags", message: "must have at most 32 items"},

	// config, configFrom, configPatches
	{name: "config and configFrom", with: `spec: {config: {}, configFrom: {secretKeyRef: {name: a, key: b}}}`,
		field: "spec", message: "config and configFrom exclude each other"},
	{name: "configFrom and patches", with: `spec: {configFrom: {secretKeyRef: {name: a, key: b}}, configPatches: [{path: /a, valueFrom: {secretKeyRef: {name: a, key: c}}}]}`},
	{name: "config is a list", with: `spec: {config: [1]}`, field: "spec.config", message: `must be of type object: "array"`},
	{name: "config is a text", with: `spec: {config: "minute: 5"}`, field: "spec.config", message: `must be of type object: "string"`},
	{name: "empty config", with: `spec: {config: {}}`},
	{name: "config from a Secret that is a path", with: `spec: {configFrom: {secretKeyRef: {name: ../a, key: b}}}`, field: "spec.configFrom.secretKeyRef.name", message: badObjectName},
	{name: "patch from a Secret that is a path", with: `spec: {configPatches: [{path: /a, valueFrom: {secretKeyRef: {name: a_b, key: b}}}]}`,
		field: "spec.configPatches[0].valueFrom.secretKeyRef.name", message: badObjectName},
	{name: "config from a key that is a path", with: `spec: {configFrom: {secretKeyRef: {name: a, key: a/b}}}`, field: "spec.configFrom.secretKeyRef.key", message: badKey},
	{name: "patch from a key with a space", with: `spec: {configPatches: [{path: /a, valueFrom: {secretKeyRef: {name: a, key: "b c"}}}]}`,
		field: "spec.configPatches[0].valueFrom.secretKeyRef.key", message: badKey},
	{name: "config from a ConfigMap", with: `spec: {configFrom: {configMapKeyRef: {name: a, key: b}}}`},
	{name: "config from nowhere", with: `spec: {configFrom: {}}`, field: "spec.configFrom", message: "set exactly one of secretKeyRef and configMapKeyRef"},
	{name: "config from both", with: `spec: {configFrom: {secretKeyRef: {name: a, key: b}, configMapKeyRef: {name: a, key: b}}}`,
		field: "spec.configFrom", message: "set exactly one of secretKeyRef and configMapKeyRef"},
	{name: "patch from both", with: `spec: {configPatches: [{path: /a, valueFrom: {secretKeyRef: {name: a, key: b}, configMapKeyRef: {name: a, key: b}}}]}`,
		field: "spec.configPatches[0].valueFrom", message: "set exactly one of secretKeyRef and configMapKeyRef"},
	{name: "config from a ConfigMap that is a path", with: `spec: {configFrom: {configMapKeyRef: {name: ../a, key: b}}}`, field: "spec.configFrom.configMapKeyRef.name", message: badObjectName},
	{name: "patch from a ConfigMap that is a path", with: `spec: {configPatches: [{path: /a, valueFrom: {configMapKeyRef: {name: a_b, key: b}}}]}`,
		field: "spec.configPatches[0].valueFrom.configMapKeyRef.name", message: badObjectName},
	{name: "config from a key of a ConfigMap that is a path", with: `spec: {configFrom: {configMapKeyRef: {name: a, key: a/b}}}`,
		field: "spec.configFrom.configMapKeyRef.key", message: badMapKey},
	{name: "patch from a key of a ConfigMap with a space", with: `spec: {configPatches: [{path: /a, valueFrom: {configMapKeyRef: {name: a, key: "b c"}}}]}`,
		field: "spec.configPatches[0].valueFrom.configMapKeyRef.key", message: badMapKey},
	{name: "a composed text", with: `spec: {configPatches: [{path: /a, prefix: "Bearer ", suffix: ";", valueFrom: {secretKeyRef: {name: a, key: b}}}]}`},
	{name: "a composed JSON", with: `spec: {configPatches: [{path: /a, prefix: "[", format: JSON, valueFrom: {secretKeyRef: {name: a, key: b}}}]}`,
		field: "spec.configPatches[0]", message: "prefix and suffix need the format String"},
	{name: "as many patches as there may be", with: patchesAt(64)},
	{name: "too many patches", with: patchesAt(65), field: "spec.configPatches", message: "must have at most 64 items"},
	{name: "pointer without slash", with: patchAt("redis/password"), field: "spec.configPatches[0].path", message: badPointer},
	{name: "pointer with dots", with: patchAt("$.redis.password"), field: "spec.configPatches[0].path", message: badPointer},
	{name: "pointer with an empty part", with: patchAt("/redis//password"), field: "spec.configPatches[0].path", message: badPointer},
	{name: "pointer that ends in a slash", with: patchAt("/redis/"), field: "spec.configPatches[0].path", message: badPointer},
	{name: "pointer with a wrong escape", with: patchAt("/a~2b"), field: "spec.configPatches[0].path", message: badPointer},
	{name: "pointer that ends in an escape", with: patchAt("/a~"), field: "spec.configPatches[0].path", message: badPointer},
	{name: "pointer with escapes", with: patchAt("/a~1b/c~0d")},
	{name: "pointer into a list", with: patchAt("/headers/0")},
	{name: "pointer to a list's end", with: patchAt("/headers/-")},

	// pluginID
	{name: "plugin ID that is none", with: `spec: {pluginID: rate-limiting}`, field: "spec.pluginID", message: badUUID},
	{name: "plugin ID in capitals", with: `spec: {pluginID: "` + strings.ToUpper(uuid) + `"}`, field: "spec.pluginID", message: badUUID},
	{name: "plugin ID as a path", with: `spec: {pluginID: "../services/0123456789"}`, field: "spec.pluginID", message: badUUID},
}

var gatewayRules = []ruleCase{
	{name: "minimal"},
	{
		name: "everything",
		with: `spec: {
  adminURL: "https://kong.example.com:8444/admin/api", workspace: team-a,
  auth: {tokenSecretRef: {name: kong, key: token}, header: X-Token},
  tls: {caSecretRef: {name: ca}, clientCertSecretRef: {name: client}, serverName: kong, insecureSkipVerify: true},
  allowedBindings: {
  	namespaces: {from: Selector, selector: {matchLabels: {kong: "yes"}}},
  	plugins: {allow: [cors], deny: [exit-transformer]},
  	grants: [
  		{namespaces: {from: Selector, selector: {matchLabels: {team: payments}}}, plugins: [pre-function]},
  		{namespaces: {from: All}, plugins: [acl]}],
  	code: None, globalPlugins: Allowed, entities: SameNamespace, adoption: Any, maxBindingsPerNamespace: 50},
  allowedGateways: {namespaces: {from: Selector, selector: {matchExpressions: [{key: kong, operator: Exists}]}}},
  resyncInterval: 5m,
  limits: {maxInFlight: 4, requestsPerSecond: 50, burst: 10, requestTimeout: 1.5s}}`,
	},

	// adminURL
	{name: "URL with a path", with: `spec: {adminURL: "https://proxy.example.com/kong/admin/"}`},
	{name: "URL with an IPv6 address", with: `spec: {adminURL: "http://[fd00::1]:8001"}`},
	{name: "URL without a scheme", with: `spec: {adminURL: "kong-admin.kong:8001"}`, field: "spec.adminURL", message: badURL},
	{name: "URL with another scheme", with: `spec: {adminURL: "ftp://kong:8001"}`, field: "spec.adminURL", message: badURL},
	{name: "URL without a host", with: `spec: {adminURL: "http:///admin"}`, field: "spec.adminURL", message: badURL},
	{name: "URL with a port only", with: `spec: {adminURL: "http://:8001"}`, field: "spec.adminURL", message: badURL},
	{name: "URL that is a path", with: `spec: {adminURL: "/admin"}`, field: "spec.adminURL", message: badURL},
	{name: "URL that is none", with: `spec: {adminURL: "http://kong admin"}`, field: "spec.adminURL", message: badURL},
	{name: "URL with credentials", with: `spec: {adminURL: "http://admin:secret@kong:8001"}`, field: "spec.adminURL", message: noUser},
	{name: "URL with a user", with: `spec: {adminURL: "http://admin@kong:8001"}`, field: "spec.adminURL", message: noUser},
	{name: "URL with a query", with: `spec: {adminURL: "http://kong:8001/?a=b"}`, field: "spec.adminURL", message: noQuery},
	{name: "URL with a fragment", with: `spec: {adminURL: "http://kong:8001/#top"}`, field: "spec.adminURL", message: noQuery},

	// workspace
	{name: "workspace as a path", with: `spec: {workspace: a/b}`, field: "spec.workspace", message: badName},
	{name: "workspace one level up", with: `spec: {workspace: ".."}`, field: "spec.workspace", message: badName},
	{name: "workspace like an id", with: `spec: {workspace: "` + uuid + `"}`, field: "spec.workspace", message: likeUUID},

	// auth
	{name: "empty auth", with: `spec: {auth: {}}`, field: "spec.auth.tokenSecretRef", message: "Required value"},
	{name: "token in a Secret that is a path", with: `spec: {auth: {tokenSecretRef: {name: "a/b", key: token}}}`, field: "spec.auth.tokenSecretRef.name", message: badObjectName},
	{name: "token under a key that is a path", with: `spec: {auth: {tokenSecretRef: {name: a, key: a/b}}}`, field: "spec.auth.tokenSecretRef.key", message: badKey},
	{name: "header with a space", with: authHeader("Kong Token"), field: "spec.auth.header", message: badHeader},
	{name: "header with a line break", with: authHeader(`a\nb`), field: "spec.auth.header", message: badHeader},
	{name: "header that is HTTP's own", with: authHeader("Content-Length"), field: "spec.auth.header", message: ownHeader},
	{name: "header host", with: authHeader("HOST"), field: "spec.auth.header", message: ownHeader},
	{name: "header authorization", with: authHeader("Authorization")},

	// tls
	{name: "empty tls", with: `spec: {tls: {}}`, field: "spec.tls",
		message: "set at least one of caSecretRef, clientCertSecretRef, serverName and insecureSkipVerify, or leave out tls"},
	{name: "CA from a Secret that is a path", with: `spec: {tls: {caSecretRef: {name: a/b}}}`, field: "spec.tls.caSecretRef.name", message: badObjectName},
	{name: "CA under a key that is a path", with: `spec: {tls: {caSecretRef: {name: a, key: a/b}}}`, field: "spec.tls.caSecretRef.key", message: badKey},
	{name: "client certificate from a Secret that is a path", with: `spec: {tls: {clientCertSecretRef: {name: a/b}}}`, field: "spec.tls.clientCertSecretRef.name", message: badObjectName},

	// allowedBindings
	{name: "selector that is missing", with: `spec: {allowedBindings: {namespaces: {from: Selector}}}`, field: "spec.allowedBindings.namespaces", message: needless},
	{name: "selector with All", with: `spec: {allowedBindings: {namespaces: {from: All, selector: {}}}}`, field: "spec.allowedBindings.namespaces", message: needless},
	{name: "selector with the default", with: `spec: {allowedBindings: {namespaces: {selector: {}}}}`, field: "spec.allowedBindings.namespaces", message: needless},
	{name: "selector for all", with: `spec: {allowedBindings: {namespaces: {from: Selector, selector: {}}}}`},
	{name: "empty plugins", with: `spec: {allowedBindings: {plugins: {}}}`, field: "spec.allowedBindings.plugins", message: "set allow or deny, or leave out plugins"},
	{name: "allowing what is no plugin", with: `spec: {allowedBindings: {plugins: {allow: ["*"]}}}`, field: "spec.allowedBindings.plugins.allow[0]", message: badPlugin},
	{name: "denying what is no plugin", with: `spec: {allowedBindings: {plugins: {deny: [cors, Acl]}}}`, field: "spec.allowedBindings.plugins.deny[1]", message: badPlugin},
	{name: "selector with many labels", with: `spec: {allowedBindings: {namespaces: {from: Selector, selector: {matchLabels: {` + labels(33) + `}}}}}`,
		field: "spec.allowedBindings.namespaces", message: manyTerms},
	{name: "selector with many expressions", with: `spec: {allowedBindings: {namespaces: {from: Selector, selector: {matchExpressions: [` + expressions(33) + `]}}}}`,
		field: "spec.allowedBindings.namespaces", message: manyTerms},
	{name: "selector with as many terms as there may be",
		with: `spec: {allowedBindings: {namespaces: {from: Selector, selector: {matchLabels: {` + labels(32) + `}, matchExpressions: [` + expressions(32) + `]}}}}`},

	// allowedBindings.grants
	{name: "grant to the gateway's own namespace", with: grant(`{from: Same}`, `[acl]`), field: "spec.allowedBindings.grants[0]", message: needlessGrant},
	{name: "grant to the default", with: grant(`{}`, `[acl]`), field: "spec.allowedBindings.grants[0]", message: needlessGrant},
	{name: "grant with a selector that is missing", with: grant(`{from: Selector}`, `[acl]`), field: "spec.allowedBindings.grants[0].namespaces", message: needless},
	{name: "grant with a selector of many labels", with: grant(`{from: Selector, selector: {matchLabels: {`+labels(33)+`}}}`, `[acl]`),
		field: "spec.allowedBindings.grants[0].namespaces", message: manyTerms},
	{name: "grant of what is no plugin", with: grant(`{from: All}`, `[acl, "*"]`), field: "spec.allowedBindings.grants[0].plugins[1]", message: badPlugin},
	{name: "grant without namespaces", with: `spec: {allowedBindings: {grants: [{plugins: [acl]}]}}`, field: "spec.allowedBindings.grants[0].namespaces", message: "Required value"},
	{name: "grant without plugins", with: `spec: {allowedBindings: {grants: [{namespaces: {from: All}}]}}`, field: "spec.allowedBindings.grants[0].plugins", message: "Required value"},

	// allowedGateways
	{name: "gateways by a selector that is missing", with: `spec: {allowedGateways: {namespaces: {from: Selector}}}`, field: "spec.allowedGateways.namespaces", message: needless},
	{name: "gateways by a selector with many labels", with: `spec: {allowedGateways: {namespaces: {from: Selector, selector: {matchLabels: {` + labels(33) + `}}}}}`,
		field: "spec.allowedGateways.namespaces", message: manyTerms},
	{name: "gateways of all namespaces", with: `spec: {allowedGateways: {namespaces: {from: All}}}`},

	// resyncInterval
	{name: "interval that is too short", with: `spec: {resyncInterval: 9s}`, field: "spec.resyncInterval", message: "must be between 10s and 24h"},
	{name: "interval that is too long", with: `spec: {resyncInterval: 24h1ms}`, field: "spec.resyncInterval", message: "must be between 10s and 24h"},
	{name: "shortest interval", with: `spec: {resyncInterval: 10s}`},
	{name: "longest interval", with: `spec: {resyncInterval: 24h}`},
	{name: "interval in days", with: `spec: {resyncInterval: 1d}`, field: "spec.resyncInterval", message: badDuration},
	{name: "interval without a unit", with: `spec: {resyncInterval: "60"}`, field: "spec.resyncInterval", message: badDuration},
	{name: "interval in words", with: `spec: {resyncInterval: hourly}`, field: "spec.resyncInterval", message: badDuration},
	{name: "interval below zero", with: `spec: {resyncInterval: "-1m"}`, field: "spec.resyncInterval", message: badDuration},
	{name: "empty interval", with: `spec: {resyncInterval: ""}`, field: "spec.resyncInterval", message: badDuration},
	{name: "interval beyond what can be counted", with: `spec: {resyncInterval: 99999999999999h}`, field: "spec.resyncInterval", message: badDuration},

	// limits
	{name: "time-out that is too short", with: `spec: {limits: {requestTimeout: 99ms}}`, field: "spec.limits.requestTimeout", message: "must be between 100ms and 9s"},
	{name: "time-out that is too long", with: `spec: {limits: {requestTimeout: 9.001s}}`, field: "spec.limits.requestTimeout", message: "must be between 100ms and 9s"},
	{name: "shortest time-out", with: `spec: {limits: {requestTimeout: 100ms}}`},
	{name: "longest time-out", with: `spec: {limits: {requestTimeout: 9s}}`},
	{name: "time-out without a unit", with: `spec: {limits: {requestTimeout: "5"}}`, field: "spec.limits.requestTimeout", message: badDuration},
	{name: "empty limits", with: `spec: {limits: {}}`},
}

func patchAt(path string) string {
	return `spec: {configPatches: [{path: "` + path + `", valueFrom: {secretKeyRef: {name: redis, key: password}}}]}`
}

func patchesAt(n int) string {
	one := `{path: /redis/password, valueFrom: {secretKeyRef: {name: redis, key: password}}}`
	return "spec: {configPatches: [" + strings.Join(slices.Repeat([]string{one}, n), ", ") + "]}"
}

func tags(n int) string {
	list := make([]string, n)
	for i := range list {
		list[i] = fmt.Sprintf("tag-%d", i)
	}
	return "spec: {tags: [" + strings.Join(list, ", ") + "]}"
}

// labels are as many pairs for a selector.
func labels(n int) string {
	pairs := make([]string, n)
	for i := range pairs {
		pairs[i] = fmt.Sprintf("label-%d: a", i)
	}
	return strings.Join(pairs, ", ")
}

func expressions(n int) string {
	all := make([]string, n)
	for i := range all {
		all[i] = fmt.Sprintf("{key: label-%d, operator: Exists}", i)
	}
	return strings.Join(all, ", ")
}

func grant(namespaces, plugins string) string {
	return "spec: {allowedBindings: {grants: [{namespaces: " + namespaces + ", plugins: " + plugins + "}]}}"
}

func authHeader(name string) string {
	return `spec: {auth: {header: "` + name + `", tokenSecretRef: {name: kong, key: token}}}`
}

func TestRules(t *testing.T) {
	for kind, cases := range map[string][]ruleCase{minimalBinding: bindingRules, minimalGateway: gatewayRules, minimalPolicy: policyRules} {
		for _, tc := range cases {
			o := object(t, kind, tc.with)
			t.Run(o.GetKind()+"/"+tc.name, func(t *testing.T) {
				expect(t, api.Create(t.Context(), o, client.DryRunAll), tc.field, tc.message)
			})
		}
	}
}
