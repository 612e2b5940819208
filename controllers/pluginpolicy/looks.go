package pluginpolicy

import (
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/pluginbinding/kong-plugin-operator/api/v1alpha1"
	"github.com/pluginbinding/kong-plugin-operator/internal/connection"
	"github.com/pluginbinding/kong-plugin-operator/internal/policy"
	"github.com/pluginbinding/kong-plugin-operator/internal/reference"
)

// After a change of a target, Kong's ingress controller takes up to its sync period (3 s) and the time
// of a sync to write what it makes of it. The operator looks at once and again, at growing pauses,
// until nothing has changed for longer than that period, or the window is over. The resync is the
// net for everything later.
const (
	lookWindow = 30 * time.Second
	// settledAfter is how long nothing must change after something did.
	settledAfter = 5 * time.Second
	firstPause   = 100 * time.Millisecond
	// busyPause bounds the pauses while the controller is most likely to write, and idlePause those
	// after busyWindow.
	busyPause  = 400 * time.Millisecond
	busyWindow = 12 * time.Second
	idlePause  = 2 * time.Second
)

// lookKey is what is looked at: policies with the same target share the looks.
type lookKey struct {
	gateway  types.NamespacedName
	selector connection.Selector
}

// watching is one series of looks.
type watching struct {
	// began is when the target changed, changed when its entities last did since.
	began, changed time.Time
	next           time.Time
	pause          time.Duration
}

// looks says when to ask Kong for the entities of targets that change. It is safe for concurrent use.
type looks struct {
	mu sync.Mutex
	of map[lookKey]watching
}

// note begins a series of looks, the first of them now.
func (l *looks) note(key lookKey, now time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.of == nil {
		l.of = map[lookKey]watching{}
	}
	for other, w := range l.of {
		if now.Sub(w.next) > lookWindow { // its policy is gone
			delete(l.of, other)
		}
	}
	l.of[key] = watching{began: now, next: now, pause: firstPause}
}

// isDue reports whether it is time to look.
func (l *looks) isDue(key lookKey, now time.Time) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	w, watched := l.of[key]
	return watched && !now.Before(w.next)
}

// dueIn is when to look again; zero if there is no need to.
func (l *looks) dueIn(key lookKey, now time.Time) time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	w, watched := l.of[key]
	if !watched {
		return 0
	}
	return max(w.next.Sub(now), time.Millisecond)
}

// looked says what a look showed, and ends the series or plans the next look.
func (l *looks) looked(key lookKey, now time.Time, changed bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	w, watched := l.of[key]
	if !watched {
		return
	}
	if changed {
		w.changed, w.pause = now, firstPause
	}
	if now.Sub(w.began) >= lookWindow || !w.changed.IsZero() && now.Sub(w.changed) >= settledAfter {
		delete(l.of, key)
		return
	}
	longest := busyPause
	if now.Sub(w.began) >= busyWindow {
		longest = idlePause
	}
	w.next = now.Add(w.pause)
	w.pause = min(w.pause*5/4, longest)
	l.of[key] = w
}

// NoteTarget says that an object changed that a policy names. The next reconcile of the policy asks
// Kong for its entities.
func (r *Reconciler) NoteTarget(p *v1alpha1.PluginPolicy, kind, name string) {
	gateway := reference.GatewayOfPolicy(p)
	selectors := policy.Selectors(p)
	for i, ref := range p.Spec.TargetRefs {
		if ref.Kind == kind && ref.Name == name {
			r.looks.note(lookKey{gateway, selectors[i]}, r.Clock.Now())
		}
	}
}
