package controllers

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
	"github.com/pluginbinding/kong-plugin-operator/internal/plugin"
)

// kindsOfErrors are read from the source of package gateway, so that none is forgotten.
func kindsOfErrors(t *testing.T) (kinds []adminapi.Reason) {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), "../internal/adminapi/errors.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	ast.Inspect(file, func(n ast.Node) bool {
		spec, ok := n.(*ast.ValueSpec)
		if !ok {
			return true
		}
		if of, ok := spec.Type.(*ast.Ident); !ok || of.Name != "Kind" {
			return true
		}
		text, err := strconv.Unquote(spec.Values[0].(*ast.BasicLit).Value)
		if err != nil {
			t.Fatal(err)
		}
		kinds = append(kinds, adminapi.Reason(text))
		return true
	})
	if len(kinds) < 13 {
		t.Fatalf("only these kinds were found: %v", kinds)
	}
	return kinds
}

// fromProbes are the kinds that only Probe gives, of which bindings hear through their
// gateway.
var fromProbes = map[adminapi.Reason]bool{adminapi.Unsupported: true}

func TestEveryKindOfErrorHasARow(t *testing.T) {
	for _, kind := range kindsOfErrors(t) {
		if _, ok := kongErrors[kind]; ok == fromProbes[kind] {
			t.Errorf("kind %s: a row for bindings: %v", kind, ok)
		}
	}
}

// What cannot be known must not be told as a fact: a condition is False only where Kong
// itself said so.
func TestWhatIsNotKnownIsUnknown(t *testing.T) {
	for _, kind := range []adminapi.Reason{
		adminapi.Unavailable, adminapi.UnknownOutcome, adminapi.NotKong, adminapi.TLS, adminapi.NotDatabase, adminapi.Throttled,
	} {
		s := kongStop(&adminapi.Error{Reason: kind, Op: "get plugin", Message: "x"}, nil)
		if !s.unknown || !s.transient || !s.again && s.after == 0 {
			t.Errorf("%s: %+v", kind, s)
		}
	}
}

// Against these mostly another input helps, and every such input wakes the binding. What Kong
// refuses it may take after an upgrade, of which nothing tells: so that is tried again, rarely.
func TestWhatMostlyAnotherInputHelps(t *testing.T) {
	for kind, after := range map[adminapi.Reason]time.Duration{adminapi.Rejected: slowRetry, adminapi.Denied: slowRetry, adminapi.Invalid: 0} {
		s := kongStop(&adminapi.Error{Reason: kind, Op: "put plugin", Message: "x"}, nil)
		if s.unknown || s.again || s.after != after {
			t.Errorf("%s: %+v", kind, s)
		}
	}
}

func TestA429IsObeyed(t *testing.T) {
	refused := &adminapi.Error{Reason: adminapi.Throttled, Op: "get plugin", Status: 429, Message: "API rate limit exceeded", RetryAfter: 7 * time.Second}
	notSent := &adminapi.Error{Reason: adminapi.Throttled, Op: "put plugin", Message: "not sent", RetryAfter: 3 * time.Second}
	a, b := kongStop(refused, nil), kongStop(notSent, nil)
	if a.after != 7*time.Second || a.again || b.after != 3*time.Second || b.again {
		t.Errorf("%+v, %+v", a, b)
	}
	if a.message != b.message {
		t.Errorf("the message depends on which request was asked to wait: %q, %q", a.message, b.message)
	}
}

// No message of Kong brings a value of a Secret into a condition, whatever it repeats, and
// the same error always reads the same.
func FuzzConditionMessages(f *testing.F) {
	f.Add("hunter2", "expected a string, got hunter2", "config.redis.password", "schema violation")
	f.Add("a\"b", `value "a\"b" is bad`, "config[1]", "")
	f.Add("p@ss w/rd", "p%40ss%20w%2Frd", "", "x")
	const mark = "[redacted]"
	f.Fuzz(func(t *testing.T, secret, complaint, path, message string) {
		if !utf8.ValidString(secret) || utf8.RuneCountInString(secret) < 8 || strings.Contains(mark, secret) || strings.Contains(secret, "\x00") {
			return // Render refuses some, and a short one is hidden only as a token
		}
		redactor := hiding(t, secret)
		// Names of fields are Kong's, and are not redacted.
		path = strings.ReplaceAll(path, secret, "")
		for _, err := range []*adminapi.Error{
			{Reason: adminapi.Rejected, Op: "create plugin", Status: 400, Message: message + secret},
			{Reason: adminapi.Rejected, Op: "put plugin", Fields: []adminapi.FieldError{{Path: path, Message: complaint + secret + complaint}}},
			{Reason: adminapi.Unavailable, Op: "get plugin", Message: secret},
		} {
			s, again := kongStop(err, redactor), kongStop(err, redactor)
			if s.message != again.message {
				t.Fatalf("%q, then %q", s.message, again.message)
			}
			for rest := range strings.SplitSeq(strings.TrimPrefix(s.message, "Kong refused the plugin: "+path), mark) {
				if strings.Contains(rest, secret) && !strings.Contains(err.Op, secret) {
					t.Fatalf("%q shows %q", s.message, secret)
				}
			}
			if cut := truncate(s.message, 200); len(cut) > 200 || !utf8.ValidString(cut) && utf8.ValidString(s.message) {
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

// A person has to act, and is told where he looks; what was in force stays so.
func TestAForbiddenRequestIsTold(t *testing.T) {
	err := apierrors.NewForbidden(schema.GroupResource{Resource: "pluginbindings"}, "limit", errors.New("no rule"))
	s := kubernetesStop(err)
	if s.reason != v1alpha1.ReasonForbidden || !s.unknown || !s.transient || !errors.Is(s.err, err) || !strings.Contains(s.message, "limit") {
		t.Errorf("%+v", s)
	}
}

// A binding whose last write Kong did not answer does not say one thing while it waits and
// another when it has tried again; and the pauses grow.
func TestWaitingForAWriteIsNoNews(t *testing.T) {
	p := &pass{binding: &v1alpha1.PluginBinding{}, doubt: 3 * time.Second}
	p.binding.Generation = 2
	said := func(reason string, generation int64) *stop {
		p.binding.Status.Conditions = []metav1.Condition{{Type: v1alpha1.ConditionReady, Reason: reason, ObservedGeneration: generation}}
		return p.inDoubt()
	}
	if s := said(v1alpha1.ReasonKongUnavailable, 2); s.condition != "" || !s.again || s.after != p.doubt {
		t.Errorf("%+v", s)
	}
	for _, s := range []*stop{said(v1alpha1.ReasonKongUnavailable, 1), said(v1alpha1.ReasonReady, 2)} {
		if s.reason != v1alpha1.ReasonProgramming || s.after != p.doubt {
			t.Errorf("%+v", s)
		}
	}

	r := &PluginBindingReconciler{backoff: workqueue.NewTypedItemExponentialFailureRateLimiter[types.NamespacedName](time.Second, time.Minute)}
	var pauses []time.Duration
	for range 5 {
		result, err := r.next(p, &stop{again: true, after: 3 * time.Second})
		if err != nil {
			t.Fatal(err)
		}
		pauses = append(pauses, result.RequeueAfter)
	}
	if want := []time.Duration{3 * time.Second, 3 * time.Second, 4 * time.Second, 8 * time.Second, 16 * time.Second}; !slices.Equal(pauses, want) {
		t.Errorf("got %v, want %v", pauses, want)
	}
}
