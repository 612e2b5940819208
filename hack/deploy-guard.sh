#!/usr/bin/env bash
#
# Exits 0 only if no operator runs here but the one that `make deploy` deploys. Where the CRDs
# are the same, nothing else would stop a second one beside that of OLM or Helm: each has a Lease
# in its own namespace, both lead, and both write to Kong.
#
# A request that fails (time-out, no right to list) says nothing about what is there, and is a
# refusal.
#
# KUBECTL names the kubectl to use, with its options.

set -euo pipefail

read -ra kubectl <<<"${KUBECTL:-kubectl}"
readonly own="kong-plugin-operator-system/kong-plugin-operator-controller-manager"

refuse() {
	printf '%s\n' "$@" "Nothing was applied." >&2
	exit 1
}

# One line for each: NAMESPACE/NAME REPLICAS, and who manages it, if somebody does.
deployments=$("${kubectl[@]}" get deployments --all-namespaces --selector=app.kubernetes.io/name=kong-plugin-operator --request-timeout=30s \
	--output=jsonpath='{range .items[*]}{.metadata.namespace}/{.metadata.name} {.spec.replicas} {.metadata.labels.olm\.owner}{.metadata.labels.app\.kubernetes\.io/managed-by}{"\n"}{end}') ||
	refuse "Cannot find out whether another operator runs in this cluster: listing the Deployments of all namespaces failed."

while read -r name replicas manager; do
	if [[ -z $name || $replicas == 0 || $name == "$own" && -z $manager ]]; then
		continue
	fi
	refuse "An operator runs in this cluster already: Deployment $name${manager:+, managed by $manager}." \
		"Two would both lead, and write to the same Kong. Remove that one first; the CRDs, bindings and plugins stay." \
		"docs/operations.md#moving-from-one-way-of-installing-to-another has the steps."
done <<<"$deployments"
