package programmed

import (
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

func bindingOf(name string, uid types.UID) client.Object {
	return &metav1.PartialObjectMetadata{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: name, UID: uid}}
}

func TestStateBelongsToOneObject(t *testing.T) {
	memory := NewMemory()
	limits, again, other := bindingOf("limits", "1"), bindingOf("limits", "2"), bindingOf("other", "1")
	state := State{Fingerprint: 42, Secrets: "s@1", RequestedAt: "now"}
	memory.Set(limits, state)
	if got, ok := memory.Get(limits); !ok || got != state {
		t.Errorf("got %+v, %v", got, ok)
	}
	for _, stranger := range []client.Object{again, other} {
		if got, ok := memory.Get(stranger); ok || got != (State{}) {
			t.Errorf("%s %s has %+v", stranger.GetName(), stranger.GetUID(), got)
		}
	}
	memory.Forget(client.ObjectKeyFromObject(limits))
	if _, ok := memory.Get(limits); ok {
		t.Error("a forgotten binding still has a state")
	}
}
