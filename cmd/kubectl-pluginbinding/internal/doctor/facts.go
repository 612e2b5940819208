package doctor

import (
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/pluginbinding/kong-plugin-operator/api/v1alpha1"
	"github.com/pluginbinding/kong-plugin-operator/internal/adminapi"
	"github.com/pluginbinding/kong-plugin-operator/internal/plugin"
	"github.com/pluginbinding/kong-plugin-operator/internal/reference"
)

// Facts are everything that a diagnosis depends on. What could not be read is in Problems.
type Facts struct {
	Now time.Time
	// Cluster is the cluster ID that the user named, empty if none was. Default is the ID that the
	// operator has without --cluster-id.
	Cluster, Default string
	// Namespace restricts the findings to its objects and to the gateways that it uses; empty means all.
	Namespace string
	// PausedFor is from when on a pause is long.
	PausedFor time.Duration

	CRDs []CRD
	// Leases of operators; LeasesKnown is false if they could not be listed.
	Leases      []Lease
	LeasesKnown bool

	Gateways []v1alpha1.KongGateway
	Bindings []v1alpha1.PluginBinding
	Policies []v1alpha1.PluginPolicy
	// AllBindings: Bindings are those of all namespaces. Without them nothing is an orphan.
	AllBindings bool
	Events      []corev1.Event

	// Kongs are those that answered, each once.
	Kongs []Kong

	Problems []Problem
}

// relevant are the gateways that the namespace uses: its own, and those of its bindings and policies.
func (f *Facts) relevant() map[types.NamespacedName]bool {
	used := map[types.NamespacedName]bool{}
	for i := range f.Bindings {
		if f.within(f.Bindings[i].Namespace) {
			used[reference.GatewayOf(&f.Bindings[i])] = true
		}
	}
	for i := range f.Policies {
		if f.within(f.Policies[i].Namespace) {
			used[reference.GatewayOfPolicy(&f.Policies[i])] = true
		}
	}
	for i := range f.Gateways {
		if f.within(f.Gateways[i].Namespace) {
			used[types.NamespacedName{Namespace: f.Gateways[i].Namespace, Name: f.Gateways[i].Name}] = true
		}
	}
	return used
}

// within reports whether a namespace was asked for.
func (f *Facts) within(namespace string) bool { return f.Namespace == "" || f.Namespace == namespace }

// Problem is something that could not be looked at.
type Problem struct {
	// Object that could not be read, and why.
	Object, Why string
	// Next says how to let the command look.
	Next string
}

// CRD is a CustomResourceDefinition that this command knows.
type CRD struct {
	Name string
	// Served: the API server serves the version of this command.
	Served bool
	// Missing are fields that this command knows and the API server does not.
	Missing []string
}

// Lease is one by which operators elect their leader.
type Lease struct {
	Namespace, Name string
	Holder          string
	Renewed         time.Time
	Duration        time.Duration
	// Watches is a digest of what its holders watch.
	Watches string
}

// Kong is what one Kong holds, in one workspace.
type Kong struct {
	// Gateways that lead to it, the first one is named in findings.
	Gateways []types.NamespacedName
	Plugins  []plugin.Plugin
	Entities map[adminapi.EntityKind][]adminapi.Entity
}
