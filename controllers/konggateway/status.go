package controllers

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/pluginbinding/kong-plugin-operator/api/v1alpha1"
	"github.com/pluginbinding/kong-plugin-operator/internal/adminapi"
)

// verdict is what was found out about a gateway. The zero verdict is a gateway that can
// be used.
type verdict struct {
	info adminapi.Info
	// condition that is not True, its reason and message.
	condition string
	reason    string
	message   string
	// permanent: only another spec, or another Kong, helps.
	permanent bool
}

func (v verdict) problem() *Problem {
	if v.condition == "" {
		return nil
	}
	return &Problem{Permanent: v.permanent, Message: v.message}
}

func (v verdict) reasonOr(otherwise string) string {
	if v.reason == "" {
		return otherwise
	}
	return v.reason
}

// judge turns the outcome of a probe into a verdict.
func judge(info adminapi.Info, err error) verdict {
	if err != nil {
		return judgeError(info, err)
	}
	switch {
	case info.DBLess():
		return verdict{
			info: info, permanent: true,
			condition: v1alpha1.ConditionAccepted, reason: v1alpha1.ReasonDBLess,
			message: "this Kong runs without a database and takes no plugins over its Admin API; use a Kong with database=postgres, or manage this one with declarative configuration",
		}
	case !info.DatabaseReachable:
		return verdict{
			info:      info,
			condition: v1alpha1.ConditionDatabaseReachable, reason: v1alpha1.ReasonDatabaseUnreachable,
			message: "Kong answers and does not reach its database; traffic is served as before, and nothing is changed until the database is back",
		}
	case !info.AtLeast(3, 2):
		return verdict{
			info: info, permanent: true,
			condition: v1alpha1.ConditionAccepted, reason: v1alpha1.ReasonUnsupportedVersion,
			message: fmt.Sprintf("Kong %s has no instance_name for plugins, by which a plugin is found again; upgrade to 3.2 or later", info.Version),
		}
	}
	return verdict{info: info}
}

// probeErrors say how an error of a probe shows.
var probeErrors = map[adminapi.Reason]struct {
	condition, reason, todo string
	permanent               bool
}{
	adminapi.Unavailable: {v1alpha1.ConditionReachable, v1alpha1.ReasonUnreachable, "check spec.adminURL, the Service behind it and network policies", false},
	adminapi.TLS:         {v1alpha1.ConditionReachable, v1alpha1.ReasonTLSFailed, "check spec.tls", false},
	adminapi.NotKong:     {v1alpha1.ConditionReachable, v1alpha1.ReasonNotKong, "check spec.adminURL", false},
	adminapi.Denied:      {v1alpha1.ConditionReachable, v1alpha1.ReasonDenied, "check the token in spec.auth.tokenSecretRef and its rights", false},
	adminapi.Throttled:   {v1alpha1.ConditionReachable, v1alpha1.ReasonUnreachable, "it asks for fewer requests", false},
	adminapi.Unsupported: {v1alpha1.ConditionAccepted, v1alpha1.ReasonUnsupportedEdition, "remove spec.workspace", true},
	adminapi.NotFound:    {v1alpha1.ConditionResolvedRefs, v1alpha1.ReasonWorkspaceNotFound, "create it, or correct spec.workspace", false},
	adminapi.Invalid:     {v1alpha1.ConditionAccepted, v1alpha1.ReasonInvalidConnection, "correct the spec", true},
}

func judgeError(info adminapi.Info, err error) verdict {
	row, ok := probeErrors[adminapi.ReasonForError(err)]
	if !ok {
		row = probeErrors[adminapi.Unavailable]
	}
	return verdict{
		info: info, condition: row.condition, reason: row.reason, permanent: row.permanent,
		message: err.Error() + "; " + row.todo,
	}
}

func retryAfter(err error) time.Duration {
	var kongErr *adminapi.Error
	if errors.As(err, &kongErr) && kongErr.RetryAfter > 0 {
		return kongErr.RetryAfter
	}
	return time.Second
}

// gatewayProgress is the order in which a gateway's conditions become True.
var gatewayProgress = []struct{ condition, reason, message string }{
	{v1alpha1.ConditionResolvedRefs, v1alpha1.ReasonResolvedRefs, "every Secret was found"},
	{v1alpha1.ConditionReachable, v1alpha1.ReasonReachable, "the Admin API answers"},
	{v1alpha1.ConditionDatabaseReachable, v1alpha1.ReasonReachable, "Kong reaches its database"},
	{v1alpha1.ConditionAccepted, v1alpha1.ReasonAccepted, "this Kong can hold the plugins of bindings"},
}

// setStatus derives the whole status from the pass.
func (g *gatewayPass) setStatus() {
	status, v := &g.gateway.Status, g.verdict
	status.ObservedGeneration = g.gateway.Generation
	another := status.Version != v.info.Version || status.Edition != v.info.Edition || status.Database != v.info.Database
	if v.info.Version != "" {
		status.Version = v.info.Version
	}
	if v.info.Database != "" {
		status.Edition, status.Database = v.info.Edition, v.info.Database
		// Behind one address there may be several nodes, another one answering each time.
		if another || status.NodeID == "" {
			status.NodeID = v.info.NodeID
		}
	}
	status.Bindings = g.countBindings()
	if g.sweep != nil && !sameSweep(status.LastResync, g.sweep) {
		status.LastResync = g.sweep
	}
	for _, row := range gatewayProgress {
		g.setCondition(g.conditionOf(row.condition, row.reason, row.message))
	}
	g.setCondition(g.summary())
}

// conditionOf is one condition. What comes after the one that failed is not known, except
// that a problem with Accepted says that Kong was reached.
func (g *gatewayPass) conditionOf(condition, reason, message string) metav1.Condition {
	v := g.verdict
	switch {
	case v.condition == condition:
		return metav1.Condition{Type: condition, Status: metav1.ConditionFalse, Reason: v.reason, Message: v.message}
	case v.condition == "" || before(condition, v.condition):
		if condition == v1alpha1.ConditionDatabaseReachable && v.info.DBLess() {
			return metav1.Condition{Type: condition, Status: metav1.ConditionFalse, Reason: v1alpha1.ReasonDBLess, Message: "this Kong has no database"}
		}
		if condition != v1alpha1.ConditionResolvedRefs && v.condition != "" && v.info.Version == "" {
			return waitingFor(condition, v.condition)
		}
		return metav1.Condition{Type: condition, Status: metav1.ConditionTrue, Reason: reason, Message: message}
	default:
		return waitingFor(condition, v.condition)
	}
}

func waitingFor(condition, other string) metav1.Condition {
	return metav1.Condition{Type: condition, Status: metav1.ConditionUnknown, Reason: v1alpha1.ReasonPending, Message: "waiting for " + other}
}

func before(condition, other string) bool {
	for _, row := range gatewayProgress {
		if row.condition == condition {
			return condition != other
		}
		if row.condition == other {
			return false
		}
	}
	return false
}

func (g *gatewayPass) summary() metav1.Condition {
	v := g.verdict
	switch {
	case !g.gateway.DeletionTimestamp.IsZero() && g.holders() > 0:
		return metav1.Condition{
			Type: v1alpha1.ConditionReady, Status: metav1.ConditionFalse, Reason: v1alpha1.ReasonInUse,
			Message: fmt.Sprintf("the gateway is being deleted and goes after the PluginBindings that refer to it; delete them first (%d left)", g.holders()),
		}
	case v.condition != "":
		return metav1.Condition{Type: v1alpha1.ConditionReady, Status: metav1.ConditionFalse, Reason: v.reason, Message: v.message}
	default:
		message := "bindings can be programmed on Kong " + v.info.Version
		if unread := g.unread(); unread != "" {
			message += "; but " + unread
		}
		return metav1.Condition{Type: v1alpha1.ConditionReady, Status: metav1.ConditionTrue, Reason: v1alpha1.ReasonReady, Message: message}
	}
}

func (g *gatewayPass) setCondition(condition metav1.Condition) {
	condition.ObservedGeneration = g.gateway.Generation
	condition.Message = truncate(condition.Message, 32000)
	meta.SetStatusCondition(&g.gateway.Status.Conditions, condition)
}

func (g *gatewayPass) countBindings() *v1alpha1.BindingCounts {
	counts := &v1alpha1.BindingCounts{Total: count(len(g.bindings))}
	for i := range g.bindings {
		if isTrue(g.bindings[i].Status.Conditions, v1alpha1.ConditionReady) {
			counts.Ready++
		}
	}
	return counts
}

func readyOf(gw *v1alpha1.KongGateway) *metav1.Condition {
	return meta.FindStatusCondition(gw.Status.Conditions, v1alpha1.ConditionReady)
}

// settings puts spec and Secrets together. A verdict says why that cannot be.
func (r *KongGatewayReconciler) settings(ctx context.Context, g *gatewayPass) (adminapi.Settings, *verdict, error) {
	spec := &g.gateway.Spec
	s := adminapi.Settings{
		Name:           g.key.String(),
		AdminURL:       spec.AdminURL,
		Workspace:      string(spec.Workspace),
		RequestTimeout: requestTimeoutOf(g.gateway),
		UserAgent:      UserAgent,
	}
	if limits := spec.Limits; limits != nil {
		s.MaxInFlight, s.Burst = int(limits.MaxInFlight), int(limits.Burst)
		s.RequestsPerSecond = float64(limits.RequestsPerSecond)
	}
	if v := badSelector(spec.AllowedBindings); v != nil {
		return s, v, nil
	}
	err := r.readSecrets(ctx, g, &s)
	var missing *missingSecretError
	if errors.As(err, &missing) {
		return s, &verdict{
			condition: v1alpha1.ConditionResolvedRefs, reason: v1alpha1.ReasonSecretNotFound,
			message: missing.Error(),
		}, nil
	}
	if refusal := kubernetesStop(err); apierrors.IsForbidden(err) {
		return s, &verdict{condition: v1alpha1.ConditionResolvedRefs, reason: refusal.reason, message: refusal.message}, nil
	}
	return s, nil, err
}

// UserAgent is what the operator calls itself to Kong.
const UserAgent = "kong-plugin-operator"

func (r *KongGatewayReconciler) readSecrets(ctx context.Context, g *gatewayPass, s *adminapi.Settings) error {
	secrets := &secretReader{ctx: ctx, reader: r.Live, namespace: g.key.Namespace, read: map[string]*corev1.Secret{}}
	take := func(to *[]byte, name, key string) error {
		value, err := secrets.get(v1alpha1.SecretKeyRef{Name: name, Key: key})
		*to = value
		return err
	}
	if auth := g.gateway.Spec.Auth; auth != nil {
		var token []byte
		if err := take(&token, auth.TokenSecretRef.Name, auth.TokenSecretRef.Key); err != nil {
			return err
		}
		s.TokenHeader, s.Token = auth.Header, string(token)
	}
	tls := g.gateway.Spec.TLS
	if tls == nil {
		return nil
	}
	s.ServerName, s.InsecureSkipVerify = tls.ServerName, tls.InsecureSkipVerify
	if ref := tls.CASecretRef; ref != nil {
		key := ref.Key
		if key == "" {
			key = "ca.crt"
		}
		if err := take(&s.CA, ref.Name, key); err != nil {
			return err
		}
	}
	if ref := tls.ClientCertSecretRef; ref != nil {
		if err := take(&s.ClientCert, ref.Name, corev1.TLSCertKey); err != nil {
			return err
		}
		return take(&s.ClientKey, ref.Name, corev1.TLSPrivateKeyKey)
	}
	return nil
}

func badSelector(allowed *v1alpha1.AllowedBindings) *verdict {
	if allowed == nil || allowed.Namespaces == nil || allowed.Namespaces.Selector == nil {
		return nil
	}
	if _, err := metav1.LabelSelectorAsSelector(allowed.Namespaces.Selector); err != nil {
		return &verdict{
			condition: v1alpha1.ConditionAccepted, reason: v1alpha1.ReasonInvalidSelector, permanent: true,
			message: "spec.allowedBindings.namespaces.selector: " + err.Error(),
		}
	}
	return nil
}

// round is the last look at a gateway.
type round struct {
	kong       Kong
	generation int64
	verdict    verdict
	failures   int
	// deleting: the gateway was being deleted.
	deleting bool
	// undialed: the spec or its Secrets did not make a connection.
	undialed bool
	// brokeOff are the sweeps in a row that broke off, why the last one did.
	brokeOff int
	why      string
	// next probe, and next survey.
	next   time.Time
	survey time.Time
	// orphans are when plugins without a binding were first seen, by ID.
	orphans map[string]time.Time
}

// soonest is when the gateway is to be looked at again.
func (r round) soonest() time.Time {
	if r.verdict.problem() == nil && r.survey.Before(r.next) {
		return r.survey
	}
	return r.next
}

// rounds remembers the last look at each gateway.
type rounds struct {
	mu   sync.Mutex
	last map[types.NamespacedName]round
}

func (r *rounds) get(key types.NamespacedName) round {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.last[key]
}

func (r *rounds) set(key types.NamespacedName, to round) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.last == nil {
		r.last = map[types.NamespacedName]round{}
	}
	r.last[key] = to
}

func (r *rounds) forget(key types.NamespacedName) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.last, key)
}
