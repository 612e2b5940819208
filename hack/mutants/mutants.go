package main

// mutants break, one each, the lines of the protocol around the decision, and the rules
// that keep the operator from other people's plugins, from noise and from secrets.
var mutants = []mutant{
	{
		rule: "finalizer first", first: plans("TestFaults/^create$"), name: "no finalizer before the first write",
		file: "controllers/pluginbinding_controller.go",
		from: "		r.hold,     // the finalizer", to: "		// the finalizer",
	},
	{
		rule: "live look", first: plans("TestFaults/^restore-with-an-id-unseen$"), name: "a create and a restore rest on the cache",
		file: "controllers/act.go",
		from: "	same := live.UID == p.binding.UID &&", to: "	same := true || live.UID == p.binding.UID &&",
	},
	{
		rule: "record", first: processes("TestTermination"), name: "recording an ID ends with the process's context",
		file: "controllers/record.go",
		from: "context.WithTimeout(context.WithoutCancel(ctx), recordTimeout)", to: "context.WithTimeout(ctx, recordTimeout)",
	},
	{
		rule: "record", first: processes("TestTermination"), name: "recording an ID is not tried again",
		file: "controllers/record.go",
		from: "wait.Backoff{Steps: 8,", to: "wait.Backoff{Steps: 1,",
	},
	{
		rule: "record", first: plans("TestPlain"), name: "a plugin made for a binding that is gone stays",
		file: "controllers/record.go",
		from: "	if p.source != v1alpha1.PluginIDCreated {", to: "	if p.source != \"\" {",
	},
	{
		rule: "wait, look, release", first: plans("TestFaults/-delete-in-doubt$"), name: "nothing is waited for before a deletion",
		file: "controllers/delete.go",
		from: "	wait := r.quietIn(p)\n	if wait <= 0 {", to: "	wait := r.quietIn(p)\n	if wait <= 0 || true {",
	},
	{
		rule: "wait, look, release", first: plans("TestFaults/-delete-in-doubt$"), name: "Kong's own time-out is not waited for",
		file: "controllers/act.go",
		from: "return p.connection.RequestTimeout + databaseTimeout", to: "return p.connection.RequestTimeout",
	},
	{
		rule: "wait, look, release", first: plans("TestFaults/^(delete|create-delete)$"), name: "released before looking",
		file: "controllers/delete.go",
		from: "	if s := r.lookForOurs(ctx, p); s != nil {\n		return s\n	}\n	if p.action.Verb != identity.Release {\n		if s := r.stillDeleting",
		to:   "	if true {\n		return nil\n	}\n	if p.action.Verb != identity.Release {\n		if s := r.stillDeleting",
	},
	{
		rule: "wait, look, release", first: stories("Deleting a binding"), name: "not looked again after a deletion",
		file: "controllers/delete.go",
		from: "	if s := r.lookForOurs(ctx, p); s != nil {\n		return s\n	}\n	if p.action.Verb != identity.Release {\n		return lookAgain()",
		to:   "	if p.action.Verb == identity.Wait {\n		return lookAgain()",
	},
	{
		rule: "wait, look, release", first: plans("TestFaults/^delete$"), name: "a failed look releases",
		file: "controllers/delete.go",
		from: "	return deleting(p, r.kongFailed(p, err))", to: "	p.action = identity.Action{Verb: identity.Release}\n	return nil",
	},
	{
		rule: "live look", first: plans("TestPlain"), name: "a deletion rests on the cache",
		file: "controllers/delete.go",
		from: "	if live.UID != p.binding.UID || live.DeletionTimestamp.IsZero() {", to: "	if false && live.UID != p.binding.UID {",
	},
	{
		rule: "in doubt", first: plans("TestFaults/^create-changed-in-doubt$"), name: "created while an earlier create may still land",
		file: "controllers/observe.go",
		from: "	if p.doubt <= 0 ||", to: "	if true || p.doubt <= 0 ||",
	},
	{
		rule: "in doubt", first: plans("TestFaults/^create-changed-in-doubt$"), name: "a write of unknown outcome is forgotten",
		file: "controllers/act.go",
		from: "	case gateway.UnknownOutcome:\n		r.Ledger.MayLand", to: "	case gateway.UnknownOutcome:\n		if false {\n			break\n		}\n		go func() {}()\n	case gateway.NotDatabase:\n		r.Ledger.MayLand",
	},
	{
		rule: "look by name", first: plans("TestFaults/^create-(changed|recreated)-in-doubt$"), name: "not looked up by name before a create",
		file: "controllers/observe.go",
		from: "	if err != nil || named.Standing == identity.Ours {\n		return named, err\n	}",
		to:   "	if named.Standing == identity.Ours || err == nil {\n		return identity.Sighting{Standing: identity.Absent}, nil\n	}",
	},
	{
		rule: "look by name", first: plans("TestRegressions"), name: "not looked up by the generated name beside the declared one",
		file: "controllers/observe.go",
		from: "generated != p.instanceName() {", to: "generated == \"\" {",
	},
	{
		rule: "orphans", first: stories("An orphan"), name: "a second plugin beside the recorded one is not reported",
		file: "controllers/orphans.go",
		from: "err != nil || disowns(binding, p.id) {", to: "err != nil {",
	},
	{
		rule: "orphans", first: stories("An orphan"), name: "a second plugin is removed although its binding may only look",
		file: "controllers/orphans.go",
		from: "disowns(binding, o.id) && mayWrite(binding):", to: "disowns(binding, o.id):",
	},
	{
		rule: "recorded ID", name: "a second plugin is recorded instead of deleted for the recorded ID",
		file: "internal/identity/decide.go",
		from: "		return Action{Verb: Delete, ID: f.ByName.ID, Row: \"6\"}", to: "		return Action{Verb: Recover, ID: f.ByName.ID, Row: \"6\"}",
	},
	{
		rule: "recorded ID", name: "a lost plugin gets a new ID",
		file: "internal/identity/decide.go",
		from: "		return Action{Verb: Put, ID: f.Recorded, Row: \"7\"}", to: "		return Action{Verb: Create, Row: \"7\"}",
	},
	{
		rule: "owner check", name: "a binding of the same name in another namespace is the same",
		file: "internal/identity/owner.go",
		from: "b.Cluster == other.Cluster && b.Namespace == other.Namespace && b.Name == other.Name", to: "b.Cluster == other.Cluster && b.Name == other.Name",
	},
	{
		rule: "owner check", name: "what bears another's marks is nobody's",
		file: "internal/identity/owner.go",
		from: "	default:\n		return Others, owner", to: "	default:\n		return Nobodys, owner",
	},
	{
		rule: "owner check", name: "a plugin that differs is adopted under IfIdentical",
		file: "internal/identity/decide.go",
		from: "f.Adoption == AdoptIfIdentical && holder.SameTraffic", to: "f.Adoption == AdoptIfIdentical",
	},
	{
		rule: "owner check", first: stories("Names that mean another"), name: "what the view says of a name is not asked again",
		file: "controllers/observe.go",
		from: "	if p.mayResolve && !p.confirmed() {", to: "	if false && !p.confirmed() {",
	},
	{
		rule: "unknown is not absent", first: plans("TestFaults/^create$"), name: "no answer is taken for absence",
		file: "controllers/observe.go",
		from: "	if gateway.IsNotFound(err) {\n		return identity.Sighting{Standing: identity.Absent}, nil", to: "	if err != nil {\n		return identity.Sighting{Standing: identity.Absent}, nil",
	},
	{
		rule: "unknown is not absent", name: "a 404 is believed from whoever gives it",
		file: "internal/adminapi/refusal.go",
		from: "a.status == http.StatusNotFound && c.trusted.Load() && a.isExactly(\"Not found\")", to: "a.status == http.StatusNotFound",
	},
	{
		rule: "unknown is not absent", name: "a list that broke off is a list",
		file: "internal/adminapi/list.go",
		from: "	if last != (p.offset == \"\") {", to: "	if false && last != (p.offset == \"\") {",
	},
	{
		rule: "write guard", first: stories("Drift"), name: "what Kong normalises is written again and again",
		file: "controllers/observe.go",
		from: "	if last == nil || last.Generation != p.binding.Generation ||", to: "	if true || last == nil || last.Generation != p.binding.Generation ||",
	},
	{
		rule: "write guard", first: plans("TestFaults/^restart$"), name: "a status that does not differ is written",
		file: "controllers/record.go",
		from: "	if equality.Semantic.DeepEqual(base.Status, next) {", to: "	if false && equality.Semantic.DeepEqual(base.Status, next) {",
	},
	{
		rule: "write guard", name: "created_at is not kept",
		file: "internal/plugin/carry.go",
		from: "	out.CreatedAt = have.CreatedAt\n", to: "",
	},
	{
		rule: "secrets", name: "nothing is redacted",
		file: "internal/plugin/redact.go",
		from: "	if r == nil || len(r.values) == 0 && len(r.keys) == 0 {", to: "	if true || r == nil {",
	},
	{
		rule: "secrets", name: "names from Secrets are shown",
		file: "internal/plugin/redact.go",
		from: "	if r == nil || len(r.keys) == 0 {", to: "	if true || r == nil {",
	},
	{
		rule: "orphans", first: stories("An orphan"), name: "an orphan is removed at its first sighting",
		file: "controllers/orphans.go",
		from: "		if o.elsewhere != \"\" || !seen || r.Clock.Since(first) < orphanAge {", to: "		if _, _ = first, seen; o.elsewhere != \"\" {",
	},
	{
		rule: "orphans", first: stories("An orphan"), name: "an orphan is removed without asking the API server",
		file: "controllers/orphans.go",
		from: "	switch err := r.Live.Get(ctx, o.owner, binding); {", to: "	switch err := error(nil); {\n	case true:",
	},
	{
		rule: "orphans", first: stories("An orphan"), name: "orphans are removed without leave",
		file: "controllers/orphans.go",
		from: "	if !r.RemoveOrphans {", to: "	if false && !r.RemoveOrphans {",
	},
	{
		rule: "orphans", first: stories("An orphan"), name: "an orphan is removed that is older than the cluster",
		file: "controllers/orphans.go",
		from: "		if o.created < r.Since.Unix() {", to: "		if false {",
	},
	{
		rule: "one leader", name: "a process without the lease writes",
		file: "internal/adminapi/client.go",
		from: "	if !r.write() || c.leads == nil || c.leads() {", to: "	if true {",
	},
	{
		rule: "one leader", name: "a lease that ran out is held",
		file: "cmd/manager/lease.go",
		from: "	return !l.renewed.IsZero() && now.Sub(l.renewed) < l.duration && now.Round(0).Sub(l.renewed.Round(0)) < l.duration", to: "	return !l.renewed.IsZero() && !now.IsZero()",
	},
	{
		rule: "secrets", name: "names from Secrets are shown where a plugin differs", first: stories("A value from a Secret"),
		file: "controllers/observe.go",
		from: "		fields[i] = p.redactor.RedactPath(field)", to: "		fields[i] = field",
	},
	{
		rule: "time-outs fit", name: "the lease is shorter than a request",
		file: "cmd/manager/main.go",
		from: "leaseDuration = 15 * time.Second", to: "leaseDuration = 12 * time.Second",
	},
	{
		rule: "one writer", name: "a reading from before a write speaks for the plugin",
		file: "controllers/ledger.go",
		from: "max(e.wrote, e.misled) < began.tick", to: "e.misled < began.tick",
	},
	{
		rule: "in doubt", first: plans("TestRegressions"), name: "a reading from before a late write tells what is not there",
		file: "controllers/resolve.go",
		from: "p.mayRely && !r.Ledger.MayMiss(p.binding, view.began, longestWrite(p))", to: "p.mayRely",
	},
	{
		rule: "in doubt", first: plans("TestRegressions"), name: "what was written for a binding made again is forgotten",
		file: "controllers/ledger.go",
		from: "		e = &entry{uid: binding.GetUID(), lands: e.lands, wrote: e.wrote, misled: e.misled}", to: "		e = &entry{uid: binding.GetUID()}",
	},
	{
		rule: "one plugin", first: stories("Bad input: somebody else's plugin"), name: "two bindings adopt one plugin",
		file: "controllers/pluginbinding_controller.go",
		from: "		r.claim,    // no other binding is to have the plugin\n", to: "",
	},
	{
		rule: "orphans", first: stories("A plugin that is left in Kong"), name: "what another gateway has left is taken for an orphan",
		file: "controllers/orphans.go",
		from: "			left = left.Union(leftPlugins(&gateways.Items[i]))", to: "			_ = leftPlugins(&gateways.Items[i])",
	},
	{
		rule: "one fails alone", first: stories("The load on a gateway"), name: "one slow gateway holds all workers",
		file: "controllers/turns.go",
		from: "	if !others || t.workers < 1 {", to: "	if others = false; !others {",
	},
	{
		rule: "one fails alone", first: stories("The load on a gateway"), name: "a gateway that is down is probed at every change",
		file: "controllers/konggateway_controller.go",
		from: "!down && (suspected || g.surveyDue)", to: "suspected || g.surveyDue",
	},
	{
		rule: "orphans", first: stories("Operators that share a fleet"), name: "a plugin of another shard's binding is taken for an orphan",
		file: "controllers/orphans.go",
		from: "		if apierrors.IsNotFound(err) && r.Selector != nil && !r.Selector.Empty() {", to: "		if false {",
	},
	{
		rule: "deletion ends", first: stories("A gateway that is deleted and whose Kong is gone"), name: "a gateway that cannot be reached holds its namespace for ever",
		file: "controllers/konggateway_controller.go",
		from: "	return g.probed && g.verdict.problem() != nil && g.failures() >= failuresToAbandon", to: "	return false",
	},
	{
		rule: "deletion ends", first: stories("A gateway that is deleted and whose Kong is gone"), name: "a gateway is let go although a binding stays",
		file: "controllers/konggateway_controller.go",
		from: "		if g.bindings[i].DeletionTimestamp.IsZero() && holds(&g.bindings[i]) {", to: "		if false && holds(&g.bindings[i]) {",
	},
	{
		rule: "deletion ends", first: stories("A gateway that is deleted and whose Kong is gone"), name: "an outage from before a gateway's deletion counts",
		file: "controllers/konggateway_controller.go",
		from: "	if !g.gateway.DeletionTimestamp.IsZero() && !g.lastRound.deleting {", to: "	if false {",
	},
	{
		rule: "deletion ends", first: stories("A namespace that is deleted"), name: "a Secret that goes before its gateway takes the connection with it",
		file: "controllers/konggateway_controller.go",
		from: "		next.kong = g.lastRound.kong\n", to: "",
	},
}
