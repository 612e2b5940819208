// Package gateway is one connection to one Kong Admin API, in the operator's words:
// plugins, scopes, schemas, and errors that say what is known after them. The types of
// go-kong end here.
//
// What a caller may rely on:
//
//   - No answer is taken for more than it says. NotFound is returned only for a 404 with
//     Kong's own body, or a list walked to its end, from a Kong that the last [Client.Probe]
//     showed to be in DB mode. Everything else that is not an answer is Unavailable.
//   - A write whose outcome is not certain is UnknownOutcome, never Unavailable: it may have
//     been done, and it may still be done after the error was returned.
//   - Nothing reaches a path that was not checked: IDs are UUIDs, names are escaped, and what
//     cannot be a name of an entity is refused before a request is made. Links in answers
//     are never followed.
//   - The text of an error is stable (no addresses of ours, no times, no request ids) and
//     holds neither the token nor the body of a request. It may hold what Kong said about
//     the body: callers redact the values of Secrets.
//
// Requests are HTTP/1.1, straight to the Admin API: proxies of the environment are not
// used, because whoever is asked to forward would read the token and could answer in
// Kong's place.
package adminapi
