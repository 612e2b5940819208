// Package api tests the two kinds as the API server sees them: what it refuses and with
// which words, what it fills in, and what it shows. It needs a real API server.
package api
