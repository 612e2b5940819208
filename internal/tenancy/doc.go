// Package tenancy decides what a PluginBinding or PluginPolicy from another namespace may do through a
// KongGateway, and which KongGateway governs a Kong. It is pure: facts in, a decision out. It
// imports the API types and label selectors only. No client, no clock and no Kong may come in.
//
// The reconcilers ask Check before every write to Kong. They also ask it before a binding counts
// for a resync, for a metric or for the deletion of its gateway. Check applies these rules in this
// order; the first rule that refuses decides. A binding in the gateway's own namespace passes
// without a rule.
//
//	rule                     refuses
//	namespaces               a namespace that is not selected
//	maxBindingsPerNamespace  the bindings of a namespace after the oldest N
//	plugins                  a plugin that deny lists; or, with allow, one that neither allow nor a
//	                         grant lists
//	code                     None: a plugin or a field that runs code; Named: the same, unless allow
//	                         or a grant lists the plugin
//	globalPlugins            Denied: a plugin without a scope
//	entitySelectors          Denied: a policy that selects entities by their tags
//	entities                 SameNamespace: an entity without the tag of the binding's namespace
//	adoption                 None: any existing plugin; Unowned: one of another owner, one of the
//	                         gateway's namespace even if its owner is gone, and an import that moves
//	                         the plugin
//	acquired                 for a plugin that existed before the binding. None: to update, move or
//	                         delete it; Unowned: to move or delete it
//
// A request may leave facts out while nothing is written, because Kong has not been asked yet.
// For a write, a missing fact counts against the binding.
//
// Deletion is different. A binding may always delete what it created, even if the gateway no longer
// allows the binding. For an acquired plugin all rules apply but maxBindingsPerNamespace and code.
// If one refuses, the caller removes the ownership tags and keeps the plugin.
package tenancy
