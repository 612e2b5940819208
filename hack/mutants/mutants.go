package main

import "slices"

// mutants break one rule each: the rules of the protocol around the decision, and those that
// protect plugins of other owners, keep the operator from unnecessary changes, and hide Secrets.
var mutants = slices.Concat(protocolMutants, productMutants, webhookMutants, kubectlMutants)

var protocolMutants = []mutant{
	{
		rule: "finalizer first", first: plans("TestFaults/^create$"), name: "no finalizer before the first write",
		file: "controllers/pluginbinding/finalizer.go",
		from: "return r.addFinalizer(ctx, s)", to: "return nil",
	},
	{
		rule: "live read", first: plans("TestFaults/^restore-with-an-id-unseen$"), name: "a create and a restore trust the cache",
		file: "controllers/pluginbinding/finalizer.go",
		from: "return live.UID == cached.UID &&", to: "return true || live.UID == cached.UID &&",
	},
	{
		rule: "live read", name: "the finalizer of an earlier reconcile is the live read of a creation",
		file: "controllers/pluginbinding/finalizer.go",
		from: "return !s.liveAt.IsZero() && age >= 0 && age < liveLookLasts", to: "return age >= 0",
	},
	{
		rule: "live read", name: "the finalizer is the live read of a creation, however long ago it was added",
		file: "controllers/pluginbinding/finalizer.go",
		from: "age >= 0 && age < liveLookLasts", to: "age >= 0",
	},
	{
		rule: "live read", name: "the response to the patch of the finalizer is not compared with the cache",
		file: "controllers/pluginbinding/finalizer.go",
		from: "	if !same {\n", to: "	if false && !same {\n",
	},
	{
		rule: "recording an ID", first: processes("TestTermination"), name: "recording an ID ends with the process's context",
		file: "controllers/pluginbinding/record_id.go",
		from: "context.WithoutCancel(ctx), recordTimeout", to: "ctx, recordTimeout",
	},
	{
		rule: "recording an ID", first: processes("TestTermination"), name: "recording an ID is not retried",
		file: "controllers/pluginbinding/record_id.go",
		from: "Steps: 8,", to: "Steps: 1,",
	},
	{
		rule: "recording an ID", first: plans("TestPlain"), name: "a plugin created for a deleted binding stays",
		file: "controllers/pluginbinding/record_id.go",
		from: "s.applied.source != v1alpha1.PluginIDCreated", to: "s.applied.source != \"\"",
	},
	{
		rule: "wait, look, remove the finalizer", first: plans("TestFaults/-delete-in-doubt$"), name: "a deletion does not wait for in-flight writes",
		file: "controllers/pluginbinding/delete.go",
		from: "if wait <= 0 {", to: "if true || wait <= 0 {",
	},
	{
		rule: "wait, look, remove the finalizer", first: plans("TestFaults/-delete-in-doubt$"), name: "a deletion does not wait for Kong's database time-out",
		file: "internal/connection/registry.go",
		from: "c.RequestTimeout + databaseTimeout", to: "c.RequestTimeout",
	},
	{
		rule: "wait, look, remove the finalizer", first: plans("TestFaults/^(delete|create-delete)$"), name: "the finalizer is removed before the lookup",
		file: "controllers/pluginbinding/controller.go",
		from: "if result = r.deleteOwnedPlugin(ctx, s); result != nil {", to: "if result != nil {",
	},
	{
		rule: "wait, look, remove the finalizer", first: stories("Deleting a binding"), name: "no second lookup after a deletion",
		file: "controllers/pluginbinding/delete.go",
		from: "	default:\n		return requeue()\n", to: "	default:\n		return requeue()\n	}\n	if true {\n		return nil\n",
	},
	{
		rule: "wait, look, remove the finalizer", name: "a deletion looks once although the binding owns a second plugin",
		file: "controllers/pluginbinding/delete.go",
		from: " && owned == 1 && named", to: " && named",
	},
	{
		rule: "wait, look, remove the finalizer", name: "a deletion looks once although another plugin may have the generated name",
		file: "controllers/pluginbinding/delete.go",
		from: " && owned == 1 && named", to: " && owned == 1 && (named || true)",
	},
	{
		rule: "wait, look, remove the finalizer", first: plans("TestFaults/^delete$"), name: "a failed lookup removes the finalizer",
		file: "controllers/pluginbinding/delete.go",
		from: "	return deletionBlocked(s, r.handleKongError(s, &s.desired, err))", to: "	s.action = identity.Action{Operation: identity.RemoveFinalizer}\n	return nil",
	},
	{
		rule: "live read", first: plans("TestPlain"), name: "a deletion trusts the cache",
		file: "controllers/pluginbinding/delete.go",
		from: "live.UID != s.binding.UID || live.DeletionTimestamp.IsZero() || live.Generation != s.binding.Generation || ", to: "",
	},
	{
		rule: "in-flight writes", first: plans("TestFaults/^create-changed-in-doubt$"), name: "a plugin is created while a create is in flight",
		file: "controllers/pluginbinding/decide.go",
		from: "if s.observed.inFlightFor > 0", to: "if false",
	},
	{
		rule: "in-flight writes", first: plans("TestFaults/^create-changed-in-doubt$"), name: "a write with an unknown outcome is forgotten",
		file: "controllers/pluginbinding/apply.go",
		from: "case adminapi.UnknownOutcome:", to: "case adminapi.NotDatabase:",
	},
	{
		rule: "lookup by name", first: plans("TestFaults/^create-(changed|recreated)-in-doubt$"), name: "no lookup by name before a create",
		file: "controllers/pluginbinding/observe.go",
		from: "if err != nil || named.Ownership == identity.Owned {",
		to:   "if err == nil {\n		return identity.Observation{Ownership: identity.Absent}, nil\n	}\n	if err != nil {",
	},
	{
		rule: "lookup by name", first: plans("TestRegressions"), name: "no lookup by the generated name beside the declared one",
		file: "controllers/pluginbinding/observe.go",
		from: "generated != s.instanceName()", to: "generated == \"\"",
	},
	{
		rule: "orphans", first: stories("An orphan"), name: "a second plugin beside the recorded one is not reported",
		file: "controllers/konggateway/orphans.go",
		from: "err != nil || hasRecordedAnother(binding, p.id)", to: "err != nil",
	},
	{
		rule: "orphans", first: stories("An orphan"), name: "a second plugin of a paused or observed binding is deleted",
		file: "controllers/konggateway/orphan_removal.go",
		from: "reference.AllowsWrites(binding)", to: "(true || reference.AllowsWrites(binding))",
	},
	{
		rule: "recorded ID", name: "a second plugin is recorded instead of replaced by the recorded ID",
		file: "internal/identity/decide.go",
		from: "Operation: Replace, ID: f.Recorded, DeleteID: q,", to: "Operation: RecordID, ID: q,",
	},
	{
		rule: "recorded ID", name: "a plugin that was deleted in Kong gets a new ID",
		file: "internal/identity/decide.go",
		from: "Operation: Put, ID: f.Recorded, Row: \"7\"", to: "Operation: Create, Row: \"7\"",
	},
	{
		rule: "ownership", name: "a binding of the same name in another namespace owns the plugin",
		file: "internal/identity/owner.go",
		from: "b.Namespace == other.Namespace && ", to: "",
	},
	{
		rule: "ownership", name: "a plugin with another owner's tags counts as unowned",
		file: "internal/identity/owner.go",
		from: "return OwnedByOther, owner", to: "return Unowned, owner",
	},
	{
		rule: "ownership", name: "a plugin that differs is adopted under IfIdentical",
		file: "internal/identity/decide.go",
		from: " && o.SameTraffic", to: "",
	},
	{
		rule: "ownership", first: stories("Names that mean another"), name: "the snapshot's answer for a name is not read again from Kong",
		file: "controllers/pluginbinding/observe.go",
		from: "s.desired.trust.Scope && !s.confirmed()", to: "false",
	},
	{
		rule: "unknown is not absent", first: plans("TestFaults/^create$"), name: "a failed lookup counts as absence",
		file: "controllers/pluginbinding/observe.go",
		from: "if adminapi.IsNotFound(err) {", to: "if err != nil {",
	},
	{
		rule: "unknown is not absent", name: "a 404 counts whoever sends it",
		file: "internal/adminapi/response_error.go",
		from: " && c.notFoundTrusted.Load() && resp.isExactly(\"Not found\")", to: "",
	},
	{
		rule: "unknown is not absent", name: "an incomplete list counts as complete",
		file: "internal/adminapi/list.go",
		from: "if last != (", to: "if false && last != (",
	},
	{
		rule: "no unnecessary change", first: stories("Drift"), name: "a config that Kong normalizes is written again and again",
		file: "controllers/pluginbinding/observe.go",
		from: "if accepted == nil ||", to: "if true || accepted == nil ||",
	},
	{
		rule: "no unnecessary change", first: plans("TestFaults/^restart$"), name: "a status that does not differ is written",
		file: "controllers/pluginbinding/status.go",
		from: "if equality.Semantic", to: "if false && equality.Semantic",
	},
	{
		rule: "a cache that lags", name: "a status of a binding is compared with a cache that lags",
		file: "controllers/pluginbinding/status.go",
		from: "!r.lag.Lags(cached) {", to: "!r.lag.Lags(cached) || true {",
	},
	{
		rule: "a cache that lags", name: "a status of a policy is compared with a cache that lags",
		file: "controllers/pluginpolicy/status.go",
		from: "case r.lag.Lags(base):", to: "case false && r.lag.Lags(base):",
	},
	{
		rule: "no unnecessary change", name: "created_at is not preserved",
		file: "internal/plugin/preserve.go",
		from: "out.CreatedAt = live.CreatedAt", to: "",
	},
	{
		rule: "secrets", name: "nothing is redacted",
		file: "internal/plugin/redact.go",
		from: ") Redact(s string) string {", to: ") Redact(s string) string {\n	if true {\n		return s\n	}",
	},
	{
		rule: "secrets", name: "names from Secrets are shown",
		file: "internal/plugin/redact.go",
		from: ") RedactPath(path string) string {", to: ") RedactPath(path string) string {\n	if true {\n		return path\n	}",
	},
	{
		rule: "orphans", first: stories("An orphan"), name: "an orphan is deleted when it is first seen",
		file: "controllers/konggateway/orphan_removal.go",
		from: "|| !seen ||", to: "|| false && !seen &&",
	},
	{
		rule: "orphans", first: stories("An orphan"), name: "an orphan is deleted without asking the API server",
		file: "controllers/konggateway/orphan_removal.go",
		from: "r.APIReader.Get(ctx, orphan.owner, binding); {", to: "error(nil); {\n	case true:",
	},
	{
		rule: "orphans", first: stories("An orphan"), name: "orphans are deleted without --cluster-id",
		file: "controllers/konggateway/orphan_removal.go",
		from: "!r.RemoveOrphans", to: "false",
	},
	{
		rule: "orphans", first: stories("An orphan"), name: "an orphan older than the cluster is deleted",
		file: "controllers/konggateway/orphan_removal.go",
		from: "orphan.createdAt < r.ClusterCreatedAt.Unix()", to: "false",
	},
	{
		rule: "one leader", name: "a process without the lease writes",
		file: "internal/adminapi/request.go",
		from: "c.isLeader == nil", to: "true",
	},
	{
		rule: "one leader", name: "an expired lease counts as held",
		file: "cmd/manager/lease.go",
		from: "!l.renewed.IsZero() &&", to: "!l.renewed.IsZero() || false &&",
	},
	{
		rule: "how a leader ended", name: "a leader leaves its word while its own write is in flight",
		file: "internal/inflight/leadership.go",
		from: "return t.underWay == 0 && !t.openUntil.After(t.clock.Now())", to: "return t.underWay == 0",
	},
	{
		rule: "how a leader ended", name: "a leader leaves its word while a write is under way",
		file: "internal/inflight/leadership.go",
		from: "t.underWay == 0 && ", to: "",
	},
	{
		rule: "how a leader ended", name: "a leader leaves its word while a write of its predecessor is in flight",
		file: "internal/inflight/leadership.go",
		from: "quiet := t.inherited == NoWrites ||", to: "quiet := true ||",
	},
	{
		rule: "how a leader ended", name: "the next leader keeps the word",
		file: "cmd/manager/word.go",
		from: "delete(lease.Annotations, wordAnnotation)", to: "",
	},
	{
		rule: "how a leader ended", name: "a word counts for every release of a Lease",
		file: "cmd/manager/word.go",
		from: "word != wordOf(w.stored, holder)", to: "word == \"\"",
	},
	{
		rule: "how a leader ended", name: "a word from a backup counts",
		file: "cmd/manager/word.go",
		from: "w.clock.Since(spec.RenewTime.Time).Abs() >= wordAge", to: "false",
	},
	{
		rule: "how a leader ended", name: "a missing Lease is a fresh install for every binding",
		file: "internal/inflight/leadership.go",
		from: "return e == nil || e.finalized == \"\" || e.finalized != binding.GetUID()", to: "return false",
	},
	{
		rule: "how a leader ended", name: "a binding that was made again is new",
		file: "internal/inflight/leadership.go",
		from: " || e.finalized != binding.GetUID()", to: "",
	},
	{
		rule: "how a leader ended", name: "a Lease that was deleted is a fresh install",
		file: "cmd/manager/word.go",
		from: "	return inflight.Unknown\n}\n\n// ofLastHolder", to: "	return inflight.NoLeader\n}\n\n// ofLastHolder",
	},
	{
		rule: "how a leader ended", name: "a former leader releases the Lease of another",
		file: "cmd/manager/word.go",
		from: "!= w.identity {", to: "!= w.identity && w.stored == nil {",
	},
	{
		rule: "how a leader ended", name: "a process that stops breaks off its writes",
		file: "internal/adminapi/request.go",
		from: "return context.WithoutCancel(ctx), nil", to: "return ctx, nil",
	},
	{
		rule: "how a leader ended", name: "a process that stops begins a write",
		file: "internal/adminapi/request.go",
		from: "	if err := ctx.Err(); err != nil {\n		return nil, &Error", to: "	if err := ctx.Err(); err != nil && r.readOnly {\n		return nil, &Error",
	},
	{
		rule: "how a leader ended", name: "a write is not counted",
		file: "internal/adminapi/request.go",
		from: "if r.write() && c.writes != nil {", to: "if r.readOnly && c.writes != nil {",
	},
	{
		rule: "how a leader ended", name: "a process that stops gives the Lease up at once",
		file: "cmd/manager/word.go",
		from: "return d.ended(), nil", to: "return d.ended() || true, nil",
	},
	{
		rule: "secrets", name: "names from Secrets are shown where a plugin differs", first: stories("A value from a Secret"),
		file: "controllers/pluginbinding/observe.go",
		from: "s.desired.redactor.RedactPath(field)", to: "field",
	},
	{
		rule: "time-outs", name: "the lease is shorter than a request",
		file: "cmd/manager/main.go",
		from: "leaseDuration = 15 * time.Second", to: "leaseDuration = 12 * time.Second",
	},
	{
		rule: "snapshots", name: "a snapshot from before a write confirms the plugin",
		file: "internal/connection/snapshot.go",
		from: "!writes.WrittenSince(binding, s.Began)", to: "true",
	},
	{
		rule: "in-flight writes", first: plans("TestRegressions"), name: "a snapshot from before a late write proves absence",
		file: "internal/connection/snapshot.go",
		from: " && !writes.MayMissWrite(binding, s.Began, longestWrite)", to: "",
	},
	{
		rule: "in-flight writes", name: "writes for a recreated binding are forgotten",
		file: "internal/inflight/tracker.go",
		from: "e.gone = now", to: "delete(t.entries, key)",
	},
	{
		rule: "one plugin", first: stories("Bad input: somebody else's plugin"), name: "two bindings adopt one plugin",
		file: "controllers/pluginbinding/controller.go",
		from: "if result = r.reserveAdoption(ctx, s); result != nil {", to: "if result != nil {",
	},
	{
		rule: "orphans", first: stories("A plugin that is left in Kong"), name: "a plugin that another gateway retains counts as an orphan",
		file: "controllers/konggateway/orphans.go",
		from: "lists = append(lists, retainedList{retained.Of(gateway), trusted})", to: "_ = trusted",
	},
	{
		rule: "beside the ingress controller", name: "a plugin is made where an annotation stands",
		file: "controllers/pluginbinding/claims.go",
		from: "if !s.takesPlace(action) {", to: "if true {",
	},
	{
		rule: "beside the ingress controller", name: "a guard that cannot look lets pass",
		file: "controllers/pluginbinding/claims.go",
		from: "case s.claims.unknown != \"\":\n		return &stepResult{", to: "case false:\n		return &stepResult{",
	},
	{
		rule: "beside the ingress controller", name: "a plugin is taken back from the ingress controller wherever it is",
		file: "internal/identity/owner_state.go",
		from: " && f.ByKey.is(f.Recorded)\n", to: "\n",
	},
	{
		rule: "beside the ingress controller", name: "any tool hands its plugin over",
		file: "controllers/pluginbinding/handover.go",
		from: " && byID.Owner.Tool == identity.ToolIngressController", to: "",
	},
	{
		rule: "beside the ingress controller", name: "a hand-over has no end",
		file: "internal/reference/reference.go",
		from: "left > 0 && left <= maxTakeBack", to: "left <= maxTakeBack",
	},
	{
		rule: "beside the ingress controller", name: "a hand-over waits for the resync",
		file: "controllers/pluginbinding/handover.go",
		from: "		r.Hint(key)\n", to: "		_ = key\n",
	},
	{
		rule: "beside the ingress controller", name: "the tags of an entity may name any kind to watch",
		file: "controllers/ingress_objects.go",
		from: "if !annotatedKinds[kind] {", to: "if false {",
	},
	{
		rule: "beside the ingress controller", name: "a hint does not make the operator look",
		file: "controllers/pluginbinding/status.go",
		from: "return ctrl.Result{RequeueAfter: hinted}, nil\n	case result.err", to: "return ctrl.Result{}, nil\n	case result.err",
	},
	{
		rule: "nobody else's", name: "a binding of any namespace may replace another one",
		file: "internal/reference/reference.go",
		from: "return binding.Namespace == namespace ||", to: "return true ||",
	},
	{
		rule: "no hole", name: "a deletion does not wait for the binding that replaces it",
		file: "controllers/pluginbinding/replaces.go",
		from: "!nothingLeft && isGoingToReplace(", to: "false && isGoingToReplace(",
	},
	{
		rule: "no hole", name: "a binding and its replacement are reconciled at once",
		file: "controllers/pluginbinding/replaces.go",
		from: "if e.locked.HasAny(keys...) {", to: "if false {",
	},
	{
		rule: "deletion ends", name: "a deletion waits for a replacement for ever",
		file: "controllers/pluginbinding/replaces.go",
		from: "replacementTimeout - deleted", to: "replacementTimeout",
	},
	{
		rule: "one fails alone", name: "one slow gateway holds all workers",
		file: "internal/fairqueue/limiter.go",
		from: "l.workers < 1", to: "true",
	},
	{
		rule: "one fails alone", name: "a change waits for all that had changed before a restart",
		file: "controllers/pluginbinding/controller.go",
		from: "r.changes.has(key) ||", to: "binding.Generation != binding.Status.ObservedGeneration ||",
	},
	{
		rule: "one fails alone", first: stories("The load on a gateway"), name: "a gateway that is down is probed at every change",
		file: "controllers/konggateway/probe.go",
		from: "!down && (", to: "(down || !down) && (",
	},
	{
		rule: "orphans", first: stories("Operators that share a fleet"), name: "a plugin of another shard's binding counts as an orphan",
		file: "controllers/konggateway/orphans.go",
		from: " && r.hasSelector()", to: " && false",
	},
	{
		rule: "deletion ends", first: stories("A gateway that is deleted and whose Kong is gone"), name: "an unreachable gateway blocks its namespace for ever",
		file: "controllers/konggateway/delete.go",
		from: ">= failuresToAbandon", to: "< 0",
	},
	{
		rule: "deletion ends", first: stories("A gateway that is deleted and whose Kong is gone"), name: "the gateway's finalizer is removed although a binding remains",
		file: "controllers/konggateway/delete.go",
		from: "if bindings[i].DeletionTimestamp.IsZero()", to: "if false",
	},
	{
		rule: "deletion ends", first: stories("A gateway that is deleted and whose Kong is gone"), name: "an outage from before a gateway's deletion counts",
		file: "controllers/konggateway/probe.go",
		from: "&& !s.last.deleting", to: "&& false",
	},
	{
		rule: "deletion ends", first: stories("A namespace that is deleted"), name: "a Secret that is deleted before its gateway ends the connection",
		file: "controllers/konggateway/probe.go",
		from: "next.client = s.last.client", to: "",
	},
}
