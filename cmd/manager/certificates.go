package main

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/open-policy-agent/cert-controller/pkg/rotator"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/manager"
)

// How long certificates live. A server certificate is renewed when less than lookahead is left.
const (
	caDuration          = 10 * 365 * 24 * time.Hour
	certificateDuration = 365 * 24 * time.Hour
	lookahead           = 90 * 24 * time.Hour
	rotationCheck       = 12 * time.Hour
)

// addRotator makes the leader keep the certificate of the webhooks in a Secret, and its authority in
// the ValidatingWebhookConfiguration. Secret, configuration and Service have the same name.
func addRotator(mgr ctrl.Manager, namespace string, o *options) error {
	key := types.NamespacedName{Namespace: namespace, Name: o.webhookName}
	err := rotator.AddRotator(rotatorManager{Manager: mgr, key: key}, &rotator.CertRotator{
		SecretKey: key, CertDir: o.webhookCertDir,
		CAName: o.webhookName, CAOrganization: "kong-plugin-operator",
		DNSName:               fmt.Sprintf("%s.%s.svc", o.webhookName, namespace),
		ExtraDNSNames:         []string{fmt.Sprintf("%s.%s.svc.cluster.local", o.webhookName, namespace)},
		IsReady:               make(chan struct{}),
		Webhooks:              []rotator.WebhookInfo{{Name: o.webhookName, Type: rotator.Validating}},
		FieldOwner:            "kong-plugin-operator-certificates",
		RequireLeaderElection: true,
		CaCertDuration:        caDuration, ServerCertDuration: certificateDuration,
		LookaheadInterval: lookahead, RotationCheckFrequency: rotationCheck,
	})
	if err != nil {
		return fmt.Errorf("the rotation of the webhooks' certificate: %w", err)
	}
	return nil
}

// rotatorManager is the manager for the rotator. It narrows what the rotator watches from all Secrets of
// the namespace, and all configurations, to those that it keeps: the operator needs no right to others,
// and holds no other Secret in memory. And it contains the rotator's failures.
type rotatorManager struct {
	manager.Manager
	key types.NamespacedName
}

// GetConfig implements manager.Manager.
func (m rotatorManager) GetConfig() *rest.Config {
	config := rest.CopyConfig(m.Manager.GetConfig())
	config.Wrap(func(next http.RoundTripper) http.RoundTripper {
		return onlyNamed{next: next, key: m.key}
	})
	return config
}

// Add implements manager.Manager.
func (m rotatorManager) Add(r manager.Runnable) error {
	if _, ok := r.(*rotator.CertRotator); ok {
		r = patientRotator{Runnable: r, exists: m.secretExists}
	}
	return m.Manager.Add(contained{what: "The rotation of the webhooks' certificate", Runnable: r})
}

func (m rotatorManager) secretExists(ctx context.Context) bool {
	return m.GetAPIReader().Get(ctx, m.key, &corev1.Secret{}) == nil
}

// patientRotator starts the rotator when its Secret exists, and again if it cannot start. The rotator
// ends in both cases.
type patientRotator struct {
	manager.Runnable
	exists func(context.Context) bool
}

// startTimeout is longer than the rotator tries to write its Secret. If it ends later, it must not be
// started again: that the certificate is not mounted is its last word, and a second one would panic.
const startTimeout = time.Minute

// Start implements manager.Runnable.
func (r patientRotator) Start(ctx context.Context) error {
	for {
		began := time.Now()
		if r.exists(ctx) {
			if err := r.Runnable.Start(ctx); err == nil || time.Since(began) > startTimeout {
				return err
			}
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(time.Second):
		}
	}
}

// NeedLeaderElection implements manager.LeaderElectionRunnable.
func (patientRotator) NeedLeaderElection() bool { return true }

// onlyNamed restricts lists and watches of Secrets and configurations to one name.
type onlyNamed struct {
	next http.RoundTripper
	key  types.NamespacedName
}

// RoundTrip implements http.RoundTripper.
func (t onlyNamed) RoundTrip(request *http.Request) (*http.Response, error) {
	path := request.URL.Path
	if request.Method == http.MethodGet &&
		(strings.HasSuffix(path, "/namespaces/"+t.key.Namespace+"/secrets") || strings.HasSuffix(path, "/validatingwebhookconfigurations")) {
		request = request.Clone(request.Context())
		query := request.URL.Query()
		query.Set("fieldSelector", fields.OneTermEqualSelector("metadata.name", t.key.Name).String())
		request.URL.RawQuery = query.Encode()
	}
	return t.next.RoundTrip(request)
}
