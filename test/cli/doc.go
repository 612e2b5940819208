// Package cli tests the kubectl plugin from the outside: the real binary, a real API server, the real
// reconcilers in this process, and a stand-in for Kong that keeps a journal.
package cli
