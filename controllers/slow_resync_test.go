package controllers

import (
	"net/http"
	"testing"
	"time"

	"github.com/pluginbinding/kong-plugin-operator/test/kongtest"
)

func TestOneSlowResyncDoesNotEndDriftCorrection(t *testing.T) {
	w := newWorld(t, worldOptions{})
	w.pass(3 * time.Minute) // fast
	slow := w.kong.Inject(kongtest.Fault{Method: http.MethodGet, Template: "/plugins", Times: 1, Kind: kongtest.Answer, Status: http.StatusOK,
		Body: `{"data":[],"next":null}`, Before: func(*http.Request) { w.clock.Step(13500 * time.Millisecond) }})
	w.pass(2 * time.Minute)
	slow()
	if got := w.getGateway().Status.ResyncInterval.Duration; got <= time.Minute || got > 5*time.Minute {
		t.Errorf("the status shows an interval of %v", got)
	}
	mark := w.kong.Journal().Mark()
	w.pass(6 * time.Minute) // five intervals and the jitter
	if w.resyncs(mark) == 0 {
		t.Error("no resync within five intervals")
	}
	w.pass(30 * time.Minute)
	if got := w.getGateway().Status.ResyncInterval.Duration; got != time.Minute {
		t.Errorf("the interval stays at %v", got)
	}
}
