package controllers

import (
	"context"
	"net/http"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/pluginbinding/kong-plugin-operator/api/v1alpha1"
)

func TestAnAPIServerThatRefusesTheStatusIsNoLoadForKong(t *testing.T) {
	w := newWorld(t, worldOptions{calls: interceptor.Funcs{
		SubResourcePatch: func(_ context.Context, _ client.Client, _ string, object client.Object, _ client.Patch, _ ...client.SubResourcePatchOption) error {
			return apierrors.NewForbidden(v1alpha1.GroupVersion.WithResource("konggateways").GroupResource(), object.GetName(), nil)
		},
	}})
	for range 20 {
		if _, err := w.run(request{gateway: true, key: platform}); err == nil {
			t.Fatal("the status was written: the test proves nothing")
		}
		w.clock.Step(time.Second)
	}
	if probes, resyncs := w.kong.Journal().Count(http.MethodGet, "/"), w.resyncs(0); probes != 1 || resyncs != 1 {
		t.Errorf("%d probes and %d resyncs in 20 s at an interval of 1 m", probes, resyncs)
	}
}
