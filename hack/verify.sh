#!/usr/bin/env bash
#
# Fails if a generated file is stale, if a Go file is not formatted by gofmt, or if a go.mod is
# not tidy. The script generates the files in place and compares them with the files before,
# not with the last commit. So you can run it before a commit, and then commit the result.

set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

# The files that each make target writes. Without hack/bundle there is no bundle.
generated=(api config/crd/bases config/rbac docs/reference.md charts/kong-plugin-operator/files)
targets=(generate manifests api-docs chart-files)
if [[ -d hack/bundle && -d config/manifests ]]; then
	generated+=(bundle bundle.Dockerfile)
	targets+=(bundle)
fi

before=$(mktemp -d)
trap 'rm -rf "$before"' EXIT
for path in "${generated[@]}"; do
	if [[ -e $path ]]; then
		mkdir -p "$before/$(dirname "$path")"
		cp -R "$path" "$before/$path"
	fi
done

"${MAKE:-make}" --no-print-directory "${targets[@]}"

stale=0
for path in "${generated[@]}"; do
	if [[ ! -e $before/$path ]]; then
		echo "$path was missing"
		stale=1
	elif ! diff -ru "$before/$path" "$path"; then
		stale=1
	fi
done
if ((stale)); then
	echo "verify: the files above were stale; they are up to date now, commit them" >&2
	exit 1
fi

# In CI the checkout was clean, so this also finds generated files that nobody added to git.
if [[ -n ${CI:-} ]]; then
	new=$(git ls-files --others --exclude-standard -- "${generated[@]}")
	if [[ -n $new ]]; then
		printf 'verify: generated, but not in git:\n%s\n' "$new" >&2
		exit 1
	fi
fi

unformatted=$(git ls-files --cached --others --exclude-standard -- '*.go' |
	while read -r file; do if [[ -e $file ]]; then echo "$file"; fi; done | xargs gofmt -s -l)
if [[ -n $unformatted ]]; then
	printf 'verify: not gofmt -s:\n%s\n' "$unformatted" >&2
	exit 1
fi

for mod in . hack/tools/*/; do
	(cd "$mod" && go mod tidy -diff) || {
		echo "verify: $mod/go.mod is not tidy" >&2
		exit 1
	}
done
echo "verify: everything generated is up to date"
