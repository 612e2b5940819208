package pluginbinding

import (
	"context"
	"fmt"
	"slices"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/pluginbinding/kong-plugin-operator/api/v1alpha1"
	"github.com/pluginbinding/kong-plugin-operator/internal/adminapi"
	"github.com/pluginbinding/kong-plugin-operator/internal/identity"
)

// writingOperations are the operations that write to Kong.
var writingOperations = []identity.Operation{
	identity.Put, identity.Create, identity.TakeOver, identity.Replace, identity.Delete, identity.Release, identity.MoveAside, identity.MoveBack,
}

// waitForWrites ends the reconcile before a write while the writes of several bindings fail alike. The
// gateway enqueues the binding when it may try, or when the writes of another one succeed again.
func (r *Reconciler) waitForWrites(s *state) *stepResult {
	if !slices.Contains(writingOperations, s.action.Operation) || r.Connections.MayWrite(s.gatewayKey, client.ObjectKeyFromObject(s.binding)) {
		return nil
	}
	return writesFail(s)
}

func writesFail(s *state) *stepResult {
	return &stepResult{
		condition: v1alpha1.ConditionProgrammed, unknown: true, keepConditions: true,
		reason:  v1alpha1.ReasonGatewayNotReady,
		message: fmt.Sprintf("KongGateway %s is not ready: Kong answers the writes of several bindings with an error. This binding waits until one succeeds.", s.gatewayKey),
	}
}

// noteFailedWrite tells the gateway about a write that Kong answered with status 500. If Kong's schema
// code fails on the plugin too, the plugin is the cause, and the gateway is not told. It returns a result
// if the write failed like those of other bindings.
func (r *Reconciler) noteFailedWrite(ctx context.Context, s *state, err error) *stepResult {
	if !adminapi.IsInternalError(err) {
		return nil
	}
	if s.desired.plugin.Name != "" && s.client().ValidateConfig(ctx, s.desired.plugin) != nil {
		return nil
	}
	if r.Connections.WriteFailed(s.gatewayKey, client.ObjectKeyFromObject(s.binding)) {
		r.Connections.EnqueueGateway(ctx, s.gatewayKey)
	}
	if !r.Connections.WritesFail(s.gatewayKey) {
		return nil
	}
	return writesFail(s)
}

// noteWrite tells the gateway about a write that succeeded, and wakes the bindings that waited for one.
func (r *Reconciler) noteWrite(ctx context.Context, s *state) {
	waited, ended := r.Connections.WriteSucceeded(s.gatewayKey, client.ObjectKeyFromObject(s.binding))
	for _, binding := range waited {
		r.Connections.EnqueueBinding(ctx, binding)
	}
	if ended {
		r.Connections.EnqueueGateway(ctx, s.gatewayKey)
	}
}
