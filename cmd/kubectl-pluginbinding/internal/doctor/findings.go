package doctor

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"unicode"
)

// Severity of a finding.
type Severity string

const (
	// Error: something does not work, or will break something.
	Error Severity = "Error"
	// Warning: something works, and not as somebody means it.
	Warning Severity = "Warning"
	// Info: nothing is wrong; somebody may have forgotten it.
	Info Severity = "Info"
)

// Severities are all severities, the worst first.
var Severities = []Severity{Error, Warning, Info}

// Kinds of findings, in the order in which they are printed.
const (
	CouldNotLook           = "CouldNotLook"
	CRDMissing             = "CRDMissing"
	CRDOlder               = "CRDOlder"
	OperatorNotRunning     = "OperatorNotRunning"
	OperatorUnknown        = "OperatorUnknown"
	SeveralOperators       = "SeveralOperators"
	GatewayNotReady        = "GatewayNotReady"
	GatewayUnstable        = "GatewayUnstable"
	IngressControllerStuck = "IngressControllerStuck"
	Contested              = "Contested"
	DuplicatePlugin        = "DuplicatePlugin"
	IDRecordedTwice        = "IDRecordedTwice"
	PluginMissing          = "PluginMissing"
	Conflict               = "Conflict"
	ClaimedByKongPlugin    = "ClaimedByKongPlugin"
	BindingNotReady        = "BindingNotReady"
	Ineffective            = "Ineffective"
	RepeatedDrift          = "RepeatedDrift"
	PolicyWithoutEntities  = "PolicyWithoutEntities"
	PolicyNotReady         = "PolicyNotReady"
	EntityWithoutNamespace = "EntityWithoutNamespace"
	OrphanedPlugin         = "OrphanedPlugin"
	OtherCluster           = "OtherCluster"
	RetainedPlugin         = "RetainedPlugin"
	PausedLong             = "PausedLong"
)

// kinds are the titles of the kinds.
var kinds = []struct{ name, title string }{
	{CouldNotLook, "Could not look"},
	{CRDMissing, "CustomResourceDefinitions that are missing"},
	{CRDOlder, "CustomResourceDefinitions that are older than this command"},
	{OperatorNotRunning, "The operator does not run"},
	{OperatorUnknown, "Nobody can tell whether the operator runs"},
	{SeveralOperators, "Operators that watch the same objects"},
	{GatewayNotReady, "KongGateways that are not Ready"},
	{GatewayUnstable, "KongGateways that fail now and then"},
	{IngressControllerStuck, "Kong's ingress controller cannot sync"},
	{Contested, "Bindings in a place that Kong's ingress controller wants"},
	{DuplicatePlugin, "Plugins that exist twice"},
	{IDRecordedTwice, "Plugins that two bindings have recorded"},
	{PluginMissing, "Recorded plugins that Kong does not have"},
	{Conflict, "Bindings in conflict"},
	{ClaimedByKongPlugin, "Bindings that wait because Kong's ingress controller wants their place"},
	{BindingNotReady, "Bindings that are not Ready"},
	{Ineffective, "Bindings whose plugin Kong never runs"},
	{RepeatedDrift, "Plugins that somebody changes again and again"},
	{PolicyWithoutEntities, "Policies that select nothing in Kong"},
	{PolicyNotReady, "Policies that are not Ready"},
	{EntityWithoutNamespace, "Entities in Kong that belong to no namespace"},
	{OrphanedPlugin, "Plugins of bindings that do not exist"},
	{OtherCluster, "Plugins of another cluster"},
	{RetainedPlugin, "Plugins that were kept in Kong on purpose"},
	{PausedLong, "Objects that have been paused for long"},
}

func titleOf(kind string) string {
	for _, k := range kinds {
		if k.name == kind {
			return k.title
		}
	}
	return kind
}

func rankOf(kind string) int {
	for i, k := range kinds {
		if k.name == kind {
			return i
		}
	}
	return len(kinds)
}

// Finding is one thing that is wrong.
type Finding struct {
	// Kind groups findings.
	Kind     string   `json:"kind"`
	Severity Severity `json:"severity"`
	// Gateway is the KongGateway in whose Kong it was found, as namespace/name; empty if it does not
	// matter.
	Gateway string `json:"gateway,omitempty"`
	// Object is the object or the plugin that it is about.
	Object string `json:"object"`
	// Message says what is wrong.
	Message string `json:"message"`
	// Next says what to do.
	Next string `json:"next"`
}

// maxText bounds a text that comes from elsewhere, in characters.
const maxText = 1024

// clean makes one line of a text that comes from elsewhere, without what would control a terminal.
func clean(text string) string {
	text = strings.Join(strings.FieldsFunc(text, func(c rune) bool { return unicode.IsSpace(c) || !unicode.IsPrint(c) }), " ")
	if runes := []rune(text); len(runes) > maxText {
		text = string(runes[:maxText]) + "..."
	}
	return text
}

// list collects findings.
type list []Finding

func (l *list) add(kind string, severity Severity, gateway, object, message, next string) {
	*l = append(*l, Finding{kind, severity, gateway, clean(object), clean(message), clean(next)})
}

// sorted returns the findings in a stable order: by kind, then by severity and object. Each comes once.
func (l *list) sorted() []Finding {
	slices.SortFunc(*l, func(a, b Finding) int {
		return cmp.Or(cmp.Compare(rankOf(a.Kind), rankOf(b.Kind)), cmp.Compare(slices.Index(Severities, a.Severity), slices.Index(Severities, b.Severity)),
			cmp.Compare(a.Gateway, b.Gateway), cmp.Compare(a.Object, b.Object), cmp.Compare(a.Message, b.Message))
	})
	return slices.Compact(*l)
}

// firstOf lists the first words and counts the rest.
func firstOf(words []string) string {
	const shown = 3
	text := strings.Join(words[:min(shown, len(words))], ", ")
	if more := len(words) - shown; more > 0 {
		text += fmt.Sprintf(" and %d more", more)
	}
	return text
}
