#!/usr/bin/env bash
#
# Runs every fuzz test of the module for the given time, one after the other (go test accepts
# one at a time). Inputs that fail stay in testdata, to commit.

set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
fuzztime=${1:-20s}

# fuzz PACKAGE TARGET fails if go test fails, with one exception. At the end of the time, Go
# before 1.27 may see its deadline a moment before its workers do. It then reports the
# deadline as the only failure, with no input (go.dev/issue/75804). A test that really fails
# names the input.
fuzz() {
	local status=0
	go test -run '^$' -fuzz "^$2\$" -fuzztime "$fuzztime" "$1" 2>&1 | tee "$log" || status=$?
	if ((status != 0)) && [[ $(sed -n "/^--- FAIL: $2 /,/^FAIL\$/p" "$log" | sed '1d;$d') == '    context deadline exceeded' ]]; then
		echo "fuzz: $2 failed on no input: Go took the end of its own time for a failure"
		return
	fi
	return "$status"
}

log=$(mktemp)
trap 'rm -f "$log"' EXIT

# The variables are set before they are used, so that a test that does not compile stops the
# script.
dirs=$(grep -rlE --include='*_test.go' '^func Fuzz' . | xargs -n1 dirname | sort -u)
count=0
for dir in $dirs; do
	targets=$(go test -list '^Fuzz' "$dir" | grep '^Fuzz')
	for target in $targets; do
		echo "fuzz: $dir $target"
		fuzz "$dir" "$target"
		count=$((count + 1))
	done
done
echo "fuzz: $count fuzz tests, $fuzztime each"
