package controllers

import (
	"context"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	clocktesting "k8s.io/utils/clock/testing"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/pluginbinding/kong-plugin-operator/internal/policy"
)

var (
	grpcRoute  = schema.GroupVersionKind{Group: "gateway.networking.k8s.io", Version: "v1", Kind: "GRPCRoute"}
	grpcRoutes = schema.GroupResource{Group: grpcRoute.Group, Resource: "grpcroutes"}
	greeter    = types.NamespacedName{Namespace: "shop", Name: "greeter"}
)

// objectReader answers every Get with the same error.
type objectReader struct {
	client.Reader
	err error
}

func (r *objectReader) Get(context.Context, client.ObjectKey, client.Object, ...client.GetOption) error {
	return r.err
}

// kindMapper counts how often somebody looks for a kind.
type kindMapper struct {
	*meta.DefaultRESTMapper
	calls int
}

func (m *kindMapper) RESTMapping(kind schema.GroupKind, versions ...string) (*meta.RESTMapping, error) {
	m.calls++
	return m.DefaultRESTMapper.RESTMapping(kind, versions...)
}

// A kind that is not there costs a request now and then; one that is installed is found and watched
// once; one that is uninstalled is noticed, and found again.
func TestKindsComeAndGo(t *testing.T) {
	absent := apierrors.NewNotFound(grpcRoutes, greeter.Name)
	unserved := apierrors.NewGenericServerResponse(404, "get", grpcRoutes, greeter.Name, "404 page not found", 0, true)
	cached, live := &objectReader{}, &objectReader{err: unserved}
	mapper := &kindMapper{DefaultRESTMapper: meta.NewDefaultRESTMapper([]schema.GroupVersion{grpcRoute.GroupVersion()})}
	clock, watched := clocktesting.NewFakeClock(time.Unix(1_800_000_000, 0)), 0
	o := &targetObjects{
		cached: cached, live: live, mapper: mapper, clock: clock,
		watch: func(schema.GroupVersionKind) error { watched++; return nil },
		kinds: map[schema.GroupKind]schema.GroupVersionKind{}, checked: map[schema.GroupKind]time.Time{}, uninstalled: map[schema.GroupKind]bool{},
	}
	expect := func(what string, want policy.Presence, again bool) {
		t.Helper()
		got, after, err := o.Presence(t.Context(), grpcRoute.GroupKind(), greeter)
		if err != nil || got != want || (after > 0) != again {
			t.Errorf("%s: %v, again in %v, %v", what, got, after, err)
		}
	}
	for range 5 {
		expect("not installed", policy.NotInstalled, true)
	}
	if mapper.calls != 1 {
		t.Errorf("%d requests for a kind that is not there", mapper.calls)
	}

	mapper.Add(grpcRoute, meta.RESTScopeNamespace)
	expect("installed, and not looked for yet", policy.NotInstalled, true)
	clock.Step(kindRetry)
	expect("installed", policy.Present, false)
	expect("installed", policy.Present, false)
	if watched != 1 {
		t.Errorf("watched %d times", watched)
	}

	cached.err, live.err = absent, absent
	clock.Step(kindRetry)
	expect("deleted", policy.Missing, true)
	clock.Step(kindRetry)
	live.err = unserved
	expect("uninstalled", policy.NotInstalled, true)
	expect("still uninstalled", policy.NotInstalled, true)
	clock.Step(kindRetry)
	live.err = absent
	expect("installed again", policy.Missing, true)
	cached.err = nil
	expect("created again", policy.Present, false)

	cached.err = apierrors.NewForbidden(grpcRoutes, greeter.Name, nil)
	if _, _, err := o.Presence(t.Context(), grpcRoute.GroupKind(), greeter); err == nil {
		t.Error("an error passes for an answer")
	}
}

func TestOnlyChangesThatMatterAreLookedAt(t *testing.T) {
	object := func(generation int64, version string) *metav1.PartialObjectMetadata {
		return &metav1.PartialObjectMetadata{ObjectMeta: metav1.ObjectMeta{Generation: generation, ResourceVersion: version}}
	}
	for _, tc := range []struct {
		kind    string
		was, is *metav1.PartialObjectMetadata
		want    bool
	}{
		{"Ingress", object(1, "1"), object(1, "2"), false},
		{"Ingress", object(1, "1"), object(2, "2"), true},
		{"Service", object(0, "1"), object(0, "2"), true},
		{"Service", object(0, "1"), object(0, "1"), false},
	} {
		if got := targetChanged(tc.kind).Update(metadataUpdate{ObjectOld: tc.was, ObjectNew: tc.is}); got != tc.want {
			t.Errorf("%s from %s to %s: %t", tc.kind, tc.was.ResourceVersion, tc.is.ResourceVersion, got)
		}
	}
}
