package main

import (
	"context"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/util/wait"
)

func TestClassify(t *testing.T) {
	for _, tc := range []struct {
		url, kind string
		resync    bool
	}{
		{"/", "/", true},
		{"/status", "/status", true},
		{"/plugins?size=1000&tags=managed-by:x,k8s-cluster:y", "/plugins", true},
		{"/routes?size=1000&offset=abc", "/routes", true},
		{"/schemas/plugins/cors", "/schemas/plugins/{name}", true},
		{"/plugins?tags=k8s-cluster:y,k8s-name:z", "/plugins?tags of one binding", false},
		{"/plugins/cluster.ns.name", "/plugins/{id}", false},
		{"/services/payments", "/services/{id}", true},
		{"/services/payments/plugins?size=1000", "/services/{id}/plugins", false},
	} {
		u, err := url.Parse(tc.url)
		if err != nil {
			t.Fatal(err)
		}
		if kind, resync := classify(u); kind != tc.kind || resync != tc.resync {
			t.Errorf("%s: %q, resync %t", tc.url, kind, resync)
		}
	}
}

// The proxy counts the requests that it forwards, reports the awaited write, and responds to
// nothing while it is unreachable.
func TestProxy(t *testing.T) {
	p, client := proxyTo(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPut {
			w.WriteHeader(http.StatusConflict)
		}
	})
	found := p.awaitWrite(`"mark"`)
	for _, method := range []string{http.MethodPut, http.MethodGet, http.MethodPost} {
		before := p.mark()
		send(t, client, method, p.url+"/plugins/x", `{"tags":["mark"]}`)
		counted(t, p, before+1)
		select {
		case <-found:
			if method != http.MethodPost {
				t.Errorf("a %s that wrote nothing was taken for the write", method)
			}
		default:
			if method == http.MethodPost {
				t.Error("the write was not seen")
			}
		}
	}
	mark := p.mark()
	p.setUnreachable(true)
	if _, err := client.Get(p.url + "/"); err == nil {
		t.Error("a response during an outage")
	}
	p.setUnreachable(false)
	send(t, client, http.MethodDelete, p.url+"/plugins/x", "")
	counted(t, p, 5)

	ph := &phase{}
	ph.countKong(p.since(0))
	if ph.KongReads != 2 || ph.KongWrites != 3 {
		t.Errorf("counted %v", ph.Kong)
	}
	since := p.since(mark)
	if len(since) != 2 || since[0].status != 0 || since[1].status != http.StatusOK {
		t.Errorf("since the mark: %+v", since)
	}
	if n, _, _ := writesIn(p.since(0), http.MethodPut); n != 0 {
		t.Error("a write that was refused counts as one")
	}
}

// counted waits for the exchanges so far. The last one counts when its response was sent.
func counted(t *testing.T, p *proxy, want int) {
	t.Helper()
	if err := wait.PollUntilContextTimeout(t.Context(), time.Millisecond, 10*time.Second, true, func(context.Context) (bool, error) {
		return p.mark() >= want, nil
	}); err != nil {
		t.Fatalf("%d exchanges were counted, not %d", p.mark(), want)
	}
}

func proxyTo(t *testing.T, kong http.HandlerFunc) (*proxy, *http.Client) {
	t.Helper()
	upstream := serve(t, kong)
	p, err := startProxy(upstream, false)
	if err != nil {
		t.Fatal(err)
	}
	transport := &http.Transport{DisableKeepAlives: true} // it would repeat a request on a connection that was closed
	t.Cleanup(func() {
		transport.CloseIdleConnections()
		p.close()
	})
	return p, &http.Client{Transport: transport}
}

func send(t *testing.T, client *http.Client, method, to, body string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, to, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	res, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(io.Discard, res.Body); err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
}

func TestAuditLog(t *testing.T) {
	log := auditLog{path: filepath.Join(t.TempDir(), "audit.log")}
	counts := func(add string) (map[string]int, map[string]int) {
		t.Helper()
		file, err := os.OpenFile(log.path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := file.WriteString(add); err != nil {
			t.Fatal(err)
		}
		file.Close()
		reads, writes, err := log.next()
		if err != nil {
			t.Fatal(err)
		}
		return reads, writes
	}
	if _, writes, err := log.next(); err != nil || total(writes) != 0 {
		t.Errorf("before there is a log: %v, %v", writes, err)
	}
	patch := `{"verb":"patch","objectRef":{"resource":"pluginbindings","subresource":"status"}}` + "\n"
	reads, writes := counts(patch + `{"verb":"get","objectRef":{"resource":"secrets"}}` + "\n" + patch[:20])
	if diff := cmp.Diff(map[string]int{"get secrets": 1}, reads); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(map[string]int{"patch pluginbindings/status": 1}, writes); diff != "" {
		t.Error(diff)
	}
	// A partial line counts when it is complete.
	if _, writes = counts(patch[20:]); writes["patch pluginbindings/status"] != 1 {
		t.Errorf("the rest of a line: %v", writes)
	}
}

// The kernel says in two ways what a process has used. They agree whatever else the machine does.
func TestUsageOfThisProcess(t *testing.T) {
	if runtime.GOOS != "linux" {
		if u, err := usageOf(os.Getpid()); u != (usage{}) || err != nil {
			t.Errorf("without /proc: %+v, %v", u, err)
		}
		return
	}
	const spend, tick = 0.1, 1.0 / clockTicks
	began := ownCPU(t)
	for n := 0; ownCPU(t) < began+spend; n++ { // of its own time, so a busy machine only makes it take longer
		_ = strings.Repeat("x", n%1000)
	}
	least := ownCPU(t)
	u, err := usageOf(os.Getpid())
	most := ownCPU(t)
	// /proc cuts two numbers to whole ticks.
	if err != nil || u.cpu < least-2*tick || u.cpu > most+tick || u.peak < 1 {
		t.Errorf("%+v, %v; between %.3f and %.3f s", u, err, least, most)
	}
}

// ownCPU is the CPU time of this process in seconds, by another way than /proc.
func ownCPU(t *testing.T) float64 {
	t.Helper()
	var used syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &used); err != nil {
		t.Fatal(err)
	}
	return time.Duration(used.Utime.Nano() + used.Stime.Nano()).Seconds()
}

// The stand-in's responses take as long as Kong's.
func TestPace(t *testing.T) {
	upstream := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "500000")
		_, _ = w.Write(make([]byte, 500_000)) // the client counts
	})
	p, err := startProxy(upstream, true)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.close)
	for method, least := range map[string]time.Duration{http.MethodGet: 35 * time.Millisecond, http.MethodPut: 15 * time.Millisecond} {
		before := p.mark()
		send(t, http.DefaultClient, method, p.url+"/", "")
		counted(t, p, before+1)
		all := p.since(0)
		if took := all[len(all)-1].ended.Sub(all[len(all)-1].began); took < least {
			t.Errorf("%s took %s", method, took)
		}
	}
}
