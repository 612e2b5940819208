package controllers

import (
	"context"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/events"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"

	"github.com/pluginbinding/kong-plugin-operator/api/v1alpha1"
)

func TestNoEventInANamespaceThatIsBeingDeleted(t *testing.T) {
	ending := namespaceNamed("ending")
	ending.DeletionTimestamp, ending.Finalizers = &metav1.Time{Time: time.Unix(1, 0)}, []string{"kubernetes"}
	recorder := events.NewFakeRecorder(10)
	r := namespaceRecorder{recorder, fake.NewClientBuilder().WithObjects(ending, namespaceNamed("shop")).Build()}
	for _, namespace := range []string{"ending", "shop", "not-cached"} {
		r.Eventf(&v1alpha1.PluginBinding{ObjectMeta: metav1.ObjectMeta{Namespace: namespace}}, nil, corev1.EventTypeNormal, namespace, "Test", "a note")
	}
	close(recorder.Events)
	var got []string
	for event := range recorder.Events {
		got = append(got, event)
	}
	if len(got) != 2 || got[0] != "Normal shop a note" || got[1] != "Normal not-cached a note" {
		t.Errorf("%q", got)
	}
}

// A process that stops tells nothing: it does not know whether its gateways are reachable.
func TestAProbeThatAShutdownBreaksOffIsNoNews(t *testing.T) {
	w := newWorld(t, worldOptions{objects: []client.Object{boundTo("limit", "orders")}})
	w.pass(time.Minute)
	before := w.getGateway()
	ctx, stop := context.WithCancel(w.ctx)
	stop()
	w.ctx = ctx
	w.clock.Step(10 * time.Minute)
	if _, err := w.run(request{gateway: true, key: platform}); err != nil {
		t.Errorf("an error for the log: %v", err)
	}
	w.ctx = t.Context()
	if got := w.getGateway(); got.ResourceVersion != before.ResourceVersion {
		t.Errorf("the status was written: %+v", got.Status)
	}
	if c, ok := w.operator.Connections.Get(platform); !ok || c.Problem != nil {
		t.Errorf("the bindings were told: %+v, %v", c.Problem, ok)
	}
}
