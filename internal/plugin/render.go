package plugin

import (
	"bytes"
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"sigs.k8s.io/yaml"

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
}

// Rendered is the desired plugin, and the redactor for every message about it.
type Rendered struct {
	Plugin   Plugin
	Redactor *Redactor
}

// ConfigError says why the config of a plugin cannot be rendered. Only a change of the spec
// or of a Secret helps. It never contains a value of the spec or of a Secret.
type ConfigError struct {
	// Field of the binding, such as spec.configPatches[2].
	Field string
	// Secret that holds the value, zero if the spec itself does.
	Secret v1alpha1.SecretKeyRef
	// Path of a patch, empty elsewhere.
	Path string
	// Line of the value at which the problem is, counted from 1; 0 when not known.
	Line int
	// Problem in a few words.
	Problem string
}

// Error implements error.
func (e *ConfigError) Error() string {
	var b strings.Builder
	b.WriteString(e.Field)
	if e.Path != "" {
		fmt.Fprintf(&b, " (%s)", e.Path)
	}
	if e.Secret != (v1alpha1.SecretKeyRef{}) {
		fmt.Fprintf(&b, " from Secret %s, key %s", e.Secret.Name, e.Secret.Key)
	}
	fmt.Fprintf(&b, ": %s", e.Problem)
	if e.Line > 0 {
		fmt.Fprintf(&b, " (line %d)", e.Line)
	}
	return b.String()
}

// Render returns the plugin that a binding declares. It returns a *ConfigError if the
// config cannot be rendered, and wraps the error of Inputs.Secret if a Secret cannot be
// read. No error text contains a value from a Secret, unless that of Inputs.Secret does.
func Render(in Inputs) (Rendered, error) {
	redactor := &Redactor{}
	config, err := renderConfig(in, redactor)
	if err != nil {
		return Rendered{}, err
	}
	spec := in.Spec
	return Rendered{
		Redactor: redactor,
		Plugin: Plugin{
			Name:         string(spec.Plugin),
			InstanceName: in.InstanceName,
			Scope:        in.Scope,
			Enabled:      spec.Enabled == nil || *spec.Enabled,
			Protocols:    stringsOf(spec.Protocols),
			Tags:         union(in.OwnershipTags, stringsOf(spec.Tags)),
			Ordering:     ordering(spec.Ordering),
			Config:       config,
		},
	}, nil
}

// renderConfig applies the patches, in their order, to the base.
func renderConfig(in Inputs, redactor *Redactor) (map[string]any, error) {
	config, err := baseConfig(in, redactor)
	if err != nil {
		return nil, err
	}
	for i, patch := range in.Spec.ConfigPatches {
		fault := ConfigError{
			Field:  fmt.Sprintf("spec.configPatches[%d]", i),
			Secret: patch.ValueFrom.SecretKeyRef,
			Path:   patch.Path,
		}
		value, err := patchValue(in, patch, fault, redactor)
		if err != nil {
			return nil, err
		}
		if problem := put(config, patch.Path, value); problem != "" {
			return nil, because(fault, problem)
		}
	}
	return config, nil
}

// baseConfig returns the config before its patches: from the spec, from a Secret, or empty.
func baseConfig(in Inputs, redactor *Redactor) (map[string]any, error) {
	spec := in.Spec
	switch {
	case spec.ConfigFrom != nil && spec.Config != nil:
		return nil, &ConfigError{Field: "spec.configFrom", Problem: "config and configFrom exclude each other"}
	case spec.ConfigFrom != nil:
		return secretConfig(in, redactor)
	case spec.Config == nil || len(spec.Config.Raw) == 0:
		return map[string]any{}, nil
	}
	fault := ConfigError{Field: "spec.config"}
	var value any
	if err := json.Unmarshal(spec.Config.Raw, &value); err != nil {
		return nil, because(fault, "is not valid JSON")
	}
	return object(value, fault)
}

// secretConfig reads the whole config from a Secret, as JSON or as YAML.
func secretConfig(in Inputs, redactor *Redactor) (map[string]any, error) {
	ref := in.Spec.ConfigFrom.SecretKeyRef
	fault := ConfigError{Field: "spec.configFrom", Secret: ref}
	raw, err := secretBytes(in, ref, fault)
	if err != nil {
		return nil, err
	}
	var value any
	// JSON first: YAML is not quite a superset of it (tabs).
	if json.Unmarshal(raw, &value) != nil {
		value = nil
		if err := yaml.UnmarshalStrict(raw, &value); err != nil {
			// the parser's own words may quote the Secret
			fault.Line = lineOf(err)
			return nil, because(fault, "is not valid YAML or JSON")
		}
	}
	redactor.addSecret(value)
	return object(value, fault)
}

// patchValue reads the value of one patch from its Secret.
func patchValue(in Inputs, patch v1alpha1.ConfigPatch, fault ConfigError, redactor *Redactor) (any, error) {
	raw, err := secretBytes(in, patch.ValueFrom.SecretKeyRef, fault)
	if err != nil {
		return nil, err
	}
	var value any = string(raw)
	switch patch.Format {
	case v1alpha1.FormatJSON:
		value = nil
		if err := json.Unmarshal(raw, &value); err != nil {
			return nil, because(fault, "is not valid JSON")
		}
		if _, ok := value.(float64); ok {
			redactor.addSecret(string(bytes.TrimSpace(raw)))
		}
	case v1alpha1.FormatString, "":
	default:
		return nil, because(fault, "has an unknown format")
	}
	redactor.addSecret(value)
	if !storable(value) {
		return nil, because(fault, problemNUL)
	}
	return value, nil
}

// secretBytes reads a key of a Secret.
func secretBytes(in Inputs, ref v1alpha1.SecretKeyRef, fault ConfigError) ([]byte, error) {
	raw, err := in.Secret(ref)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", fault.Field, err)
	}
	if !utf8.Valid(raw) {
		// it would reach Kong with its bytes replaced
		return nil, because(fault, "is not valid UTF-8")
	}
	return raw, nil
}

const problemNUL = "holds a NUL character, which Kong's database cannot store"

// object checks that a decoded config is one that Kong can store.
func object(value any, fault ConfigError) (map[string]any, error) {
	config, ok := value.(map[string]any)
	if !ok {
		return nil, because(fault, "is not an object")
	}
	if !storable(config) {
		return nil, because(fault, problemNUL)
	}
	return config, nil
}

// storable says whether PostgreSQL takes the value as jsonb. Kong would answer 500 to
// it, and that reads as an outage.
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

// because returns a copy of the fault with its problem.
func because(fault ConfigError, problem string) *ConfigError {
	fault.Problem = problem
	return &fault
}

var lineNumber = regexp.MustCompile(`line (\d{1,9})\b`)

// lineOf finds the line number in a YAML parser's error, 0 when there is none.
func lineOf(err error) int {
	m := lineNumber.FindStringSubmatch(err.Error())
	if m == nil {
		return 0
	}
	// nine digits always fit
	line, _ := strconv.Atoi(m[1])
	return line
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
