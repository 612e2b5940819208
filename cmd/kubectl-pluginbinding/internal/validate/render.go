package validate

import (
	"context"
	"errors"
	"fmt"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/pluginbinding/kong-plugin-operator/api/v1alpha1"
	"github.com/pluginbinding/kong-plugin-operator/internal/plugin"
	"github.com/pluginbinding/kong-plugin-operator/internal/secrets"
)

// unreadable reports whether a source cannot be looked at from here.
func unreadable(err error) bool {
	var missing *secrets.NotFoundError
	return apierrors.IsForbidden(err) || errors.As(err, &missing)
}

// render makes the plugin of a config. It leaves out the patches whose source cannot be read, and
// returns their paths. It returns false if there is nothing to ask Kong about.
func (v *validator) render(ctx context.Context, s subject) (rendered plugin.Rendered, skipped []string, ok bool, err error) {
	sources := newSources(ctx, v, s.key.Namespace)
	spec := s.spec.DeepCopy()
	if from := spec.ConfigFrom; from != nil {
		if err := sources.try(from); unreadable(err) {
			v.skip(s, "the config from "+describe(from), err)
			return rendered, nil, false, nil
		}
	}
	var kept []v1alpha1.ConfigPatch
	for i := range spec.ConfigPatches {
		patch := &spec.ConfigPatches[i]
		if err := sources.try(&patch.ValueFrom); unreadable(err) {
			v.skip(s, fmt.Sprintf("configPatches[%d] from %s", i, describe(&patch.ValueFrom)), err)
			skipped = append(skipped, "config."+strings.ReplaceAll(strings.TrimPrefix(patch.Path, "/"), "/", "."))
			continue
		}
		kept = append(kept, *patch)
	}
	spec.ConfigPatches = kept
	rendered, err = plugin.Render(plugin.Inputs{
		Spec: spec, InstanceName: "validate." + s.key.Namespace + "." + s.key.Name, Secret: sources.secret, ConfigMap: sources.configMap,
	})
	var invalid *plugin.ConfigError
	if errors.As(err, &invalid) {
		field := s.root + ".config"
		if below, found := strings.CutPrefix(invalid.Field, "spec."); found && len(skipped) == 0 {
			field = s.root + "." + below
		}
		v.add(s, field, invalid.Error())
		return rendered, nil, false, nil
	}
	return rendered, skipped, err == nil, err
}

// sources reads what one config comes from.
type sources struct {
	secret    func(v1alpha1.SecretKeyRef) ([]byte, error)
	configMap func(v1alpha1.ConfigMapKeyRef) ([]byte, error)
}

func newSources(ctx context.Context, v *validator, namespace string) sources {
	ofSecrets, ofConfigMaps := secrets.NewReader(v.getSecret, namespace), secrets.NewConfigMapReader(v.getConfigMap, namespace)
	return sources{
		secret:    func(ref v1alpha1.SecretKeyRef) ([]byte, error) { return ofSecrets.Value(ctx, ref.Name, ref.Key) },
		configMap: func(ref v1alpha1.ConfigMapKeyRef) ([]byte, error) { return ofConfigMaps.Value(ctx, ref.Name, ref.Key) },
	}
}

func (s sources) try(from *v1alpha1.ConfigSource) (err error) {
	if from.SecretKeyRef.Name != "" {
		_, err = s.secret(from.SecretKeyRef)
	} else {
		_, err = s.configMap(from.ConfigMapKeyRef)
	}
	return err
}

func describe(from *v1alpha1.ConfigSource) string {
	if from.SecretKeyRef.Name != "" {
		return "Secret " + from.SecretKeyRef.Name
	}
	return "ConfigMap " + from.ConfigMapKeyRef.Name
}
