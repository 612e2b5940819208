package faults

import "time"

// The pauses between two looks at a gateway are up to a tenth longer than meant, at random.
// A pass that is made in that tenth, because a binding has changed, may or may not find
// that a probe or a reading is due, and two plays would differ. So no pass is made there:
// it is made when the pause has ended for certain.

// jitter are the two of a gateway that end at random.
type jitter struct {
	probe, resync window
	// In this pass.
	probed, resynced bool
	began, ended     time.Time // of the reading
}

// window is when a pause may end.
type window struct{ from, to time.Time }

// jitterWindow is the window of a pause that begins now and is meant to be that long.
func jitterWindow(now time.Time, meant time.Duration) window {
	return window{now.Add(meant), now.Add(meant + meant/10)}
}

func (v window) contains(at time.Time) bool { return !at.Before(v.from) && at.Before(v.to) }

// after is the first time from then on at which it is certain which pause has ended.
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

// requestStarted takes note of a call in a pass of the gateway.
func (p *jitter) requestStarted(call string, now time.Time) {
	p.probed = p.probed || call == kongProbe
	if call == kongList && !p.resynced {
		p.resynced, p.began = true, now
	}
}

// requestEnded takes note of the end of that call.
func (p *jitter) requestEnded(call string, now time.Time) {
	if call == kongList {
		p.ended = now
	}
}

// What the operator's pauses are meant to be: after a good probe, and after bad ones.
var (
	resyncInterval = time.Minute
	backOffs       = []time.Duration{time.Second, 2 * time.Second, 4 * time.Second, 8 * time.Second, 15 * time.Second}
)

// resyncIntervalFactor times what a reading took is the pause after it, if that is longer.
const resyncIntervalFactor = 50

// recordPause takes note of the pauses that the operator has drawn at the end of a pass, after
// which it wants to be called. A whole second is not drawn: then the pass ended early, or
// Kong asked for that pause.
func (p *jitter) recordPause(now time.Time, after time.Duration, bad bool) {
	switch {
	case after%time.Second == 0:
	case bad:
		// However early the next pass is, it probes and reads.
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

// deterministicPause is a pause that is the same in every play.
func (sim *simulation) deterministicPause(id objectID, after time.Duration) time.Duration {
	now := sim.clock.Now()
	if id.kind == kindGateway {
		connection, known := sim.proc.Connections.Get(id.NamespacedName)
		if !known {
			sim.jitter = jitter{}
		}
		sim.jitter.recordPause(now, after, connection.Problem != nil)
		if at := now.Add(after); sim.jitter.after(at) != at {
			return after // dueAt sees to it
		}
	}
	// What is left of a pause that Kong asked for is told by the real clock.
	if after%time.Millisecond != 0 {
		return after.Truncate(time.Second) + time.Second
	}
	return after
}
