#!/usr/bin/env bash
#
# coverage.sh PROFILE DIRECTORY...
#
# Prints the share of covered statements in each directory, from a profile of go test. Fails
# if a directory is not covered completely, and lists what is not covered.

set -euo pipefail
profile=$1
shift

failed=0
for dir in "$@"; do
	# A line is file:from,to statements hits. A block appears once per test binary.
	awk -v dir="$dir" '
		index($1, "/" dir "/") {
			statements[$1] = $2
			if ($3 > 0) hit[$1] = 1
		}
		END {
			for (block in statements) {
				total += statements[block]
				if (block in hit) covered += statements[block]
			}
			if (!total) {
				print "coverage of " dir ": the profile knows nothing of it"
				exit 1
			}
			printf "coverage of %-20s %5.1f%% of %d statements\n", dir, 100 * covered / total, total
			if (covered < total) {
				for (block in statements) if (!(block in hit)) print "  not covered: " block | "sort"
				close("sort")
				exit 1
			}
		}' "$profile" || failed=1
done
exit "$failed"
