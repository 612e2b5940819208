package v1alpha1

// Types of conditions. Both kinds have Accepted and the summary Ready.
const (
	// ConditionReady is the summary that kubectl wait, Argo CD and Flux read. For a
	// PluginBinding it is True when Kong holds exactly the declared plugin under
	// status.pluginID, for a KongGateway when bindings can be programmed on it.
	ConditionReady = "Ready"

	// ConditionAccepted says whether the object, as it is written, can be used at all.
	ConditionAccepted = "Accepted"

	// ConditionResolvedRefs says whether everything a PluginBinding or a KongGateway
	// refers to (Secrets, and a scope's service, route or consumer) was found.
	ConditionResolvedRefs = "ResolvedRefs"

	// ConditionProgrammed says whether Kong holds exactly the declared plugin under
	// status.pluginID.
	ConditionProgrammed = "Programmed"

	// ConditionReachable says whether the Admin API of a KongGateway answers as a Kong.
	ConditionReachable = "Reachable"

	// ConditionDatabaseReachable says whether that Kong reaches its database.
	ConditionDatabaseReachable = "DatabaseReachable"
)

// Reasons of the conditions of a PluginBinding.
const (
	// ReasonReady stands with Ready=True.
	ReasonReady = "Ready"
	// ReasonAccepted stands with Accepted=True.
	ReasonAccepted = "Accepted"
	// ReasonResolvedRefs stands with ResolvedRefs=True.
	ReasonResolvedRefs = "ResolvedRefs"
	// ReasonProgrammed stands with Programmed=True.
	ReasonProgrammed = "Programmed"
	// ReasonProgramming: a write to Kong was made and the next pass reads it back.
	ReasonProgramming = "Programming"
	// ReasonPending: an earlier condition has to become True first.
	ReasonPending = "Pending"

	// ReasonPaused: the paused annotation is set.
	ReasonPaused = "Paused"
	// ReasonObserved: managementPolicy is Observe and Kong holds the declared plugin.
	ReasonObserved = "Observed"
	// ReasonWouldChange: managementPolicy is Observe and the operator would write.
	ReasonWouldChange = "WouldChange"

	// ReasonGatewayNotWatched: the gateway is in a namespace that the operator does not watch.
	ReasonGatewayNotWatched = "GatewayNotWatched"
	// ReasonGatewayNotFound: the KongGateway of gatewayRef does not exist.
	ReasonGatewayNotFound = "GatewayNotFound"
	// ReasonGatewayNotReady: the KongGateway exists and cannot be used now.
	ReasonGatewayNotReady = "GatewayNotReady"
	// ReasonGatewayNotAccepted: the KongGateway can never be used as it is.
	ReasonGatewayNotAccepted = "GatewayNotAccepted"
	// ReasonNotAllowedByGateway: allowedBindings of the KongGateway refuses this binding.
	ReasonNotAllowedByGateway = "NotAllowedByGateway"
	// ReasonUnsupportedField: a field of the spec that this edition of Kong does not have.
	ReasonUnsupportedField = "UnsupportedField"
	// ReasonInvalidConfig: config, configFrom or configPatches cannot be put together.
	ReasonInvalidConfig = "InvalidConfig"

	// ReasonSecretNotFound: a Secret or a key in it does not exist.
	ReasonSecretNotFound = "SecretNotFound"
	// ReasonScopeNotFound: the service, route, consumer or consumer group does not exist in Kong.
	ReasonScopeNotFound = "ScopeNotFound"
	// ReasonScopeAmbiguous: a name of the scope answers to more than one entity.
	ReasonScopeAmbiguous = "ScopeAmbiguous"

	// ReasonConflict: another plugin holds this name and scope, or the recorded ID.
	ReasonConflict = "Conflict"
	// ReasonPluginNotFound: the plugin of spec.pluginID does not exist in Kong.
	ReasonPluginNotFound = "PluginNotFound"
	// ReasonPluginNotInstalled: this Kong does not have a plugin of that name.
	ReasonPluginNotInstalled = "PluginNotInstalled"
	// ReasonRejected: Kong refused the plugin; the message says which fields.
	ReasonRejected = "Rejected"
	// ReasonDenied: Kong refused the credentials (401 or 403).
	ReasonDenied = "Denied"
	// ReasonKongUnavailable: Kong did not answer, or not as Kong does; nothing is known.
	ReasonKongUnavailable = "KongUnavailable"
	// ReasonForbidden: the API server does not let the operator do what it has to.
	ReasonForbidden = "Forbidden"
	// ReasonIDNotRecorded: the API server refused to record the plugin's ID. Only of events.
	ReasonIDNotRecorded = "IDNotRecorded"
	// ReasonDeleting: the binding is being deleted and its plugin is not gone yet.
	ReasonDeleting = "Deleting"
)

// Reasons of the conditions of a KongGateway.
const (
	// ReasonReachable stands with Reachable=True and DatabaseReachable=True.
	ReasonReachable = "Reachable"
	// ReasonUnreachable: no connection, or no answer in time.
	ReasonUnreachable = "Unreachable"
	// ReasonNotKong: something answered that is not a Kong Admin API.
	ReasonNotKong = "NotKong"
	// ReasonTLSFailed: the server's certificate was not accepted, or ours was not.
	ReasonTLSFailed = "TLSFailed"
	// ReasonDatabaseUnreachable: Kong answers and its database does not.
	ReasonDatabaseUnreachable = "DatabaseUnreachable"
	// ReasonDBLess: this Kong runs without a database.
	ReasonDBLess = "DBLess"
	// ReasonUnsupportedVersion: this Kong is older than 3.2 and knows no instance_name.
	ReasonUnsupportedVersion = "UnsupportedVersion"
	// ReasonUnsupportedEdition: a workspace is set and this Kong has none.
	ReasonUnsupportedEdition = "UnsupportedEdition"
	// ReasonInvalidConnection: a certificate, key or URL that cannot be used.
	ReasonInvalidConnection = "InvalidConnection"
	// ReasonInvalidSelector: the selector of allowedBindings.namespaces cannot be read.
	ReasonInvalidSelector = "InvalidSelector"
	// ReasonWorkspaceNotFound: this Kong has no workspace of that name.
	ReasonWorkspaceNotFound = "WorkspaceNotFound"
	// ReasonInUse: the gateway is being deleted and bindings still refer to it.
	ReasonInUse = "InUse"
)
