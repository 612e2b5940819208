package importer

import (
	"encoding/json"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"

	"github.com/pluginbinding/kong-plugin-operator/api/v1alpha1"
	"github.com/pluginbinding/kong-plugin-operator/internal/plugin"
)

// config is how an object says the config of a plugin. No value that is secret is in the open.
type config struct {
	// open is the part that everybody may read.
	open map[string]any
	// from is an existing Secret with the whole config.
	from *v1alpha1.SecretKeyRef
	// patches take values from existing Secrets.
	patches []v1alpha1.ConfigPatch
	// hidden are values for a Secret to make, by JSON pointer. That of the whole config is empty.
	hidden map[string]any
}

// What the API takes, see ConfigPatch and PluginBindingSpec.
const (
	maxPatches = 64
	maxPointer = 512
)

var pointerPattern = regexp.MustCompile(`^(/([^/~]|~[01])+)+$`)

// declareConfig finds the way to say a row's config that reads best and means the same to the operator:
// as its KongPlugin says it, with the Secrets of the KongPlugin; without what Kong fills in; or with
// everything that Kong has. It fails if none of them means the same.
func declareConfig(row plugin.Plugin, schema *plugin.Schema, from *KongPlugin, namespace string) (config, error) {
	var candidates []config
	if from != nil {
		if c, ok := configOf(row, schema, from, namespace); ok {
			candidates = append(candidates, c)
		}
	}
	secretOnes := pointersOf(from)
	candidates = append(candidates,
		configOfRow(row, schema, schema.Declared(row.Config), secretOnes),
		configOfRow(row, schema, (*plugin.Schema)(nil).Declared(row.Config), secretOnes))
	var problem error
	for _, c := range candidates {
		if problem = c.check(row, schema); problem == nil {
			return c, nil
		}
	}
	return config{}, problem
}

// configOf says the config as its KongPlugin does. It returns false if a binding cannot: the KongPlugin
// takes a value from a Secret of another namespace, or has a patch that a binding does not take.
func configOf(row plugin.Plugin, schema *plugin.Schema, from *KongPlugin, namespace string) (config, bool) {
	c := config{open: map[string]any{}, hidden: map[string]any{}}
	if from.ConfigFrom != nil {
		ref, ok := from.ConfigFrom.in(from.Namespace, namespace)
		c.from, c.open = &ref, nil
		if !ok {
			return config{}, false
		}
	} else if len(from.Config) > 0 && json.Unmarshal(from.Config, &c.open) != nil {
		return config{}, false
	}
	for _, patch := range from.ConfigPatches {
		ref, ok := patch.ValueFrom.in(from.Namespace, namespace)
		if !ok || !pointerPattern.MatchString(patch.Path) || len(patch.Path) > maxPointer {
			return config{}, false
		}
		// The ingress controller takes JSON.
		c.patches = append(c.patches, v1alpha1.ConfigPatch{
			Path: patch.Path, Format: v1alpha1.FormatJSON, ValueFrom: v1alpha1.ConfigSource{SecretKeyRef: ref},
		})
	}
	c.hide(plugin.HiddenFields(row.Name, c.open, schema))
	return c, true
}

// in returns the reference as a binding of the namespace can make it.
func (s *KongSource) in(own, namespace string) (v1alpha1.SecretKeyRef, bool) {
	ref := s.SecretKeyRef
	if own == "" {
		own = ref.Namespace
	}
	return v1alpha1.SecretKeyRef{Name: ref.Name, Key: ref.Key}, own == namespace && ref.Name != "" && ref.Key != ""
}

// pointersOf are the fields that a KongPlugin takes from Secrets. The whole config is the pointer "".
func pointersOf(from *KongPlugin) (pointers []string) {
	if from == nil {
		return nil
	}
	if from.ConfigFrom != nil {
		pointers = append(pointers, "")
	}
	for _, patch := range from.ConfigPatches {
		pointers = append(pointers, patch.Path)
	}
	return pointers
}

// configOfRow says the config as Kong has it. What came from Secrets is hidden, whatever the schema says.
func configOfRow(row plugin.Plugin, schema *plugin.Schema, declared map[string]any, fromSecrets []string) config {
	c := config{open: cloned(declared), hidden: map[string]any{}}
	if slices.Contains(fromSecrets, "") {
		c.hidden[""], c.open = c.open, nil
		return c
	}
	c.hide(plugin.HiddenFields(row.Name, c.open, schema))
	for _, pointer := range fromSecrets {
		// A patch into a list hides the list.
		for ; pointer != "" && !c.hides(pointer); pointer = pointer[:strings.LastIndexByte(pointer, '/')] {
			if value, found := plugin.TakeOut(c.open, pointer); found {
				c.hidden[pointer] = value
			}
		}
	}
	return c
}

func (c *config) hides(pointer string) bool {
	_, hidden := c.hidden[pointer]
	return hidden
}

// hide moves values into the Secret to make.
func (c *config) hide(pointers []string) {
	for _, pointer := range pointers {
		if value, found := plugin.TakeOut(c.open, pointer); found {
			c.hidden[pointer] = value
		}
	}
	if c.tooMany() {
		whole := c.open
		for _, pointer := range slices.Sorted(maps.Keys(c.hidden)) {
			putBack(whole, pointer, c.hidden[pointer])
		}
		c.open, c.hidden = nil, map[string]any{"": whole}
	}
}

func (c *config) tooMany() bool {
	return len(c.hidden)+len(c.patches) > maxPatches || slices.ContainsFunc(slices.Collect(maps.Keys(c.hidden)), func(pointer string) bool {
		return len(pointer) > maxPointer || !pointerPattern.MatchString(pointer)
	})
}

// putBack undoes plugin.TakeOut.
func putBack(config map[string]any, pointer string, value any) {
	tokens := strings.Split(pointer[1:], "/")
	for i, token := range tokens {
		token = strings.NewReplacer("~1", "/", "~0", "~").Replace(token)
		if i == len(tokens)-1 {
			config[token] = value
			return
		}
		config, _ = config[token].(map[string]any)
	}
}

// fill puts the config into a spec. Values go into a Secret of that name, which it returns if the config
// needs one.
func (c *config) fill(spec *v1alpha1.PluginTemplateSpec, namespace, secretName string) *Secret {
	if len(c.open) > 0 {
		raw, _ := json.Marshal(c.open) // from JSON
		spec.Config = &apiextensionsv1.JSON{Raw: raw}
	}
	if c.from != nil {
		spec.ConfigFrom = &v1alpha1.ConfigSource{SecretKeyRef: *c.from}
	}
	secret := &Secret{Namespace: namespace, Name: secretName, Values: map[string][]byte{}, Fields: map[string]string{}}
	for _, pointer := range slices.Sorted(maps.Keys(c.hidden)) {
		key, value, format := secret.keyFor(pointer), c.hidden[pointer], v1alpha1.FormatJSON
		if text, ok := value.(string); ok && !strings.HasPrefix(strings.TrimSpace(text), `"`) {
			format, secret.Values[key] = "", []byte(text)
		} else {
			secret.Values[key], _ = json.Marshal(value) // from JSON
		}
		secret.Fields[key] = pointer
		source := v1alpha1.ConfigSource{SecretKeyRef: v1alpha1.SecretKeyRef{Name: secretName, Key: key}}
		if pointer == "" {
			spec.ConfigFrom = &source
			continue
		}
		spec.ConfigPatches = append(spec.ConfigPatches, v1alpha1.ConfigPatch{Path: pointer, ValueFrom: source, Format: format})
	}
	spec.ConfigPatches = append(spec.ConfigPatches, c.patches...)
	if len(secret.Values) == 0 {
		return nil
	}
	return secret
}

var notInKeys = regexp.MustCompile(`[^-._a-zA-Z0-9]+`)

const maxKey = 200

// keyFor names the value of a field in the Secret, such as redis.password.
func (s *Secret) keyFor(pointer string) string {
	if pointer == "" {
		return "config.json"
	}
	name := strings.ReplaceAll(pointer[1:], "/", ".")
	name = notInKeys.ReplaceAllString(name, "_")
	name = name[:min(len(name), maxKey)]
	key := name
	for n := 2; s.Fields[key] != ""; n++ {
		key = name + "." + strconv.Itoa(n)
	}
	return key
}

// check renders the config as the operator does, with the values of Kong in place of Secrets, and
// compares it with the row.
func (c *config) check(row plugin.Plugin, schema *plugin.Schema) error {
	template := v1alpha1.PluginTemplateSpec{Plugin: v1alpha1.PluginName(row.Name), Enabled: &row.Enabled}
	secret := c.fill(&template, "", "to-make")
	rendered, err := plugin.Render(plugin.Inputs{
		Spec: &v1alpha1.PluginBindingSpec{
			Plugin: template.Plugin, Enabled: template.Enabled, Config: template.Config,
			ConfigFrom: template.ConfigFrom, ConfigPatches: template.ConfigPatches,
		},
		Scope: row.Scope,
		Secret: func(ref v1alpha1.SecretKeyRef) ([]byte, error) {
			if secret != nil && ref.Name == secret.Name {
				return secret.Values[ref.Key], nil
			}
			return c.live(ref, row)
		},
	})
	if err != nil {
		return fmt.Errorf("the operator could not read the config: %s", rendered.Redactor.Redact(err.Error()))
	}
	var fields []string
	for _, field := range plugin.Differences(rendered.Plugin, row, schema) {
		if field == "config" || strings.HasPrefix(field, "config.") {
			fields = append(fields, field)
		}
	}
	if len(fields) > 0 {
		return fmt.Errorf("a binding would change %s", strings.Join(fields, ", "))
	}
	return nil
}

// live is the value of Kong that an existing Secret should hold.
func (c *config) live(ref v1alpha1.SecretKeyRef, row plugin.Plugin) ([]byte, error) {
	if c.from != nil && *c.from == ref {
		return json.Marshal(row.Config)
	}
	for _, patch := range c.patches {
		if patch.ValueFrom.SecretKeyRef == ref {
			value, found := lookUp(row.Config, patch.Path)
			if !found {
				return nil, fmt.Errorf("the config in Kong has nothing at %s", patch.Path)
			}
			return json.Marshal(value)
		}
	}
	return nil, fmt.Errorf("no Secret %s", ref.Name)
}

// lookUp returns the value at a JSON pointer.
func lookUp(value any, pointer string) (any, bool) {
	for token := range strings.SplitSeq(pointer[1:], "/") {
		token = strings.NewReplacer("~1", "/", "~0", "~").Replace(token)
		switch v := value.(type) {
		case map[string]any:
			inner, found := v[token]
			if !found {
				return nil, false
			}
			value = inner
		case []any:
			i, err := strconv.Atoi(token)
			if err != nil || i < 0 || i >= len(v) {
				return nil, false
			}
			value = v[i]
		default:
			return nil, false
		}
	}
	return value, true
}

// cloned copies a decoded JSON object.
func cloned(object map[string]any) map[string]any {
	out := make(map[string]any, len(object))
	for key, value := range object {
		if inner, ok := value.(map[string]any); ok {
			value = cloned(inner)
		}
		out[key] = value
	}
	return out
}
