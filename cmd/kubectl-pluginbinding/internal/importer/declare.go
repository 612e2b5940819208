package importer

import (
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/pluginbinding/kong-plugin-operator/api/v1alpha1"
	"github.com/pluginbinding/kong-plugin-operator/internal/identity"
	"github.com/pluginbinding/kong-plugin-operator/internal/kic"
	"github.com/pluginbinding/kong-plugin-operator/internal/plugin"
)

// declaration is what an object says about a plugin, without its scope.
type declaration struct {
	spec   v1alpha1.PluginTemplateSpec
	config config
	// instanceName is for a binding only.
	instanceName v1alpha1.Name
	// lost are fields that an object cannot say.
	lost []string
}

// What the API takes, see PluginName, Name and Tag.
var (
	pluginPattern = regexp.MustCompile(`^[a-z0-9][a-z0-9_-]{0,127}$`)
	namePattern   = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._~-]{0,255}$`)
	looksLikeUUID = regexp.MustCompile(`(?i)^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$`)
)

const (
	maxTags      = 32
	maxTag       = 128
	maxCondition = 4096
)

// declare says what a row is. dropped are tags that belong to another tool. It fails if an object cannot
// stand for the row.
func declare(row plugin.Plugin, schema *plugin.Schema, from *KongPlugin, namespace string, dropped []string) (declaration, error) {
	if !pluginPattern.MatchString(row.Name) {
		return declaration{}, fmt.Errorf("a binding does not take the plugin name %q", row.Name)
	}
	if row.Scope.ConsumerID != "" && row.Scope.ConsumerGroupID != "" {
		return declaration{}, fmt.Errorf("a binding does not take a consumer and a consumer group together")
	}
	if len(row.Protocols) == 0 {
		// Kong never runs it. An object without protocols has Kong's default.
		return declaration{}, fmt.Errorf("a binding does not take an empty list of protocols")
	}
	d := declaration{spec: v1alpha1.PluginTemplateSpec{Plugin: v1alpha1.PluginName(row.Name)}}
	var err error
	if d.config, err = declareConfig(row, schema, from, namespace); err != nil {
		return declaration{}, err
	}
	if !row.Enabled {
		d.spec.Enabled = &row.Enabled
	}
	d.setInstanceName(row.InstanceName)
	d.setTags(row.Tags, dropped)
	d.setOrdering(row.Ordering)
	if err := d.setNewer(row); err != nil {
		return declaration{}, err
	}
	undeclared := plugin.Plugin{Name: row.Name, Config: row.Config}
	if slices.Contains(plugin.Differences(undeclared, row, schema), "protocols") || schema == nil {
		for _, protocol := range slices.Sorted(slices.Values(row.Protocols)) {
			d.spec.Protocols = append(d.spec.Protocols, v1alpha1.Protocol(protocol))
		}
	}
	return d, nil
}

func (d *declaration) setInstanceName(name string) {
	switch {
	case name == "":
	case namePattern.MatchString(name) && !looksLikeUUID.MatchString(name) && name != "enabled":
		d.instanceName = v1alpha1.Name(name)
	default:
		d.lost = append(d.lost, fmt.Sprintf("instance_name %q", name))
	}
}

// setTags keeps the tags that are the user's own. Those of the ingress controller on its plugins go with
// it, and so do those by which decK manages a plugin.
func (d *declaration) setTags(tags, dropped []string) {
	_, _, isKICs := kic.ObjectOf(tags)
	isKICs = isKICs || identity.OwnerOf(tags).Tool == identity.ToolIngressController
	for _, tag := range tags {
		reserved := strings.HasPrefix(tag, "managed-by") || strings.HasPrefix(tag, "k8s-")
		switch {
		case isKICs && reserved || slices.Contains(dropped, tag):
		case reserved || utf8.RuneCountInString(tag) > maxTag || strings.ContainsAny(tag, ",/") || len(d.spec.Tags) == maxTags:
			d.lost = append(d.lost, fmt.Sprintf("tag %q", tag))
		default:
			d.spec.Tags = append(d.spec.Tags, v1alpha1.Tag(tag))
		}
	}
	slices.Sort(d.spec.Tags)
	d.spec.Tags = slices.Compact(d.spec.Tags)
}

func (d *declaration) setOrdering(ordering map[string]map[string][]string) {
	phases := func(when string) *v1alpha1.PluginOrderingPhases {
		var access []v1alpha1.PluginName
		for phase, plugins := range ordering[when] {
			if phase != "access" {
				d.lost = append(d.lost, "ordering."+when+"."+phase)
				continue
			}
			for _, name := range plugins {
				access = append(access, v1alpha1.PluginName(name))
			}
		}
		if len(access) == 0 {
			return nil
		}
		return &v1alpha1.PluginOrderingPhases{Access: access}
	}
	before, after := phases("before"), phases("after")
	if before != nil || after != nil {
		d.spec.Ordering = &v1alpha1.PluginOrdering{Before: before, After: after}
	}
}

// setNewer keeps the fields that only newer versions of Kong have. The operator leaves those alone that a
// binding cannot say.
func (d *declaration) setNewer(row plugin.Plugin) error {
	for name, raw := range row.Unknown {
		switch name {
		case plugin.FieldCondition:
			var condition string
			if json.Unmarshal(raw, &condition) != nil || len(condition) > maxCondition {
				return fmt.Errorf("a binding does not take its condition")
			}
			d.spec.Condition = v1alpha1.PluginCondition(condition)
		case plugin.FieldPartials:
			if json.Unmarshal(raw, &d.spec.Partials) != nil {
				return fmt.Errorf("a binding does not take its partials")
			}
			for i := range d.spec.Partials { // Kong answers the ID and the name
				if d.spec.Partials[i].ID != "" {
					d.spec.Partials[i].Name = ""
				}
			}
		default:
			d.lost = append(d.lost, fmt.Sprintf("%q", name))
		}
	}
	slices.Sort(d.lost)
	return nil
}
