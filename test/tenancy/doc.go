// Package tenancy runs a hostile tenant beside a platform, and compares the platform's figures with
// and without him: what is in force, the requests to its Kong, the latency of a change, the writes of
// its status, and the memory of the operator. The rules that stop a tenant are in internal/tenancy;
// docs/security.md lists them with their tests.
package tenancy
