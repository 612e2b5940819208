// Package plan says what applying objects would do in Kong. It runs the operator's own reconcilers on
// drafts: a cluster in which the objects of the files are applied, and a Kong that keeps what is
// written. Both read the live one. Nothing is written to either.
//
// It is the only package of the command that may import the reconcilers. It must never decide itself
// what the operator does: it only tells drafts and live ones apart.
package plan

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/spf13/cobra"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/cli-runtime/pkg/genericclioptions"
	"k8s.io/cli-runtime/pkg/resource"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/pluginbinding/kong-plugin-operator/api/v1alpha1"
	"github.com/pluginbinding/kong-plugin-operator/cmd/kubectl-pluginbinding/internal/cli"
	"github.com/pluginbinding/kong-plugin-operator/cmd/kubectl-pluginbinding/internal/kong"
	"github.com/pluginbinding/kong-plugin-operator/internal/identity"
	"github.com/pluginbinding/kong-plugin-operator/internal/reference"
)

const (
	kindBinding   = "PluginBinding"
	kindPolicy    = "PluginPolicy"
	kindGateway   = "KongGateway"
	kindSecret    = "Secret"
	kindConfigMap = "ConfigMap"
)

const long = `Say what applying these objects would do in Kong. Nothing is written anywhere.

The plan runs the operator's own decision on what the cluster and Kong hold now. The API server fills
in defaults and checks its rules, in a dry run; for that you need the rights to apply the objects.
Secrets and ConfigMaps in the files count as applied.

Exit codes: 0 nothing would change, 1 an error, or an object that would not become Ready, 2 something
would change in Kong.`

const example = `  # What would these bindings do?
  kubectl pluginbinding plan -f bindings/

  # In a pipeline: fail only if something is wrong
  kustomize build . | kubectl pluginbinding plan -f - || [ $? -eq 2 ]`

type options struct {
	factory   *cli.Factory
	output    *cli.Output
	files     resource.FilenameOptions
	clusterID string
	manager   string
}

// NewCommand returns the command plan.
func NewCommand(f *cli.Factory) *cobra.Command {
	o := &options{factory: f, output: cli.NewOutput()}
	command := &cobra.Command{
		Use: "plan -f FILE...", Short: "Say what applying objects would do in Kong", Long: long, Example: example,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return o.run(c) },
	}
	o.output.AddFlags(command)
	files := genericclioptions.FileNameFlags{
		Usage: "that has the objects", Filenames: &o.files.Filenames, Kustomize: &o.files.Kustomize, Recursive: &o.files.Recursive,
	}
	files.AddFlags(command.Flags())
	command.Flags().StringVar(&o.clusterID, "cluster-id", "", "The operator's --cluster-id; found out from the plugins in Kong if empty")
	command.Flags().StringVar(&o.manager, "field-manager", "", "Apply as this field manager does; as what applied the object before if empty")
	return command
}

func (o *options) run(command *cobra.Command) error {
	ctx, cancel := o.factory.Context(command)
	defer cancel()
	plan, err := o.plan(ctx)
	if err != nil {
		return err
	}
	if err := o.output.Print(o.factory, plan.result()); err != nil {
		return err
	}
	switch {
	case plan.Blocked > 0:
		return cli.ErrFindings
	case plan.WouldChange > 0:
		return cli.ErrWouldChange
	default:
		return nil
	}
}

// plan makes the plan.
func (o *options) plan(ctx context.Context) (*Plan, error) {
	if err := o.files.RequireFilenameOrKustomize(); err != nil {
		return nil, err
	}
	live, err := o.factory.Client()
	if err != nil {
		return nil, err
	}
	infos, err := o.read()
	if err != nil {
		return nil, err
	}
	p := &planner{options: o, live: live, given: map[objectKey]bool{}, opened: map[types.NamespacedName]*kong.Connection{}}
	defer p.close()
	if err := p.apply(ctx, infos); err != nil {
		return nil, err
	}
	return p.plan(ctx)
}

func (o *options) read() ([]*resource.Info, error) {
	namespace, named, err := o.factory.Namespace()
	if err != nil {
		return nil, err
	}
	return o.factory.Builder().Unstructured().ContinueOnError().NamespaceParam(namespace).DefaultNamespace().
		FilenameParam(named, &o.files).Flatten().Do().Infos()
}

// planner is one run of the command.
type planner struct {
	*options
	live client.Client
	// applied are the objects of the files as the API server would have them; refused those that it
	// would not take.
	applied []client.Object
	refused []Item
	given   map[objectKey]bool
	opened  map[types.NamespacedName]*kong.Connection
}

func (p *planner) close() {
	for _, c := range p.opened {
		c.Close()
	}
}

// planned are the kinds that a plan takes from the files.
var planned = sets.New(
	v1alpha1.GroupVersion.WithKind(kindBinding).GroupKind(), v1alpha1.GroupVersion.WithKind(kindPolicy).GroupKind(),
	v1alpha1.GroupVersion.WithKind(kindGateway).GroupKind(),
	corev1.SchemeGroupVersion.WithKind(kindSecret).GroupKind(), corev1.SchemeGroupVersion.WithKind(kindConfigMap).GroupKind(),
)

// apply asks the API server what it would make of the objects.
func (p *planner) apply(ctx context.Context, infos []*resource.Info) error {
	skipped := 0
	for _, info := range infos {
		object, ok := info.Object.(*unstructured.Unstructured)
		if !ok || !planned.Has(object.GroupVersionKind().GroupKind()) {
			skipped++
			continue
		}
		applied, err := dryRun(ctx, p.live, object, p.manager)
		if apierrors.IsInvalid(err) || apierrors.IsNotFound(err) || apierrors.IsForbidden(err) || apierrors.IsBadRequest(err) {
			p.refused = append(p.refused, Item{
				Kind: object.GetKind(), Namespace: object.GetNamespace(), Name: object.GetName(),
				Action: Refused, Reason: string(apierrors.ReasonForError(err)), Message: err.Error(), Given: true,
			})
			continue
		}
		if err != nil {
			return fmt.Errorf("%s %s/%s: %w", object.GetKind(), object.GetNamespace(), object.GetName(), err)
		}
		result, err := typed(p.live.Scheme(), applied)
		if err != nil {
			return err
		}
		p.applied = append(p.applied, result)
	}
	if skipped > 0 {
		p.factory.Notef("%d objects of other kinds are left out of the plan", skipped)
	}
	return nil
}

func (p *planner) plan(ctx context.Context) (*Plan, error) {
	affected, more, err := p.findAffected(ctx)
	if err != nil {
		return nil, err
	}
	gateways := p.gateways(more)
	connections, unusable, err := p.connect(ctx, gateways)
	if err != nil {
		return nil, err
	}
	clusterID, err := p.findClusterID(ctx)
	if err != nil {
		return nil, err
	}
	s, err := newSimulation(ctx, p.live, clusterID)
	if err != nil {
		return nil, err
	}
	defer s.close()
	s.unusable = unusable
	s.cluster.notef, s.cluster.namespaces = p.factory.Notef, p.namespaces(gateways)
	for _, object := range p.applied {
		if err := s.cluster.put(object); err != nil {
			return nil, err
		}
		key, err := s.cluster.keyOf(object)
		if err != nil {
			return nil, err
		}
		p.given[key] = true
	}
	for gateway, c := range connections {
		if err := s.connect(ctx, gateway, c, p.givenGateway(client.ObjectKeyFromObject(gateway)) != nil); err != nil {
			return nil, err
		}
	}
	for _, key := range affected {
		s.add(key)
	}
	progress := p.factory.NewProgress("planning", len(p.applied))
	defer progress.Close()
	if err := s.run(ctx, progress.Step); err != nil {
		return nil, err
	}
	return s.report(ctx, p.given, append(p.refused, p.gatewayItems(connections, s)...))
}

// gateways are those that the objects refer to, those among them, and more.
func (p *planner) gateways(more []types.NamespacedName) []types.NamespacedName {
	found := sets.New(more...)
	for _, object := range p.applied {
		switch o := object.(type) {
		case *v1alpha1.PluginBinding:
			found.Insert(reference.GatewayOf(o))
		case *v1alpha1.PluginPolicy:
			found.Insert(reference.GatewayOfPolicy(o))
		case *v1alpha1.KongGateway:
			found.Insert(client.ObjectKeyFromObject(o))
		}
	}
	return slices.SortedFunc(func(yield func(types.NamespacedName) bool) {
		for key := range found {
			if !yield(key) {
				return
			}
		}
	}, func(a, b types.NamespacedName) int {
		return slices.Compare([]string{a.Namespace, a.Name}, []string{b.Namespace, b.Name})
	})
}

// namespaces are those of the objects and of their gateways.
func (p *planner) namespaces(gateways []types.NamespacedName) []string {
	found := sets.New[string]()
	for _, object := range p.applied {
		found.Insert(object.GetNamespace())
	}
	for _, gateway := range gateways {
		found.Insert(gateway.Namespace)
	}
	return sets.List(found)
}

// given returns a gateway of the files, nil if it is in none.
func (p *planner) givenGateway(key types.NamespacedName) *v1alpha1.KongGateway {
	for _, object := range p.applied {
		if gateway, ok := object.(*v1alpha1.KongGateway); ok && client.ObjectKeyFromObject(gateway) == key {
			return gateway
		}
	}
	return nil
}

// connect opens the Kong of each gateway. One that does not exist is left to the operator's own words.
func (p *planner) connect(ctx context.Context, keys []types.NamespacedName) (map[*v1alpha1.KongGateway]*kong.Connection, map[types.NamespacedName]error, error) {
	connections, unusable := map[*v1alpha1.KongGateway]*kong.Connection{}, map[types.NamespacedName]error{}
	for _, key := range keys {
		gateway := p.givenGateway(key)
		if gateway == nil {
			gateway = &v1alpha1.KongGateway{}
			err := p.live.Get(ctx, key, gateway)
			if apierrors.IsNotFound(err) {
				continue
			}
			if err != nil {
				return nil, nil, fmt.Errorf("KongGateway %s cannot be read: %w", key, err)
			}
		}
		c, err := kong.OpenReadOnly(ctx, p.factory, gateway)
		if ctx.Err() != nil {
			return nil, nil, context.Cause(ctx)
		}
		if err != nil {
			unusable[key] = err
			continue
		}
		connections[gateway], p.opened[key] = c, c
	}
	return connections, unusable, nil
}

// gatewayItems are the gateways of the files: they are only probed.
func (p *planner) gatewayItems(connections map[*v1alpha1.KongGateway]*kong.Connection, s *simulation) []Item {
	var items []Item
	for _, object := range p.applied {
		gateway, ok := object.(*v1alpha1.KongGateway)
		if !ok {
			continue
		}
		key := client.ObjectKeyFromObject(gateway)
		item := Item{Kind: kindGateway, Namespace: gateway.Namespace, Name: gateway.Name, Action: None, Given: true}
		if err := s.unusable[key]; err != nil {
			item.Action, item.Message = Failed, err.Error()
		} else if c := connections[gateway]; c != nil {
			item.Message = fmt.Sprintf("Kong %s answers", c.Info.Version)
			if problem := s.problems[key]; problem != nil {
				item.Action, item.Message = Refused, problem.Message
			}
		}
		items = append(items, item)
	}
	return items
}

// sampled bounds how many bindings are asked for the cluster ID.
const sampled = 5

// findClusterID returns the cluster ID in the ownership tags: that of a plugin of this cluster's
// bindings, or else the operator's default.
func (p *planner) findClusterID(ctx context.Context) (string, error) {
	if p.clusterID != "" {
		return p.clusterID, nil
	}
	for key, c := range p.opened {
		bindings := &v1alpha1.PluginBindingList{}
		for _, namespace := range []string{"", key.Namespace} {
			if p.live.List(ctx, bindings, client.InNamespace(namespace), client.Limit(maxSampledList)) == nil {
				break
			}
		}
		if id := clusterIDOf(ctx, key, c, bindings.Items); id != "" {
			return id, nil
		}
	}
	system := &corev1.Namespace{}
	if err := p.live.Get(ctx, types.NamespacedName{Name: "kube-system"}, system); err != nil {
		return "", errors.New("the cluster ID is not known: no binding has a plugin yet, and the namespace kube-system cannot be read. Pass --cluster-id as the operator has it")
	}
	return string(system.UID), nil
}

// maxSampledList bounds the list in which a binding with a plugin is looked for.
const maxSampledList = 500

func clusterIDOf(ctx context.Context, gateway types.NamespacedName, c *kong.Connection, bindings []v1alpha1.PluginBinding) string {
	asked := 0
	for i := range bindings {
		binding := &bindings[i]
		if binding.Status.PluginID == "" || reference.GatewayOf(binding) != gateway || asked == sampled {
			continue
		}
		asked++
		live, err := c.PluginByID(ctx, string(binding.Status.PluginID))
		if err != nil {
			continue
		}
		owner := identity.OwnerOf(live.Tags).Binding
		if owner != nil && owner.Namespace == binding.Namespace && owner.Name == binding.Name {
			return owner.Cluster
		}
	}
	return ""
}
