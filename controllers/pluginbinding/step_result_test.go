package pluginbinding

import (
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/workqueue"

	"github.com/pluginbinding/kong-plugin-operator/api/v1alpha1"
	"github.com/pluginbinding/kong-plugin-operator/internal/adminapi"
	"github.com/pluginbinding/kong-plugin-operator/internal/message"
	"github.com/pluginbinding/kong-plugin-operator/internal/plugin"
)

// errorReasons are read from the source of package adminapi, so that none is forgotten.
func errorReasons(t *testing.T) (reasons []adminapi.Reason) {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), "../../internal/adminapi/errors.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	ast.Inspect(file, func(n ast.Node) bool {
		spec, ok := n.(*ast.ValueSpec)
		if !ok {
			return true
		}
		if of, ok := spec.Type.(*ast.Ident); !ok || of.Name != "Reason" {
			return true
		}
		text, err := strconv.Unquote(spec.Values[0].(*ast.BasicLit).Value)
		if err != nil {
			t.Fatal(err)
		}
		reasons = append(reasons, adminapi.Reason(text))
		return true
	})
	if len(reasons) < 13 {
		t.Fatalf("found only these reasons: %v", reasons)
	}
	return reasons
}

// fromProbes are the reasons that only Probe returns. The KongGateway reports them.
var fromProbes = map[adminapi.Reason]bool{adminapi.Unsupported: true}

func TestEveryErrorReasonHasARow(t *testing.T) {
	for _, reason := range errorReasons(t) {
		if _, ok := kongErrors[reason]; ok == fromProbes[reason] {
			t.Errorf("reason %s: has a row: %v", reason, ok)
		}
	}
}

// A condition is False only where Kong itself said so.
func TestUnknownOutcomesAreUnknown(t *testing.T) {
	for _, reason := range []adminapi.Reason{
		adminapi.Unavailable, adminapi.UnknownOutcome, adminapi.NotKong, adminapi.TLS, adminapi.NotDatabase, adminapi.Throttled,
	} {
		s := kongError(&adminapi.Error{Reason: reason, Op: "get plugin", Message: "x"}, nil)
		if !s.unknown || !s.keepConditions || !s.requeueWithBackoff && s.requeueAfter == 0 {
			t.Errorf("%s: %+v", reason, s)
		}
	}
}

// These errors mostly need another input, and every input enqueues the binding. No event tells
// that an upgraded Kong accepts what it refused before, so that is tried again, rarely.
func TestErrorsOfTheInputAreRetriedRarely(t *testing.T) {
	for reason, after := range map[adminapi.Reason]time.Duration{adminapi.Rejected: slowRetry, adminapi.Denied: slowRetry, adminapi.Invalid: 0} {
		s := kongError(&adminapi.Error{Reason: reason, Op: "put plugin", Message: "x"}, nil)
		if s.unknown || s.requeueWithBackoff || s.requeueAfter != after {
			t.Errorf("%s: %+v", reason, s)
		}
	}
}

func TestRetryAfterIsObeyed(t *testing.T) {
	refused := &adminapi.Error{Reason: adminapi.Throttled, Op: "get plugin", Status: 429, Message: "API rate limit exceeded", RetryAfter: 7 * time.Second}
	notSent := &adminapi.Error{Reason: adminapi.Throttled, Op: "put plugin", Message: "not sent", RetryAfter: 3 * time.Second}
	a, b := kongError(refused, nil), kongError(notSent, nil)
	if a.requeueAfter != 7*time.Second || a.requeueWithBackoff || b.requeueAfter != 3*time.Second || b.requeueWithBackoff {
		t.Errorf("%+v, %+v", a, b)
	}
	if a.message != b.message {
		t.Errorf("the message depends on which request was rate-limited: %q, %q", a.message, b.message)
	}
}

// No message of Kong brings a value of a Secret into a condition, whatever it repeats, and
// the same error always reads the same.
func FuzzConditionMessages(f *testing.F) {
	f.Add("hunter2", "expected a string, got hunter2", "config.redis.password", "schema violation")
	f.Add("a\"b", `value "a\"b" is bad`, "config[1]", "")
	f.Add("p@ss w/rd", "p%40ss%20w%2Frd", "", "x")
	const mark = "[redacted]"
	f.Fuzz(func(t *testing.T, secret, complaint, path, text string) {
		if !utf8.ValidString(secret) || utf8.RuneCountInString(secret) < 8 || strings.Contains(mark, secret) || strings.Contains(secret, "\x00") {
			return // Render refuses some, and a short one is hidden only as a token
		}
		redactor := hiding(t, secret)
		// Names of fields are Kong's, and are not redacted.
		path = strings.ReplaceAll(path, secret, "")
		for _, err := range []*adminapi.Error{
			{Reason: adminapi.Rejected, Op: "create plugin", Status: 400, Message: text + secret},
			{Reason: adminapi.Rejected, Op: "put plugin", Fields: []adminapi.FieldError{{Path: path, Message: complaint + secret + complaint}}},
			{Reason: adminapi.Unavailable, Op: "get plugin", Message: secret},
		} {
			s, again := kongError(err, redactor), kongError(err, redactor)
			if s.message != again.message {
				t.Fatalf("%q, then %q", s.message, again.message)
			}
			for rest := range strings.SplitSeq(strings.TrimPrefix(s.message, "Kong refused the plugin: "+path), mark) {
				if strings.Contains(rest, secret) && !strings.Contains(err.Op, secret) {
					t.Fatalf("%q shows %q", s.message, secret)
				}
			}
			if cut := message.Truncate(s.message, 200); len(cut) > 200 || !utf8.ValidString(cut) && utf8.ValidString(s.message) {
				t.Fatalf("%q of %q", cut, s.message)
			}
		}
	})
}

// hiding is the redactor of a plugin whose config has this value from a Secret.
func hiding(t *testing.T, secret string) *plugin.Redactor {
	t.Helper()
	rendered, err := plugin.Render(plugin.Inputs{
		Spec: &v1alpha1.PluginBindingSpec{
			Plugin: "http-log",
			Config: &apiextensionsv1.JSON{Raw: []byte(`{"a":null}`)},
			ConfigPatches: []v1alpha1.ConfigPatch{{
				Path:      "/a",
				ValueFrom: v1alpha1.ConfigSource{SecretKeyRef: v1alpha1.SecretKeyRef{Name: "s", Key: "k"}},
			}},
		},
		Secret: func(v1alpha1.SecretKeyRef) ([]byte, error) { return []byte(secret), nil },
	})
	if err != nil {
		t.Fatal(fmt.Errorf("render: %w", err))
	}
	return rendered.Redactor
}

// A person has to act, so the condition says so. What was programmed stays so.
func TestForbiddenIsReported(t *testing.T) {
	err := apierrors.NewForbidden(schema.GroupResource{Resource: "pluginbindings"}, "limit", errors.New("no rule"))
	s := kubernetesError(err)
	if s.reason != v1alpha1.ReasonForbidden || !s.unknown || !s.keepConditions || !errors.Is(s.err, err) || !strings.Contains(s.message, "limit") {
		t.Errorf("%+v", s)
	}
}

// A binding whose last write Kong did not answer keeps its conditions while it waits; and the
// delays grow.
func TestWaitingForAnInFlightWriteKeepsConditions(t *testing.T) {
	s := &state{binding: &v1alpha1.PluginBinding{}, observed: observed{inFlightFor: 3 * time.Second}}
	s.binding.Generation = 2
	waiting := func(reason string, generation int64) *stepResult {
		s.binding.Status.Conditions = []metav1.Condition{{Type: v1alpha1.ConditionReady, Reason: reason, ObservedGeneration: generation}}
		return s.waitForInFlightWrites()
	}
	if got := waiting(v1alpha1.ReasonKongUnavailable, 2); got.condition != "" || !got.requeueWithBackoff || got.requeueAfter != 3*time.Second {
		t.Errorf("%+v", got)
	}
	for _, got := range []*stepResult{waiting(v1alpha1.ReasonKongUnavailable, 1), waiting(v1alpha1.ReasonReady, 2)} {
		if got.reason != v1alpha1.ReasonProgramming || got.requeueAfter != 3*time.Second {
			t.Errorf("%+v", got)
		}
	}

	r := &Reconciler{Backoff: workqueue.NewTypedItemExponentialFailureRateLimiter[types.NamespacedName](time.Second, time.Minute)}
	var delays []time.Duration
	for range 5 {
		result, err := r.ctrlResult(s, &stepResult{requeueWithBackoff: true, requeueAfter: 3 * time.Second})
		if err != nil {
			t.Fatal(err)
		}
		delays = append(delays, result.RequeueAfter)
	}
	if want := []time.Duration{3 * time.Second, 3 * time.Second, 4 * time.Second, 8 * time.Second, 16 * time.Second}; !slices.Equal(delays, want) {
		t.Errorf("got %v, want %v", delays, want)
	}
}
