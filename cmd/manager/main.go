// Command manager is the operator: it keeps the plugins that PluginBindings declare in the
// Kongs that KongGateways name.
package main

import (
	"cmp"
	"context"
	"crypto/tls"
	"fmt"
	"os"
	"runtime/debug"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	utilruntime "k8s.io/apimachinery/pkg/util/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"k8s.io/utils/clock"
	"k8s.io/utils/ptr"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/healthz"
	"sigs.k8s.io/controller-runtime/pkg/log/zap"
	"sigs.k8s.io/controller-runtime/pkg/metrics"
	"sigs.k8s.io/controller-runtime/pkg/metrics/filters"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"

	"github.com/pluginbinding/kong-plugin-operator/api/v1alpha1"
	"github.com/pluginbinding/kong-plugin-operator/controllers"
	"github.com/pluginbinding/kong-plugin-operator/internal/version"
)

// The lease outlasts any request of the leader that lost it: the longest request time-out
// (9 s) and Kong's own database time-out (5 s) together are shorter. All of it is shorter
// than the pod's grace period.
const (
	leaseDuration = 15 * time.Second
	renewDeadline = 10 * time.Second
	retryPeriod   = 2 * time.Second
	shutdownGrace = 20 * time.Second
)

// gcPercent is how much may become garbage before it is collected, in percent of what is in
// use. Most of what is allocated is read once, a sweep's pages above all, and the processor
// is idle but for moments: memory is what a fleet pays for. The environment's GOGC wins.
const gcPercent = 30

func main() {
	o, err := parseOptions(os.Args[1:], os.Getenv, os.Stderr)
	if err != nil {
		os.Exit(exitOf(err))
	}
	ctrl.SetLogger(zap.New(zap.UseFlagOptions(&o.zap)))
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(gcPercent)
	}
	if err := run(ctrl.SetupSignalHandler(), o); err != nil {
		ctrl.Log.Error(err, "the operator stops")
		os.Exit(1)
	}
}

func run(ctx context.Context, o *options) error {
	log := ctrl.Log.WithName("setup")
	config, err := ctrl.GetConfig()
	if err != nil {
		return fmt.Errorf("no Kubernetes to talk to: %w", err)
	}
	// The API server's priority and fairness throttles; a limit of our own would only
	// slow a restart down.
	config.QPS = -1
	config.UserAgent = controllers.UserAgent + "/" + version.String()

	options := managerOptions(o)
	var leads func() bool
	if o.leaderElect {
		lock, err := newLease(rest.CopyConfig(config), options.Scheme, o)
		if err != nil {
			return err
		}
		options.LeaderElectionResourceLockInterface, leads = lock, lock.held
	}
	mgr, err := ctrl.NewManager(config, options)
	if err != nil {
		return err
	}
	clusterID, since, err := thisCluster(ctx, mgr.GetAPIReader(), o.clusterID)
	if err != nil {
		return err
	}
	if err := controllers.AddToManager(ctx, mgr, controllers.Options{
		ClusterID:  clusterID,
		Namespaces: o.namespaces,
		Selector:   o.selector,
		// Only an id that somebody chose is certain to be this cluster's alone, and only what is
		// younger than the cluster is certain to have been made in it.
		RemoveOrphans:    o.clusterID != "" && !since.IsZero(),
		ClusterCreatedAt: since,
		IsLeader:         leads,
		Workers:          o.workers,
		Registry:         metrics.Registry,
		Clock:            clock.RealClock{},
	}); err != nil {
		return err
	}
	if err := mgr.AddHealthzCheck("ping", healthz.Ping); err != nil {
		return err
	}
	if err := mgr.AddReadyzCheck("caches", cachesSynced(mgr.GetCache())); err != nil {
		return err
	}
	log.Info("starting", "version", version.String(), "clusterID", clusterID, "namespaces", o.namespaces, "selector", o.selector.String())
	return mgr.Start(ctx)
}

func managerOptions(o *options) ctrl.Options {
	scheme := runtime.NewScheme()
	utilruntime.Must(clientgoscheme.AddToScheme(scheme))
	utilruntime.Must(v1alpha1.AddToScheme(scheme))

	serving := metricsserver.Options{BindAddress: o.metricsAddress, SecureServing: o.metricsSecure}
	if o.metricsSecure {
		serving.FilterProvider = filters.WithAuthenticationAndAuthorization
		// HTTP/2 is off for CVE-2023-44487 and CVE-2023-39325.
		serving.TLSOpts = []func(*tls.Config){func(c *tls.Config) { c.NextProtos = []string{"http/1.1"} }}
	}
	options := ctrl.Options{
		Scheme:                        scheme,
		Metrics:                       serving,
		HealthProbeBindAddress:        o.probeAddress,
		PprofBindAddress:              o.pprofAddress,
		LeaderElection:                o.leaderElect,
		LeaderElectionID:              o.leaseName(),
		LeaderElectionNamespace:       o.leaderElectNamespace,
		LeaderElectionReleaseOnCancel: true,
		LeaseDuration:                 ptr.To(leaseDuration),
		RenewDeadline:                 ptr.To(renewDeadline),
		RetryPeriod:                   ptr.To(retryPeriod),
		GracefulShutdownTimeout:       ptr.To(shutdownGrace),
		Cache: cache.Options{
			// Nothing reads managedFields, and they are half of an object.
			DefaultTransform: cache.TransformStripManagedFields(),
			ByObject: map[client.Object]cache.ByObject{
				&v1alpha1.KongGateway{}:   {Label: o.selector},
				&v1alpha1.PluginBinding{}: {Label: o.selector, Transform: stripped},
			},
		},
		Client: client.Options{Cache: &client.CacheOptions{
			// Secrets are read live and never kept.
			DisableFor: []client.Object{&corev1.Secret{}},
		}},
	}
	if len(o.namespaces) > 0 {
		options.Cache.DefaultNamespaces = map[string]cache.Config{}
		for _, namespace := range o.namespaces {
			options.Cache.DefaultNamespaces[namespace] = cache.Config{}
		}
	}
	return options
}

// stripped takes off what nothing here reads: managedFields, and the whole object once more
// in the annotation of kubectl apply. Patches are differences between two such objects, so
// that both stay in the API server.
func stripped(object any) (any, error) {
	if o, ok := object.(client.Object); ok {
		o.SetManagedFields(nil)
		delete(o.GetAnnotations(), corev1.LastAppliedConfigAnnotation)
	}
	return object, nil
}

// thisCluster is the id by which this cluster's plugins are marked in Kong, and since when
// there is this cluster, zero if that is not known.
func thisCluster(ctx context.Context, reader client.Reader, given string) (id string, since time.Time, err error) {
	system := &corev1.Namespace{}
	err = reader.Get(ctx, types.NamespacedName{Name: "kube-system"}, system)
	switch {
	case err == nil:
		return cmp.Or(given, string(system.UID)), system.CreationTimestamp.Time, nil
	case given != "":
		ctrl.Log.WithName("setup").Info("the namespace kube-system cannot be read: orphaned plugins are reported and not removed", "error", err.Error())
		return given, time.Time{}, nil
	default:
		return "", time.Time{}, fmt.Errorf("the UID of namespace kube-system, which marks this cluster's plugins, cannot be read; set --cluster-id or allow it: %w", err)
	}
}
