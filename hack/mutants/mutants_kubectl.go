package main

// kubectlMutants break what the kubectl plugin must never do.
var kubectlMutants = []mutant{
	{
		rule: "import", name: "a value that is secret is printed",
		file: "internal/plugin/declare.go",
		from: "		case (f.sensitive() || secretName.MatchString(name)) && holdsText(value):", to: "		case secretName.MatchString(\"\") && holdsText(value):",
	},
	{
		rule: "import", name: "a plugin that the next run of decK deletes is imported",
		file: "cmd/kubectl-pluginbinding/internal/importer/consider.go",
		from: "	case deletes && !p.in.Removed:", to: "	case false:",
	},
	{
		rule: "import", name: "the tags by which decK deletes stay",
		file: "cmd/kubectl-pluginbinding/internal/importer/consider.go",
		from: "		dropped = p.in.State.SelectTags\n", to: "		dropped = nil\n",
	},
	{
		rule: "import", name: "a plugin is taken from the ingress controller so that its syncs fail",
		file: "cmd/kubectl-pluginbinding/internal/importer/consider.go",
		from: "	if it.claim != nil && !shadow && ", to: "	if false && it.claim != nil && !shadow && ",
	},
	{
		rule: "import", name: "what may be claimed is imported unseen",
		file: "cmd/kubectl-pluginbinding/internal/importer/consider.go",
		from: "	case p.in.Kube.Problem != \"\":", to: "	case false:",
	},
	{
		rule: "import", name: "a config is printed that would change the plugin",
		file: "cmd/kubectl-pluginbinding/internal/importer/config.go",
		from: "	if len(fields) > 0 {", to: "	if false {",
	},
	{
		rule: "import", name: "a plugin that Kong never runs is imported as one that it runs",
		file: "cmd/kubectl-pluginbinding/internal/importer/declare.go",
		from: "	if len(row.Protocols) == 0 {", to: "	if false {",
	},
	{
		rule: "import", name: "a plugin on an entity without a name counts as one without a scope",
		file: "cmd/kubectl-pluginbinding/internal/importer/deck.go",
		from: "			collection.in(&inner, cmp.Or(name, unnamed))", to: "			collection.in(&inner, cmp.Or(name, unnamed[:0]))",
	},
	{
		rule: "doctor", name: "what could not be looked at is no finding",
		file: "cmd/kubectl-pluginbinding/internal/doctor/diagnose.go",
		from: "	d.problems()\n", to: "",
	},
	{
		rule: "doctor", name: "an old status proves that the operator runs",
		file: "cmd/kubectl-pluginbinding/internal/doctor/diagnose.go",
		from: "	case age > recent:", to: "	case age > recent && false:",
	},
	{
		rule: "the kubectl plugin", name: "the log of the libraries shows tokens",
		file: "cmd/kubectl-pluginbinding/internal/root/root.go",
		from: "min(max(level, 0), maxVerbosity)", to: "max(level, 0)",
	},
	{
		rule: "the kubectl plugin", name: "a port-forward that nobody opens has no deadline",
		file: "cmd/kubectl-pluginbinding/internal/kong/forward.go",
		from: "	ctx, cancel := context.WithTimeout(ctx, w.timeout)", to: "	ctx, cancel := context.WithCancel(ctx)",
	},
	{
		rule: "hand-over", name: "a Deployment that also runs Kong is stopped",
		file: "cmd/kubectl-pluginbinding/internal/handover/pause.go",
		from: "	case slices.ContainsFunc(containers, isKong):", to: "	case false && slices.ContainsFunc(containers, isKong):",
	},
	{
		rule: "hand-over", name: "a failing sync is hidden by another ingress controller's success",
		file: "cmd/kubectl-pluginbinding/internal/handover/check.go",
		from: "		if isPod {\n			of =", to: "		if isPod && false {\n			of =",
	},
}
