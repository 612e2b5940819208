package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sync/semaphore"
	corev1 "k8s.io/api/core/v1"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/webhook"

	"github.com/pluginbinding/kong-plugin-operator/controllers"
)

// Bounds on what the webhook server reads. Its callers are not authenticated.
const (
	// maxReview is the longest request in bytes: the API server sends an object, which is at most 1.5 MiB
	// in its database, and the one before.
	maxReview = 4 << 20
	// maxReviews bounds all requests at a time, in bytes, and smallestReview is what one counts at least.
	maxReviews     = 32 << 20
	smallestReview = 64 << 10
	// reviewTimeout is the time to read a request.
	reviewTimeout = 3 * time.Second
)

// addWebhooks adds the webhook server to the manager. Nothing of it can keep the operator from its work:
// not a missing certificate, and not a port that is taken.
func addWebhooks(mgr ctrl.Manager, o *options, options controllers.Options) error {
	if !o.enableWebhooks {
		return nil
	}
	server := boundedServer{
		Server:  webhook.NewServer(webhook.Options{}), // for its multiplexer and its metrics
		port:    o.webhookPort,
		certDir: o.webhookCertDir,
		reading: semaphore.NewWeighted(maxReviews),
	}
	controllers.AddWebhooks(mgr, server, options)
	if err := mgr.Add(contained{what: "The webhooks", Runnable: manager.RunnableFunc(func(ctx context.Context) error {
		if !waitForCertificate(ctx, o.webhookCertDir) {
			return nil
		}
		return server.Start(ctx)
	})}); err != nil {
		return err
	}
	if o.webhookName == "" {
		return nil
	}
	namespace, err := ownNamespace(o)
	if err != nil {
		return err
	}
	return addRotator(mgr, namespace, o)
}

// boundedServer bounds its connections, and what its webhooks read.
type boundedServer struct {
	webhook.Server
	port    int
	certDir string
	reading *semaphore.Weighted
}

// Register implements webhook.Server.
func (s boundedServer) Register(path string, hook http.Handler) {
	s.Server.Register(path, s.bounded(hook))
}

// bounded answers 503 if there is too much to read. The API server then goes on without the webhook.
func (s boundedServer) bounded(hook http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		size := r.ContentLength
		if size < 0 {
			size = maxReview
		}
		size = max(size, smallestReview)
		switch {
		case size > maxReview:
			http.Error(w, "the request is too large", http.StatusRequestEntityTooLarge)
			return
		case !s.reading.TryAcquire(size):
			http.Error(w, "too many requests at the same time", http.StatusServiceUnavailable)
			return
		}
		defer s.reading.Release(size)
		if err := http.NewResponseController(w).SetReadDeadline(time.Now().Add(reviewTimeout)); err != nil {
			http.Error(w, "no deadline", http.StatusInternalServerError)
			return
		}
		r.Body = http.MaxBytesReader(w, r.Body, maxReview)
		hook.ServeHTTP(w, r)
	})
}

// waitForCertificate waits until the directory has a certificate. It returns false when ctx ends. The
// kubelet mounts a new Secret up to a minute after it was filled.
func waitForCertificate(ctx context.Context, dir string) bool {
	log := ctrl.Log.WithName("webhooks")
	for first := true; ; first = false {
		_, err := tls.LoadX509KeyPair(filepath.Join(dir, corev1.TLSCertKey), filepath.Join(dir, corev1.TLSPrivateKeyKey))
		if err == nil {
			return true
		}
		if first {
			log.Info("The webhooks wait for their certificate. Everything else works", "directory", dir)
		}
		select {
		case <-ctx.Done():
			return false
		case <-time.After(time.Second):
		}
	}
}

// contained is a runnable whose failure does not end the operator.
type contained struct {
	manager.Runnable
	what string
}

// Start implements manager.Runnable.
func (c contained) Start(ctx context.Context) error {
	if err := c.Runnable.Start(ctx); err != nil && ctx.Err() == nil {
		ctrl.Log.WithName("webhooks").Error(err, c.what+" stopped until the next start of the operator. Everything else works")
	}
	return nil
}

// NeedLeaderElection implements manager.LeaderElectionRunnable.
func (c contained) NeedLeaderElection() bool {
	elected, ok := c.Runnable.(manager.LeaderElectionRunnable)
	return ok && elected.NeedLeaderElection()
}

// namespaceFile is where a pod finds the name of its namespace.
const namespaceFile = "/var/run/secrets/kubernetes.io/serviceaccount/namespace"

// ownNamespace is the namespace of the operator.
func ownNamespace(o *options) (string, error) {
	if o.leaderElectNamespace != "" {
		return o.leaderElectNamespace, nil
	}
	text, err := os.ReadFile(namespaceFile)
	if err != nil {
		return "", fmt.Errorf("the namespace of the Secret of --webhook-name: set --leader-election-namespace: %w", err)
	}
	if namespace := strings.TrimSpace(string(text)); namespace != "" {
		return namespace, nil
	}
	return "", errors.New("the file with the pod's namespace is empty; set --leader-election-namespace")
}
