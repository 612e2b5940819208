package handover

import (
	"encoding/json"
	"errors"
	"fmt"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/utils/ptr"

	"github.com/pluginbinding/kong-plugin-operator/api/v1alpha1"
)

// kongPlugin has the fields of a KongPlugin and of a KongClusterPlugin. Only the latter names the
// namespaces of Secrets.
type kongPlugin struct {
	Plugin        string                     `json:"plugin"`
	InstanceName  string                     `json:"instance_name"`
	Disabled      bool                       `json:"disabled"`
	Protocols     []v1alpha1.Protocol        `json:"protocols"`
	Ordering      *v1alpha1.PluginOrdering   `json:"ordering"`
	Config        *apiextensionsv1.JSON      `json:"config"`
	ConfigFrom    *kongSource                `json:"configFrom"`
	ConfigPatches []kongPatch                `json:"configPatches"`
	Metadata      struct{ Namespace string } `json:"metadata"`
}

type kongSource struct {
	SecretKeyRef struct{ Namespace, Name, Key string } `json:"secretKeyRef"`
}

type kongPatch struct {
	Path      string     `json:"path"`
	ValueFrom kongSource `json:"valueFrom"`
}

// translate makes the spec of a binding in a namespace from a KongPlugin or KongClusterPlugin. What comes
// from Secrets stays a reference to the same Secrets. The notes say what does not come along.
func translate(object *unstructured.Unstructured, namespace string) (spec v1alpha1.PluginTemplateSpec, notes []string, err error) {
	var p kongPlugin
	raw, err := json.Marshal(object.Object)
	if err != nil {
		return spec, nil, err
	}
	if err := json.Unmarshal(raw, &p); err != nil {
		return spec, nil, fmt.Errorf("it is not what a KongPlugin looks like: %w", err)
	}
	spec.Plugin, spec.Protocols, spec.Ordering = v1alpha1.PluginName(p.Plugin), p.Protocols, p.Ordering
	if p.Disabled {
		spec.Enabled = ptr.To(false)
	}
	if p.Config != nil && string(p.Config.Raw) != "null" {
		spec.Config = p.Config
	}
	if p.InstanceName != "" {
		notes = append(notes, fmt.Sprintf("instance_name %s does not come along: Kong accepts it once, and the operator gives each plugin a name of its own", p.InstanceName))
	}
	if p.ConfigFrom != nil {
		if spec.ConfigFrom, err = p.source(*p.ConfigFrom, namespace); err != nil {
			return spec, notes, err
		}
	}
	if err := p.translatePatches(&spec, namespace); err != nil {
		return spec, notes, err
	}
	if spec.Config != nil && spec.ConfigFrom != nil {
		return spec, notes, errors.New("it has both config and configFrom")
	}
	return spec, notes, nil
}

// translatePatches keeps the references to Secrets. The ingress controller parses the values as JSON.
func (p *kongPlugin) translatePatches(spec *v1alpha1.PluginTemplateSpec, namespace string) error {
	for _, patch := range p.ConfigPatches {
		from, err := p.source(patch.ValueFrom, namespace)
		switch {
		case err != nil:
			return err
		case patch.Path == "" && (spec.Config != nil || spec.ConfigFrom != nil || len(p.ConfigPatches) > 1):
			return errors.New("one of its configPatches replaces the whole config, beside other sources; put the whole config into one Secret, as configFrom")
		case patch.Path == "":
			spec.ConfigFrom = from
		default:
			spec.ConfigPatches = append(spec.ConfigPatches, v1alpha1.ConfigPatch{Path: patch.Path, ValueFrom: *from, Format: v1alpha1.FormatJSON})
		}
	}
	return nil
}

func (p *kongPlugin) source(from kongSource, namespace string) (*v1alpha1.ConfigSource, error) {
	ref := from.SecretKeyRef
	in := ref.Namespace
	if in == "" {
		in = p.Metadata.Namespace
	}
	if in != namespace {
		return nil, fmt.Errorf("its Secret %s is in namespace %s, and a binding in namespace %s reads only Secrets of its own namespace; copy the Secret, and the KongPlugin with it, into namespace %s", ref.Name, in, namespace, namespace)
	}
	return &v1alpha1.ConfigSource{SecretKeyRef: v1alpha1.SecretKeyRef{Name: ref.Name, Key: ref.Key}}, nil
}

// bindingSpec is the spec of a binding with the template.
func bindingSpec(template *v1alpha1.PluginTemplateSpec, gateway v1alpha1.GatewayRef, scope *v1alpha1.Scope) v1alpha1.PluginBindingSpec {
	t := template.DeepCopy()
	return v1alpha1.PluginBindingSpec{
		GatewayRef: gateway, Plugin: t.Plugin, Scope: scope, Enabled: t.Enabled, Protocols: t.Protocols, Ordering: t.Ordering,
		Config: t.Config, ConfigFrom: t.ConfigFrom, ConfigPatches: t.ConfigPatches,
	}
}

// templateOf is the template of a binding.
func templateOf(spec *v1alpha1.PluginBindingSpec) v1alpha1.PluginTemplateSpec {
	s := spec.DeepCopy()
	return v1alpha1.PluginTemplateSpec{
		Plugin: s.Plugin, Enabled: s.Enabled, Protocols: s.Protocols, Ordering: s.Ordering, Condition: s.Condition, Partials: s.Partials,
		Config: s.Config, ConfigFrom: s.ConfigFrom, ConfigPatches: s.ConfigPatches, Tags: s.Tags,
	}
}
