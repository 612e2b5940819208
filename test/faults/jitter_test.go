package faults

import "time"

// The operator extends the pause between two probes, and between two resyncs, by up to a tenth
// at random. A reconcile of the gateway within that tenth may or may not find that a probe is
// due, and two runs would differ. So the simulation never reconciles the gateway there. It
// waits until the pause has certainly ended.

// jitter is the state of both pauses of a gateway.
type jitter struct {
	probe, resync window
	// In this reconcile.
	probed, resynced bool
	began, ended     time.Time // of the resync
}

// window is the time in which a pause may end.
type window struct{ from, to time.Time }

// jitterWindow returns the window of a pause that begins now and has that nominal length.
func jitterWindow(now time.Time, meant time.Duration) window {
	return window{now.Add(meant), now.Add(meant + meant/10)}
}

func (v window) contains(at time.Time) bool { return !at.Before(v.from) && at.Before(v.to) }

// after returns the first time, from at on, that lies in no window.
func (p *jitter) after(at time.Time) time.Time {
	for {
		switch {
		case p.probe.contains(at):
			at = p.probe.to
		case p.resync.contains(at):
			at = p.resync.to
		default:
			return at
		}
	}
}

func (p *jitter) beginReconcile() { p.probed, p.resynced = false, false }

// requestStarted records a request during a reconcile of the gateway.
func (p *jitter) requestStarted(call string, now time.Time) {
	p.probed = p.probed || call == kongProbe
	if call == kongList && !p.resynced {
		p.resynced, p.began = true, now
	}
}

// requestEnded records the end of such a request.
func (p *jitter) requestEnded(call string, now time.Time) {
	if call == kongList {
		p.ended = now
	}
}

// The operator's nominal pauses, after a successful probe and after failed ones.
var (
	resyncInterval = time.Minute
	backOffs       = []time.Duration{time.Second, 2 * time.Second, 4 * time.Second, 8 * time.Second, 15 * time.Second}
)

// resyncIntervalFactor times the duration of a resync is the least pause after it.
const resyncIntervalFactor = 50

// recordPause records the pauses that the operator chose at the end of a reconcile. after is
// its RequeueAfter. A whole number of seconds has no jitter: the reconcile ended early, or Kong
// asked for that pause.
func (p *jitter) recordPause(now time.Time, after time.Duration, bad bool) {
	switch {
	case after%time.Second == 0:
	case bad:
		// The next reconcile probes and resyncs, however early it is.
		for _, meant := range backOffs {
			if v := jitterWindow(now, meant); v.contains(now.Add(after)) {
				p.probe, p.resync = v, window{}
			}
		}
	case p.probed:
		p.probe = jitterWindow(now, resyncInterval)
		if p.resynced {
			p.resync = jitterWindow(now, max(resyncInterval, resyncIntervalFactor*p.ended.Sub(p.began)))
		}
	}
}

// deterministicPause returns a pause that is the same in every run.
func (sim *simulation) deterministicPause(id objectID, after time.Duration) time.Duration {
	now := sim.clock.Now()
	if id.kind == kindGateway {
		connection, known := sim.proc.Connections.Get(id.NamespacedName)
		if !known {
			sim.jitter = jitter{}
		}
		sim.jitter.recordPause(now, after, connection.Problem != nil)
		if at := now.Add(after); sim.jitter.after(at) != at {
			return after // dueAt handles it
		}
	}
	// The operator measures what is left of a Retry-After by the real clock.
	if after%time.Millisecond != 0 {
		return after.Truncate(time.Second) + time.Second
	}
	return after
}
