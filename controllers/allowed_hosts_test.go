package controllers

import (
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"

	"github.com/pluginbinding/kong-plugin-operator/api/v1alpha1"
)

func TestAGatewayOfAForbiddenHostIsNotConnected(t *testing.T) {
	w := newWorld(t, worldOptions{options: func(o *Options) { o.AllowedHosts = []string{"*.kong.svc"} }})
	w.pass(time.Minute)
	accepted := meta.FindStatusCondition(w.getGateway().Status.Conditions, v1alpha1.ConditionAccepted)
	if accepted.Reason != v1alpha1.ReasonInvalidConnection || !strings.Contains(accepted.Message, "--allowed-admin-hosts") {
		t.Errorf("%+v", accepted)
	}
	if requests := w.requests(0); len(requests) > 0 {
		t.Errorf("requests: %v", requests)
	}
}
