package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/pluginbinding/kong-plugin-operator/api/v1alpha1"
)

// Timeouts for what usually takes a moment. The operator finds a change in Kong at the next
// resync, which the samples' gateway makes every ten seconds.
const (
	readyTimeout  = 60 * time.Second
	resyncTimeout = 30 * time.Second
)

// sampleURL is the adminURL in the samples.
const sampleURL = "http://127.0.0.1:8001"

// walkthrough is the demo itself: steps that build on each other.
type walkthrough struct {
	*environment
	// ids holds the first plugin ID in the status of each binding.
	ids map[client.ObjectKey]string
	now func() time.Time
}

func newWalkthrough(s *environment) *walkthrough {
	return &walkthrough{environment: s, ids: map[client.ObjectKey]string{}, now: time.Now}
}

// run runs the steps. A step that cannot finish counts as a failed check, and the next step
// begins.
func (s *walkthrough) run(ctx context.Context) error {
	for _, chapter := range []struct {
		title string
		tell  func(context.Context) error
	}{
		{"The operator creates the plugins of bindings and records their IDs", s.applyBindings},
		{"The operator is killed while it creates ten more", s.crashOperator},
		{"Somebody deletes a plugin in Kong", s.restorePlugin},
		{"Somebody edits a plugin in Kong", s.correctDrift},
		{"A plugin created by hand conflicts with a binding", s.reportConflict},
		{"A policy follows an Ingress", s.followIngress},
		{"The operator is upgraded while everything is in sync", s.upgradeOperator},
		{"A binding is deleted, and a namespace with a binding in it", s.deleteBindings},
		{"The end state", s.checkEndState},
	} {
		s.out.step(chapter.title)
		err := chapter.tell(ctx)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err != nil {
			s.out.checkf(err, "this step finishes")
		}
	}
	return nil
}

// applySamples applies config/samples with the URL of this Kong in it.
func (s *environment) applySamples(ctx context.Context) error {
	manifest, err := s.cluster.kubectl(ctx, "", "kustomize", "config/samples")
	if err != nil {
		return err
	}
	if !strings.Contains(manifest, sampleURL) {
		return fmt.Errorf("config/samples does not contain the URL %s", sampleURL)
	}
	s.out.command("kubectl apply -k config/samples")
	_, err = s.cluster.kubectl(ctx, strings.ReplaceAll(manifest, sampleURL, s.kong.url), "apply", "-f", "-")
	return err
}

// checkEndState shows all bindings, and checks what must be true of the whole demo.
func (s *walkthrough) checkEndState(ctx context.Context) error {
	s.show(ctx, "get", "pluginbindings", "-A")
	bindings, err := s.list(ctx)
	if err != nil {
		return err
	}
	s.out.checkf(s.idsNeverChanged(bindings), "every binding has the plugin ID that its status first recorded")
	plugins, err := s.kong.owned(ctx)
	if err == nil && len(plugins) != count(bindings, hasID) {
		err = fmt.Errorf("Kong has %d plugins, and %d bindings have an ID", len(plugins), count(bindings, hasID))
	}
	s.out.checkf(err, "Kong has %d plugins of the operator, one for each Ready binding", len(plugins))
	if n := s.kong.conflicts(); n >= 0 {
		s.out.checkf(expectZero(n), "Kong never answered 409 (duplicate key) to the operator")
	}
	queried, err := s.checkMetrics(ctx)
	s.out.checkf(err, "it serves all %d metrics that the dashboard and the alerts query", queried)
	return nil
}

// requestReconcile requests a reconcile of a binding before the next resync.
func (s *walkthrough) requestReconcile(ctx context.Context, key client.ObjectKey) error {
	at := s.now().UTC().Format(time.RFC3339)
	s.show(ctx, "annotate", "pluginbinding", "-n", key.Namespace, key.Name, "--overwrite",
		v1alpha1.ReconcileRequestedAtAnnotation+"="+at)
	return ctx.Err()
}

// show runs kubectl and prints the command and its output.
func (s *environment) show(ctx context.Context, args ...string) {
	s.out.command("kubectl " + quoted(args))
	answer, err := s.cluster.kubectl(ctx, "", args...)
	switch {
	case ctx.Err() != nil:
		return
	case err != nil:
		answer = err.Error()
	}
	s.out.output(answer)
}

func quoted(args []string) string {
	words := make([]string, len(args))
	for i, arg := range args {
		words[i] = arg
		if strings.ContainsAny(arg, " {}()?@\"*") {
			words[i] = "'" + arg + "'"
		}
	}
	return strings.Join(words, " ")
}

func expectZero(n int) error {
	if n == 0 {
		return nil
	}
	return fmt.Errorf("it happened %d times", n)
}
