#!/usr/bin/env bash
#
# coverage.sh PROFILE DIRECTORY...: the share of statements covered in each
# directory, from a profile of go test.

set -euo pipefail
profile=$1
shift

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
			if (total) printf "coverage of %-20s %5.1f%% of %d statements\n", dir, 100 * covered / total, total
		}' "$profile"
done
