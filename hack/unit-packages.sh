#!/usr/bin/env bash
#
# Prints the packages whose tests start no API server: the packages whose test binary does not
# link envtest.

set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

go list -buildvcs=false -test -f '{{.ImportPath}} {{join .Deps " "}}' ./... |
	awk '$1 ~ /\.test$/ && !/ sigs\.k8s\.io\/controller-runtime\/pkg\/envtest( |$)/ { sub(/\.test$/, "", $1); print $1 }'
