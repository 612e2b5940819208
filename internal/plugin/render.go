package plugin

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/pluginbinding/kong-plugin-operator/api/v1alpha1"
)

// Inputs is everything Render needs.
type Inputs struct {
	// Spec of the binding; never nil.
	Spec *v1alpha1.PluginBindingSpec
	// Scope that the names in the spec resolve to.
	Scope Scope
	// InstanceName of the plugin: the spec's own, or one made for the binding.
	InstanceName string
	// OwnershipTags say who owns the plugin. They come before the user's tags.
	OwnershipTags []string
	// Secret returns the value of a key of a Secret in the binding's namespace. Render calls
	// it for the keys that the spec refers to. It may be nil if there are none.
	Secret func(v1alpha1.SecretKeyRef) ([]byte, error)
	// ConfigMap does the same for ConfigMaps. Their values are not secret.
	ConfigMap func(v1alpha1.ConfigMapKeyRef) ([]byte, error)
}

// Rendered is the desired plugin, and the redactor for every message about it.
type Rendered struct {
	Plugin   Plugin
	Redactor *Redactor
	// Warnings about what is probably a mistake, in the order of the spec, as sentences for a
	// user. They contain no value.
	Warnings []string
}

// Render returns the plugin that a binding declares. It returns a *ConfigError if the
// config cannot be rendered, and wraps the error of Inputs.Secret if a Secret cannot be
// read. No error text contains a value from a Secret, unless that of Inputs.Secret does.
func Render(in Inputs) (Rendered, error) {
	r := &renderer{Inputs: in, redactor: &Redactor{}, budget: newBudget()}
	config, err := r.config()
	if err != nil {
		return Rendered{}, err
	}
	spec := in.Spec
	return Rendered{
		Redactor: r.redactor,
		Warnings: r.warnings,
		Plugin: Plugin{
			Name:         string(spec.Plugin),
			InstanceName: in.InstanceName,
			Scope:        in.Scope,
			Enabled:      spec.Enabled == nil || *spec.Enabled,
			Protocols:    stringsOf(spec.Protocols),
			Tags:         union(in.OwnershipTags, stringsOf(spec.Tags)),
			Ordering:     ordering(spec.Ordering),
			Config:       config,
			Unknown:      newerFieldsOf(spec),
		},
	}, nil
}

// renderer puts one config together.
type renderer struct {
	Inputs
	redactor *Redactor
	budget   *budget
	warnings []string
}

// config applies the patches, in their order, to the base.
func (r *renderer) config() (map[string]any, error) {
	config, err := r.base()
	if err != nil {
		return nil, err
	}
	_, hasConfig := config["config"]
	r.redactor.wrapped = hasConfig && len(config) == 1
	for i, patch := range r.Spec.ConfigPatches {
		fault := ConfigError{
			Field: fmt.Sprintf("spec.configPatches[%d]", i),
			From:  patch.ValueFrom,
			Path:  patch.Path,
		}
		value, err := r.patchValue(patch, fault)
		if err != nil {
			return nil, err
		}
		tokens, text := parsePointer(patch.Path)
		if text == "" && len(tokens)+depthOf(value) > maxConfigDepth {
			text = problemTooDeep
		}
		if text == "" {
			_, text = putAt(config, tokens, value)
		}
		if text != "" {
			return nil, fault.because(text)
		}
		if isSecret(patch.ValueFrom) {
			r.redactor.sources.add(tokens)
		}
	}
	return config, nil
}

// base returns the config before its patches: from the spec, from a Secret or ConfigMap, or empty.
func (r *renderer) base() (map[string]any, error) {
	spec := r.Spec
	switch {
	case spec.ConfigFrom != nil && spec.Config != nil:
		return nil, &ConfigError{Field: "spec.configFrom", Problem: "config and configFrom exclude each other"}
	case spec.ConfigFrom != nil:
		return r.wholeConfig()
	case spec.Config == nil || len(spec.Config.Raw) == 0:
		return map[string]any{}, nil
	}
	fault := ConfigError{Field: "spec.config"}
	value, p := decodeJSON(spec.Config.Raw, r.budget)
	if p != nil {
		return nil, fault.at(p)
	}
	return object(value, fault)
}

// isSecret reports whether a value from this source is hidden. One from an unknown source is.
func isSecret(from v1alpha1.ConfigSource) bool { return from.ConfigMapKeyRef.Name == "" }

func sourceKind(from v1alpha1.ConfigSource) string {
	if isSecret(from) {
		return "Secret"
	}
	return "ConfigMap"
}

// wholeConfig reads the whole config from its source, as JSON or as YAML.
func (r *renderer) wholeConfig() (map[string]any, error) {
	fault := ConfigError{Field: "spec.configFrom", From: *r.Spec.ConfigFrom}
	raw, err := r.read(fault)
	if err != nil {
		return nil, err
	}
	value, p := decodeConfig(raw, r.budget)
	if p != nil {
		return nil, fault.at(p)
	}
	if isSecret(fault.From) {
		r.redactor.addSecret(value)
		r.redactor.sources.all = true
	}
	return object(value, fault)
}

// patchValue reads the value of one patch from its source.
func (r *renderer) patchValue(patch v1alpha1.ConfigPatch, fault ConfigError) (any, error) {
	raw, err := r.read(fault)
	if err != nil {
		return nil, err
	}
	var (
		value any
		p     *problem
	)
	hide := func(any) {}
	if isSecret(patch.ValueFrom) {
		hide = r.redactor.addSecret
	}
	switch patch.Format {
	case v1alpha1.FormatJSON:
		value, p = decodeJSON(raw, r.budget)
		if _, ok := value.(float64); ok {
			hide(string(bytes.TrimSpace(raw)))
		}
	case v1alpha1.FormatString, "":
		value, p = r.patchString(patch, raw, fault)
		hide(string(raw)) // also without what is around it
	default:
		return nil, fault.because("has an unknown format")
	}
	if p != nil {
		return nil, fault.at(p)
	}
	hide(value)
	if !storable(value) {
		return nil, fault.because(problemNUL)
	}
	return value, nil
}

// patchString takes a text as it is, between prefix and suffix. It warns about a JSON string: Kong's own
// KongPlugin wants one in its configPatches, and here its quotes become part of a password.
func (r *renderer) patchString(patch v1alpha1.ConfigPatch, raw []byte, fault ConfigError) (any, *problem) {
	s := size{nodes: 1, bytes: len(patch.Prefix) + len(raw) + len(patch.Suffix)}
	if text := r.budget.exceeded(s); text != "" {
		return nil, &problem{text: text}
	}
	r.budget.take(s)
	var unquoted string
	if bytes.HasPrefix(bytes.TrimSpace(raw), []byte(`"`)) && json.Unmarshal(raw, &unquoted) == nil {
		r.warnings = append(r.warnings, fault.because(fmt.Sprintf(warningQuoted, sourceKind(fault.From))).Error())
	}
	return patch.Prefix + string(raw) + patch.Suffix, nil
}

const warningQuoted = "the value is enclosed in double quotes, and the operator sends them to Kong as part of the value; " +
	"remove the quotes from the %s, or set the patch's format to JSON"

// read reads a key of the Secret or the ConfigMap.
func (r *renderer) read(fault ConfigError) (raw []byte, err error) {
	if isSecret(fault.From) {
		raw, err = r.Secret(fault.From.SecretKeyRef)
	} else {
		raw, err = r.ConfigMap(fault.From.ConfigMapKeyRef)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", fault.Field, err)
	}
	if !utf8.Valid(raw) {
		// Kong would store it with its bytes replaced.
		return nil, fault.because("is not valid UTF-8")
	}
	return raw, nil
}

const problemNUL = "holds a NUL character, which Kong's database cannot store"

// object checks that a decoded config is one that Kong can store.
func object(value any, fault ConfigError) (map[string]any, error) {
	config, ok := value.(map[string]any)
	if !ok {
		return nil, fault.because("is not an object")
	}
	if !storable(config) {
		return nil, fault.because(problemNUL)
	}
	return config, nil
}

// storable reports whether PostgreSQL accepts the value as jsonb. Kong answers 500 if it
// does not, which looks like an outage.
func storable(value any) bool {
	switch v := value.(type) {
	case string:
		return !strings.Contains(v, "\x00")
	case []any:
		return !slices.ContainsFunc(v, func(e any) bool { return !storable(e) })
	case map[string]any:
		for key, e := range v {
			if !storable(key) || !storable(e) {
				return false
			}
		}
	}
	return true
}

// ordering maps the spec's ordering to Kong's, nil when it says nothing.
func ordering(o *v1alpha1.PluginOrdering) map[string]map[string][]string {
	if o == nil {
		return nil
	}
	out := map[string]map[string][]string{}
	add := func(when string, phases *v1alpha1.PluginOrderingPhases) {
		if phases != nil && len(phases.Access) > 0 {
			out[when] = map[string][]string{"access": stringsOf(phases.Access)}
		}
	}
	add("before", o.Before)
	add("after", o.After)
	if len(out) == 0 {
		return nil
	}
	return out
}

// stringsOf turns a list of some string type into one of strings, nil when empty.
func stringsOf[S ~string](list []S) []string {
	var out []string
	for _, s := range list {
		out = append(out, string(s))
	}
	return out
}

// union returns the strings of all lists in order, each once.
func union(lists ...[]string) []string {
	var out []string
	seen := map[string]bool{}
	for _, s := range slices.Concat(lists...) {
		if !seen[s] {
			seen[s] = true
			out = append(out, s)
		}
	}
	return out
}
