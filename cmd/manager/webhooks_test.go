package main

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sync/semaphore"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/manager"
)

func TestWhatTheWebhooksReadIsBounded(t *testing.T) {
	entered, leave := make(chan struct{}), make(chan struct{})
	s := boundedServer{reading: semaphore.NewWeighted(2 * smallestReview)}
	server := httptest.NewServer(s.bounded(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if _, err := io.Copy(io.Discard, r.Body); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		entered <- struct{}{}
		<-leave
	})))
	defer server.Close()
	post := func(body io.Reader) int {
		request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, server.URL, body)
		if err != nil {
			t.Error(err)
			return 0
		}
		response, err := server.Client().Do(request)
		if err != nil {
			t.Error(err)
			return 0
		}
		_ = response.Body.Close()
		return response.StatusCode
	}
	statuses := make(chan int)
	for range 2 {
		go func() { statuses <- post(strings.NewReader("{}")) }()
		<-entered
	}
	if got := post(strings.NewReader("{}")); got != http.StatusServiceUnavailable {
		t.Errorf("one too many: %d", got)
	}
	if got := post(io.MultiReader(strings.NewReader("{}"))); got != http.StatusServiceUnavailable { // of unknown length
		t.Errorf("of unknown length: %d", got)
	}
	close(leave)
	for range 2 {
		if got := <-statuses; got != http.StatusOK {
			t.Errorf("admitted: %d", got)
		}
	}
	if got := post(strings.NewReader(strings.Repeat("x", maxReview+1))); got != http.StatusRequestEntityTooLarge {
		t.Errorf("too large: %d", got)
	}
}

type failing struct{ err error }

func (f failing) Start(context.Context) error { return f.err }

type elected struct{ failing }

func (elected) NeedLeaderElection() bool { return true }

func TestAFailureOfTheWebhooksEndsNothing(t *testing.T) {
	if err := (contained{what: "It", Runnable: failing{errors.New("the port is taken")}}).Start(t.Context()); err != nil {
		t.Error(err)
	}
	for runnable, want := range map[manager.Runnable]bool{failing{}: false, elected{}: true} {
		if got := (contained{Runnable: runnable}).NeedLeaderElection(); got != want {
			t.Errorf("%T: %v", runnable, got)
		}
	}
}

func TestTheRotatorWaitsForItsSecret(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	asked, started := 0, 0
	r := patientRotator{
		exists: func(context.Context) bool { asked++; return asked > 1 },
		Runnable: manager.RunnableFunc(func(context.Context) error {
			started++
			if started == 1 {
				return errors.New("the API server is away")
			}
			return nil
		}),
	}
	if err := r.Start(ctx); err != nil || asked != 3 || started != 2 {
		t.Errorf("asked %d times, started %d times: %v", asked, started, err)
	}
}

type recordingTransport struct{ queries []string }

func (r *recordingTransport) RoundTrip(request *http.Request) (*http.Response, error) {
	r.queries = append(r.queries, request.URL.Query().Get("fieldSelector"))
	return &http.Response{StatusCode: http.StatusOK, Body: http.NoBody}, nil
}

func TestTheRotatorSeesItsObjectsOnly(t *testing.T) {
	next := &recordingTransport{}
	transport := onlyNamed{next: next, key: types.NamespacedName{Namespace: "system", Name: "webhook"}}
	for path, want := range map[string]string{
		"/api/v1/namespaces/system/secrets?watch=true":                                              "metadata.name=webhook",
		"/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations?fieldSelector=a%3Db": "metadata.name=webhook",
		"/api/v1/namespaces/system/secrets/webhook":                                                 "",
		"/api/v1/nodes": "",
	} {
		request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://kubernetes"+path, http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		response, err := transport.RoundTrip(request)
		if err != nil {
			t.Fatal(err)
		}
		_ = response.Body.Close()
		if got := next.queries[len(next.queries)-1]; got != want {
			t.Errorf("%s: %q, want %q", path, got, want)
		}
	}
}

func TestWaitingForACertificateEnds(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if waitForCertificate(ctx, t.TempDir()) {
		t.Error("a certificate")
	}
}

func TestOwnNamespace(t *testing.T) {
	if got, err := ownNamespace(&options{leaderElectNamespace: "system"}); got != "system" || err != nil {
		t.Error(got, err)
	}
	if _, err := os.Stat(filepath.Dir(namespaceFile)); err != nil {
		if _, err := ownNamespace(&options{}); err == nil {
			t.Error("a namespace without a pod")
		}
	}
}
