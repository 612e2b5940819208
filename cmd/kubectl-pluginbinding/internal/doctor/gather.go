package doctor

import (
	"context"
	"fmt"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/pluginbinding/kong-plugin-operator/api/v1alpha1"
	"github.com/pluginbinding/kong-plugin-operator/cmd/kubectl-pluginbinding/internal/cli"
	"github.com/pluginbinding/kong-plugin-operator/cmd/kubectl-pluginbinding/internal/importer"
	"github.com/pluginbinding/kong-plugin-operator/cmd/kubectl-pluginbinding/internal/kong"
	"github.com/pluginbinding/kong-plugin-operator/internal/adminapi"
	"github.com/pluginbinding/kong-plugin-operator/internal/plugin"
	"github.com/pluginbinding/kong-plugin-operator/internal/reference"
)

// watchesLabel is on the Lease of every operator.
const watchesLabel = "kong.pluginbinding.io/watches"

// gatherer reads facts. What it cannot read becomes a problem, and it goes on.
type gatherer struct {
	client.Reader
	f     *cli.Factory
	facts Facts
}

const rightsNext = "Get the right to read it, or ask somebody who has it to run this command."

// problem notes what could not be read. It reports whether there was anything.
func (g *gatherer) problem(object string, err error) bool {
	if err == nil {
		return false
	}
	next := "Repair the way to it, and run this command again."
	if apierrors.IsForbidden(err) || apierrors.IsUnauthorized(err) {
		next = rightsNext
	}
	g.facts.Problems = append(g.facts.Problems, Problem{Object: object, Why: err.Error(), Next: next})
	return true
}

// gather reads everything. gateway restricts the Kongs to that of one KongGateway.
func (g *gatherer) gather(ctx context.Context, gateway types.NamespacedName) {
	g.definitions(ctx)
	g.leases(ctx)
	g.objects(ctx)
	g.events(ctx)
	namespace := &metav1.PartialObjectMetadata{}
	namespace.SetGroupVersionKind(schema.GroupVersionKind{Version: "v1", Kind: "Namespace"})
	if g.facts.Cluster == "" && !g.problem("Namespace "+metav1.NamespaceSystem+", whose UID is the cluster ID (or set --cluster-id)", g.Get(ctx, client.ObjectKey{Name: metav1.NamespaceSystem}, namespace)) {
		g.facts.Default = string(namespace.UID)
	}
	g.kongs(ctx, gateway)
}

func (g *gatherer) definitions(ctx context.Context) {
	for _, known := range definitions {
		found := &unstructured.Unstructured{}
		found.SetGroupVersionKind(apiextensionsv1.SchemeGroupVersion.WithKind("CustomResourceDefinition"))
		err := g.Get(ctx, client.ObjectKey{Name: known.name}, found)
		if apierrors.IsNotFound(err) {
			g.facts.CRDs = append(g.facts.CRDs, CRD{Name: known.name})
			continue
		}
		definition := &apiextensionsv1.CustomResourceDefinition{}
		if err == nil {
			err = runtime.DefaultUnstructuredConverter.FromUnstructured(found.Object, definition)
		}
		if !g.problem("CustomResourceDefinition "+known.name, err) {
			g.facts.CRDs = append(g.facts.CRDs, compareDefinition(definition, known.root))
		}
	}
}

func (g *gatherer) leases(ctx context.Context) {
	list := &coordinationv1.LeaseList{}
	if g.problem("Leases of the operator", g.List(ctx, list, client.HasLabels{watchesLabel})) {
		return
	}
	g.facts.LeasesKnown = true
	for i := range list.Items {
		spec := list.Items[i].Spec
		lease := Lease{Namespace: list.Items[i].Namespace, Name: list.Items[i].Name, Watches: list.Items[i].Labels[watchesLabel]}
		if spec.HolderIdentity != nil {
			lease.Holder = *spec.HolderIdentity
		}
		if spec.RenewTime != nil {
			lease.Renewed = spec.RenewTime.Time
		}
		if spec.LeaseDurationSeconds != nil {
			lease.Duration = time.Duration(*spec.LeaseDurationSeconds) * time.Second
		}
		g.facts.Leases = append(g.facts.Leases, lease)
	}
}

// objects reads the objects of the operator. A user who may read only one namespace gets its objects.
func (g *gatherer) objects(ctx context.Context) {
	var (
		gateways v1alpha1.KongGatewayList
		bindings v1alpha1.PluginBindingList
		policies v1alpha1.PluginPolicyList
	)
	g.list(ctx, "KongGateways", &gateways)
	g.facts.AllBindings = g.list(ctx, "PluginBindings", &bindings)
	g.list(ctx, "PluginPolicies", &policies)
	g.facts.Gateways, g.facts.Bindings, g.facts.Policies = gateways.Items, bindings.Items, policies.Items
}

// list reports whether it read the objects of all namespaces.
func (g *gatherer) list(ctx context.Context, what string, into client.ObjectList) bool {
	err := g.List(ctx, into)
	if meta.IsNoMatchError(err) {
		return false // a missing CustomResourceDefinition is a finding of its own
	}
	if apierrors.IsForbidden(err) && g.facts.Namespace != "" {
		if within := g.List(ctx, into, client.InNamespace(g.facts.Namespace)); within == nil {
			g.problem(what+" of other namespaces than "+g.facts.Namespace, err)
			return false
		}
	}
	return !g.problem(what, err)
}

func (g *gatherer) events(ctx context.Context) {
	for _, reason := range []string{eventApplyFailed, eventTranslationFailed, eventSucceeded, eventDrift} {
		list := &corev1.EventList{}
		if g.problem("Events", g.List(ctx, list, client.MatchingFields{"reason": reason})) {
			return
		}
		g.facts.Events = append(g.facts.Events, list.Items...)
	}
}

// kongs reads each Kong once, through the first of its gateways that works.
func (g *gatherer) kongs(ctx context.Context, only types.NamespacedName) {
	progress := g.f.NewProgress("Reading Kong", len(g.facts.Gateways))
	defer progress.Close()
	read, used := map[types.NamespacedName]bool{}, g.facts.relevant()
	for i := range g.facts.Gateways {
		progress.Step()
		gateway := &g.facts.Gateways[i]
		if key := client.ObjectKeyFromObject(gateway); read[key] || !used[key] || only.Name != "" && key != only {
			continue
		}
		found, err := g.kong(ctx, gateway)
		if g.problem("the Kong of KongGateway "+gateway.Namespace+"/"+gateway.Name, err) {
			continue
		}
		for j := range g.facts.Gateways {
			if other := &g.facts.Gateways[j]; reference.SameKong(gateway, other) {
				read[client.ObjectKeyFromObject(other)] = true
				found.Gateways = append(found.Gateways, client.ObjectKeyFromObject(other))
			}
		}
		g.facts.Kongs = append(g.facts.Kongs, found)
	}
	if only.Name != "" && len(g.facts.Kongs) == 0 && len(g.facts.Problems) == 0 {
		g.problem("KongGateway "+only.String(), fmt.Errorf("it does not exist"))
	}
}

// kong reads one Kong.
func (g *gatherer) kong(ctx context.Context, gateway *v1alpha1.KongGateway) (Kong, error) {
	read := Kong{Entities: map[adminapi.EntityKind][]adminapi.Entity{}}
	connection, err := kong.OpenReadOnly(ctx, g.f, gateway)
	if err != nil {
		return read, err
	}
	defer connection.Close()
	err = connection.VisitAll(ctx, func(row plugin.Plugin) {
		row.Config = nil // no finding needs it
		read.Plugins = append(read.Plugins, row)
	})
	for _, kind := range importer.EntityKinds {
		if err == nil {
			err = connection.VisitEntities(ctx, kind, func(entity adminapi.Entity) { read.Entities[kind] = append(read.Entities[kind], entity) })
		}
	}
	return read, err
}
