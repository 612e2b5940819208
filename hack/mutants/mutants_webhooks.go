package main

// webhookMutants break the rules of the webhooks, whose callers are not authenticated.
var webhookMutants = []mutant{
	{
		rule: "admission", first: webhooks("TestATenantThatMayNotUseAGatewayAsksItNothing"), name: "the webhooks ask a gateway that does not allow the binding",
		file: "controllers/admission/checker.go",
		from: "access.gateway == nil || !access.decision.Allowed()", to: "access.gateway == nil",
	},
	{
		rule: "admission", first: webhooks("TestWhatCannotBeKnownIsAdmitted"), name: "the webhooks ask a gateway that is not accepted",
		file: "controllers/admission/checker.go",
		from: "if !isAccepted(gateway) {", to: "if false {",
	},
	{
		rule: "admission", first: webhooks("TestKongIsNeverAskedAboutCode"), name: "the webhooks ask about code",
		file: "controllers/admission/checker.go",
		from: "case tenancy.RunsCode(known.Plugin.Name) || len(plugin.CodeFields(known.Plugin, nil)) > 0:", to: "case false:",
	},
	{
		rule: "admission", first: webhooks("TestWhatIsLeftOutDecidesWhatRefuses|TestNoSecretIsReadForAnObject"), name: "the webhooks refuse what a value from a Secret may make right",
		file: "internal/plugin/known.go",
		from: "case k.IsComplete():", to: "default:",
	},
	{
		rule: "admission", first: webhooks("TestWhatDoesNotConcernKongAsksNothing"), name: "the webhooks ask about unchanged configs",
		file: "controllers/admission/validators.go",
		from: "changed: before == nil || !sameContent(&before.Spec, &binding.Spec),", to: "changed: true,",
	},
	{
		rule: "admission", first: webhooks("TestAnAnswerIsAskedForOnce"), name: "the webhooks remember no verdict",
		file: "controllers/admission/gateways.go",
		from: "		e.remember(key, v)\n", to: "",
	},
	{
		rule: "admission", first: webhooks("TestAKongThatIsDownCostsOneQuestion"), name: "the webhooks ask a Kong that did not answer again at once",
		file: "controllers/admission/gateways.go",
		from: "		g.suspend(name, e)\n		err = silent(name)\n", to: "		err = silent(name)\n",
	},
	{
		rule: "admission", first: webhooks("TestQuestionsAreShared"), name: "one gateway holds all questions of the webhooks",
		file: "controllers/admission/slots.go",
		from: " || s.busy[w.gateway] >= s.perGateway", to: "",
	},
	{
		rule: "admission", first: webhooks("TestWhatTheWebhooksReadIsBounded"), name: "the webhooks read any number of requests at a time",
		file: "cmd/manager/webhooks.go",
		from: "!s.reading.TryAcquire(size)", to: "!s.reading.TryAcquire(size) && !s.reading.TryAcquire(0)",
	},
	{
		rule: "admission", first: webhooks("TestTheRotatorSeesItsObjectsOnly"), name: "the rotation watches every Secret of the namespace",
		file: "cmd/manager/certificates.go",
		from: "query.Set(\"fieldSelector\"", to: "query.Set(\"fields\"",
	},
	{
		rule: "admission", first: webhooks("TestConflictsAreAnnounced"), name: "a warning names a binding of another namespace",
		file: "controllers/admission/texts.go",
		from: "if other.Namespace == binding.Namespace {", to: "if true {",
	},
	{
		rule: "admission", first: webhooks("TestClaimsAreAnnounced"), name: "a KongPlugin in the place of a plugin is not announced",
		file: "controllers/admission/checker.go",
		from: "c.claims(ctx, s, access)", to: "\"\"",
	},
	{
		rule: "admission", first: webhooks("TestAClaimIsNamedOnlyToItsNamespace"), name: "a warning names an object of the ingress controller of another namespace",
		file: "controllers/admission/claims.go",
		from: "if object.Namespace != \"\" && object.Namespace != namespace {", to: "if false {",
	},
	{
		rule: "admission", first: webhooks("TestAClaimOnAnEntityThatIsNotAllowedIsNotTold"), name: "a warning tells of an entity that the gateway does not allow",
		file: "controllers/admission/claims.go",
		from: "return sources, tenancy.Check(a.policy, a.request).Allowed()", to: "return sources, true",
	},
	{
		rule: "admission", first: webhooks("TestWhatAClaimCosts"), name: "the webhooks look for entities though nothing moved",
		file: "controllers/admission/validators.go",
		from: "	if moved {\n", to: "	if true {\n",
	},
}
