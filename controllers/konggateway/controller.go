package controllers

import (
	"context"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/tools/events"
	"k8s.io/client-go/util/workqueue"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/pluginbinding/kong-plugin-operator/api/v1alpha1"
	"github.com/pluginbinding/kong-plugin-operator/internal/adminapi"
)

// +kubebuilder:rbac:groups=kong.pluginbinding.io,resources=konggateways,verbs=get;list;watch;patch
// +kubebuilder:rbac:groups=kong.pluginbinding.io,resources=konggateways/status,verbs=patch

// Dialer makes connections. *gateway.Pool does, through PoolDialer.
type Dialer interface {
	// Dial returns the connection for these settings: the one that is there if they are
	// unchanged. It makes no request. Its error says why the settings cannot be used.
	Dial(key types.NamespacedName, settings adminapi.Settings) (Kong, error)
	// Hangup drops the connection.
	Hangup(key types.NamespacedName)
}

// KongGatewayReconciler keeps one connection per KongGateway, probes it, reads all that
// Kong holds of this cluster from time to time, and wakes the bindings that this concerns.
type KongGatewayReconciler struct {
	Client client.Client
	// Live reads Secrets, which are not cached.
	Live   client.Reader
	Events events.EventRecorder
	// Cluster is the cluster id that marks this cluster's plugins.
	Cluster string
	// Namespaces that are watched; empty for all.
	Namespaces sets.Set[string]
	// Selector of what is watched; nil or empty for everything.
	Selector labels.Selector
	// RemoveOrphans allows the removal of plugins that bear this cluster's marks and belong
	// to no binding. Only with a cluster id that somebody chose: two clusters that share a
	// Kong and a default must not clean up after each other.
	RemoveOrphans bool
	// Since is when this cluster was made; plugins that are older are not removed as orphans.
	Since       time.Time
	Connections *Connections
	Ledger      *Ledger
	Metrics     *Metrics
	Dialer      Dialer
	Clock       clock.PassiveClock

	backoff workqueue.TypedRateLimiter[types.NamespacedName]
	rounds  rounds
}

// gatewayPass is one reconcile of one gateway.
type gatewayPass struct {
	gateway   *v1alpha1.KongGateway
	key       types.NamespacedName
	kong      Kong
	bindings  []v1alpha1.PluginBinding
	verdict   verdict
	view      *View
	sweep     *v1alpha1.ResyncStatus
	stirred   []types.NamespacedName
	orphans   []marked
	lastRound round
	probed    bool
	undialed  bool // the spec or its Secrets do not make a connection
	surveyDue bool
	surveyed  bool // whether it was tried, and how long that took
	took      time.Duration
	// brokeOff are the sweeps in a row that broke off, why the last one did.
	brokeOff   int
	why        string
	retryAfter time.Duration
}

// Reconcile brings one gateway's connection and status up to date.
func (r *KongGatewayReconciler) Reconcile(ctx context.Context, req ctrl.Request) (ctrl.Result, error) {
	r.Ledger.Begin()
	gw := &v1alpha1.KongGateway{}
	if err := r.Client.Get(ctx, req.NamespacedName, gw); err != nil {
		if apierrors.IsNotFound(err) {
			r.forget(ctx, req.NamespacedName)
		}
		return ctrl.Result{}, client.IgnoreNotFound(err)
	}
	g := &gatewayPass{gateway: gw.DeepCopy(), key: req.NamespacedName}
	for _, step := range []func(context.Context, *gatewayPass) error{
		r.hold,    // the finalizer
		r.gather,  // the bindings that refer to it
		r.inspect, // settings from spec and Secrets, and a probe when one is due
		r.survey,  // all that Kong holds of this cluster, when that is due
		r.publish, // the connection and what was read, to the bindings
		r.wake,    // the bindings of which the reading shows something new
		r.unnote,  // plugins that were left on purpose and are managed again
		r.tidy,    // orphans, if that is allowed
		r.report,  // status
		r.letGo,   // the finalizer, when it is being deleted and nothing refers to it
	} {
		if err := step(ctx, g); err != nil {
			if apierrors.IsConflict(err) || apierrors.IsNotFound(err) {
				return ctrl.Result{RequeueAfter: r.backoff.When(g.key)}, nil
			}
			return ctrl.Result{}, err
		}
	}
	return ctrl.Result{RequeueAfter: r.nextRound(g)}, nil
}

func (r *KongGatewayReconciler) forget(ctx context.Context, key types.NamespacedName) {
	r.Dialer.Hangup(key)
	r.Connections.remove(key)
	r.Metrics.forget(key)
	r.rounds.forget(key)
	r.backoff.Forget(key)
	r.Connections.announce(ctx, key)
}

func (r *KongGatewayReconciler) hold(ctx context.Context, g *gatewayPass) error {
	if !g.gateway.DeletionTimestamp.IsZero() || controllerutil.ContainsFinalizer(g.gateway, v1alpha1.GatewayFinalizer) {
		return nil
	}
	base := g.gateway.DeepCopy()
	controllerutil.AddFinalizer(g.gateway, v1alpha1.GatewayFinalizer)
	return r.Client.Patch(ctx, g.gateway, client.MergeFromWithOptions(base, client.MergeFromWithOptimisticLock{}))
}

func (r *KongGatewayReconciler) gather(ctx context.Context, g *gatewayPass) error {
	bindings := &v1alpha1.PluginBindingList{}
	// The items are only read.
	if err := r.Client.List(ctx, bindings, client.MatchingFields{indexGateway: g.key.String()}, client.UnsafeDisableDeepCopy); err != nil {
		return err
	}
	g.bindings = bindings.Items
	return nil
}

// inspect finds out whether bindings can be programmed. Between probes the last verdict
// stands, so that bindings that come and go cost Kong nothing.
func (r *KongGatewayReconciler) inspect(ctx context.Context, g *gatewayPass) error {
	g.lastRound = r.rounds.get(g.key)
	g.brokeOff, g.why = g.lastRound.brokeOff, g.lastRound.why
	v, err := r.dial(ctx, g)
	if err != nil {
		return err
	}
	if v != nil {
		// What the spec or its Secrets lack is seen at once, and counts once in a round.
		due := g.lastRound.generation != g.gateway.Generation || !r.Clock.Now().Before(g.lastRound.next)
		g.verdict, g.undialed, g.probed = *v, true, due || *v != g.lastRound.verdict
		return nil
	}
	if !r.probeDue(g) {
		g.verdict = g.lastRound.verdict
		return nil
	}
	info, err := g.kong.Probe(ctx)
	if adminapi.ReasonForError(err) == adminapi.Throttled && g.lastRound.kong == g.kong {
		g.verdict, g.retryAfter = g.lastRound.verdict, retryAfter(err)
		return nil
	}
	g.probed = true
	g.verdict = judge(info, err)
	return nil
}

// probeDue reports whether the gateway is to be probed now, and notes whether a reading is due
// with it. A probe out of turn, because a binding heard nothing good, brings none. A gateway
// that is down is probed at its own pace, whatever happens to its bindings.
func (r *KongGatewayReconciler) probeDue(g *gatewayPass) bool {
	last, now := &g.lastRound, r.Clock.Now()
	another := last.kong != g.kong || last.generation != g.gateway.Generation || last.undialed
	suspected := r.Connections.takeSuspicion(g.key)
	down := last.verdict.problem() != nil
	g.surveyDue = another || down || !now.Before(last.survey)
	return another || !now.Before(last.next) || !down && (suspected || g.surveyDue)
}

// dial makes the connection of spec and Secrets. A verdict says why there is none. A
// gateway that is being deleted together with its Secrets keeps the connection it had, so
// that the plugins of its bindings can still be removed.
func (r *KongGatewayReconciler) dial(ctx context.Context, g *gatewayPass) (*verdict, error) {
	settings, v, err := r.settings(ctx, g)
	if err != nil {
		return nil, err
	}
	if v == nil {
		kong, err := r.Dialer.Dial(g.key, settings)
		if err == nil {
			g.kong = kong
			return nil, nil
		}
		v = &verdict{
			condition: v1alpha1.ConditionAccepted, reason: v1alpha1.ReasonInvalidConnection,
			message: err.Error() + "; correct spec.adminURL, spec.auth or spec.tls, or the Secret that it names",
		}
	}
	// Its deletion is one generation. With another since then, this Kong may not be meant.
	if g.lastRound.kong != nil && g.gateway.Generation-g.lastRound.generation <= 1 && !g.gateway.DeletionTimestamp.IsZero() {
		g.kong = g.lastRound.kong
		return nil, nil
	}
	return v, nil
}

// publish tells the bindings.
func (r *KongGatewayReconciler) publish(ctx context.Context, g *gatewayPass) error {
	if g.view == nil && g.verdict.problem() == nil {
		// Nothing new was read; what is known of this Kong stays.
		if last, ok := r.Connections.Get(g.key); ok && last.Kong == g.kong {
			g.view = last.View
		}
	}
	connection := Connection{
		Kong:           g.kong,
		Info:           g.verdict.info,
		Problem:        g.verdict.problem(),
		View:           g.view,
		RequestTimeout: requestTimeoutOf(g.gateway),
	}
	r.Metrics.known(g.key)
	if r.Connections.set(g.key, connection) {
		log.FromContext(ctx).Info("gateway looked at", "ready", connection.Problem == nil,
			"reason", g.verdict.reasonOr(v1alpha1.ReasonReady), "version", g.verdict.info.Version)
		r.Connections.announce(ctx, g.key)
	}
	return nil
}

// report is the only writer of a gateway's status.
func (r *KongGatewayReconciler) report(ctx context.Context, g *gatewayPass) error {
	base := g.gateway.DeepCopy()
	g.setStatus()
	if equality.Semantic.DeepEqual(base.Status, g.gateway.Status) {
		return nil
	}
	if err := r.Client.Status().Patch(ctx, g.gateway, client.MergeFromWithOptions(base, client.MergeFromWithOptimisticLock{})); err != nil {
		return err
	}
	r.tell(g, base)
	return nil
}

// tell makes an event of a gateway that became ready or ceased to be, and of orphans.
func (r *KongGatewayReconciler) tell(g *gatewayPass, base *v1alpha1.KongGateway) {
	was, is := readyOf(base), readyOf(g.gateway)
	if is != nil && (was == nil || was.Status != is.Status || was.Reason != is.Reason) {
		kind := corev1.EventTypeNormal
		if is.Status != "True" {
			kind = corev1.EventTypeWarning
		}
		r.Events.Eventf(g.gateway, nil, kind, is.Reason, "Probe", "%s", truncate(is.Message, longestNote))
	}
	if g.unread() != "" && g.lastRound.brokeOff < oftenBroken {
		r.Events.Eventf(g.gateway, nil, corev1.EventTypeWarning, "SweepFailed", "Sweep", "%s", truncate(g.unread(), longestNote))
	}
	if g.sweep != nil && g.sweep.Orphaned > 0 && (base.Status.LastResync == nil || base.Status.LastResync.Orphaned != g.sweep.Orphaned) {
		r.Events.Eventf(g.gateway, nil, corev1.EventTypeWarning, "OrphanedPlugins", "Sweep", "%s", truncate(g.orphanNote(), longestNote))
	}
}

// letGo removes the finalizer of a gateway that is being deleted and that nothing needs.
func (r *KongGatewayReconciler) letGo(ctx context.Context, g *gatewayPass) error {
	if g.gateway.DeletionTimestamp.IsZero() || !controllerutil.ContainsFinalizer(g.gateway, v1alpha1.GatewayFinalizer) {
		return nil
	}
	if g.holders() > 0 && !g.abandoned() {
		return nil
	}
	if n := g.holders(); n > 0 {
		// In a namespace that is going, no event can be made.
		log.FromContext(ctx).Info("the gateway and its bindings are being deleted and its Kong cannot be used: their plugins stay there",
			"bindings", n, "reason", g.verdict.reason, "message", g.verdict.message)
		r.Events.Eventf(g.gateway, nil, corev1.EventTypeWarning, "Abandoned", "Delete",
			"the gateway and its %d bindings are being deleted and its Kong cannot be used (%s): it is let go, and their plugins stay there",
			n, g.verdict.reason)
	}
	base := g.gateway.DeepCopy()
	controllerutil.RemoveFinalizer(g.gateway, v1alpha1.GatewayFinalizer)
	err := r.Client.Patch(ctx, g.gateway, client.MergeFromWithOptions(base, client.MergeFromWithOptimisticLock{}))
	if client.IgnoreNotFound(err) != nil {
		return err
	}
	r.forget(ctx, g.key)
	return nil
}

// holders counts the bindings that may have a plugin there: those of which nothing was said
// yet, too, and not those that the gateway has refused and that have none.
func (g *gatewayPass) holders() (n int) {
	for i := range g.bindings {
		if holds(&g.bindings[i]) {
			n++
		}
	}
	return n
}

func holds(binding *v1alpha1.PluginBinding) bool {
	return binding.Status.PluginID != "" || controllerutil.ContainsFinalizer(binding, v1alpha1.PluginFinalizer) || len(binding.Status.Conditions) == 0
}

// failuresToAbandon is how many probes in a row have to fail before a gateway is let go
// whose bindings are all being deleted too: with the pauses between them about a minute.
const failuresToAbandon = 8

// abandoned reports whether everything that refers to this gateway is being deleted and
// its Kong cannot be used: then waiting for it would hang a namespace for ever.
func (g *gatewayPass) abandoned() bool {
	for i := range g.bindings {
		if g.bindings[i].DeletionTimestamp.IsZero() && holds(&g.bindings[i]) {
			return false
		}
	}
	return g.probed && g.verdict.problem() != nil && g.failures() >= failuresToAbandon
}

// nextRound is when this gateway is to be looked at again.
func (r *KongGatewayReconciler) nextRound(g *gatewayPass) time.Duration {
	if g.gateway.DeletionTimestamp != nil && !controllerutil.ContainsFinalizer(g.gateway, v1alpha1.GatewayFinalizer) {
		return 0
	}
	if !g.probed {
		if g.retryAfter > 0 {
			return g.retryAfter
		}
		return max(g.lastRound.soonest().Sub(r.Clock.Now()), 10*time.Millisecond)
	}
	now := r.Clock.Now()
	next := round{
		orphans: g.lastRound.orphans, kong: g.kong, generation: g.gateway.Generation,
		verdict: g.verdict, survey: g.lastRound.survey,
		deleting: !g.gateway.DeletionTimestamp.IsZero(), brokeOff: g.brokeOff, why: g.why, undialed: g.undialed,
	}
	if g.kong == nil && next.generation == g.lastRound.generation {
		// A Secret went. Should the gateway, too, this is how its plugins are removed.
		next.kong = g.lastRound.kong
	}
	if g.verdict.problem() == nil {
		r.backoff.Forget(g.key)
		next.next = now.Add(wait.Jitter(resyncOf(g.gateway), 0.1))
	} else {
		next.failures = g.failures()
		next.next = now.Add(wait.Jitter(r.backoff.When(g.key), 0.1))
	}
	if g.surveyed {
		next.survey = now.Add(wait.Jitter(max(resyncOf(g.gateway), sweepShare*g.took), 0.1))
	}
	if g.sweep != nil {
		next.orphans = r.sightings(g)
	}
	r.rounds.set(g.key, next)
	return max(next.soonest().Sub(now), 10*time.Millisecond)
}

// failures counts the probes in a row that showed a gateway that cannot be used; from its
// deletion on, if it is being deleted.
func (g *gatewayPass) failures() int {
	if !g.gateway.DeletionTimestamp.IsZero() && !g.lastRound.deleting {
		return 1
	}
	return g.lastRound.failures + 1
}

// sweepShare keeps the sweeps to about a fiftieth of the gateway's time.
const sweepShare = 50

// resyncOf is the gateway's resync interval.
func resyncOf(gw *v1alpha1.KongGateway) time.Duration {
	return durationOr(gw.Spec.ResyncInterval, time.Minute)
}

func requestTimeoutOf(gw *v1alpha1.KongGateway) time.Duration {
	if gw.Spec.Limits == nil {
		return adminapi.DefaultRequestTimeout
	}
	return durationOr(gw.Spec.Limits.RequestTimeout, adminapi.DefaultRequestTimeout)
}

// durationOr parses a duration that the API server has checked.
func durationOr(d v1alpha1.Duration, otherwise time.Duration) time.Duration {
	if parsed, err := time.ParseDuration(string(d)); err == nil {
		return parsed
	}
	return otherwise
}
