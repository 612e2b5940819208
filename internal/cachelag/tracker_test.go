package cachelag

import (
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

func version(v string) *metav1.PartialObjectMetadata {
	return &metav1.PartialObjectMetadata{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "a", ResourceVersion: v}}
}

func TestTracker(t *testing.T) {
	var tracker Tracker
	expect := func(v string, lags bool) {
		t.Helper()
		if tracker.Lags(version(v)) != lags {
			t.Errorf("version %s lags: %v, want %v", v, !lags, lags)
		}
	}
	expect("1", false)
	tracker.Wrote(version("1"), version("1"))
	expect("1", false)
	tracker.Wrote(version("1"), version("2"))
	expect("1", true)
	expect("1", true)
	expect("2", false)
	if len(tracker.replaced) > 0 {
		t.Error("it remembers a write that the cache shows")
	}
	tracker.Wrote(version("2"), version("3"))
	tracker.Forget(types.NamespacedName{Namespace: "shop", Name: "a"})
	expect("2", false)
}
