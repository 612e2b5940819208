// Package kongtest is a stand-in for the Admin API of Kong Gateway 3.9.1
// (community edition, DB mode), for tests that need to see what a client does
// to Kong and to decide when Kong fails.
//
// Its behaviour follows what a real Kong 3.9.1 on PostgreSQL was measured to do:
// status codes, bodies, unique and foreign keys, defaults, paging, and the ways
// it fails. The recordings under testdata are replayed against it by the tests of
// this package, and package contract holds a table of facts against both the
// stand-in and, on request, a real gateway.
//
//	srv := kongtest.Start(t)
//	srv.Seed("services", map[string]any{"name": "payments", "url": "http://up:80"})
//	// point the client under test at srv.URL()
//	mark := srv.Journal().Mark()
//	// ... act ...
//	if n := len(srv.Journal().Since(mark).Writes()); n != 0 { ... }
//
// All methods are safe for concurrent use.
package kongtest
