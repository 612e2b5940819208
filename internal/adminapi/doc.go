// Package adminapi is the client of Kong's Admin API: one [Client] per KongGateway, which
// reads and writes plugins, looks up the entities of their scopes, and reports errors by
// what the caller knows after them.
//
// It imports internal/plugin and go-kong, whose types end here. Clients of Kubernetes, its API
// types and the controllers must never come in.
//
// A caller can rely on this:
//
//   - NotFound means absent. The client returns it only for a 404 with Kong's own body, or
//     for a list that it read to the end, from a Kong that the last [Client.Probe] showed
//     to be in DB mode. Every other failure to get a response is Unavailable.
//   - A write with an uncertain outcome returns UnknownOutcome, never Unavailable: Kong may
//     have applied it, and may still apply it after the error returned.
//   - No request goes to an unchecked path. IDs are UUIDs and names are escaped. The client
//     refuses what cannot be the name of an entity before it sends a request. It never
//     follows links in responses.
//   - The text of an error is stable: it holds no local address, time or request ID. It
//     never holds the token or the request body. It may hold what Kong says about the body,
//     so callers redact the values of Secrets.
//
// Requests use HTTP/1.1 and go straight to the Admin API. The client ignores the proxies of
// the environment: a proxy could read the token and could answer in Kong's place.
package adminapi
