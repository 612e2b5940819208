package controllers

import (
	"errors"
	"testing"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	clocktesting "k8s.io/utils/clock/testing"

	"github.com/pluginbinding/kong-plugin-operator/internal/kic"
)

// countingMapper knows no kind.
type countingMapper struct {
	meta.RESTMapper
	asked int
	err   error
}

func (m *countingMapper) RESTMapping(kind schema.GroupKind, _ ...string) (*meta.RESTMapping, error) {
	m.asked++
	if m.err != nil {
		return nil, m.err
	}
	return nil, &meta.NoKindMatchError{GroupKind: kind}
}

// Whoever writes to Kong chooses the tags of an entity. They start a watch only of kinds that may have
// the annotation, and a kind that the cluster does not serve is not asked for again and again.
func TestTagsInKongDoNotChooseWhatIsWatched(t *testing.T) {
	mapper, clock := &countingMapper{}, clocktesting.NewFakeClock(metav1.Now().Time)
	objects := &ingressObjects{mapper: mapper, clock: clock}
	for _, object := range []kic.Object{
		{Version: "v1", Kind: "Secret", Namespace: "kube-system", Name: "token"},
		{Group: "apps", Version: "v1", Kind: "Deployment", Namespace: "web", Name: "shop"},
	} {
		if _, found, err := objects.AnnotationsOf(t.Context(), object, "u"); found || err != nil || mapper.asked > 0 {
			t.Errorf("%s: %v %v, asked %d times", object, found, err, mapper.asked)
		}
	}
	route := kic.Object{Group: "gateway.networking.k8s.io", Version: "v1", Kind: "HTTPRoute", Namespace: "web", Name: "shop"}
	for range 3 {
		if _, found, err := objects.AnnotationsOf(t.Context(), route, "u"); found || err != nil {
			t.Errorf("%v %v", found, err)
		}
	}
	if mapper.asked != 1 {
		t.Errorf("asked %d times", mapper.asked)
	}
	clock.Step(unavailableFor)
	mapper.err = errors.New("discovery failed")
	if _, _, err := objects.AnnotationsOf(t.Context(), route, "u"); err == nil || mapper.asked != 2 {
		t.Errorf("%v, asked %d times", err, mapper.asked)
	}
}
