package main

import "strings"

// krewPlugin is a manifest of krew, the package manager of kubectl plugins.
type krewPlugin struct {
	APIVersion string            `json:"apiVersion"`
	Kind       string            `json:"kind"`
	Metadata   map[string]string `json:"metadata"`
	Spec       krewSpec          `json:"spec"`
}

type krewSpec struct {
	Version          string         `json:"version"`
	Homepage         string         `json:"homepage"`
	ShortDescription string         `json:"shortDescription"`
	Description      string         `json:"description"`
	Platforms        []krewPlatform `json:"platforms"`
}

type krewPlatform struct {
	Selector krewSelector `json:"selector"`
	URI      string       `json:"uri"`
	SHA256   string       `json:"sha256"`
	Bin      string       `json:"bin"`
}

type krewSelector struct {
	MatchLabels map[string]string `json:"matchLabels"`
}

func newKrewPlugin(version string) *krewPlugin {
	return &krewPlugin{
		APIVersion: "krew.googlecontainertools.github.com/v1alpha2",
		Kind:       "Plugin",
		Metadata:   map[string]string{"name": strings.TrimPrefix(plugin, "kubectl-")},
		Spec: krewSpec{
			Version:          "v" + version,
			Homepage:         "https://" + module,
			ShortDescription: "Plan, import and hand over Kong plugins",
			Description: "Shows what PluginBindings would do in Kong, writes them for plugins that are there, and moves\n" +
				"plugins from other tools to the Kong Plugin Operator and back.",
		},
	}
}

// add tells where the archive of a platform is published.
func (k *krewPlugin) add(p platform, archive, sum string) {
	bin := plugin
	if p.os == "windows" {
		bin += ".exe"
	}
	k.Spec.Platforms = append(k.Spec.Platforms, krewPlatform{
		Selector: krewSelector{MatchLabels: map[string]string{"os": p.os, "arch": p.arch}},
		URI:      "https://" + module + "/releases/download/" + k.Spec.Version + "/" + archive,
		SHA256:   sum,
		Bin:      bin,
	})
}
