package faults

import "time"

// The pauses between two looks at a gateway are up to a tenth longer than meant, at random.
// A pass that is made in that tenth, because a binding has changed, may or may not find
// that a probe or a reading is due, and two plays would differ. So no pass is made there:
// it is made when the pause has ended for certain.

// pauses are the two of a gateway that end at random.
type pauses struct {
	probe, reading window
	// In this pass.
	probed, read bool
	began, ended time.Time // of the reading
}

// window is when a pause may end.
type window struct{ from, to time.Time }

// pauseOf is the window of a pause that begins now and is meant to be that long.
func pauseOf(now time.Time, meant time.Duration) window {
	return window{now.Add(meant), now.Add(meant + meant/10)}
}

func (v window) holds(at time.Time) bool { return !at.Before(v.from) && at.Before(v.to) }

// beyond is the first time from then on at which it is certain which pause has ended.
func (p *pauses) beyond(at time.Time) time.Time {
	for {
		switch {
		case p.probe.holds(at):
			at = p.probe.to
		case p.reading.holds(at):
			at = p.reading.to
		default:
			return at
		}
	}
}

func (p *pauses) beginPass() { p.probed, p.read = false, false }

// asked takes note of a call in a pass of the gateway.
func (p *pauses) asked(call string, now time.Time) {
	p.probed = p.probed || call == "G9"
	if call == "G8" && !p.read {
		p.read, p.began = true, now
	}
}

// answered takes note of the end of that call.
func (p *pauses) answered(call string, now time.Time) {
	if call == "G8" {
		p.ended = now
	}
}

// What the operator's pauses are meant to be: after a good probe, and after bad ones.
var (
	resync   = time.Minute
	backOffs = []time.Duration{time.Second, 2 * time.Second, 4 * time.Second, 8 * time.Second, 15 * time.Second}
)

// readingShare times what a reading took is the pause after it, if that is longer.
const readingShare = 50

// drawn takes note of the pauses that the operator has drawn at the end of a pass, after
// which it wants to be called. A whole second is not drawn: then the pass ended early, or
// Kong asked for that pause.
func (p *pauses) drawn(now time.Time, after time.Duration, bad bool) {
	switch {
	case after%time.Second == 0:
	case bad:
		// However early the next pass is, it probes and reads.
		for _, meant := range backOffs {
			if v := pauseOf(now, meant); v.holds(now.Add(after)) {
				p.probe, p.reading = v, window{}
			}
		}
	case p.probed:
		p.probe = pauseOf(now, resync)
		if p.read {
			p.reading = pauseOf(now, max(resync, readingShare*p.ended.Sub(p.began)))
		}
	}
}

// repeatable is a pause that is the same in every play.
func (w *world) repeatable(id objectID, after time.Duration) time.Duration {
	now := w.clock.Now()
	if id.kind == kindGateway {
		connection, known := w.operator.Connections.Get(id.NamespacedName)
		if !known {
			w.pauses = pauses{}
		}
		w.pauses.drawn(now, after, connection.Problem != nil)
		if at := now.Add(after); w.pauses.beyond(at) != at {
			return after // dueAt sees to it
		}
	}
	// What is left of a pause that Kong asked for is told by the real clock.
	if after%time.Millisecond != 0 {
		return after.Truncate(time.Second) + time.Second
	}
	return after
}
