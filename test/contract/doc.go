// Package contract is a table of facts: what the operator relies on in Kong's Admin
// API, and what it does because of each.
//
// The facts always run against the stand-in, test/kongtest. With KONG_ADMIN_URL
// they also run against a real gateway. They were measured on Kong 3.9.1 in DB mode:
//
//	KONG_ADMIN_URL=http://127.0.0.1:8001 go test ./test/contract -run TestContract -v
//
// Against a real gateway each fact uses a service of its own with a unique name,
// creates no global plugin, and deletes what it created. A second table has the
// facts that need a database or a node of their own (stopped, locked, frozen,
// read-only, DB-less). It runs against the stand-in only.
package contract
