// Package processes runs the real manager as a process, against a real API server and a
// stand-in for Kong, and ends it at every call that it makes. Both of its links go
// through a proxy that writes every request down and can hold it, drop it, delay it, cut
// its answer off or answer it itself.
//
// A plan is one fault at one call. For each scenario a learning run lists the calls; then
// there is a plan for the end of the process before each of them and one for its end
// after it, when the answer is there and the process has not seen it. The manager is
// started again, and when it has nothing left to do the oracles are asked: one plugin,
// the first ID that Kong gave it, nobody else's touched, no write once everything is in
// order, no value of a Secret anywhere.
//
// By default a part is run. FAULTS_FULL=1 runs all of it. FAULTS_MANAGER names a manager
// to use instead of building one.
package processes
