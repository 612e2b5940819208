// Package faults breaks every call that the operator makes, in every way that such a call can
// fail, one at a time and in pairs, and checks the invariants afterwards.
//
// The real reconcilers run against a real API server and the stand-in for Kong. Package faults
// simulates everything around them: the cache, the clock, the queue, and the connections to
// both sides. A scenario first runs without faults. This baseline lists its calls. Then the
// scenario runs once for every call and every fault. A run takes tens of milliseconds, because
// nothing sleeps: when nothing is due, the clock jumps to the next time at which something is.
//
// A call is named by its side and its operation, and counted: kong/create-plugin.2 is the
// second POST of a plugin. call_names_test.go lists the names.
//
// A read from the cache is not counted: it is no request and cannot fail. But the cache can be
// behind the API server. The faults stale and crash-stale cause that, and so do some scenarios.
// Package processes covers the lease, with real processes.
//
// To run one fault, and all of them:
//
//	go test ./test/faults -run 'TestFaults/create/kong/create-plugin.1/crash-after$'
//	FAULTS_FULL=1 go test ./test/faults -timeout 30m
package faults
