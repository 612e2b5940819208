#!/usr/bin/env bash
#
# coverage.sh PROFILE DIRECTORY...: the share of statements covered in each
# directory, from a profile of go test. Fails, and names what is not covered, where that
# is not all of them.

set -euo pipefail
profile=$1
shift

failed=0
for dir in "$@"; do
	# A line is file:from,to statements hits; the same block may come once per test binary.
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
