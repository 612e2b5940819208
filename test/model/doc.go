// Package model searches all states that one binding, the operator's protocol around it and a
// Kong can reach. The cache lags, responses are lost, writes are applied late, the operator crashes
// between any two steps, a second leader runs, the API server is restored from a backup, and users
// change things on both sides. The decisions are those of internal/identity. The protocol around
// them is written down here once more; package controllers must follow it.
//
// How a leader ended counts too. The rule for what earlier leaders may have sent is the weakest that the
// search bears: a new leader need not wait if the Lease has the fresh word of its last holder that no write
// was in flight when it ended, or, for a binding to which it added the finalizer itself, if there was no
// Lease at all.
//
// The invariants hold in every reachable state. From every reachable state the operator, left
// alone, reaches exactly the desired plugin under its recorded ID, or leaves nothing behind. A second
// world has several bindings that exchange their keys and instance names: no plugin is missing on
// the way, Kong answers no write with 409, and each binding gets what it wants or stays. A third
// world has two policies that want one entity: the plugin passes over with spec.replaces, no deletion
// takes a plugin that somebody waits for, and the older policy ends with it. The package also searches protocols that are known to be wrong, and must find a violation in each.
package model
