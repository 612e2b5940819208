// Package processes runs the real manager as a process, against a real API server and a
// stand-in for Kong, and kills it at every call that it makes. A proxy on both connections
// records every request. It can hold a request, drop it, delay it, truncate its response or
// respond itself.
//
// A plan is one fault at one call. For each scenario, a run without faults lists the calls.
// Then one plan kills the process before each call, and another one after it, when the response
// has arrived at the proxy and not at the process. The manager is started again. When it has
// nothing left to do, the invariants are checked: one plugin, under the first ID that Kong
// assigned; no change to plugins of other owners; no write once everything is in sync; and no
// value of a Secret anywhere.
//
// The short run is the default. FAULTS_FULL=1 runs all plans. FAULTS_MANAGER names a manager
// binary to use instead of building one.
package processes
