package admission

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/util/validation/field"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/webhook/admission"

	"github.com/pluginbinding/kong-plugin-operator/api/v1alpha1"
	"github.com/pluginbinding/kong-plugin-operator/internal/message"
	"github.com/pluginbinding/kong-plugin-operator/internal/plugin"
	"github.com/pluginbinding/kong-plugin-operator/internal/reference"
)

// Bounds on the warnings of one response. The API server cuts them at 4 KiB together.
const (
	maxWarnings = 8
	maxWarning  = 512
)

// warningsOf keeps the texts within their bounds and leaves out empty ones.
func warningsOf(texts ...string) admission.Warnings {
	var warnings admission.Warnings
	for _, text := range texts {
		if text != "" && len(warnings) < maxWarnings {
			warnings = append(warnings, message.Truncate(text, maxWarning))
		}
	}
	return warnings
}

// specFields are the fields of the spec that have another name in Kong.
var specFields = map[string]string{"name": "plugin", "instance_name": "instanceName"}

// problemsOf says where in the object the fields are that Kong refuses. It repeats no value.
func problemsOf(s subject, refused []refusal) field.ErrorList {
	var problems field.ErrorList
	for _, r := range refused {
		path := pathOf(s, r.path)
		problems = append(problems, &field.Error{
			Type: field.ErrorTypeInvalid, Field: path, BadValue: field.OmitValueType{}, Detail: r.message,
		})
	}
	return problems
}

// pathOf is the path in the object of a field of Kong's plugin.
func pathOf(s subject, path string) string {
	if path == "" {
		return s.root.String()
	}
	if i := plugin.PatchAt(s.spec, path); i >= 0 {
		return s.root.Child("configPatches").Index(i).String()
	}
	end := strings.IndexAny(path, ".[")
	if end < 0 {
		end = len(path)
	}
	name := path[:end]
	if other, ok := specFields[name]; ok {
		name = other
	}
	return s.root.Child(name).String() + path[end:]
}

// deprecations are warnings about fields that Kong deprecates.
func deprecations(p plugin.Plugin, schema *plugin.Schema) (warnings []string) {
	for _, name := range plugin.DeprecatedFields(p, schema) {
		if len(warnings) == maxWarnings {
			break
		}
		warnings = append(warnings, message.Truncate("Kong deprecates "+name+". It still accepts the field.", maxWarning))
	}
	return warnings
}

// conflicts warns about another binding of the same plugin on the same scope. Kong keeps one.
func (c *checker) conflicts(ctx context.Context, binding *pluginBinding) []string {
	replaced, _ := reference.Replaced(binding)
	for _, place := range reference.Places(binding) {
		list := &v1alpha1.PluginBindingList{}
		if err := c.Client.List(ctx, list, client.MatchingFields{reference.IndexPlace: reference.PlaceBucket(place)}, client.UnsafeDisableDeepCopy); err != nil {
			return nil
		}
		others := reference.AtPlace(list.Items, place)
		i := slices.IndexFunc(others, func(other v1alpha1.PluginBinding) bool {
			key := client.ObjectKeyFromObject(&other)
			return key != client.ObjectKeyFromObject(binding) && key != replaced && other.DeletionTimestamp.IsZero()
		})
		if i >= 0 {
			return []string{conflictWith(binding, &others[i])}
		}
	}
	return nil
}

// conflictWith names the other binding only to its own namespace.
func conflictWith(binding, other *pluginBinding) string {
	who := "A PluginBinding of another namespace"
	if other.Namespace == binding.Namespace {
		who = "PluginBinding " + other.Name
	}
	return fmt.Sprintf("%s declares the plugin %s on the same scope of KongGateway %s. Kong has one plugin per scope, so one of the two gets the reason %s.",
		who, binding.Spec.Plugin, reference.GatewayOf(binding), v1alpha1.ReasonConflict)
}
