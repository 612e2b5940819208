// Package kic is a stand-in for Kong's ingress controller (KIC) 3.5.13 in DB mode.
//
// It watches an API server and writes services, routes, consumers and plugins to the
// Admin API of package kongtest. Names, UUIDv5 IDs, tags, the order of writes and the
// behaviour at an error are those of the real one: the tests of this package replay
// recordings of it (testdata).
//
//	controller, err := kic.Start(ctx, restConfig, kic.Options{AdminURL: srv.URL(), Interval: 50 * time.Millisecond})
//	defer controller.Stop()
//	// ... apply an Ingress with the annotation konghq.com/plugins ...
//	err = controller.WaitSynced(ctx)
//
// Every Interval it builds what it wants from the objects that it watches. If that is
// what it wrote last, it sends GET /status and nothing else. Otherwise it reads all
// rows with its tag and writes the difference: services and consumers, routes,
// plugins, then the deletions in reverse. An error ends the sync, so that nothing is
// deleted, and the next tick tries again. After an error it also writes once what it
// last wrote with success, as the real one does, which takes new routes away again.
//
// Not part of it: upstreams, targets, credentials and certificates (the stand-in for
// Kong has none; a change of an EndpointSlice leads to a sync all the same),
// Gateways and ReferenceGrants (each HTTPRoute is accepted, each reference to a
// KongPlugin of another namespace allowed), default backends, consumer groups, and
// the kinds that the real one knows besides those of CRDs.
package kic
