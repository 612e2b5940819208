package tenancy

import (
	"fmt"
	"slices"
	"strings"

	"github.com/pluginbinding/kong-plugin-operator/api/v1alpha1"
)

// objection is why a rule refuses a request, and what a person can do about it.
type objection struct{ problem, advice string }

func refuse(advice, format string, args ...any) *objection {
	return &objection{problem: fmt.Sprintf(format, args...), advice: advice}
}

// message has three parts: what is wrong, what the operator did, and what to do next.
func (o objection) message(r Request) string {
	var did string
	switch {
	case r.Operation == Delete:
		return o.problem + ". The operator keeps the plugin in Kong and removes its ownership tags." +
			" To delete the plugin, delete it in Kong, or have the owner of the gateway delete it."
	case r.PluginID != "":
		did = "Plugin " + short(r.PluginID) + " stays in Kong as it is."
	default:
		did = "The operator changed nothing in Kong."
	}
	return o.problem + ". " + did + " " + o.advice + "."
}

func namespaceAllowed(p Policy, r Request) *objection {
	if p.namespaces.has(r.Namespace) {
		return nil
	}
	return refuse("Have the owner of the gateway allow the namespace in spec.allowedBindings.namespaces, or delete this binding",
		"KongGateway %s does not allow bindings from namespace %s", p.name(), short(r.Namespace.Name))
}

func withinMaxBindings(p Policy, r Request) *objection {
	switch {
	case p.maxBindings == 0 || r.Rank > 0 && r.Rank <= p.maxBindings:
		return nil
	case r.Rank <= 0:
		return refuse("The operator counts them in the next reconcile",
			"KongGateway %s limits the number of bindings from namespace %s, and the operator has not counted them", p.name(), short(r.Namespace.Name))
	}
	return refuse("Delete a binding of the namespace, or have the owner of the gateway raise spec.allowedBindings.maxBindingsPerNamespace",
		"KongGateway %s allows %d bindings from namespace %s, and this binding is number %d", p.name(), p.maxBindings, short(r.Namespace.Name), r.Rank)
}

func pluginAllowed(p Policy, r Request) *objection {
	switch {
	case slices.Contains(p.plugins.Deny, v1alpha1.PluginName(r.Plugin)):
		return refuse("Use another plugin, or have the owner of the gateway remove it from spec.allowedBindings.plugins.deny",
			"KongGateway %s denies the plugin %s to other namespaces", p.name(), short(r.Plugin))
	case len(p.plugins.Allow) == 0 || p.named(r.Namespace, r.Plugin):
		return nil
	}
	return refuse("Use another plugin, or have the owner of the gateway add it to spec.allowedBindings.plugins.allow or to a grant",
		"KongGateway %s does not allow the plugin %s from namespace %s", p.name(), short(r.Plugin), short(r.Namespace.Name))
}

func codeAllowed(p Policy, r Request) *objection {
	if p.code == v1alpha1.CodeAny || p.code == v1alpha1.CodeNamed && p.named(r.Namespace, r.Plugin) {
		return nil
	}
	advice := "Remove the code, or have the owner of the gateway add the plugin to spec.allowedBindings.plugins.allow or to a grant"
	if p.code != v1alpha1.CodeNamed {
		advice = "Remove the code, or have the owner of the gateway change spec.allowedBindings.code"
	}
	switch {
	case RunsCode(r.Plugin):
		return refuse(advice, "The plugin %s runs code from its config, and KongGateway %s does not allow this from namespace %s",
			short(r.Plugin), p.name(), short(r.Namespace.Name))
	case len(r.CodeFields) > 0:
		return refuse(advice, "The config of the plugin %s has code in %s, and KongGateway %s does not allow this from namespace %s",
			short(r.Plugin), list(r.CodeFields), p.name(), short(r.Namespace.Name))
	case !r.ConfigKnown && r.Operation != Refer:
		return refuse("The operator reads the config in the next reconcile",
			"KongGateway %s restricts code from namespace %s, and the operator has not read the config of the plugin", p.name(), short(r.Namespace.Name))
	}
	return nil
}

func globalPluginsAllowed(p Policy, r Request) *objection {
	if !r.Global || p.globalPlugins == v1alpha1.GlobalPluginsAllowed {
		return nil
	}
	return refuse("Set spec.scope, or have the owner of the gateway set spec.allowedBindings.globalPlugins to Allowed",
		"KongGateway %s does not allow a plugin without a scope from namespace %s", p.name(), short(r.Namespace.Name))
}

func selectorAllowed(p Policy, r Request) *objection {
	if !r.ByTags || p.selectors == v1alpha1.EntitySelectorsAllowed {
		return nil
	}
	return refuse("Use spec.targetRefs, or have the owner of the gateway set spec.allowedBindings.entitySelectors to Allowed",
		"KongGateway %s does not allow spec.entitySelector from namespace %s, because tags select entities of every namespace", p.name(), short(r.Namespace.Name))
}

func entitiesAllowed(p Policy, r Request) *objection {
	if p.entities == v1alpha1.EntitiesAll || r.Global {
		return nil
	}
	tag := NamespaceTag(r.Namespace.Name)
	var missing []string
	unknown := len(r.Entities) == 0
	for _, entity := range r.Entities {
		unknown = unknown || !entity.Known
		if entity.Known && !slices.Contains(entity.Tags, tag) {
			missing = append(missing, entity.Kind+" "+entity.Name)
		}
	}
	switch {
	case len(missing) > 0:
		return refuse("Use an entity of the namespace, or have somebody who manages the entity in Kong add the tag",
			"KongGateway %s allows only entities with the tag %s, which is missing on %s", p.name(), short(tag), list(missing))
	case unknown && r.Operation != Refer:
		return refuse("The operator looks the entities up in the next reconcile",
			"KongGateway %s allows only entities with the tag %s, and the operator does not know their tags", p.name(), short(tag))
	}
	return nil
}

func acquisitionAllowed(p Policy, r Request) *objection {
	a := r.Acquisition
	if r.Operation == Acquire && a.Kind == NoAcquisition {
		a.Kind = TakeOver // not known; it counts as the worst
	}
	const orAdoption = "or have the owner of the gateway set spec.allowedBindings.adoption to "
	switch {
	case a.Kind == NoAcquisition || p.adoption == v1alpha1.AdoptionAny:
		return nil
	case a.Kind == Replace:
		return nil // the plugin stays what it was; acquiredAllowed decides about one that existed before
	case p.adoption == v1alpha1.AdoptionNone && (a.Kind == AdoptUnowned || a.Kind == Import):
		return refuse("Delete that plugin in Kong, "+orAdoption+string(v1alpha1.AdoptionUnowned),
			"KongGateway %s does not allow bindings from namespace %s to adopt plugin %s, which already exists in Kong",
			p.name(), short(r.Namespace.Name), short(r.PluginID))
	case p.adoption == v1alpha1.AdoptionNone, a.Kind == TakeOver, a.Kind == TakeOverGone && a.OwnerNamespace == p.gateway.Namespace:
		return refuse("Change spec.scope, have the owner delete or release the plugin, "+orAdoption+string(v1alpha1.AdoptionAny),
			"KongGateway %s does not allow bindings from namespace %s to take over plugin %s, owned by %s",
			p.name(), short(r.Namespace.Name), short(r.PluginID), short(a.Owner))
	case a.Moves:
		return refuse("Set spec.scope to the scope of the plugin, "+orAdoption+string(v1alpha1.AdoptionAny),
			"KongGateway %s does not allow bindings from namespace %s to move plugin %s, which they do not own, to another scope",
			p.name(), short(r.Namespace.Name), short(r.PluginID))
	}
	return nil
}

func acquiredAllowed(p Policy, r Request) *objection {
	const what = "KongGateway %s does not allow bindings from namespace %s to %s plugin %s, which existed before the binding"
	switch {
	case !r.Acquired || p.adoption == v1alpha1.AdoptionAny:
		return nil
	case r.Operation == Delete:
		return refuse("", what, p.name(), short(r.Namespace.Name), "delete", short(r.PluginID))
	case p.adoption == v1alpha1.AdoptionNone:
		return refuse("Delete this binding, or have the owner of the gateway set spec.allowedBindings.adoption to "+string(v1alpha1.AdoptionUnowned),
			what, p.name(), short(r.Namespace.Name), "manage", short(r.PluginID))
	case r.Operation == Move || r.Operation == Acquire && r.Acquisition.Kind == Replace && r.Acquisition.Moves:
		return refuse("Restore the former spec.scope, or have the owner of the gateway set spec.allowedBindings.adoption to "+string(v1alpha1.AdoptionAny),
			what, p.name(), short(r.Namespace.Name), "move", short(r.PluginID))
	}
	return nil
}

// NamespaceTag is the tag that says to which namespace an entity in Kong belongs. Kong Ingress
// Controller sets it.
func NamespaceTag(namespace string) string { return "k8s-namespace:" + namespace }

// Bounds of a message.
const (
	maxListed = 3
	maxWord   = 256
)

// list joins the first words and counts the rest.
func list(words []string) string {
	shown := make([]string, 0, maxListed)
	for _, word := range words[:min(len(words), maxListed)] {
		shown = append(shown, short(word))
	}
	text := strings.Join(shown, ", ")
	if more := len(words) - len(shown); more > 0 {
		text += fmt.Sprintf(" and %d more", more)
	}
	return text
}

// short cuts a word that is too long for a message, at the boundary of a character.
func short(word string) string {
	if len(word) <= maxWord {
		return strings.ToValidUTF8(word, "?")
	}
	return strings.ToValidUTF8(word[:maxWord], "") + "..."
}
