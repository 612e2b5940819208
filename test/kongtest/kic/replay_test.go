package kic

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// recording is what the real KIC sent to a real Kong, without its reads and without
// upstreams, targets and credentials.
type recording struct {
	Scenario string `json:"scenario"`
	Steps    []step `json:"steps"`
}

// step is one sync of KIC ("kic") or one write of the operator ("op").
type step struct {
	Who    string  `json:"who"`
	Writes []write `json:"writes"`
}

type write struct {
	Method  string         `json:"method"`
	Path    string         `json:"path"`
	Status  int            `json:"status"`
	Request map[string]any `json:"request,omitempty"`
	Message string         `json:"message,omitempty"`
}

func read(t *testing.T, number string) recording {
	t.Helper()
	files, err := filepath.Glob(filepath.Join("testdata", number+"-*.json"))
	if err != nil || len(files) != 1 {
		t.Fatalf("recording %s: %v, %v", number, files, err)
	}
	b, err := os.ReadFile(files[0])
	if err != nil {
		t.Fatal(err)
	}
	var r recording
	if err := json.Unmarshal(b, &r); err != nil {
		t.Fatalf("%s: %v", files[0], err)
	}
	return r
}

// uids are the UIDs of the objects in the tags of KIC's rows, by kind and name.
func (r recording) uids() map[string]string {
	out := map[string]string{}
	for _, s := range r.Steps {
		for _, w := range s.Writes {
			value := map[string]string{}
			for _, tag := range strs(w.Request["tags"]) {
				name, v, _ := strings.Cut(tag, ":")
				value[name] = v
			}
			if s.Who == "kic" && value["k8s-uid"] != "" {
				out[value["k8s-kind"]+"/"+value["k8s-name"]] = value["k8s-uid"]
			}
		}
	}
	return out
}

func strs(v any) []string {
	list, _ := v.([]any)
	out := make([]string, len(list))
	for i := range list {
		out[i], _ = list[i].(string)
	}
	return out
}

// tape records what KIC sends, in steps: each read of the plugins begins a sync.
type tape struct {
	mu    sync.Mutex
	steps []step
}

var kept = regexp.MustCompile(`^/(services|routes|consumers|plugins)/[^/]+$`)

func (tp *tape) wrap(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			panic(http.ErrAbortHandler)
		}
		r.Body = io.NopCloser(bytes.NewReader(body))
		answer := httptest.NewRecorder()
		next.ServeHTTP(answer, r)
		tp.add(r, body, answer)
		for name, values := range answer.Header() {
			w.Header()[name] = values
		}
		w.WriteHeader(answer.Code)
		_, _ = w.Write(answer.Body.Bytes())
	})
}

func (tp *tape) add(r *http.Request, body []byte, answer *httptest.ResponseRecorder) {
	if r.UserAgent() != UserAgent {
		return
	}
	tp.mu.Lock()
	defer tp.mu.Unlock()
	switch {
	case r.Method == http.MethodGet && r.URL.Path == "/plugins":
		tp.steps = append(tp.steps, step{Who: "kic"})
	case r.Method != http.MethodGet && kept.MatchString(r.URL.Path):
		w := write{Method: r.Method, Path: r.URL.Path, Status: answer.Code}
		if len(body) > 0 {
			if err := json.Unmarshal(body, &w.Request); err != nil {
				panic(err)
			}
		}
		if answer.Code >= http.StatusBadRequest {
			var refused struct {
				Message string `json:"message"`
			}
			if err := json.Unmarshal(answer.Body.Bytes(), &refused); err != nil {
				panic(err)
			}
			w.Message = refused.Message
		}
		last := &tp.steps[len(tp.steps)-1]
		last.Writes = append(last.Writes, w)
	}
}

// replay plays the operator's part of a recording, makes KIC tick until it has made as
// many syncs as the real one, and compares them. The first change happens to the objects
// before the first of these syncs, the second one before the second.
func (w *world) replay(number string, changes ...func()) {
	w.t.Helper()
	r := read(w.t, number)
	maps.Copy(w.uids, r.uids())
	tp := &tape{}
	srv := httptest.NewServer(tp.wrap(w.srv.Handler()))
	defer srv.Close()
	w.kic.admin.url = srv.URL
	defer func() { w.kic.admin.url = w.srv.URL() }()
	syncs := 0
	for _, s := range r.Steps {
		if s.Who == "op" {
			for _, wr := range s.Writes {
				w.send(wr)
			}
			continue
		}
		if syncs < len(changes) {
			changes[syncs]()
		}
		if syncs++; len(tp.steps) < syncs {
			_ = w.tick() // compared below
		}
		if len(tp.steps) < syncs {
			w.t.Fatalf("%s: KIC made %d syncs, the real one %d", r.Scenario, len(tp.steps), syncs)
		}
		if diff := cmp.Diff(inStages(s.Writes), inStages(tp.steps[syncs-1].Writes)); diff != "" {
			w.t.Fatalf("%s: sync %d (- the real one, + this one):\n%s", r.Scenario, syncs, diff)
		}
	}
	w.kic.mu.Lock()
	settled := w.kic.applied != ""
	w.kic.mu.Unlock()
	if !settled {
		return // it goes on failing
	}
	if err := w.tick(); err != nil || len(tp.steps) != syncs {
		w.t.Fatalf("%s: an idle tick: %d syncs, the real one %d; %v", r.Scenario, len(tp.steps), syncs, err)
	}
}

// send sends a write of the operator as it was recorded.
func (w *world) send(wr write) {
	w.t.Helper()
	body, err := json.Marshal(wr.Request)
	if err != nil {
		w.t.Fatal(err)
	}
	req, err := http.NewRequest(wr.Method, w.srv.URL()+wr.Path, bytes.NewReader(body))
	if err != nil {
		w.t.Fatal(err)
	}
	if wr.Request != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		w.t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != wr.Status {
		w.t.Fatalf("the operator's %s %s: %d, recorded %d", wr.Method, wr.Path, resp.StatusCode, wr.Status)
	}
}

// inStages groups writes by level and method, in order. Within a stage the real KIC
// writes at the same time, in any order. Of created_at only the presence counts.
func inStages(writes []write) [][]string {
	var out [][]string
	last := ""
	for _, w := range writes {
		kind, _, _ := strings.Cut(strings.TrimPrefix(w.Path, "/"), "/")
		if kind == "consumers" {
			kind = "services" // of one level
		}
		if stage := w.Method + kind; stage != last {
			out = append(out, nil)
			last = stage
		}
		out[len(out)-1] = append(out[len(out)-1], w.String())
	}
	for _, stage := range out {
		slices.Sort(stage)
	}
	return out
}

func (w write) String() string {
	body := map[string]any{}
	for name, value := range w.Request {
		switch name {
		case "created_at":
			body[name] = "set"
		case "tags": // in order
			body[name] = value
		default:
			body[name] = sorted(value)
		}
	}
	b, err := json.MarshalIndent(body, "", " ")
	if err != nil {
		panic(err)
	}
	return fmt.Sprintf("%s %s %d %s %s", w.Method, w.Path, w.Status, w.Message, b)
}
