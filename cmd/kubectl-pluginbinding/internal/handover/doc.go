// Package handover moves plugins from Kong's ingress controller (KIC) to this operator and back. No
// request meets a route without its plugin, the ingress controller's syncs succeed, and every step can be
// undone.
//
// The ingress controller never puts a plugin on a route together with its service. So the plugin is first
// made there, beside the ingress controller's, and only then the name goes from the annotation:
//
//	survey.go     what the ingress controller has in Kong, and of which objects
//	translate.go  a KongPlugin as the spec of a binding
//	plan.go       one item for each KongPlugin on each object: what it becomes, and how
//	check.go      everything that can be known before the first write
//	journal.go    what was done, in a ConfigMap, written before each step
//	forward.go    the steps of a hand-over
//	backward.go   the steps of a hand-back, which are also those that undo a hand-over
//	run.go        all items, one after the other or some at a time
//	pause.go      the ingress controller's Deployment, which may be stopped meanwhile
//	command.go    the commands
//
// It reaches the API server through a client.Client and Kong through the port Kong.
package handover
