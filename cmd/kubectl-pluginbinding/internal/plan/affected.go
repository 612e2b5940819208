package plan

import (
	"context"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/sets"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/pluginbinding/kong-plugin-operator/api/v1alpha1"
	"github.com/pluginbinding/kong-plugin-operator/cmd/kubectl-pluginbinding/internal/cli"
	"github.com/pluginbinding/kong-plugin-operator/internal/reference"
)

// findAffected returns the bindings and policies that the operator reconciles because another object of the
// files changes: the KongGateway that they refer to, or what a config comes from. It returns their gateways
// as well. An object that stays as it is concerns nobody.
func (p *planner) findAffected(ctx context.Context) (affected []objectKey, gateways []types.NamespacedName, err error) {
	changed := map[objectKey]bool{}
	for _, object := range p.applied {
		key, changes, err := p.changes(ctx, object)
		if err != nil {
			return nil, nil, err
		}
		if changes {
			changed[key] = true
		}
	}
	if len(changed) == 0 {
		return nil, nil, nil
	}
	bindings, policies := &v1alpha1.PluginBindingList{}, &v1alpha1.PluginPolicyList{}
	if err := p.listAround(ctx, changed, bindings); err != nil {
		return nil, nil, err
	}
	for i := range bindings.Items {
		if binding := &bindings.Items[i]; dependsOn(binding, changed) {
			affected = append(affected, objectKey{kindBinding, client.ObjectKeyFromObject(binding)})
			gateways = append(gateways, reference.GatewayOf(binding))
		}
	}
	if err := p.listAround(ctx, changed, policies); err != nil {
		return nil, nil, err
	}
	for i := range policies.Items {
		policy := &policies.Items[i]
		if gateway := reference.GatewayOfPolicy(policy); changed[objectKey{kindGateway, gateway}] {
			affected = append(affected, objectKey{kindPolicy, client.ObjectKeyFromObject(policy)})
			gateways = append(gateways, gateway)
		}
	}
	return affected, gateways, nil
}

// changes reports whether an object of the files changes what the operator reads of it.
func (p *planner) changes(ctx context.Context, object client.Object) (key objectKey, changes bool, err error) {
	key.NamespacedName = client.ObjectKeyFromObject(object)
	var live client.Object
	switch object.(type) {
	case *v1alpha1.KongGateway:
		key.kind, live = kindGateway, &v1alpha1.KongGateway{}
	case *corev1.Secret:
		key.kind, live = kindSecret, &corev1.Secret{}
	case *corev1.ConfigMap:
		key.kind, live = kindConfigMap, &corev1.ConfigMap{}
	default:
		return key, false, nil
	}
	err = p.live.Get(ctx, key.NamespacedName, live)
	if apierrors.IsNotFound(err) || apierrors.IsForbidden(err) {
		return key, true, nil // as far as this user knows
	}
	return key, !equality.Semantic.DeepEqual(contentOf(object), contentOf(live)), err
}

func contentOf(object client.Object) any {
	switch o := object.(type) {
	case *v1alpha1.KongGateway:
		return o.Spec
	case *corev1.Secret:
		return o.Data
	case *corev1.ConfigMap:
		return []any{o.Data, o.BinaryData}
	default:
		return nil
	}
}

func dependsOn(binding *v1alpha1.PluginBinding, changed map[objectKey]bool) bool {
	names := func(kind string, names []string) bool {
		return slices.ContainsFunc(names, func(name string) bool {
			return changed[objectKey{kind, types.NamespacedName{Namespace: binding.Namespace, Name: name}}]
		})
	}
	return changed[objectKey{kindGateway, reference.GatewayOf(binding)}] ||
		names(kindSecret, reference.SecretsOfBinding(binding)) || names(kindConfigMap, reference.ConfigMapsOfBinding(binding))
}

// listAround lists the objects of all namespaces if a gateway changes, and otherwise those of the namespaces
// of what changes. Somebody who may not list all gets those of the latter.
func (p *planner) listAround(ctx context.Context, changed map[objectKey]bool, list client.ObjectList) error {
	namespaces, everywhere := sets.New[string](), false
	for key := range changed {
		namespaces.Insert(key.Namespace)
		everywhere = everywhere || key.kind == kindGateway
	}
	if everywhere {
		err := cli.ListAll(ctx, p.live, list)
		if !apierrors.IsForbidden(err) {
			return err
		}
		p.factory.Notef("you may not list the objects of all namespaces; the plan looks for those that change as a consequence only in %s",
			strings.Join(sets.List(namespaces), ", "))
	}
	var all []runtime.Object
	for _, namespace := range sets.List(namespaces) {
		err := cli.ListAll(ctx, p.live, list, client.InNamespace(namespace))
		if apierrors.IsForbidden(err) {
			p.factory.Notef("you may not list the objects in namespace %s; those that change there as a consequence are not in the plan", namespace)
			continue
		}
		if err != nil {
			return err
		}
		items, err := meta.ExtractList(list)
		if err != nil {
			return err
		}
		all = append(all, items...)
	}
	return meta.SetList(list, all)
}
