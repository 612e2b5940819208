package plugin

import (
	"strings"

	"github.com/pluginbinding/kong-plugin-operator/api/v1alpha1"
)

// Known is what a spec alone says about its plugin: everything but the values that come from Secrets
// and ConfigMaps.
type Known struct {
	Plugin Plugin
	// Empty reports that the whole config comes from a Secret or a ConfigMap.
	Empty bool
	// unknown are the places of the values that are left out.
	unknown sources
}

// RenderKnown returns what the spec alone says. It returns a *ConfigError if the spec itself is wrong.
func RenderKnown(spec *v1alpha1.PluginBindingSpec) (Known, error) {
	if spec.ConfigFrom != nil {
		return Known{Empty: true}, nil
	}
	known := Known{}
	for _, patch := range spec.ConfigPatches {
		tokens, problem := parsePointer(patch.Path)
		if problem != "" {
			return Known{Empty: true}, nil // its condition will say so
		}
		known.unknown.add(tokens)
	}
	alone := *spec
	alone.ConfigPatches = nil
	rendered, err := Render(Inputs{Spec: &alone, InstanceName: string(spec.InstanceName)})
	known.Plugin = rendered.Plugin
	return known, err
}

// IsComplete reports whether the spec says everything.
func (k Known) IsComplete() bool { return !k.Empty && k.unknown.none() }

// Refuses reports whether Kong's message about a field of the plugin refuses it whatever the values
// are that were left out. If values were left out, only two kinds of messages do: that a field has the
// wrong type, or does not exist. All others, such as a missing field, may depend on another field.
func (k Known) Refuses(path, message string, s *Schema) bool {
	switch {
	case k.Empty:
		return false
	case k.IsComplete():
		return true
	}
	return (message == MessageUnknownField || isTypeMessage(message)) && !k.unknown.include(path, s)
}

// isTypeMessage reports whether Kong says that a value has the wrong type.
func isTypeMessage(message string) bool {
	return strings.HasPrefix(message, "expected a") && kongMessages[message]
}

// PatchAt returns the index of the config patch that sets the field at the path, as Kong names it, or
// something around it; -1 if none does.
func PatchAt(spec *v1alpha1.PluginBindingSpec, path string) int {
	path = withoutIndexes(path)
	for i, patch := range spec.ConfigPatches {
		tokens, problem := parsePointer(patch.Path)
		var s sources
		if problem == "" {
			s.add(tokens)
		}
		if len(s.paths) > 0 && strings.HasPrefix(path+".", s.paths[0]+".") {
			return i
		}
	}
	return -1
}

// DeprecatedFields returns the names of the declared config fields that Kong deprecates, with the
// fields that replace them, each as "config.a, replaced by config.b.c".
func DeprecatedFields(p Plugin, s *Schema) (found []string) {
	if s == nil {
		return nil
	}
	for _, d := range s.config.deprecated {
		if _, declared := p.Config[d.name]; !declared {
			continue
		}
		text := "config." + d.name
		for i, path := range d.paths {
			if i == 0 {
				text += ", replaced by "
			} else {
				text += " and "
			}
			text += "config." + strings.Join(path, ".")
		}
		found = append(found, text)
	}
	return found
}
