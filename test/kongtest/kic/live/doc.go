// Package live tests the stand-in for Kong's ingress controller with an API server.
package live
