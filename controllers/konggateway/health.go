package konggateway

import (
	"context"
	"slices"
	"time"

	"github.com/pluginbinding/kong-plugin-operator/api/v1alpha1"
	"github.com/pluginbinding/kong-plugin-operator/internal/adminapi"
)

const (
	// failuresToReport is how many probes in a row have to fail before the status says that Kong is
	// away. From the first one on, bindings make no requests.
	failuresToReport = 2
	// unstableOutage is how long all probes have to fail before the status of an unstable gateway says
	// that Kong is away.
	unstableOutage = 30 * time.Second
	// unstableWindow is how long a short outage counts. unstableOutages of them make a gateway unstable.
	unstableWindow  = 10 * time.Minute
	unstableOutages = 2
)

// health is what the probes of a gateway show together. A load balancer with a dead server behind it
// answers some and not others. The status must not follow each.
type health struct {
	// known: a probe with this client and this spec has ended.
	known bool
	// reported is the result for the status.
	reported probeResult
	// failingSince is when the first of the probes failed that failed in a row, and failures counts
	// them.
	failingSince time.Time
	failures     int
	// shortOutages are when the last ones ended, at most unstableOutages.
	shortOutages []time.Time
	// unstable: there were so many in a short time, and the last one is not long ago.
	unstable bool
	// info is what Kong reports about itself, and infoChanges is when that changed.
	info        adminapi.Info
	infoChanges changes
}

// wavers reports whether a problem may be that of one among several servers behind the address.
func (p probeResult) wavers() bool {
	return p.condition == v1alpha1.ConditionReachable || p.condition == v1alpha1.ConditionDatabaseReachable
}

// after is the health after one more probe.
func (h health) after(result probeResult, now time.Time) health {
	if result.info.Database != "" || h.info.Database == "" { // a Kong without its database reports little
		h = h.withInfo(result.info, now)
	}
	if !result.wavers() {
		if !h.failingSince.IsZero() && now.Sub(h.failingSince) < unstableOutage && result.condition == "" {
			h.shortOutages = slices.Concat(h.shortOutages[max(len(h.shortOutages)-unstableOutages+1, 0):], []time.Time{now})
			h.unstable = h.isUnstable(now) || len(h.shortOutages) == unstableOutages && now.Sub(h.shortOutages[0]) < unstableWindow
		}
		h.failingSince, h.failures = time.Time{}, 0
		h.known, h.reported = true, result
		return h
	}
	if h.failingSince.IsZero() {
		h.failingSince = now
	}
	h.failures++
	if h.confirms(now) && (h.reported.condition != result.condition || h.reported.reason != result.reason || !h.isUnstable(now)) {
		h.known, h.reported = true, result
	}
	return h
}

// confirms reports whether the failed probes are enough to say that Kong is away.
func (h health) confirms(now time.Time) bool {
	switch {
	case !h.known, h.reported.condition != "":
		return true
	case h.isUnstable(now):
		return now.Sub(h.failingSince) >= unstableOutage
	default:
		return h.failures >= failuresToReport
	}
}

// isSuspected reports whether a probe failed, and the status does not say so yet.
func (h health) isSuspected() bool { return h.failures > 0 && h.reported.condition == "" }

// isUnstable reports whether some probes fail and others do not.
func (h health) isUnstable(now time.Time) bool {
	return h.unstable && (!h.failingSince.IsZero() || now.Sub(h.shortOutages[len(h.shortOutages)-1]) < unstableWindow)
}

// withInfo takes over what Kong reports about itself. Two nodes of different versions behind one address
// take turns in that. So another version counts at once only while versions seldom change.
func (h health) withInfo(info adminapi.Info, now time.Time) health {
	same := h.info.Version == info.Version && h.info.Installed == info.Installed
	otherKong := h.info.Version == "" || h.info.Edition != info.Edition || h.info.Database != info.Database
	if same || otherKong {
		h.info = info
		return h
	}
	if next, allowed := h.infoChanges.add(now); allowed {
		h.info, h.infoChanges = info, next
	}
	return h
}

// changes are when something last changed, at most maxChanges. What goes to and fro is reported seldom,
// and any other change at once.
type changes []time.Time

const (
	maxChanges    = 3
	changesWindow = 10 * time.Minute
)

// add reports whether a change is to be reported, and returns the changes with it.
func (c changes) add(now time.Time) (changes, bool) {
	if len(c) < maxChanges {
		return append(c[:len(c):len(c)], now), true
	}
	if now.Sub(c[0]) < changesWindow {
		return c, false
	}
	return append(c[1:len(c):len(c)], now), true
}

// assessHealth puts the probe beside those before it.
func (r *Reconciler) assessHealth(_ context.Context, s *state) error {
	if s.last.client == s.probe.client && s.last.generation == s.gateway.Generation {
		s.health = s.last.health
	}
	if s.probe.attempted || !s.probe.result.wavers() {
		s.health = s.health.after(s.probe.result, r.Clock.Now())
	}
	s.unstable = s.health.isUnstable(r.Clock.Now())
	return nil
}

// writesFailMessage is the same whichever bindings failed.
const writesFailMessage = "Kong reads from its database, and answers the writes of several bindings with an error: the database may be read-only. " +
	"It serves traffic as before. The other bindings wait, and the operator tries one write at a time; look at PostgreSQL"

// reported is the result for the status.
func (s *state) reported() probeResult {
	result := s.health.reported
	if result.condition == "" && s.writesFail {
		return probeResult{
			info: result.info, condition: v1alpha1.ConditionDatabaseReachable, reason: v1alpha1.ReasonWritesFail, message: writesFailMessage,
		}
	}
	return result
}

// Delays between two tries of a write while writes fail.
const (
	firstWriteDelay = time.Second
	maxWriteDelay   = 5 * time.Second
)

// tryWrite lets one of the bindings that wait try a write, from time to time.
func (r *Reconciler) tryWrite(ctx context.Context, s *state) error {
	s.writesFail = r.Connections.WritesFail(s.key)
	if !s.writesFail {
		r.writeTries.forget(s.key)
		return nil
	}
	next, now := r.writeTries.get(s.key), r.Clock.Now()
	if !now.Before(next.at) && s.probe.result.problem() == nil {
		binding, waits := r.Connections.NextWriter(s.key)
		if s.writesFail = waits; !waits {
			return nil
		}
		next.delay = min(max(2*next.delay, firstWriteDelay), maxWriteDelay)
		next.at = now.Add(next.delay)
		r.writeTries.set(s.key, next)
		r.Connections.EnqueueBinding(ctx, binding)
	}
	s.requeueAfter = max(next.at.Sub(now), minRequeueAfter)
	return nil
}

// writeTry is when the next binding may try a write.
type writeTry struct {
	at    time.Time
	delay time.Duration
}
