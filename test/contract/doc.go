// Package contract holds what the operator relies on in Kong's Admin API as one
// table of facts, each with the rule of the operator that leans on it.
//
// The facts always run against the stand-in, test/kongtest. With KONG_ADMIN_URL
// they also run against a real gateway (Kong 3.9.1 in DB mode is what they were
// measured on):
//
//	KONG_ADMIN_URL=http://127.0.0.1:8001 go test ./test/contract -run TestContract -v
//
// Against a real gateway each fact works below a service of its own with a unique
// name, creates no global plugin, and deletes what it created. Facts that need a
// database or a node of their own (stopped, locked, frozen, DB-less) are in a
// second table that runs against the stand-in only.
package contract
