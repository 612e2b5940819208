// Package kongtest is a stand-in for the Admin API of Kong Gateway 3.9.1
// (community edition, DB mode). Tests use it to see the requests of a client and to
// make Kong fail.
//
// It behaves as a real Kong 3.9.1 on PostgreSQL was measured to behave: status
// codes, bodies, unique and foreign keys, defaults, paging, and the ways in which it
// fails. The tests of this package replay the recordings under testdata. Package
// contract checks a table of facts against the stand-in and, on request, against a
// real gateway.
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
