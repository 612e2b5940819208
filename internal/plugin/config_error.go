package plugin

import (
	"fmt"
	"strings"

	"github.com/pluginbinding/kong-plugin-operator/api/v1alpha1"
)

// ConfigError says why the config of a plugin cannot be rendered. Only a change of the spec
// or of a Secret or ConfigMap helps. It never contains a value of the spec or of a Secret.
type ConfigError struct {
	// Field of the binding, such as spec.configPatches[2].
	Field string
	// From is the Secret or the ConfigMap that holds the value, zero if the spec itself does.
	From v1alpha1.ConfigSource
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
	if ref := e.From.SecretKeyRef; ref.Name != "" {
		fmt.Fprintf(&b, " from Secret %s, key %s", ref.Name, ref.Key)
	}
	if ref := e.From.ConfigMapKeyRef; ref.Name != "" {
		fmt.Fprintf(&b, " from ConfigMap %s, key %s", ref.Name, ref.Key)
	}
	fmt.Fprintf(&b, ": %s", e.Problem)
	if e.Line > 0 {
		fmt.Fprintf(&b, " (line %d)", e.Line)
	}
	return b.String()
}

// because returns a copy of the error with its problem.
func (e ConfigError) because(text string) *ConfigError {
	e.Problem = text
	return &e
}

// at is because, with the line of the problem.
func (e ConfigError) at(p *problem) *ConfigError {
	e.Problem, e.Line = p.text, p.line
	return &e
}
