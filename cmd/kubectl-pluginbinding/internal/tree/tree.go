// Package tree shows gateways, their policies and their bindings.
//
// It reads the API server only, and does not know Kong.
package tree

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/pluginbinding/kong-plugin-operator/api/v1alpha1"
	"github.com/pluginbinding/kong-plugin-operator/cmd/kubectl-pluginbinding/internal/cli"
	"github.com/pluginbinding/kong-plugin-operator/internal/reference"
)

const long = `Show gateways, the policies of each, the bindings of each policy, and all other bindings of the
gateway: scope, plugin, plugin ID, whether they are Ready, and why not.

It shows what is in the namespace of the current context, with the gateways that it refers to; -A
shows all namespaces.

Exit code: 0, whatever is Ready or not.`

const example = `  # Everything of the current namespace
  kubectl pluginbinding tree

  # One gateway, with all its bindings from all namespaces
  kubectl pluginbinding tree kong -n platform -A

  # The IDs of all plugins, for a script
  kubectl pluginbinding tree -A -o jsonpath='{.gateways[*].bindings[*].pluginID}'`

// Node is what all objects of the tree have.
type Node struct {
	Namespace string `json:"namespace"`
	Name      string `json:"name"`
	Ready     string `json:"ready"`
	Reason    string `json:"reason,omitempty"`
	Message   string `json:"message,omitempty"`
}

// Gateway is a KongGateway with what belongs to it.
type Gateway struct {
	Node
	AdminURL string    `json:"adminURL,omitempty"`
	Version  string    `json:"version,omitempty"`
	Policies []Policy  `json:"policies,omitempty"`
	Bindings []Binding `json:"bindings,omitempty"`
}

// Policy is a PluginPolicy with its bindings.
type Policy struct {
	Node
	Plugin   string    `json:"plugin"`
	Targets  string    `json:"targets,omitempty"`
	Bindings []Binding `json:"bindings,omitempty"`
}

// Binding is a PluginBinding.
type Binding struct {
	Node
	Plugin   string `json:"plugin"`
	Scope    string `json:"scope"`
	PluginID string `json:"pluginID,omitempty"`
}

// Tree is what -o json prints.
type Tree struct {
	Gateways []Gateway `json:"gateways"`
}

type options struct {
	factory       *cli.Factory
	output        *cli.Output
	allNamespaces bool
}

// NewCommand returns the command tree.
func NewCommand(f *cli.Factory) *cobra.Command {
	o := &options{factory: f, output: cli.NewOutput()}
	command := &cobra.Command{
		Use: "tree [GATEWAY]", Short: "Show gateways, policies and bindings", Long: long, Example: example,
		Args: cobra.MaximumNArgs(1), ValidArgsFunction: f.CompleteNames(&v1alpha1.KongGatewayList{}),
		RunE: func(c *cobra.Command, args []string) error { return o.run(c, args) },
	}
	o.output.AddFlags(command)
	command.Flags().BoolVarP(&o.allNamespaces, "all-namespaces", "A", false, "Show all namespaces")
	return command
}

func (o *options) run(command *cobra.Command, args []string) error {
	ctx, cancel := o.factory.Context(command)
	defer cancel()
	reader, err := o.factory.Client()
	if err != nil {
		return err
	}
	namespace, _, err := o.factory.Namespace()
	if err != nil {
		return err
	}
	var only *types.NamespacedName
	if len(args) > 0 {
		only = &types.NamespacedName{Namespace: namespace, Name: args[0]}
	}
	if o.allNamespaces {
		namespace = ""
	}
	tree, err := read(ctx, reader, namespace, only)
	if err != nil {
		return err
	}
	return o.output.Print(o.factory, tree.result())
}

// forest collects the objects by gateway.
type forest struct {
	gateways map[types.NamespacedName]*Gateway
	policies map[types.UID]*Policy
	order    map[types.NamespacedName][]types.UID
}

// read reads the tree of a namespace, or of all for an empty one.
func read(ctx context.Context, reader client.Reader, namespace string, only *types.NamespacedName) (*Tree, error) {
	gateways, policies, bindings := &v1alpha1.KongGatewayList{}, &v1alpha1.PluginPolicyList{}, &v1alpha1.PluginBindingList{}
	for _, list := range []client.ObjectList{gateways, policies, bindings} {
		if err := cli.ListAll(ctx, reader, list, client.InNamespace(namespace)); err != nil {
			return nil, err
		}
	}
	f := &forest{gateways: map[types.NamespacedName]*Gateway{}, policies: map[types.UID]*Policy{}, order: map[types.NamespacedName][]types.UID{}}
	for i := range gateways.Items {
		f.gateways[client.ObjectKeyFromObject(&gateways.Items[i])] = gatewayOf(&gateways.Items[i])
	}
	if only != nil {
		if err := f.restrict(ctx, reader, *only); err != nil {
			return nil, err
		}
	}
	for i := range policies.Items {
		policy := &policies.Items[i]
		key := reference.GatewayOfPolicy(policy)
		if err := f.ensure(ctx, reader, key, only); err != nil {
			return nil, err
		}
		f.policies[policy.UID] = policyOf(policy)
		f.order[key] = append(f.order[key], policy.UID)
	}
	for i := range bindings.Items {
		if err := f.add(ctx, reader, &bindings.Items[i], only); err != nil {
			return nil, err
		}
	}
	return f.tree(), nil
}

// restrict keeps one gateway.
func (f *forest) restrict(ctx context.Context, reader client.Reader, only types.NamespacedName) error {
	gateway := &v1alpha1.KongGateway{}
	if err := reader.Get(ctx, only, gateway); err != nil {
		return fmt.Errorf("KongGateway %s cannot be read: %w", only, err)
	}
	f.gateways = map[types.NamespacedName]*Gateway{only: gatewayOf(gateway)}
	return nil
}

// ensure makes an entry of a gateway in another namespace. It need not be readable, nor exist.
func (f *forest) ensure(ctx context.Context, reader client.Reader, key types.NamespacedName, only *types.NamespacedName) error {
	if f.gateways[key] != nil || only != nil {
		return nil
	}
	gateway := &v1alpha1.KongGateway{}
	err := reader.Get(ctx, key, gateway)
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if err != nil {
		f.gateways[key] = &Gateway{Node: Node{Namespace: key.Namespace, Name: key.Name, Ready: string(metav1.ConditionUnknown), Message: err.Error()}}
		return nil //nolint:nilerr // the entry says it
	}
	f.gateways[key] = gatewayOf(gateway)
	return nil
}

// add puts a binding below its policy, or else below its gateway.
func (f *forest) add(ctx context.Context, reader client.Reader, binding *v1alpha1.PluginBinding, only *types.NamespacedName) error {
	if owner := reference.PolicyOf(binding); owner != nil && f.policies[owner.UID] != nil {
		policy := f.policies[owner.UID]
		policy.Bindings = append(policy.Bindings, bindingOf(binding))
		return nil
	}
	key := reference.GatewayOf(binding)
	if err := f.ensure(ctx, reader, key, only); err != nil {
		return err
	}
	if gateway := f.gateways[key]; gateway != nil {
		gateway.Bindings = append(gateway.Bindings, bindingOf(binding))
	}
	return nil
}

func (f *forest) tree() *Tree {
	tree := &Tree{Gateways: []Gateway{}}
	for key, gateway := range f.gateways {
		for _, uid := range f.order[key] {
			policy := f.policies[uid]
			slices.SortFunc(policy.Bindings, func(a, b Binding) int { return byName(a.Node, b.Node) })
			gateway.Policies = append(gateway.Policies, *policy)
		}
		slices.SortFunc(gateway.Policies, func(a, b Policy) int { return byName(a.Node, b.Node) })
		slices.SortFunc(gateway.Bindings, func(a, b Binding) int { return byName(a.Node, b.Node) })
		tree.Gateways = append(tree.Gateways, *gateway)
	}
	slices.SortFunc(tree.Gateways, func(a, b Gateway) int { return byName(a.Node, b.Node) })
	return tree
}

func byName(a, b Node) int {
	return cmp.Or(cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Name, b.Name))
}

func nodeOf(object client.Object, conditions []metav1.Condition) Node {
	node := Node{Namespace: object.GetNamespace(), Name: object.GetName(), Ready: string(metav1.ConditionUnknown)}
	ready := meta.FindStatusCondition(conditions, v1alpha1.ConditionReady)
	if ready == nil {
		return node
	}
	node.Ready, node.Reason = string(ready.Status), ready.Reason
	if ready.Status != metav1.ConditionTrue {
		node.Message = ready.Message
	}
	return node
}

func gatewayOf(gateway *v1alpha1.KongGateway) *Gateway {
	return &Gateway{Node: nodeOf(gateway, gateway.Status.Conditions), AdminURL: gateway.Spec.AdminURL, Version: gateway.Status.Version}
}

func policyOf(policy *v1alpha1.PluginPolicy) *Policy {
	return &Policy{Node: nodeOf(policy, policy.Status.Conditions), Plugin: string(policy.Spec.Template.Spec.Plugin), Targets: policy.Status.TargetSummary}
}

func bindingOf(binding *v1alpha1.PluginBinding) Binding {
	return Binding{
		Node: nodeOf(binding, binding.Status.Conditions), Plugin: string(binding.Spec.Plugin),
		Scope: reference.ScopeSummary(binding.Spec.Scope), PluginID: string(binding.Status.PluginID),
	}
}

// result is the tree for the printers.
func (t *Tree) result() *cli.Result {
	result := &cli.Result{
		Kind: "Tree", Value: t, Empty: "There is no KongGateway, PluginPolicy or PluginBinding here. -A shows all namespaces.",
		Columns: []cli.Column{{Name: "Object"}, {Name: "Plugin"}, {Name: "Scope"}, {Name: "Plugin-ID"}, {Name: "Ready"}, {Name: "Reason"}, {Name: "Message", Wide: true}},
	}
	add := func(prefix, kind string, node Node, plugin, scope, id string) {
		result.Rows = append(result.Rows, cli.Row{Level: levelOf(node), Cells: []any{
			prefix + kind + " " + node.Namespace + "/" + node.Name, plugin, scope, id, node.Ready, node.Reason, node.Message,
		}})
		result.Names = append(result.Names, resources[kind]+"."+v1alpha1.GroupVersion.Group+"/"+node.Name)
	}
	for i := range t.Gateways {
		gateway := &t.Gateways[i]
		add("", "gateway", gateway.Node, "", gateway.AdminURL, "")
		for j := range gateway.Policies {
			policy := &gateway.Policies[j]
			last := j == len(gateway.Policies)-1 && len(gateway.Bindings) == 0
			add(branch(last), "policy", policy.Node, policy.Plugin, policy.Targets, "")
			for k := range policy.Bindings {
				binding := &policy.Bindings[k]
				add(trunk(last)+branch(k == len(policy.Bindings)-1), "binding", binding.Node, binding.Plugin, binding.Scope, binding.PluginID)
			}
		}
		for j := range gateway.Bindings {
			binding := &gateway.Bindings[j]
			add(branch(j == len(gateway.Bindings)-1), "binding", binding.Node, binding.Plugin, binding.Scope, binding.PluginID)
		}
	}
	return result
}

var resources = map[string]string{"gateway": "konggateway", "policy": "pluginpolicy", "binding": "pluginbinding"}

func branch(last bool) string {
	if last {
		return "└─ "
	}
	return "├─ "
}

func trunk(last bool) string {
	if last {
		return "   "
	}
	return "│  "
}

func levelOf(node Node) cli.Level {
	switch node.Ready {
	case string(metav1.ConditionTrue):
		return cli.Good
	case string(metav1.ConditionFalse):
		return cli.Bad
	default:
		return cli.Warning
	}
}
