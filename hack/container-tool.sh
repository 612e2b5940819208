#!/usr/bin/env bash
#
# Prints the first of docker, podman and buildah that works. One that is installed and cannot
# build (docker without its daemon) is passed over; if none is left, this says why and fails.

set -euo pipefail

# bounded SECONDS COMMAND...: a daemon far away that does not answer must not stall us.
bounded() {
	if command -v timeout >/dev/null; then timeout "$@"; else "${@:2}"; fi
}

reasons=()
for tool in docker podman buildah; do
	if ! command -v "$tool" >/dev/null; then
		reasons+=("$tool: not installed")
	elif complaint=$(bounded 20 "$tool" info 2>&1 >/dev/null); then
		echo "$tool"
		exit
	else
		reasons+=("$tool info: ${complaint:-no answer}")
	fi
done
printf '%s\n' "No tool to build images works here:" "${reasons[@]/#/  }" \
	"Start or install one of them, or name another with CONTAINER_TOOL=..." >&2
exit 1
