package controllers

import (
	"context"

	"k8s.io/apimachinery/pkg/api/meta"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/pluginbinding/kong-plugin-operator/api/v1alpha1"
	"github.com/pluginbinding/kong-plugin-operator/internal/policy"
	"github.com/pluginbinding/kong-plugin-operator/internal/reference"
)

// AddIndexes adds the field indexes that the reconcilers need. It returns an error when the cache
// has started already.
func AddIndexes(ctx context.Context, indexer client.FieldIndexer) error {
	for _, index := range []struct {
		object client.Object
		name   string
		values client.IndexerFunc
	}{
		{&v1alpha1.PluginBinding{}, reference.IndexGateway, ofBinding(gatewayKey)},
		{&v1alpha1.PluginBinding{}, reference.IndexConflict, ofBinding(conflictGatewayKey)},
		{&v1alpha1.PluginBinding{}, reference.IndexPluginID, ofBinding(reference.PluginIDBuckets)},
		{&v1alpha1.PluginBinding{}, reference.IndexReplaces, ofBinding(replacedKey)},
		{&v1alpha1.PluginBinding{}, reference.IndexSecret, ofBinding(reference.SecretsOfBinding)},
		{&v1alpha1.PluginBinding{}, reference.IndexConfigMap, ofBinding(reference.ConfigMapsOfBinding)},
		{&v1alpha1.PluginBinding{}, reference.IndexPlace, ofBinding(reference.PlaceBuckets)},
		{&v1alpha1.PluginBinding{}, reference.IndexPolicy, ofBinding(policyUID)},
		{&v1alpha1.PluginPolicy{}, reference.IndexGateway, ofPolicy(func(p *v1alpha1.PluginPolicy) []string {
			return []string{reference.GatewayOfPolicy(p).String()}
		})},
		{&v1alpha1.PluginPolicy{}, reference.IndexTarget, ofPolicy(policy.TargetKeys)},
		{&v1alpha1.PluginPolicy{}, reference.IndexConflict, ofPolicy(conflictedKeys)},
		{&v1alpha1.KongGateway{}, reference.IndexSecret, func(o client.Object) []string {
			return reference.SecretsOfGateway(o.(*v1alpha1.KongGateway))
		}},
	} {
		if err := indexer.IndexField(ctx, index.object, index.name, index.values); err != nil {
			return err
		}
	}
	return nil
}

func ofBinding(values func(*v1alpha1.PluginBinding) []string) client.IndexerFunc {
	return func(o client.Object) []string { return values(o.(*v1alpha1.PluginBinding)) }
}

func ofPolicy(values func(*v1alpha1.PluginPolicy) []string) client.IndexerFunc {
	return func(o client.Object) []string { return values(o.(*v1alpha1.PluginPolicy)) }
}

// conflictedKeys are those of a policy that waits for a place or a name.
func conflictedKeys(p *v1alpha1.PluginPolicy) []string {
	accepted := meta.FindStatusCondition(p.Status.Conditions, v1alpha1.ConditionAccepted)
	if accepted == nil || accepted.Reason != v1alpha1.ReasonConflicted {
		return nil
	}
	return []string{reference.GatewayOfPolicy(p).String(), p.Namespace + "/"}
}

func policyUID(binding *v1alpha1.PluginBinding) []string {
	if owner := reference.PolicyOf(binding); owner != nil {
		return []string{string(owner.UID)}
	}
	return nil
}

func gatewayKey(binding *v1alpha1.PluginBinding) []string {
	return []string{reference.GatewayOf(binding).String()}
}

func conflictGatewayKey(binding *v1alpha1.PluginBinding) []string {
	if binding.Status.Conflict == nil {
		return nil
	}
	return gatewayKey(binding)
}

func replacedKey(binding *v1alpha1.PluginBinding) []string {
	if key, ok := reference.Replaced(binding); ok {
		return []string{key.String()}
	}
	return nil
}
