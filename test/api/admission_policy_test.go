package api

import (
	"context"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/wait"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// documents of the YAML block in docs/security.md that has these words.
func documented(t *testing.T, words string) []*unstructured.Unstructured {
	t.Helper()
	page, err := os.ReadFile("../../docs/security.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, block := range regexp.MustCompile("(?s)```yaml\n(.*?)```").FindAllStringSubmatch(string(page), -1) {
		if !strings.Contains(block[1], words) {
			continue
		}
		var all []*unstructured.Unstructured
		for document := range strings.SplitSeq(block[1], "---\n") {
			all = append(all, object(t, document))
		}
		return all
	}
	t.Fatalf("no YAML in docs/security.md has %q", words)
	return nil
}

// The policy of docs/security.md refuses a KongGateway where the namespace lacks the label, and
// accepts it, with the operator's later patches, where it has it.
func TestAdmissionPolicyForGateways(t *testing.T) {
	for _, o := range documented(t, "ValidatingAdmissionPolicy") {
		if o.GetKind() == "ValidatingAdmissionPolicy" { // for this test only: the others run beside it
			o = merge(t, o, `spec: {matchConstraints: {namespaceSelector: {matchExpressions: [{
				key: kubernetes.io/metadata.name, operator: In, values: [gateways-allowed, gateways-denied, gateways-unlabelled]}]}}}`)
		}
		apply(t, o)
	}
	namespace := func(name, label string) {
		apply(t, object(t, "apiVersion: v1\nkind: Namespace\nmetadata: {name: "+name+", labels: {"+label+"}}"))
	}
	namespace("gateways-allowed", "kong-gateways: allowed")
	namespace("gateways-denied", "kong-gateways: denied")
	namespace("gateways-unlabelled", "")
	in := func(namespace string) *unstructured.Unstructured {
		o := object(t, minimalGateway)
		o.SetNamespace(namespace)
		return o
	}

	// The API server applies a new policy after a moment.
	err := wait.PollUntilContextTimeout(t.Context(), 50*time.Millisecond, time.Minute, true, func(ctx context.Context) (bool, error) {
		err := api.Create(ctx, in("gateways-denied"), client.DryRunAll)
		return apierrors.IsForbidden(err), nil
	})
	if err != nil {
		t.Fatalf("the policy does not refuse: %v", err)
	}
	err = api.Create(t.Context(), in("gateways-unlabelled"), client.DryRunAll)
	if !apierrors.IsForbidden(err) || !strings.Contains(err.Error(), "KongGateways are allowed only in namespaces with the label kong-gateways=allowed") {
		t.Errorf("a namespace without labels: %v", err)
	}
	gateway := apply(t, in("gateways-allowed"))
	expect(t, update(`metadata: {finalizers: [kong.pluginbinding.io/gateway]}`)(t, gateway), "", "")
}
