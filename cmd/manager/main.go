// Command manager is the operator. It keeps the plugins that PluginBindings declare in the Kong
// gateways that KongGateways name.
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
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
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
	"github.com/pluginbinding/kong-plugin-operator/internal/inflight"
	"github.com/pluginbinding/kong-plugin-operator/internal/version"
)

// The lease outlasts every request of a leader that lost it: it is longer than the longest request
// timeout (9 s) and Kong's database timeout (5 s) together. All of these are shorter than the pod's
// grace period.
const (
	leaseDuration = 15 * time.Second
	renewDeadline = 10 * time.Second
	retryPeriod   = 2 * time.Second
	shutdownGrace = 20 * time.Second
	// drainTimeout leaves the manager the time to release the Lease.
	drainTimeout = 18 * time.Second
	drainPoll    = 20 * time.Millisecond
)

// gcPercent is the default of GOGC, in percent of the live heap. The operator reads most of what it
// allocates only once, especially the pages of a resync, and the processor is mostly idle. So memory
// is the cost that matters.
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
		ctrl.Log.Error(err, "The operator stops")
		os.Exit(1)
	}
}

func run(ctx context.Context, o *options) error {
	log := ctrl.Log.WithName("setup")
	config, err := ctrl.GetConfig()
	if err != nil {
		return fmt.Errorf("load the Kubernetes configuration: %w", err)
	}
	// The API server limits requests by priority and fairness. A limit in the client would only
	// slow down a restart.
	config.QPS = -1
	config.UserAgent = controllers.UserAgent + "/" + version.String()

	options := managerOptions(o)
	writes := inflight.NewTracker(clock.RealClock{}, time.Time{})
	leads, err := elect(config, &options, o, writes)
	if err != nil {
		return err
	}
	mgr, err := ctrl.NewManager(config, options)
	if err != nil {
		return err
	}
	clusterID, since, err := thisCluster(ctx, mgr.GetAPIReader(), o.clusterID)
	if err != nil {
		return err
	}
	operator := controllers.Options{
		ClusterID:  clusterID,
		Namespaces: o.namespaces,
		Selector:   o.selector,
		// Only an ID that an administrator chose is certain to be unique to this cluster. And only
		// a plugin that is younger than the cluster is certain to have been created from it.
		RemoveOrphans:    o.clusterID != "" && !since.IsZero(),
		ClusterCreatedAt: since,
		IsLeader:         leads,
		Writes:           writes,
		Workers:          o.workers,
		AllowedHosts:     o.allowedAdminHosts,
		Registry:         metrics.Registry,
		Clock:            clock.RealClock{},
	}
	if err := controllers.AddToManager(ctx, mgr, operator); err != nil {
		return err
	}
	if err := addWebhooks(mgr, o, operator); err != nil {
		return err
	}
	if err := addChecks(mgr); err != nil {
		return err
	}
	if err := addDrain(mgr, o, writes); err != nil {
		return err
	}
	log.Info("Starting", "version", version.String(), "clusterID", clusterID, "namespaces", o.namespaces, "selector", o.selector.String())
	return mgr.Start(ctx)
}

// elect prepares leader election, and returns what reports whether this process leads; nil without leader
// election. A process without leader election knows nothing of the one before it, and waits for its writes.
func elect(config *rest.Config, options *ctrl.Options, o *options, writes *inflight.Tracker) (leads func() bool, err error) {
	if !o.leaderElect {
		return nil, nil //nolint:nilnil // there is nothing to ask
	}
	lock, err := newLease(rest.CopyConfig(config), options.Scheme, o, writes)
	if err != nil {
		return nil, err
	}
	options.LeaderElectionResourceLockInterface = lock
	return lock.held, nil
}

// addDrain adds what keeps the Lease until the writes of this process have ended. There is nothing to keep
// without leader election.
func addDrain(mgr ctrl.Manager, o *options, writes *inflight.Tracker) error {
	if !o.leaderElect {
		return nil
	}
	return mgr.Add(drain{ended: writes.OwnEnded})
}

// addChecks adds the checks behind /healthz and /readyz.
func addChecks(mgr ctrl.Manager) error {
	if err := mgr.AddHealthzCheck("ping", healthz.Ping); err != nil {
		return err
	}
	return mgr.AddReadyzCheck("caches", cachesSynced(mgr.GetCache()))
}

func managerOptions(o *options) ctrl.Options {
	scheme := runtime.NewScheme()
	utilruntime.Must(clientgoscheme.AddToScheme(scheme))
	utilruntime.Must(v1alpha1.AddToScheme(scheme))

	serving := metricsserver.Options{BindAddress: o.metricsAddress, SecureServing: o.metricsSecure}
	if o.metricsSecure {
		serving.FilterProvider = filters.WithAuthenticationAndAuthorization
		// HTTP/2 is off because of CVE-2023-44487 and CVE-2023-39325.
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
			DefaultTransform: stripped,
			ByObject: map[client.Object]cache.ByObject{
				&v1alpha1.KongGateway{}:   {Label: o.selector},
				&v1alpha1.PluginBinding{}: {Label: o.selector},
				&v1alpha1.PluginPolicy{}:  {Label: o.selector},
				// Only the metadata of Secrets and ConfigMaps is cached.
				&corev1.Secret{}:    {Transform: withoutAnnotations},
				&corev1.ConfigMap{}: {Transform: withoutAnnotations},
			},
		},
		Client: client.Options{Cache: &client.CacheOptions{
			// The cache must not keep Secrets, and need not keep ConfigMaps.
			DisableFor: []client.Object{&corev1.Secret{}, &corev1.ConfigMap{}},
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

// stripped removes what the operator does not read: managedFields, which are half of an object, and the annotation of kubectl
// apply, which contains the whole object once more. The API server keeps both, because a patch is
// the difference between two stripped objects.
func stripped(object any) (any, error) {
	if o, ok := object.(client.Object); ok {
		o.SetManagedFields(nil)
		delete(o.GetAnnotations(), corev1.LastAppliedConfigAnnotation)
	}
	if o, ok := object.(*unstructured.Unstructured); ok {
		// Only KongPlugins and KongClusterPlugins are cached like this. Their configs may hold secrets.
		kept := map[string]any{"apiVersion": o.GetAPIVersion(), "kind": o.GetKind(), "metadata": o.Object["metadata"]}
		if name, isString := o.Object["plugin"].(string); isString {
			kept["plugin"] = name
		}
		o.Object = kept
	}
	return object, nil
}

// withoutAnnotations is stripped for Secrets. The annotation of kubectl apply contains their values, and
// other tools have annotations of their own.
func withoutAnnotations(object any) (any, error) {
	if o, ok := object.(client.Object); ok {
		o.SetManagedFields(nil)
		o.SetAnnotations(nil)
	}
	return object, nil
}

// thisCluster returns the cluster ID in the ownership tags, and the creation time of the cluster.
// The time is zero if it is unknown.
func thisCluster(ctx context.Context, reader client.Reader, given string) (id string, since time.Time, err error) {
	system := &corev1.Namespace{}
	err = reader.Get(ctx, types.NamespacedName{Name: "kube-system"}, system)
	switch {
	case err == nil:
		return cmp.Or(given, string(system.UID)), system.CreationTimestamp.Time, nil
	case given != "":
		ctrl.Log.WithName("setup").Info("Cannot read namespace kube-system. The operator reports orphaned plugins and does not remove them. To change that, permit it to get this namespace", "error", err.Error())
		return given, time.Time{}, nil
	default:
		return "", time.Time{}, fmt.Errorf("cannot read the UID of namespace kube-system, the default cluster ID; set --cluster-id, or permit the operator to get this namespace: %w", err)
	}
}
