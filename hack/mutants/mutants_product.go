package main

// productMutants break the rules of what a user sees and of who may do what: bounds, conditions,
// health, tenancy, and the neighbours of the operator.
var productMutants = []mutant{
	{
		rule: "bounds", name: "the values of a config are not counted",
		file: "internal/plugin/decode.go",
		from: "		m.total.nodes += s.nodes\n", to: "",
	},
	{
		rule: "bounds", name: "a second YAML document is dropped",
		file: "internal/plugin/decode.go",
		from: "		case !isEmptyYAML(document.Content[0]):", to: "		case false:",
	},
	{
		rule: "bounds", name: "of a key that is given twice the last one counts",
		file: "internal/plugin/decode.go",
		from: "		if _, twice := object[key]; twice {", to: "		if false {",
	},
	{
		rule: "secrets", name: "what Kong says about a value from a Secret is shown",
		file: "internal/plugin/field_error.go",
		from: "	case r.sources.include(path, r.schema):", to: "	case false:",
	},
	{
		rule: "bounds", name: "redaction has no budget",
		file: "internal/plugin/patterns.go",
		from: "		if *steps > maxRedactSteps {", to: "		if false {",
	},
	{
		rule: "secrets", name: "sensitive differences are shown to tenants",
		file: "internal/plugin/sensitive.go",
		from: "slices.DeleteFunc(Differences(desired, live, s), s.Sensitive)", to: "Differences(desired, live, s)",
	},
	{
		rule: "ownership", name: "unknown fields of a plugin are no difference",
		file: "internal/plugin/compare.go",
		from: "	d.checkUnknown(desired.Unknown, live.Unknown, s)\n", to: "",
	},
	{
		rule: "ownership", name: "unknown fields of an adopted plugin are dropped",
		file: "internal/plugin/preserve.go",
		from: "	out.Unknown = preserveUnknown(desired.Unknown, live.Unknown)\n", to: "",
	},
	{
		rule: "ownership", name: "declared partials are compared as they are written",
		file: "internal/plugin/unknown.go",
		from: "same = d.samePartials", to: "same = d.sameValue",
	},
	{
		rule: "ownership", name: "a field that Kong lacks is a refusal like any other",
		file: "controllers/pluginbinding/resolve.go",
		from: "if result := checkVersion(s, err); result != nil {", to: "if result := checkVersion(s, err); false {",
	},
	{
		rule: "tenancy", name: "code is known by the schema alone",
		file: "internal/plugin/code.go",
		from: "(codeName.MatchString(name) || f.code())", to: "f.code()",
	},
	{
		rule: "deletion ends", name: "a refused binding with the operator's finalizer holds its gateway up",
		file: "controllers/konggateway/delete.go",
		from: "return hasTraces(binding) && !s.hasNothing(binding)", to: "return hasTraces(binding)",
	},
	{
		rule: "deletion ends", name: "a gateway goes although a refused binding has a plugin",
		file: "controllers/konggateway/delete.go",
		from: "!c.Snapshot.Owns(self)", to: "(true || !c.Snapshot.Owns(self))",
	},
	{
		rule: "deletion ends", name: "a gateway does not wait for reconciles that have its connection",
		file: "controllers/konggateway/delete.go",
		from: "if r.BindingWorkers.Busy(s.key) > 0 {", to: "if false {",
	},
	{
		rule: "deletion ends", name: "a gateway trusts the cache about who holds a plugin",
		file: "controllers/konggateway/delete.go",
		from: "bindings, err := r.listBindingsLive(ctx, s)", to: "bindings, err := s.bindings, error(nil)",
	},
	{
		rule: "deletion ends", name: "a gateway that is deleted keeps its connection open",
		file: "controllers/konggateway/delete.go",
		from: "	r.Connections.Close(s.key)\n", to: "",
	},
	{
		rule: "load on the API server", name: "a gateway with many bindings counts them every second",
		file: "controllers/gateway_watches.go",
		from: "countDelay(known.Bindings)", to: "countDelay(0 * known.Bindings)",
	},
	{
		rule: "buckets", name: "an ID in the same bucket counts as the plugin's",
		file: "controllers/pluginbinding/reserve.go",
		from: "reference.WithPluginID(bindings.Items, v1alpha1.UUID(id))", to: "bindings.Items",
	},
	{
		rule: "buckets", name: "bindings with another ID in the same bucket are woken",
		file: "controllers/binding_watches.go",
		from: "reference.WithPluginID(f.list(ctx, bucket), id)", to: "f.list(ctx, bucket)",
	},
	{
		rule: "buckets", name: "policies at another place in the same bucket are woken",
		file: "controllers/policy_watches.go",
		from: "reference.AtPlace(bindings.Items, place)", to: "bindings.Items",
	},
	{
		rule: "buckets", name: "a binding at another place in the same bucket is a rival",
		file: "controllers/pluginpolicy/bindings.go",
		from: "reference.AtPlace(bindings.Items, place)", to: "bindings.Items",
	},
	{
		rule: "buckets", name: "the webhooks warn of a binding at another place in the same bucket",
		file: "controllers/admission/texts.go",
		from: "reference.AtPlace(list.Items, place)", to: "list.Items",
	},
	{
		rule: "load on Kong", name: "after a 429 the rate grows as slowly for ever",
		file: "internal/adminapi/rate.go",
		from: "now.Sub(a.lastDecrease) >= recoveryAfter", to: "false",
	},
	{
		rule: "load on Kong", name: "after a 429 the rate grows fast at once",
		file: "internal/adminapi/rate.go",
		from: "now.Sub(a.lastDecrease) >= recoveryAfter", to: "true",
	},
	{
		rule: "load on Kong", name: "a binding that waits for a scope asks Kong by itself",
		file: "controllers/pluginbinding/resolve.go",
		from: "snapshot != nil && snapshot.ListsScope", to: "false && snapshot.ListsScope",
	},
	{
		rule: "load on Kong", name: "every plugin in a conflict is looked up by its ID",
		file: "controllers/konggateway/awaited.go",
		from: "if ids.Len() > maxLookups {", to: "if false {",
	},
	{
		rule: "nothing waits for ever", name: "a resync does not wake what waits for a changed plugin",
		file: "controllers/konggateway/awaited.go",
		from: "return now != before", to: "return before == 0",
	},
	{
		rule: "nothing waits for ever", name: "a resync does not wake what waits for a scope",
		file: "controllers/konggateway/awaited.go",
		from: "if waitsForScope(binding) {", to: "if false {",
	},
	{
		rule: "load on Kong", name: "a kind that the token may not read ends the resync",
		file: "controllers/konggateway/resync.go",
		from: "if adminapi.ReasonForError(err) == adminapi.Denied {", to: "if false {",
	},
	{
		rule: "tenancy", name: "a refused binding has a series",
		file: "controllers/collector.go",
		from: " || isRefused(binding)", to: "",
	},
	{
		rule: "tenancy", name: "an invented gateway has a series",
		file: "controllers/collector.go",
		from: "!known.Has(gateway) || ", to: "",
	},
	{
		rule: "load on Kong", name: "an error of the API server is followed by another probe",
		file: "controllers/konggateway/controller.go",
		from: "			r.keepProbe(s) // an error of the API server must not become requests to Kong\n", to: "",
	},
	{
		rule: "metrics", name: "a series comes back after its gateway is gone",
		file: "internal/metrics/metrics.go",
		from: "if m.gateways[gateway] {", to: "if true {",
	},
	{
		rule: "secrets", name: "the cache keeps annotations of Secrets",
		file: "cmd/manager/main.go",
		from: "o.SetAnnotations(nil)", to: "",
	},
	{
		rule: "load on Kong", name: "one slow resync puts the next one off for long",
		file: "controllers/konggateway/probe.go",
		from: "resyncWeight = 0.25", to: "resyncWeight = 1.0",
	},
	{
		rule: "hosts", name: "a forbidden host is connected to",
		file: "internal/connection/settings.go",
		from: "AllowedHosts:   r.AllowedHosts,", to: "",
	},
	{
		rule: "bounds", name: "a long message is stored twice",
		file: "internal/message/message.go",
		from: "if len(text) <= MaxSummary {", to: "if true {",
	},
	{
		rule: "bounds", name: "a message of a condition has no bound of its own",
		file: "internal/message/message.go",
		from: "MaxCondition = 2048", to: "MaxCondition = 32000",
	},
	{
		rule: "no unnecessary change", name: "a UID in the tags that is not the binding's is written again",
		file: "controllers/pluginbinding/observe.go",
		from: "identity.SameTags(s.desired.plugin.Tags, live.Tags)", to: "false",
	},
	{
		rule: "conditions", name: "a plugin that never runs is not reported",
		file: "controllers/pluginbinding/conditions.go",
		from: "	setIneffective(next, s)\n", to: "",
	},
	{
		rule: "conditions", name: "a route that changes is not noticed",
		file: "controllers/konggateway/resync.go",
		from: "known && route != last.Route || ", to: "known && route == \"\\n\" || ",
	},
	{
		rule: "events", name: "a warning is omitted in a flood of events",
		file: "controllers/routine_events.go",
		from: "eventType == corev1.EventTypeNormal && !b.routine", to: "!b.routine",
	},
	{
		rule: "events", name: "a flood of changes is a flood of events",
		file: "controllers/routine_events.go",
		from: "if own.AllowN(now, 1) && r.all.AllowN(now, 1) {", to: "if true {",
	},
	{
		rule: "events", name: "one namespace uses up the events of all",
		file: "controllers/routine_events.go",
		from: "if own.AllowN(now, 1) && r.all.AllowN(now, 1) {", to: "if r.all.AllowN(now, 1) {",
	},
	{
		rule: "health", name: "one failed probe is reported",
		file: "controllers/konggateway/health.go",
		from: "return h.failures >= failuresToReport", to: "return true",
	},
	{
		rule: "health", name: "an unstable gateway follows each probe",
		file: "controllers/konggateway/health.go",
		from: "		return now.Sub(h.failingSince) >= unstableOutage\n", to: "		return true\n",
	},
	{
		rule: "health", name: "a gateway is never unstable",
		file: "controllers/konggateway/health.go",
		from: "len(h.shortOutages) == unstableOutages &&", to: "false &&",
	},
	{
		rule: "health", name: "a binding reports each failed request",
		file: "controllers/pluginbinding/status.go",
		from: " || result.transient && s.saysAlready(result):", to: ":",
	},
	{
		rule: "health", name: "nodes of two versions take turns in the status",
		file: "controllers/konggateway/health.go",
		from: "if next, allowed := h.infoChanges.add(now); allowed {", to: "if next, _ := h.infoChanges.add(now); true {",
	},
	{
		rule: "health", name: "what changed in Kong goes to and fro in the status",
		file: "controllers/konggateway/resync.go",
		from: "		res.reports, res.isReported = res.reports.add(now)\n", to: "		res.isReported = true\n",
	},
	{
		rule: "writes that fail", name: "bindings go on writing to a database that refuses",
		file: "internal/connection/writes.go",
		from: "	w.wait(binding)\n	return false\n}\n\nfunc", to: "	return true\n}\n\nfunc",
	},
	{
		rule: "writes that fail", name: "no binding tries whether writes succeed again",
		file: "controllers/konggateway/health.go",
		from: "		r.Connections.EnqueueBinding(ctx, binding)\n", to: "		_ = binding\n",
	},
	{
		rule: "writes that fail", name: "a config on which Kong fails is the gateway's trouble",
		file: "controllers/pluginbinding/write_gate.go",
		from: "s.client().ValidateConfig(ctx, s.desired.plugin) != nil", to: "false",
	},
	{
		rule: "writes that fail", name: "a binding that fails by itself stops the others",
		file: "internal/connection/writes.go",
		from: "	if w.suspects[binding] {\n", to: "	if false {\n",
	},
	{
		rule: "writes that fail", name: "the bindings of one namespace hold up all others",
		file: "internal/connection/writes.go",
		from: "return !failedIn[binding.Namespace]", to: "return true",
	},
	{
		rule: "gitops", name: "what needs somebody is taken for on its way",
		file: "internal/kstatus/kstatus.go",
		from: "is, isNot = isNot, is", to: "",
	},
	{
		rule: "gitops", name: "a binding in force keeps the condition of its last problem",
		file: "internal/kstatus/kstatus.go",
		from: "		meta.RemoveStatusCondition(conditions, is)\n", to: "",
	},
	{
		rule: "gitops", name: "a status that improves is reconciled again",
		file: "controllers/binding_watches.go",
		from: "kstatus.CountLasting(was.Status.Conditions) > kstatus.CountLasting(is.Status.Conditions)", to: "kstatus.CountLasting(nil)+len(was.Status.Conditions) > len(is.Status.Conditions)",
	},
	{
		rule: "secrets", name: "a composed value hides only as a whole",
		file: "internal/plugin/render.go",
		from: "		hide(string(raw)) // also without what is around it\n", to: "",
	},
	{
		rule: "secrets", name: "a changed ConfigMap reaches no binding",
		file: "internal/reference/reference.go",
		from: "return from.ConfigMapKeyRef.Name }", to: "return from.ConfigMapKeyRef.Name[:0] }",
	},
	{
		rule: "retained plugins", name: "a tenant's list hides orphans of others",
		file: "internal/retained/retained.go",
		from: "if !trusted && namespace != p.gateway {", to: "if false {",
	},
	{
		rule: "retained plugins", name: "a full list holds up every namespace",
		file: "internal/retained/retained.go",
		from: "		lost = p.dropFromLargest()\n", to: "		return \"\", false\n",
	},
	{
		rule: "retained plugins", name: "a namespace can fill the list",
		file: "internal/retained/retained.go",
		from: "namespace != p.gateway && len(ids) >= MaxPerNamespace:", to: "len(ids) < 0:",
	},
	{
		rule: "retained plugins", name: "the annotation of an earlier version does not count",
		file: "internal/retained/retained.go",
		from: " || p.unassigned.Has(id)", to: "",
	},
	{
		rule: "policies", name: "an entity of which Kong said nothing counts as gone",
		file: "internal/policy/plan.go",
		from: "	case Unknown:\n		return\n", to: "	case Unknown:\n",
	},
	{
		rule: "policies", name: "an outdated list of entities wins",
		file: "internal/connection/selections.go",
		from: "if known && last.began > b.began {", to: "if false && known && last.began > b.began {",
	},
	{
		rule: "policies", name: "the younger object takes the place",
		file: "internal/policy/child.go",
		from: "return created.Before(own)", to: "return created.After(own)",
	},
	{
		rule: "policies", first: stories("leaves a binding that has the name"), name: "a foreign binding is taken by its name",
		file: "controllers/pluginpolicy/bindings.go",
		from: "	if policy.IsLeft(s.policy, child, other) {\n", to: "	if true {\n",
	},
	{
		rule: "no hole", name: "a younger policy deletes its plugin before the older one has it",
		file: "internal/policy/rival.go",
		from: "existing == nil || rival.needsRoom(existing)", to: "true",
	},
	{
		rule: "no hole", name: "an older policy waits until the younger one's plugin is gone",
		file: "internal/policy/rival.go",
		from: "!isOlder && rival.ByPolicy && rival.passesOn(policy.Namespace)", to: "false",
	},
	{
		rule: "no hole", name: "a policy waits until the plugin of a deleted binding is gone",
		file: "internal/policy/rival.go",
		from: "rival.Leaving && rival.passesOn(policy.Namespace), ", to: "",
	},
	{
		rule: "no hole", name: "a deletion does not wait for a policy that waits for the place",
		file: "controllers/pluginbinding/replaces.go",
		from: "return r.waitForPolicy(ctx, s, policyGrace-deleted)", to: "return nil",
	},
	{
		rule: "no hole", name: "the bindings of a restored policy take their plugins along",
		file: "controllers/pluginbinding/replaces.go",
		from: "return successor.UID != owner.UID && ", to: "return false && successor.UID != owner.UID && ",
	},
	{
		rule: "no hole", name: "a plugin that goes back to the binding before is deleted first",
		file: "controllers/pluginbinding/owner.go",
		from: "return !deleted.DeletionTimestamp.IsZero() && other", to: "return false && other",
	},
	{
		rule: "no hole", name: "a deletion does not wait for the policy of a binding in conflict",
		file: "controllers/pluginbinding/replaces.go",
		from: "return r.waitForPolicyOf(ctx, s, wait)", to: "return nil",
	},
	{
		rule: "policies", name: "a policy keeps a binding whose plugin went back to the older one",
		file: "internal/policy/rival.go",
		from: " && (rival.Leaving || !isOlder):", to: ":",
	},
	{
		rule: "no unnecessary conflict", name: "two bindings for one place are reconciled at once",
		file: "controllers/pluginbinding/controller.go",
		from: "if !r.places.tryLock(place) {", to: "if !r.places.tryLock(place) && false {",
	},
	{
		rule: "deletion ends", name: "a deletion waits to pass on a plugin that Kong has lost",
		file: "controllers/pluginbinding/replaces.go",
		from: "wait > 0 && !nothingLeft && ", to: "wait > 0 && ",
	},
	{
		rule: "policies", first: stories("Two objects that want one plugin"), name: "a binding that the gateway refuses keeps policies from their targets",
		file: "controllers/pluginpolicy/bindings.go",
		from: "	case namespace == s.policy.Namespace:\n", to: "	case true:\n",
	},
	{
		rule: "ownership", name: "a deletion looks at a plugin that another binding is taking over",
		file: "controllers/pluginbinding/delete.go",
		from: "if !exists || known && found == recorded {", to: "if true {",
	},
	{
		rule: "policies", name: "bindings that the API server refuses come before the others",
		file: "controllers/pluginpolicy/apply.go",
		from: "	r.rejections.putLast(s.key, plan.Apply)\n", to: "",
	},
	{
		rule: "policies", name: "a policy does not hear that a binding has seen its generation",
		file: "controllers/policy_watches.go",
		from: `ready.ObservedGeneration, " ", `, to: "",
	},
	{
		rule: "policies", name: "a tenant selects entities by their tags",
		file: "internal/tenancy/rules.go",
		from: "if !r.ByTags || ", to: "if true || !r.ByTags || ",
	},
	{
		rule: "policies", name: "a changed target is looked at once",
		file: "controllers/pluginpolicy/looks.go",
		from: "w.next = now.Add(w.pause)", to: "w.next = now.Add(lookWindow)",
	},
	{
		rule: "tenancy", name: "a later gateway of another namespace is accepted",
		file: "controllers/konggateway/governance.go",
		from: "if !known || governance.Accepted() {", to: "if !known || governance.Accepted() || true {",
	},
	{
		rule: "tenancy", name: "an acquisition is not asked about",
		file: "controllers/pluginbinding/tenancy.go",
		from: "		operation = tenancy.Acquire\n		s.access.request.Acquisition = s.acquisition(action)\n", to: "",
	},
	{
		rule: "tenancy", name: "a move is not asked about",
		file: "controllers/pluginbinding/tenancy.go",
		from: "		} else if live.Scope != s.desired.plugin.Scope {\n", to: "		} else if false && live.Scope != s.desired.plugin.Scope {\n",
	},
	{
		rule: "tenancy", name: "a deletion is not asked about",
		file: "controllers/pluginbinding/delete.go",
		from: "	if refused == nil {\n", to: "	if true {\n",
	},
	{
		rule: "orphans", name: "one resync removes any number of orphans",
		file: "controllers/konggateway/orphan_removal.go",
		from: "if removed == maxRemovals {", to: "if false {",
	},
	{
		rule: "orphans", name: "orphans are removed although most bindings seem lost",
		file: "controllers/konggateway/orphan_removal.go",
		from: "if s.resync.looksLikeDataLoss() {", to: "if false {",
	},
	{
		rule: "load on Kong", name: "a binding that may not take a plugin over asks Kong by itself",
		file: "controllers/pluginbinding/decide.go",
		from: "		if action.Adopts != identity.Unknown {", to: "		if result.requeueAfter = s.resyncInterval(); false {",
	},
	{
		rule: "the kubectl plugin", name: "a plan can write to Kong",
		file: "cmd/kubectl-pluginbinding/internal/kong/connection.go",
		from: "req.Method != http.MethodHead && !validates {", to: "req.Method != http.MethodHead && false && !validates {",
	},
	{
		rule: "the kubectl plugin", name: "a refusal of Kong counts as one of the API server",
		file: "cmd/kubectl-pluginbinding/internal/kong/proxy.go",
		from: "status.Kind == \"Status\" && status.APIVersion == \"v1\"", to: "true",
	},
	{
		rule: "the kubectl plugin", name: "a plan finds a plugin where it has left",
		file: "cmd/kubectl-pluginbinding/internal/plan/kong.go",
		from: "	if _, ok := d.written(live.ID); ok {", to: "	if _, ok := d.written(live.ID); false && ok {",
	},
	{
		rule: "the kubectl plugin", name: "rename deletes a binding whose plugin has not passed over",
		file: "cmd/kubectl-pluginbinding/internal/rename/rename.go",
		from: "return isReadyWith(binding, old.Status.PluginID), nil", to: "return true, nil",
	},
}
