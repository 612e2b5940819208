package pluginbinding

import (
	"errors"
	"fmt"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/pluginbinding/kong-plugin-operator/api/v1alpha1"
	"github.com/pluginbinding/kong-plugin-operator/internal/adminapi"
	"github.com/pluginbinding/kong-plugin-operator/internal/message"
	"github.com/pluginbinding/kong-plugin-operator/internal/plugin"
)

// slowRetry is the delay for a lasting problem whose end triggers no event.
const slowRetry = 5 * time.Minute

// stepResult ends a reconcile before the declared plugin was found programmed: one condition
// and when to reconcile again. Without a condition, all conditions stay.
type stepResult struct {
	condition string
	// unknown sets the condition to Unknown, for what could not be determined; otherwise it is
	// False.
	unknown bool
	reason  string
	message string

	// keepConditions: the binding itself has no problem. If its conditions describe its current
	// generation, they stay.
	keepConditions bool
	// transient: the problem is that of the connection, and its text may differ each time. A status
	// that has the reason already stays as it is.
	transient bool
	// requeueAfter is when to reconcile again. Zero without requeueWithBackoff: when an input
	// changes.
	requeueAfter time.Duration
	// requeueWithBackoff reconciles again after a growing delay, not shorter than requeueAfter.
	requeueWithBackoff bool
	// err is an error of the API server, for the log. Conditions report only what somebody has
	// to act on.
	err error
}

// status of the result's condition.
func (res *stepResult) status() metav1.ConditionStatus {
	if res.unknown {
		return metav1.ConditionUnknown
	}
	return metav1.ConditionFalse
}

// requeue ends a reconcile whose inputs are outdated.
func requeue() *stepResult { return &stepResult{requeueWithBackoff: true} }

// done ends a reconcile that has nothing to say until an input changes.
func done() *stepResult { return &stepResult{} }

// notAccepted is the result of a binding that its gateway or its spec rules out.
func notAccepted(reason, text string) *stepResult {
	return &stepResult{condition: v1alpha1.ConditionAccepted, reason: reason, message: text}
}

// kubernetesError is the result of an error of the API server. Conflicts come from the
// cache's lag and are retried silently.
func kubernetesError(err error) *stepResult {
	switch {
	case apierrors.IsConflict(err), apierrors.IsNotFound(err):
		return requeue()
	case apierrors.IsForbidden(err):
		return &stepResult{
			condition: v1alpha1.ConditionProgrammed, unknown: true, keepConditions: true,
			reason:  v1alpha1.ReasonForbidden,
			message: message.Forbidden(err),
			err:     err,
		}
	default:
		return &stepResult{err: err}
	}
}

// describeResponse describes an error without fields. Kong may quote any part of the config when it
// refuses it or fails on it, so that is treated like a message about the whole plugin.
func describeResponse(err error, redactor *plugin.Redactor) string {
	var kongErr *adminapi.Error
	if !errors.As(err, &kongErr) || kongErr.Status == 0 || kongErr.Reason != adminapi.Rejected && kongErr.Reason != adminapi.UnknownOutcome {
		return redactor.Redact(err.Error())
	}
	_, text := redactor.RedactFieldError("", kongErr.Message)
	if kongErr.Reason == adminapi.Rejected {
		return refusedPrefix + text
	}
	return fmt.Sprintf("Kong answered %d: %s", kongErr.Status, text)
}

// kongErrorResult says how one class of errors of Kong appears in the status.
type kongErrorResult struct {
	condition      string
	unknown        bool
	reason         string
	keepConditions bool
	// requeueWithBackoff and requeueAfter are set for errors whose end triggers no event.
	requeueWithBackoff bool
	requeueAfter       time.Duration
}

// unavailable is for errors after which nothing is known.
var unavailable = kongErrorResult{
	condition: v1alpha1.ConditionProgrammed, unknown: true, reason: v1alpha1.ReasonKongUnavailable,
	keepConditions: true, requeueWithBackoff: true,
}

// kongErrors has a row for every reason of an error that a binding can meet.
// TestEveryErrorReasonHasARow finds a missing one.
var kongErrors = map[adminapi.Reason]kongErrorResult{
	adminapi.NotFound:       unavailable,
	adminapi.Unavailable:    unavailable,
	adminapi.UnknownOutcome: unavailable,
	adminapi.NotKong:        unavailable,
	adminapi.TLS:            unavailable,
	adminapi.NotDatabase:    unavailable,
	adminapi.Throttled:      unavailable,
	adminapi.Denied: {
		condition: v1alpha1.ConditionProgrammed, reason: v1alpha1.ReasonDenied,
		keepConditions: true, requeueAfter: slowRetry,
	},
	adminapi.Conflict: {keepConditions: true, requeueWithBackoff: true},
	adminapi.Rejected: {
		condition: v1alpha1.ConditionProgrammed, reason: v1alpha1.ReasonRejected, requeueAfter: slowRetry,
	},
	adminapi.ReferenceMissing: {
		condition: v1alpha1.ConditionResolvedRefs, reason: v1alpha1.ReasonScopeNotFound, requeueWithBackoff: true,
	},
	adminapi.Ambiguous: {
		condition: v1alpha1.ConditionResolvedRefs, reason: v1alpha1.ReasonScopeAmbiguous, requeueWithBackoff: true,
	},
	adminapi.Invalid: {condition: v1alpha1.ConditionAccepted, reason: v1alpha1.ReasonInvalidConfig},
}

// asKongError returns the error of Kong, nil if it is none.
func asKongError(err error) *adminapi.Error {
	var kongErr *adminapi.Error
	if !errors.As(err, &kongErr) {
		return nil
	}
	return kongErr
}

// refusedPrefix is how the message of a refusal begins.
const refusedPrefix = "Kong refused the plugin: "

// throttledMessage is the same whichever request was the one too many.
const throttledMessage = "Kong rate-limits the operator (429); the operator waits as long as Kong's Retry-After says"

// maxKongText bounds what Kong says within a condition's message, in bytes. What it means for the
// plugin follows, and is never cut.
const maxKongText = message.MaxCondition - message.MaxSummary

// statusUnexpected is Kong's response to what its code did not expect: a database that is
// away, or a config that its own code cannot read.
const statusUnexpected = 500

// kongError is the result of an error of Kong. Its text is Kong's, without anything that came
// from a Secret.
func kongError(err error, redactor *plugin.Redactor) *stepResult {
	reason := adminapi.ReasonForError(err)
	row := kongErrors[reason]
	res := &stepResult{
		condition:          row.condition,
		unknown:            row.unknown,
		reason:             row.reason,
		keepConditions:     row.keepConditions,
		requeueWithBackoff: row.requeueWithBackoff,
		requeueAfter:       row.requeueAfter,
		message:            message.Shorten(describeKongError(err, redactor), maxKongText),
	}
	if reason == adminapi.Throttled {
		res.message = throttledMessage
	}
	res.transient = row == unavailable && !adminapi.IsInternalError(err)
	kongErr := asKongError(err)
	switch {
	case kongErr == nil:
	case kongErr.RetryAfter > 0:
		res.requeueWithBackoff, res.requeueAfter = false, kongErr.RetryAfter
	case reason == adminapi.UnknownOutcome && kongErr.Status == statusUnexpected:
		res.message += "; if this lasts while the gateway is ready, Kong's code fails on this config"
	}
	return res
}

// describeKongError returns Kong's words, and the fields that it complains about. What Kong says
// about a value that came from a Secret is withheld as a whole.
func describeKongError(err error, redactor *plugin.Redactor) string {
	var kongErr *adminapi.Error
	if !errors.As(err, &kongErr) || len(kongErr.Fields) == 0 {
		return describeResponse(err, redactor)
	}
	parts := make([]string, 0, len(kongErr.Fields))
	for _, field := range kongErr.Fields {
		path, text := redactor.RedactFieldError(field.Path, field.Message)
		if path != "" {
			text = path + ": " + text
		}
		parts = append(parts, text)
	}
	return refusedPrefix + strings.Join(parts, "; ")
}
