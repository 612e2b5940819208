// Package importer turns what a Kong already has into objects of this project: plugins that Kong's
// ingress controller, decK, Terraform or a person made. The core is pure: rows of Kong and objects of
// the cluster in, objects out. Only command.go and gather.go talk to anybody, and nothing here writes
// to Kong or to the cluster.
package importer
