package kic

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	jsonpatch "github.com/evanphx/json-patch/v5"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/yaml"
)

// attachments are, for each name of a KongPlugin or KongClusterPlugin, the entities
// whose objects name it in the annotation konghq.com/plugins.
type attachments map[types.NamespacedName]*attachment

type attachment struct{ services, routes, consumers []string }

// attach records the plugins of an annotation: names, or namespace:name.
func (a attachments) attach(namespace string, annotations map[string]string, s Scope) {
	for _, name := range list(annotations["konghq.com/plugins"]) {
		key := types.NamespacedName{Namespace: namespace, Name: name}
		if other, short, found := strings.Cut(name, ":"); found {
			key = types.NamespacedName{Namespace: other, Name: short}
		}
		if a[key] == nil {
			a[key] = &attachment{}
		}
		at := a[key]
		at.services, at.routes, at.consumers = add(at.services, s.Service), add(at.routes, s.Route), add(at.consumers, s.Consumer)
	}
}

func add(names []string, name string) []string {
	if name == "" || slices.Contains(names, name) {
		return names
	}
	return append(names, name)
}

// scopes are the scopes of the plugins that one KongPlugin makes. One that is attached
// to a consumer and to a route, or to a service, is for both together, and for neither
// alone. Route and service never come together.
func (a *attachment) scopes() []Scope {
	var entities []Scope
	for _, name := range a.services {
		entities = append(entities, Scope{Service: name})
	}
	for _, name := range a.routes {
		entities = append(entities, Scope{Route: name})
	}
	if len(a.consumers) == 0 {
		return entities
	}
	if len(entities) == 0 {
		entities = []Scope{{}}
	}
	var out []Scope
	for _, consumer := range a.consumers {
		for _, s := range entities {
			s.Consumer = consumer
			out = append(out, s)
		}
	}
	return out
}

func (t *translator) attachedPlugins() {
	keys := slices.SortedFunc(maps.Keys(t.plans), func(a, b types.NamespacedName) int { return strings.Compare(a.String(), b.String()) })
	for _, key := range keys {
		p := of[kongPlugin](t.plugins, key.Namespace, key.Name)
		if p != nil {
			p.SetGroupVersionKind(kongPluginKind)
		} else if p = of[kongPlugin](t.clusterPlugins, "", key.Name); p != nil {
			p.SetGroupVersionKind(kongClusterPluginKind)
		}
		if p == nil || !t.mine(p.Annotations, nil) {
			continue
		}
		for _, s := range t.plans[key].scopes() {
			t.plugin(p, s)
		}
	}
}

// globalPlugins adds the KongClusterPlugins with the label global. Where two are of
// one plugin, neither is made.
func (t *translator) globalPlugins() {
	count := map[string]int{}
	isGlobal := func(p *kongPlugin) bool { return p.Labels["global"] == "true" && t.mine(p.Annotations, nil) }
	for i := range t.clusterPlugins {
		if p := &t.clusterPlugins[i]; isGlobal(p) {
			count[p.Plugin]++
		}
	}
	for i := range t.clusterPlugins {
		if p := &t.clusterPlugins[i]; isGlobal(p) && count[p.Plugin] == 1 {
			p.SetGroupVersionKind(kongClusterPluginKind)
			t.plugin(p, Scope{})
		}
	}
}

func (t *translator) plugin(p *kongPlugin, s Scope) {
	kind := p.GroupVersionKind()
	config, err := t.config(p)
	if err != nil {
		t.fail(p.reference(), kind, "%v", err)
		return
	}
	r := row{
		"id": ID("plugins", PluginKey(p.Plugin, s)), "name": p.Plugin, "config": config, "enabled": !p.Disabled,
		"tags": tags(p, kind, t.tag),
	}
	if p.InstanceName != "" {
		r["instance_name"] = p.InstanceName
		if s != (Scope{}) {
			r["instance_name"] = InstanceName(p.InstanceName, s)
		}
	}
	if len(p.Protocols) > 0 {
		r["protocols"] = p.Protocols
	}
	for field, name := range map[string]string{"service": s.Service, "route": s.Route, "consumer": s.Consumer} {
		if name != "" {
			r[field] = map[string]any{"id": ID(field+"s", name)}
		}
	}
	t.state.add("plugins", r)
}

// config is the configuration of a plugin with the values of Secrets in it.
func (t *translator) config(p *kongPlugin) (map[string]any, error) {
	raw := []byte("{}")
	switch {
	case p.ConfigFrom != nil && len(p.Config) > 0:
		return nil, fmt.Errorf("%s %s has both Config and ConfigFrom set", p.Kind, p.Name)
	case p.ConfigFrom != nil:
		value, err := t.secretValue(p, *p.ConfigFrom)
		if err != nil {
			return nil, err
		}
		if raw, err = yaml.YAMLToJSON(value); err != nil {
			return nil, fmt.Errorf("key %s of Secret %s is neither JSON nor YAML", p.ConfigFrom.SecretKeyRef.Key, p.ConfigFrom.SecretKeyRef.Name)
		}
	case p.Config != nil:
		raw = []byte(encoded(p.Config))
	}
	for _, patch := range p.ConfigPatches {
		value, err := t.secretValue(p, patch.ValueFrom)
		if err != nil {
			return nil, err
		}
		if raw, err = patched(raw, patch.Path, value); err != nil {
			return nil, fmt.Errorf("patch %s with key %s of Secret %s fails", patch.Path, patch.ValueFrom.SecretKeyRef.Key, patch.ValueFrom.SecretKeyRef.Name)
		}
	}
	var config map[string]any
	if err := json.Unmarshal(raw, &config); err != nil {
		return nil, fmt.Errorf("the config of %s %s is no object", p.Kind, p.Name)
	}
	return config, nil
}

func (t *translator) secretValue(p *kongPlugin, from valueFrom) ([]byte, error) {
	ref := from.SecretKeyRef
	namespace := p.Namespace
	if namespace == "" {
		namespace = ref.Namespace
	}
	secret := of(t.secrets, namespace, ref.Name)
	if secret == nil {
		return nil, fmt.Errorf("no Secret %s/%s, which %s %s refers to", namespace, ref.Name, p.Kind, p.Name)
	}
	value, found := secret.Data[ref.Key]
	if !found {
		return nil, fmt.Errorf("no key %s in Secret %s/%s", ref.Key, namespace, ref.Name)
	}
	return value, nil
}

func patched(raw []byte, path string, value []byte) ([]byte, error) {
	if path == "" {
		return yaml.YAMLToJSON(value)
	}
	if !json.Valid(value) {
		return nil, errors.New("no JSON")
	}
	patch, err := jsonpatch.DecodePatch([]byte(encoded([]map[string]any{{"op": "add", "path": path, "value": json.RawMessage(value)}})))
	if err != nil {
		return nil, err
	}
	options := jsonpatch.NewApplyOptions()
	options.EnsurePathExistsOnAdd = true
	return patch.ApplyWithOptions(raw, options)
}
