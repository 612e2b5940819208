#!/usr/bin/env bash
#
# Exits 0 only if the API server says that the cluster has no PluginPolicy, no PluginBinding
# and no KongGateway. Run it before anything that deletes the CRDs: with the CRDs go all their
# objects, and without the operator the finalizers of these would wait for ever.
#
# Every answer but "there are none" is a refusal. A request that fails (time-out, no right
# to list, no cluster) says nothing about what is there.
#
#     hack/uninstall-guard.sh && helm uninstall ...
#
# KUBECTL names the kubectl to use, with its options.

set -euo pipefail

read -ra kubectl <<<"${KUBECTL:-kubectl}"
readonly group=kong.pluginbinding.io

refuse() {
	printf '%s\n' "$@" "Nothing was deleted." >&2
	exit 1
}

# ask ARGUMENTS...: what kubectl prints. A kubectl that fails ends this.
ask() {
	"${kubectl[@]}" "$@" --request-timeout=30s ||
		refuse "Cannot find out whether this cluster has PluginPolicies, PluginBindings or KongGateways: \"kubectl $*\" failed." \
			"Use an account that may get CustomResourceDefinitions and list these kinds in all namespaces, and try again."
}

for kind in pluginpolicies pluginbindings konggateways; do
	# The CRD first: the API server's own word that it does not exist is the one proof
	# that there are no objects of the kind.
	crd=$(ask get customresourcedefinitions.apiextensions.k8s.io "$kind.$group" --ignore-not-found -o name)
	if [[ -z $crd ]]; then
		continue
	fi
	objects=$(ask get "$kind.$group" --all-namespaces -o name)
	if [[ -n $objects ]]; then
		refuse "This cluster has $kind, which would be deleted with their CRD." \
			"Delete all policies first, then all bindings, then all gateways, while the operator runs:" \
			"  ${kubectl[*]} get pluginpolicies -A" \
			"  ${kubectl[*]} get pluginbindings -A" \
			"  ${kubectl[*]} get konggateways -A"
	fi
done
