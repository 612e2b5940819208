// Package faults breaks every call that the operator makes, in every way that such a call
// can break, one at a time and in pairs, and looks at what is left when it is quiet again.
//
// The real reconcilers run on a real API server and on the stand-in for Kong. What is
// ours is everything around them: the cache, the clock, the queue and both links. A
// scenario is first played without faults, which lists its calls; then it is played once
// for every call and every fault. A play takes tens of milliseconds, since nothing sleeps:
// when nothing is due, the clock is put to when something is.
//
// Calls are named by letter and number, and counted:
//
//	K2 a read of a Secret       K3 the finalizer put on      K4 a live read
//	K5 a status written         K6 the finalizer taken off   K7 an event
//	G1 a plugin by its ID       G2 by its instance_name      G3 a part of the scope
//	G4 POST   G5 PUT            G6 DELETE                    G7 a schema
//	G8 a list                   G9 the probe
//
// K3, K4, K5 and K6 of a KongGateway are K3g, K4g, K5g and K6g. G4.2 is the second POST.
//
// K1, a read from the cache, is not counted: it is no request and cannot fail. What can go
// wrong with it is that the cache is behind the API server, which the faults stale and
// crash-stale bring about, and scenarios of their own. K8, the lease, is for real processes.
//
// One play alone: go test ./test/faults -run 'TestFaults/create/G4.1/crash-after$'.
// All of them: FAULTS_FULL=1 go test ./test/faults -timeout 30m.
package faults
