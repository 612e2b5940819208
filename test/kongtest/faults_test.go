package kongtest

import (
	"net/http"
	"testing"
	"time"
)

func TestFaultKinds(t *testing.T) {
	post := func(t *testing.T, s *Server) answer { return do(t, s, "POST", "/plugins", cors) }
	onPost := func(f Fault) Fault {
		f.Method, f.Template, f.Times = "POST", "/plugins", 1
		return f
	}
	t.Run("answer", func(t *testing.T) {
		s := Start(t)
		s.Inject(onPost(Fault{Kind: Answer, Status: 429, Header: http.Header{"Retry-After": {"7"}}, Body: `{"message":"slow down"}`}))
		a := want(t, post(t, s), 429)
		if a.header.Get("Retry-After") != "7" || a.body["message"] != "slow down" {
			t.Fatalf("got %v %s", a.header, a.raw)
		}
		expectPlugin(t, s, false)
		want(t, post(t, s), 201)
	})
	t.Run("answer with an HTML page", func(t *testing.T) {
		s := Start(t)
		s.Inject(Fault{Status: 502, Body: "<html>bad gateway</html>"})
		if a := want(t, do(t, s, "GET", "/", ""), 502); a.header.Get("Content-Type") != "text/html; charset=UTF-8" {
			t.Fatalf("content type %q", a.header.Get("Content-Type"))
		}
	})
	t.Run("delay", func(t *testing.T) {
		s := Start(t)
		s.Inject(onPost(Fault{Kind: Delay, Delay: 30 * time.Millisecond}))
		start := time.Now()
		want(t, post(t, s), 201)
		if d := time.Since(start); d < 30*time.Millisecond {
			t.Fatalf("answered after %v", d)
		}
	})
	t.Run("drop before", func(t *testing.T) {
		s := Start(t)
		s.Inject(onPost(Fault{Kind: DropBefore}))
		wantDropped(t, post(t, s))
		expectPlugin(t, s, false)
	})
	t.Run("drop after", func(t *testing.T) {
		s := Start(t)
		s.Inject(onPost(Fault{Kind: DropAfter}))
		wantDropped(t, post(t, s))
		expectPlugin(t, s, true)
	})
	t.Run("truncate", func(t *testing.T) {
		s := Start(t)
		s.Inject(onPost(Fault{Kind: Truncate}))
		a := post(t, s)
		if a.status != 201 || a.err == nil {
			t.Fatalf("status %d, error %v: want 201 and a body that breaks off", a.status, a.err)
		}
		expectPlugin(t, s, true)
	})
	t.Run("answer after", func(t *testing.T) {
		s := Start(t)
		s.Inject(onPost(Fault{Kind: AnswerAfter, Status: 504}))
		want(t, post(t, s), 504)
		expectPlugin(t, s, true)
	})
}

func TestCommitLate(t *testing.T) {
	t.Run("on release, after a closed connection", func(t *testing.T) {
		s := Start(t)
		s.Inject(Fault{Method: "POST", Kind: CommitLate})
		wantDropped(t, do(t, s, "POST", "/plugins", cors))
		expectPlugin(t, s, false)
		s.ReleaseLate()
		expectPlugin(t, s, true)
		w := s.Journal().Writes()
		if len(w) != 1 || !w[0].Late || w[0].Request == 0 {
			t.Fatalf("journal: %+v", w)
		}
		s.ReleaseLate()
		if n := len(s.Journal().Writes()); n != 1 {
			t.Fatalf("%d writes after a second release", n)
		}
	})
	t.Run("after a delay, with an answer", func(t *testing.T) {
		s := Start(t)
		s.Inject(Fault{Method: "POST", Kind: CommitLate, Status: 500, Delay: 10 * time.Millisecond})
		want(t, do(t, s, "POST", "/plugins", cors), 500)
		eventually(t, func() bool { return s.Plugin(id1) != nil })
	})
	t.Run("a conflict in between is lost", func(t *testing.T) {
		s := Start(t)
		s.Inject(Fault{Method: "POST", Times: 1, Kind: CommitLate})
		wantDropped(t, do(t, s, "POST", "/plugins", cors))
		want(t, do(t, s, "POST", "/plugins", `{"name":"cors","id":"`+id2+`"}`), 201)
		s.ReleaseLate()
		expectPlugin(t, s, false)
	})
}

func TestFaultSelection(t *testing.T) {
	s := Start(t)
	remove := s.Inject(Fault{Method: "GET", Template: "/plugins/{id}", Skip: 1, Times: 2, Status: 503})
	for i, status := range []int{404, 503, 503, 404} {
		if a := do(t, s, "GET", "/plugins/"+id1, ""); a.status != status {
			t.Fatalf("request %d: status %d, want %d", i, a.status, status)
		}
	}
	remove()
	called := 0
	remove = s.Inject(Fault{Template: "/plugins", Kind: Delay, Before: func(*http.Request) {
		called++
		s.Seed("plugins", map[string]any{"name": "cors", "id": id1})
	}})
	want(t, do(t, s, "POST", "/plugins", `{"name":"cors"}`), 409)
	remove()
	want(t, do(t, s, "GET", "/plugins", ""), 200)
	if called != 1 {
		t.Fatalf("hook called %d times", called)
	}
}

// eventually waits for something another goroutine does.
func eventually(t testing.TB, done func() bool) {
	t.Helper()
	deadline := time.NewTimer(10 * time.Second)
	defer deadline.Stop()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for !done() {
		select {
		case <-tick.C:
		case <-deadline.C:
			t.Fatal("did not happen")
		}
	}
}
