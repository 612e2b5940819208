package controllers

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/pluginbinding/kong-plugin-operator/api/v1alpha1"
	"github.com/pluginbinding/kong-plugin-operator/internal/adminapi"
	"github.com/pluginbinding/kong-plugin-operator/internal/plugin"
)

// stop ends a pass before the declared plugin was found in force: which condition is not
// True and why, and when to look again. A stop without a condition changes no condition.
type stop struct {
	condition string
	// unknown sets the condition to Unknown, for what could not be found out; otherwise
	// it is False.
	unknown bool
	reason  string
	message string

	// transient: nothing is wrong with the binding, and if it was in force and has not
	// changed since, its conditions stay.
	transient bool
	// after: when to look again. Zero with again unset: when an input changes.
	after time.Duration
	// again: look again with a growing pause, which is no shorter than after.
	again bool
	// err is an error of the Kubernetes API, for the log. Conditions tell only what somebody
	// has to do something about.
	err error
}

// lookAgain ends a pass whose picture of the world is behind.
func lookAgain() *stop { return &stop{again: true} }

// kubernetesStop is for errors of the API server. Conflicts are the cache's lag and are
// retried without a word.
func kubernetesStop(err error) *stop {
	if apierrors.IsConflict(err) || apierrors.IsNotFound(err) {
		return lookAgain()
	}
	if apierrors.IsForbidden(err) {
		err = fmt.Errorf("the API server refuses the operator: %w", err)
		return &stop{
			condition: v1alpha1.ConditionProgrammed, unknown: true, transient: true,
			reason:  v1alpha1.ReasonForbidden,
			message: err.Error() + "; give its role this right",
			err:     err,
		}
	}
	return &stop{err: err}
}

// How an error of Kong shows, by its kind. A kind that is missing is a mistake which
// TestEveryKindOfErrorHasARow finds.
var kongErrors = map[adminapi.Reason]struct {
	condition string
	unknown   bool
	reason    string
	transient bool
	again     bool
	// after: what nothing announces that it is over.
	after time.Duration
}{
	adminapi.NotFound:         {v1alpha1.ConditionProgrammed, true, v1alpha1.ReasonKongUnavailable, true, true, 0},
	adminapi.Unavailable:      {v1alpha1.ConditionProgrammed, true, v1alpha1.ReasonKongUnavailable, true, true, 0},
	adminapi.UnknownOutcome:   {v1alpha1.ConditionProgrammed, true, v1alpha1.ReasonKongUnavailable, true, true, 0},
	adminapi.NotKong:          {v1alpha1.ConditionProgrammed, true, v1alpha1.ReasonKongUnavailable, true, true, 0},
	adminapi.TLS:              {v1alpha1.ConditionProgrammed, true, v1alpha1.ReasonKongUnavailable, true, true, 0},
	adminapi.NotDatabase:      {v1alpha1.ConditionProgrammed, true, v1alpha1.ReasonKongUnavailable, true, true, 0},
	adminapi.Throttled:        {v1alpha1.ConditionProgrammed, true, v1alpha1.ReasonKongUnavailable, true, true, 0},
	adminapi.Denied:           {v1alpha1.ConditionProgrammed, false, v1alpha1.ReasonDenied, true, false, slowRetry},
	adminapi.Conflict:         {"", false, "", true, true, 0},
	adminapi.Rejected:         {v1alpha1.ConditionProgrammed, false, v1alpha1.ReasonRejected, false, false, slowRetry},
	adminapi.ReferenceMissing: {v1alpha1.ConditionResolvedRefs, false, v1alpha1.ReasonScopeNotFound, false, true, 0},
	adminapi.Ambiguous:        {v1alpha1.ConditionResolvedRefs, false, v1alpha1.ReasonScopeAmbiguous, false, true, 0},
	adminapi.Invalid:          {v1alpha1.ConditionAccepted, false, v1alpha1.ReasonInvalidConfig, false, false, 0},
}

// kongStop turns an error of Kong into a stop. Its text is Kong's, without anything that
// came from a Secret.
func kongStop(err error, redactor *plugin.Redactor) *stop {
	row := kongErrors[adminapi.ReasonForError(err)]
	s := &stop{
		condition: row.condition,
		unknown:   row.unknown,
		reason:    row.reason,
		transient: row.transient,
		again:     row.again,
		after:     row.after,
		message:   describe(err, redactor),
	}
	if adminapi.ReasonForError(err) == adminapi.Throttled {
		// The same whichever request was the one too many.
		s.message = "Kong asks for fewer requests (429); the operator waits as long as it says"
	}
	var kongErr *adminapi.Error
	if !errors.As(err, &kongErr) {
		return s
	}
	switch {
	case kongErr.RetryAfter > 0:
		s.again, s.after = false, kongErr.RetryAfter
	case kongErr.Reason == adminapi.Rejected && slices.ContainsFunc(kongErr.Fields, func(f adminapi.FieldError) bool { return f.Path == "protocols" }):
		// Kong holds them against the routes of the service, and nothing announces that those
		// change, or that it could not read them.
		s.again, s.after = true, 0
	case kongErr.Reason == adminapi.UnknownOutcome && kongErr.Status == statusUnexpected:
		s.message += "; if that lasts while the gateway is ready, Kong stumbles over this config"
	}
	return s
}

// statusUnexpected is what Kong answers to what it did not expect: a database that is away, or a
// config that its own code cannot read.
const statusUnexpected = 500

// describe says what Kong answered: the fields at fault where it names them. Names of
// fields that the plugin has are not redacted: a Secret that holds the word redis must not
// hide config.redis.
func describe(err error, redactor *plugin.Redactor) string {
	var kongErr *adminapi.Error
	if !errors.As(err, &kongErr) || len(kongErr.Fields) == 0 {
		return redactor.Redact(err.Error())
	}
	parts := make([]string, 0, len(kongErr.Fields))
	for _, field := range kongErr.Fields {
		message := redactor.Redact(field.Message)
		if field.Path != "" {
			message = redactor.RedactPath(field.Path) + ": " + message
		}
		parts = append(parts, message)
	}
	return "Kong refused the plugin: " + strings.Join(parts, "; ")
}
