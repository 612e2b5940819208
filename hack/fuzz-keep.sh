#!/usr/bin/env bash
#
# Keeps some useful inputs that fuzzing found on this machine, as seeds for every later run:
# for each fuzz test, at most KEEP inputs, from the shortest to the longest.

set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
keep=${KEEP:-32}

module=$(go list -m)
cache=$(go env GOCACHE)/fuzz/$module
(cd "$cache" && find . -type d -name 'Fuzz*') | sed 's,^\./,,' | sort | while read -r target; do
	package=${target%/*} name=${target##*/}
	grep -qs "^func $name(" "$package"/*_test.go || continue
	kept=$package/testdata/fuzz/$name
	mkdir -p "$kept"
	# Only GNU's find has -printf, so this does not use it.
	find "$cache/$target" -type f -size -1025c -exec sh -c 'for f; do echo $(wc -c <"$f") "${f##*/}"; done' sh {} + | sort -n | awk -v keep="$keep" '
		{ file[NR] = $2 }
		END { for (i = 1; i <= NR; i++) if (int(i * keep / NR) > int((i - 1) * keep / NR)) print file[i] }' |
		while read -r file; do cp "$cache/$target/$file" "$kept/"; done
	echo "$target: $(find "$kept" -type f | wc -l) kept"
done
