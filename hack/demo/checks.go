package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/pluginbinding/kong-plugin-operator/api/v1alpha1"
	"github.com/pluginbinding/kong-plugin-operator/internal/identity"
)

// list lists bindings, and remembers the plugin IDs that are new.
func (s *walkthrough) list(ctx context.Context, opts ...client.ListOption) ([]v1alpha1.PluginBinding, error) {
	bindings, err := s.cluster.bindings(ctx, opts...)
	for i := range bindings {
		key := client.ObjectKeyFromObject(&bindings[i])
		if _, known := s.ids[key]; !known && hasID(&bindings[i]) {
			s.ids[key] = string(bindings[i].Status.PluginID)
		}
	}
	return bindings, err
}

func hasID(b *v1alpha1.PluginBinding) bool { return b.Status.PluginID != "" }

// ready reports whether the current generation of the binding is Ready.
func ready(b *v1alpha1.PluginBinding) bool {
	condition := meta.FindStatusCondition(b.Status.Conditions, v1alpha1.ConditionReady)
	return condition != nil && condition.Status == metav1.ConditionTrue && condition.ObservedGeneration == b.Generation
}

func count(bindings []v1alpha1.PluginBinding, is func(*v1alpha1.PluginBinding) bool) int {
	n := 0
	for i := range bindings {
		if is(&bindings[i]) {
			n++
		}
	}
	return n
}

// allBindingsReady returns an error for bindings that are not Ready. The binding with the
// conflict does not count.
func (s *walkthrough) allBindingsReady(ctx context.Context) error {
	bindings, err := s.list(ctx)
	if err != nil {
		return err
	}
	if len(bindings) == 0 {
		return errors.New("there are no bindings")
	}
	var waiting []string
	for i := range bindings {
		if b := &bindings[i]; !ready(b) && b.Name != conflictBinding {
			waiting = append(waiting, b.Namespace+"/"+b.Name+" "+readySummary(b))
		}
	}
	if len(waiting) > 0 {
		return fmt.Errorf("not Ready: %s", strings.Join(waiting, "\n  "))
	}
	return nil
}

// readySummary returns the reason and message of Ready.
func readySummary(b *v1alpha1.PluginBinding) string {
	condition := meta.FindStatusCondition(b.Status.Conditions, v1alpha1.ConditionReady)
	if condition == nil {
		return "(no condition)"
	}
	return fmt.Sprintf("(%s: %s)", condition.Reason, condition.Message)
}

// idsMatchKong returns an error for bindings whose status has another ID than their plugin in
// Kong. It finds the plugin by its instance name.
func (s *walkthrough) idsMatchKong(ctx context.Context, bindings []v1alpha1.PluginBinding) error {
	var errs []error
	for i := range bindings {
		b := &bindings[i]
		plugin, err := s.kong.get(ctx, "/plugins/"+s.instanceName(b))
		if err == nil && plugin.id() != string(b.Status.PluginID) {
			err = fmt.Errorf("%s/%s has the ID %q in its status, Kong has %q", b.Namespace, b.Name, b.Status.PluginID, plugin.id())
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

func (s *walkthrough) instanceName(b *v1alpha1.PluginBinding) string {
	if b.Spec.InstanceName != "" {
		return string(b.Spec.InstanceName)
	}
	return identity.Binding{Cluster: s.kong.clusterID, Namespace: b.Namespace, Name: b.Name}.InstanceName()
}

// cartPlugins returns the IDs of the plugins in Kong by the name of their binding.
func (s *walkthrough) cartPlugins(ctx context.Context) (map[string]string, error) {
	plugins, err := s.kong.owned(ctx, cartNamespace)
	ids := make(map[string]string, len(plugins))
	for _, plugin := range plugins {
		ids[plugin.tagValue("k8s-name")] = plugin.id()
	}
	return ids, err
}

// recorded returns the plugin IDs in the status of the ten bindings, by name.
func (s *walkthrough) recorded(ctx context.Context) (map[string]string, error) {
	bindings, err := s.list(ctx, client.InNamespace(cartNamespace))
	ids := map[string]string{}
	for i := range bindings {
		if b := &bindings[i]; hasID(b) {
			ids[b.Name] = string(b.Status.PluginID)
		}
	}
	return ids, err
}

// onePluginEach checks that Kong has one plugin for each of the ten bindings, each on a route
// of its own.
func (s *walkthrough) onePluginEach(ctx context.Context) error {
	plugins, err := s.kong.owned(ctx, cartNamespace)
	if err != nil {
		return err
	}
	names, routes := map[string]bool{}, map[string]bool{}
	for _, plugin := range plugins {
		route, _ := plugin["route"].(map[string]any)
		names[plugin.tagValue("k8s-name")], routes[entity(route).id()] = true, true
	}
	if len(plugins) != cartCount || len(names) != cartCount || len(routes) != cartCount {
		return fmt.Errorf("Kong has %d plugins, for %d bindings on %d routes", len(plugins), len(names), len(routes))
	}
	return nil
}

// idsUnchanged returns an error for plugins that have another ID than before, or whose binding
// records another one.
func (s *walkthrough) idsUnchanged(ctx context.Context, had map[string]string) error {
	inKong, err := s.cartPlugins(ctx)
	if err != nil {
		return err
	}
	recorded, err := s.recorded(ctx)
	errs := []error{err}
	for _, name := range slices.Sorted(maps.Keys(had)) {
		if id := had[name]; inKong[name] != id || recorded[name] != id {
			errs = append(errs, fmt.Errorf("%s had %s; now Kong has %q and the status has %q", name, id, inKong[name], recorded[name]))
		}
	}
	return errors.Join(errs...)
}

// unrecorded returns the names of bindings with a plugin in Kong and no ID in their status.
func unrecorded(inKong, recorded map[string]string) []string {
	var names []string
	for name := range inKong {
		if recorded[name] == "" {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// recovered checks that the bindings report that their ID was found in Kong.
func (s *walkthrough) recovered(ctx context.Context, names []string) error {
	var errs []error
	for _, name := range names {
		b, err := s.cluster.binding(ctx, client.ObjectKey{Namespace: cartNamespace, Name: name})
		if err == nil && b.Status.PluginIDSource != v1alpha1.PluginIDRecovered {
			err = fmt.Errorf("%s: pluginIDSource is %q", name, b.Status.PluginIDSource)
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// pluginOf returns the plugin of a binding and its recorded ID.
func (s *walkthrough) pluginOf(ctx context.Context, key client.ObjectKey) (string, entity, error) {
	b, err := s.cluster.binding(ctx, key)
	if err != nil {
		return "", nil, err
	}
	if !hasID(b) {
		return "", nil, fmt.Errorf("%s has no plugin ID", key)
	}
	plugin, err := s.kong.get(ctx, "/plugins/"+string(b.Status.PluginID))
	return string(b.Status.PluginID), plugin, err
}

// pluginEquals checks that the plugin with that ID is what it was, apart from timestamps.
func (s *walkthrough) pluginEquals(ctx context.Context, id string, was entity) error {
	is, err := s.kong.get(ctx, "/plugins/"+id)
	if err != nil {
		return err
	}
	if is, was := is.withoutTimestamps().canonical(), was.withoutTimestamps().canonical(); is != was {
		return fmt.Errorf("the plugin was %s\nand is %s", was, is)
	}
	return nil
}

// conflictReported checks that the binding reports the conflict with that plugin.
func (s *walkthrough) conflictReported(ctx context.Context, key client.ObjectKey, pluginID string) error {
	b, err := s.cluster.binding(ctx, key)
	if err != nil {
		return err
	}
	condition := meta.FindStatusCondition(b.Status.Conditions, v1alpha1.ConditionProgrammed)
	switch {
	case condition == nil:
		return errors.New("there is no Programmed condition")
	case condition.Status != metav1.ConditionFalse || condition.Reason != v1alpha1.ReasonConflict || !strings.Contains(condition.Message, pluginID):
		return fmt.Errorf("Programmed is %s, reason %s: %s", condition.Status, condition.Reason, condition.Message)
	case hasID(b):
		return fmt.Errorf("status.pluginID is %s", b.Status.PluginID)
	}
	return nil
}

// pluginUnchanged checks that the plugin is what it was, and that nothing else was written.
func (s *walkthrough) pluginUnchanged(ctx context.Context, was entity, watched func(context.Context) (observation, error)) error {
	is, err := s.kong.get(ctx, "/plugins/"+was.id())
	if err != nil {
		return err
	}
	if is.canonical() != was.canonical() {
		return fmt.Errorf("the plugin was %s\nand is %s", was.canonical(), is.canonical())
	}
	seen, err := watched(ctx)
	if err != nil {
		return err
	}
	return seen.anyWrite()
}

// idsNeverChanged returns an error for bindings with another ID than their first one.
func (s *walkthrough) idsNeverChanged(bindings []v1alpha1.PluginBinding) error {
	now := map[client.ObjectKey]string{}
	for i := range bindings {
		now[client.ObjectKeyFromObject(&bindings[i])] = string(bindings[i].Status.PluginID)
	}
	var errs []error
	for key, id := range s.ids {
		if now[key] != id {
			errs = append(errs, fmt.Errorf("%s had %s and has %q", key, id, now[key]))
		}
	}
	return errors.Join(errs...)
}

// expectError returns an error unless err is the expected one.
func expectError(expected, err error) error {
	switch {
	case errors.Is(err, expected):
		return nil
	case err == nil:
		return errors.New("it still exists")
	default:
		return err
	}
}
