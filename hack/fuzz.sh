#!/usr/bin/env bash
#
# Runs every fuzz test of the module for the given time, one after the other (go
# test takes one at a time). Inputs that fail are left in testdata, to commit.

set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
fuzztime=${1:-20s}

# Assigned before they are used, so that a test that does not compile stops this.
dirs=$(grep -rlE --include='*_test.go' '^func Fuzz' . | xargs -n1 dirname | sort -u)
count=0
for dir in $dirs; do
	targets=$(go test -list '^Fuzz' "$dir" | grep '^Fuzz')
	for target in $targets; do
		echo "fuzz: $dir $target"
		go test -run '^$' -fuzz "^$target\$" -fuzztime "$fuzztime" "$dir"
		count=$((count + 1))
	done
done
echo "fuzz: $count fuzz tests, $fuzztime each"
