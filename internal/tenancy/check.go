package tenancy

// Rule names a rule of the policy. It is the name of its field in spec.allowedBindings, except
// RuleAcquired.
type Rule string

// The rules in the order in which Check applies them.
const (
	RuleNamespaces    Rule = "namespaces"
	RuleMaxBindings   Rule = "maxBindingsPerNamespace"
	RulePlugins       Rule = "plugins"
	RuleCode          Rule = "code"
	RuleGlobalPlugins Rule = "globalPlugins"
	RuleSelectors     Rule = "entitySelectors"
	RuleEntities      Rule = "entities"
	RuleAdoption      Rule = "adoption"
	RuleAcquired      Rule = "acquired"
)

// Decision is the answer to a request. The zero Decision allows it.
type Decision struct {
	// Rule that refuses, empty if the request is allowed.
	Rule Rule
	// Message for the person who wrote the binding: what is wrong, what the operator did, and what
	// to do next. It has at most MaxMessage bytes and contains no value of a config.
	Message string
}

// MaxMessage is the maximum length of a message in bytes.
const MaxMessage = 2048

// Allowed reports whether the request is allowed.
func (d Decision) Allowed() bool { return d.Rule == "" }

// rules are the specification. Each returns nil if it does not refuse.
var rules = []struct {
	name  Rule
	check func(Policy, Request) *objection
	// deletion says that the rule also applies to the deletion of an acquired plugin.
	deletion bool
}{
	{RuleNamespaces, namespaceAllowed, true},
	{RuleMaxBindings, withinMaxBindings, false},
	{RulePlugins, pluginAllowed, true},
	{RuleCode, codeAllowed, false},
	{RuleGlobalPlugins, globalPluginsAllowed, true},
	{RuleSelectors, selectorAllowed, false},
	{RuleEntities, entitiesAllowed, true},
	{RuleAdoption, acquisitionAllowed, false},
	{RuleAcquired, acquiredAllowed, true},
}

// Check decides whether the policy allows the request. A refused Delete means: remove the ownership
// tags and keep the plugin. Any other refusal means: write nothing.
func Check(p Policy, r Request) Decision {
	if !p.Restricts(r.Namespace.Name) || r.Operation == Release || r.Operation == Delete && !r.Acquired {
		return Decision{}
	}
	for _, rule := range rules {
		if r.Operation == Delete && !rule.deletion {
			continue
		}
		if refused := rule.check(p, r); refused != nil {
			return Decision{Rule: rule.name, Message: refused.message(r)}
		}
	}
	return Decision{}
}
