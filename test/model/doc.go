// Package model searches every state that one binding, the operator's protocol around it and
// a Kong can get into: with a cache that lags, answers that are lost, writes that land late,
// crashes between any two steps, a second leader, an API server that goes back in time, and
// people who change things on both sides. The decisions are internal/identity's own; the
// protocol around them is written down here once more, as package controllers has to keep it.
//
// In every state that is reached the invariants hold, and from every one of them the
// operator, left alone, settles with exactly the declared plugin under its recorded ID, or
// with nothing left behind. Protocols that are known to be wrong are searched, too, and a
// violation has to be found in each.
package model
