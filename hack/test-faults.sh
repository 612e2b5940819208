#!/usr/bin/env bash
#
# Breaks every call of every scenario: in process, then in real processes. Prints a line per
# scenario and a total. Fails if a plan ends in a violation. The last line names the log,
# which has the details.

set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
mkdir -p dist
log=dist/test-faults.log
: >"$log"

failed=0
for package in ./test/faults ./test/faults/processes; do
	FAULTS_FULL=1 go test -count=1 -vet=off -v -timeout 30m "$package" 2>&1 | tee -a "$log" |
		grep --line-buffered -E '^(faults|processes): |^(FAIL|ok)\s' || failed=1
done

awk -v seconds="$SECONDS" -v file="$log" '
	/^(faults|processes): +total/ {
		for (i = 2; i <= NF; i++) {
			if ($i == "plans") plans += $(i + 1)
			if ($i == "violations") violations += $(i + 1)
		}
	}
	END { printf "test-faults: %d plans, %d violations, %d s; all of it is in %s\n", plans, violations, seconds, file }' "$log"
if ((failed)) || grep -qE '^(--- )?FAIL' "$log"; then
	exit 1
fi
