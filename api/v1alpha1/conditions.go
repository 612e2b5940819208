package v1alpha1

// Types of conditions. Every kind has Accepted and the summary Ready.
const (
	// ConditionReady is the summary that kubectl wait, Argo CD and Flux read. For a
	// PluginBinding it is True when Kong holds the declared plugin with the ID
	// status.pluginID. For a KongGateway it is True when the operator can program bindings
	// on it.
	ConditionReady = "Ready"

	// ConditionAccepted says whether the operator can use the object as it is.
	ConditionAccepted = "Accepted"

	// ConditionResolvedRefs says whether everything exists to which a PluginBinding or a
	// KongGateway refers: Secrets, and the service, route, consumer or consumer group of a
	// scope.
	ConditionResolvedRefs = "ResolvedRefs"

	// ConditionProgrammed says whether Kong holds the declared plugin with the ID
	// status.pluginID.
	ConditionProgrammed = "Programmed"

	// ConditionContested is True while Kong's ingress controller wants a plugin of its own in the
	// place of the plugin of a PluginBinding. Otherwise a binding does not have this condition.
	ConditionContested = "Contested"

	// ConditionIneffective is True while Kong holds the plugin of a PluginBinding and never
	// runs it. Otherwise a binding does not have this condition.
	ConditionIneffective = "Ineffective"

	// ConditionReachable says whether the Admin API of a KongGateway answers.
	ConditionReachable = "Reachable"

	// ConditionDatabaseReachable says whether that Kong reaches its database.
	ConditionDatabaseReachable = "DatabaseReachable"

	// ConditionUnstable is True while some probes of a KongGateway fail and others do not.
	// Otherwise a gateway does not have this condition.
	ConditionUnstable = "Unstable"

	// ConditionStalled is True, or absent. Flux and other tools that read conditions as kstatus
	// does take the object for failed: the operator can do no more before somebody changes
	// something. Reason and message are those of Ready.
	ConditionStalled = "Stalled"

	// ConditionReconciling is True, or absent. Tools that read conditions as kstatus does
	// wait: the object is not Ready, and can become so without anybody's doing. Reason and
	// message are those of Ready.
	ConditionReconciling = "Reconciling"
)

// Reasons of the conditions of a PluginBinding.
const (
	// ReasonReady is the reason of Ready=True.
	ReasonReady = "Ready"
	// ReasonAccepted is the reason of Accepted=True.
	ReasonAccepted = "Accepted"
	// ReasonResolvedRefs is the reason of ResolvedRefs=True.
	ReasonResolvedRefs = "ResolvedRefs"
	// ReasonProgrammed is the reason of Programmed=True.
	ReasonProgrammed = "Programmed"
	// ReasonProgramming: the operator wrote to Kong, and the next reconcile reads it back.
	ReasonProgramming = "Programming"
	// ReasonPending: another condition must become True first.
	ReasonPending = "Pending"

	// ReasonPaused: the paused annotation is set.
	ReasonPaused = "Paused"
	// ReasonObserved: managementPolicy is Observe and Kong holds the declared plugin.
	ReasonObserved = "Observed"
	// ReasonWouldChange: managementPolicy is Observe, and with Manage the operator would
	// write to Kong.
	ReasonWouldChange = "WouldChange"

	// ReasonGatewayNotWatched: the operator does not watch the namespace of the gateway.
	ReasonGatewayNotWatched = "GatewayNotWatched"
	// ReasonGatewayNotFound: the KongGateway of gatewayRef does not exist.
	ReasonGatewayNotFound = "GatewayNotFound"
	// ReasonGatewayNotReady: the operator cannot use the KongGateway now.
	ReasonGatewayNotReady = "GatewayNotReady"
	// ReasonGatewayNotAccepted: the operator cannot use the KongGateway as it is.
	ReasonGatewayNotAccepted = "GatewayNotAccepted"
	// ReasonNotAllowedByGateway: allowedBindings of the KongGateway does not allow the
	// binding.
	ReasonNotAllowedByGateway = "NotAllowedByGateway"
	// ReasonUnsupportedField: this edition or version of Kong does not have a field of the spec.
	ReasonUnsupportedField = "UnsupportedField"
	// ReasonReplacementNotAllowed: the PluginBinding in spec.replaces does not allow this one
	// to replace it, or has another gateway or plugin.
	ReasonReplacementNotAllowed = "ReplacementNotAllowed"
	// ReasonInvalidConfig: config, configFrom and configPatches do not make a valid config.
	ReasonInvalidConfig = "InvalidConfig"

	// ReasonSecretNotFound: a Secret, or a key in it, does not exist.
	ReasonSecretNotFound = "SecretNotFound"
	// ReasonConfigMapNotFound: a ConfigMap, or a key in it, does not exist.
	ReasonConfigMapNotFound = "ConfigMapNotFound"
	// ReasonScopeNotFound: the service, route, consumer or consumer group does not exist in Kong.
	ReasonScopeNotFound = "ScopeNotFound"
	// ReasonScopeAmbiguous: more than one entity has a name of the scope.
	ReasonScopeAmbiguous = "ScopeAmbiguous"

	// ReasonRouteOfAnotherService: the route of the scope does not lead to the service of the
	// scope, so Kong never runs the plugin.
	ReasonRouteOfAnotherService = "RouteOfAnotherService"
	// ReasonNoCommonProtocol: the plugin has no protocol of its route, so Kong never runs it.
	ReasonNoCommonProtocol = "NoCommonProtocol"

	// ReasonConflict: another plugin has this name and scope, or the recorded ID.
	ReasonConflict = "Conflict"
	// ReasonClaimedByKongPlugin: a KongPlugin makes Kong's ingress controller want the plugin in
	// this scope.
	ReasonClaimedByKongPlugin = "ClaimedByKongPlugin"
	// ReasonPluginNotFound: the plugin of spec.pluginID does not exist in Kong.
	ReasonPluginNotFound = "PluginNotFound"
	// ReasonPluginNotInstalled: this Kong does not have a plugin of that name.
	ReasonPluginNotInstalled = "PluginNotInstalled"
	// ReasonRejected: Kong rejected the plugin. The message names the fields.
	ReasonRejected = "Rejected"
	// ReasonDenied: Kong refused the credentials (401 or 403).
	ReasonDenied = "Denied"
	// ReasonKongUnavailable: Kong did not answer, or gave an answer that the operator cannot
	// use. The state of the plugin is unknown.
	ReasonKongUnavailable = "KongUnavailable"
	// ReasonForbidden: the API server refused a request of the operator (403).
	ReasonForbidden = "Forbidden"
	// ReasonIDNotRecorded: the API server refused to record the ID of the plugin. Only events
	// have this reason.
	ReasonIDNotRecorded = "IDNotRecorded"
	// ReasonDeleting: the binding is being deleted, and its plugin still exists.
	ReasonDeleting = "Deleting"
)

// Reasons of the conditions of a PluginPolicy, beside those of a PluginBinding.
const (
	// ReasonTargetNotFound: an object of targetRefs does not exist.
	ReasonTargetNotFound = "TargetNotFound"
	// ReasonTargetKindNotInstalled: this cluster does not have the kind of a target.
	ReasonTargetKindNotInstalled = "TargetKindNotInstalled"
	// ReasonConflicted: an older policy or binding has this plugin on an entity, or an object
	// that is not the policy's has the name of one of its bindings.
	ReasonConflicted = "Conflicted"
	// ReasonInvalid: the API server refuses the bindings that the template makes.
	ReasonInvalid = "Invalid"
	// ReasonEntitiesNotFound: Kong has no route, service or consumer of a target yet.
	ReasonEntitiesNotFound = "EntitiesNotFound"
	// ReasonTooManyEntities: a target has more entities in Kong than a policy follows.
	ReasonTooManyEntities = "TooManyEntities"
	// ReasonBindingsNotReady: a binding of the policy is not Ready.
	ReasonBindingsNotReady = "BindingsNotReady"
)

// Reasons of the conditions of a KongGateway.
const (
	// ReasonReachable is the reason of Reachable=True and DatabaseReachable=True.
	ReasonReachable = "Reachable"
	// ReasonUnreachable: the operator gets no connection, or no answer in time.
	ReasonUnreachable = "Unreachable"
	// ReasonNotKong: the answer is not that of a Kong Admin API.
	ReasonNotKong = "NotKong"
	// ReasonTLSFailed: one side did not accept the certificate of the other.
	ReasonTLSFailed = "TLSFailed"
	// ReasonDatabaseUnreachable: Kong answers, but does not reach its database.
	ReasonDatabaseUnreachable = "DatabaseUnreachable"
	// ReasonWritesFail: Kong reads from its database, and answers the writes of several
	// bindings with an error.
	ReasonWritesFail = "WritesFail"
	// ReasonSomeProbesFail is the reason of Unstable=True.
	ReasonSomeProbesFail = "SomeProbesFail"
	// ReasonDBLess: this Kong runs without a database.
	ReasonDBLess = "DBLess"
	// ReasonUnsupportedVersion: this Kong is older than 3.2, which added instance_name.
	ReasonUnsupportedVersion = "UnsupportedVersion"
	// ReasonUnsupportedEdition: workspace is set, and this Kong has no workspaces.
	ReasonUnsupportedEdition = "UnsupportedEdition"
	// ReasonInvalidConnection: the operator cannot use a certificate, key, token or URL.
	ReasonInvalidConnection = "InvalidConnection"
	// ReasonInvalidSelector: a selector in allowedBindings or allowedGateways is not valid.
	ReasonInvalidSelector = "InvalidSelector"
	// ReasonWorkspaceNotFound: this Kong has no workspace of that name.
	ReasonWorkspaceNotFound = "WorkspaceNotFound"
	// ReasonGatewayNotAllowed: an older KongGateway in another namespace leads to the same
	// Kong, and its allowedGateways does not allow the namespace of this gateway.
	ReasonGatewayNotAllowed = "GatewayNotAllowed"
	// ReasonInUse: the gateway is being deleted, and bindings still refer to it.
	ReasonInUse = "InUse"
)
