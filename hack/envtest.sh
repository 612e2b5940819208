#!/usr/bin/env bash
#
# Prints the directory that holds etcd, kube-apiserver and kubectl, and gets
# them first if nobody has yet. That directory is all that ever reaches stdout,
# so a caller may write
#
#     assets=$(hack/envtest.sh) && KUBEBUILDER_ASSETS=$assets go test ./...
#
# Where they come from, in this order:
#   1. KUBEBUILDER_ASSETS, if it is set and has all three;
#   2. the user's cache, which outlives the checkout;
#   3. setup-envtest, which downloads them where there is internet;
#   4. their source, by way of the Go module proxy (hack/tools/envtest).

set -euo pipefail

readonly setup_envtest_version=v0.25.1
readonly binaries=(etcd kube-apiserver kubectl)
readonly release_date=2026-10-27T12:01:04Z # of the Kubernetes release; fixed, so that builds repeat

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
readonly root
readonly module=$root/hack/tools/envtest

# A workspace or a toolchain switch of the caller must not reach these builds.
export GOWORK=off GOTOOLCHAIN="${GOTOOLCHAIN:-local}"

exec 3>&2 # for us alone: some of the commands below have their stderr in a log
say() { printf 'envtest: %s\n' "$*" >&3; }
die() { say "$*"; exit 1; }

# complete DIR: whether DIR has every binary.
complete() {
	local binary
	for binary in "${binaries[@]}"; do
		[[ -x $1/$binary ]] || return 1
	done
}

sha256() {
	if command -v sha256sum >/dev/null; then sha256sum; else shasum -a 256; fi
}

# bounded SECONDS COMMAND...: a network that swallows packets must not stall us.
bounded() {
	if command -v timeout >/dev/null; then timeout "$@"; else "${@:2}"; fi
}

if [[ -n ${KUBEBUILDER_ASSETS:-} ]]; then
	if complete "$KUBEBUILDER_ASSETS"; then
		(cd "$KUBEBUILDER_ASSETS" && pwd)
		exit
	fi
	say "KUBEBUILDER_ASSETS=$KUBEBUILDER_ASSETS lacks one of ${binaries[*]}; looking elsewhere"
fi

command -v go >/dev/null || die "go is not on the PATH"

kubernetes=$(awk '$1 == "k8s.io/kubernetes" { print $2; exit }' "$module/go.mod")
[[ $kubernetes =~ ^v([0-9]+)\.([0-9]+)\.[0-9]+$ ]] || die "no Kubernetes version in $module/go.mod"
readonly kubernetes major=${BASH_REMATCH[1]} minor=${BASH_REMATCH[2]}

# The binaries run here, whatever the caller cross-compiles for.
GOOS=$(go env GOHOSTOS) GOARCH=$(go env GOHOSTARCH)
export GOOS GOARCH

sum=$(sha256 <"$module/go.sum")
readonly cache=${XDG_CACHE_HOME:-$HOME/.cache}/kong-plugin-operator
readonly assets=$cache/envtest/$kubernetes-${sum:0:12}-$GOOS-$GOARCH

if complete "$assets"; then
	echo "$assets"
	exit
fi

mkdir -p "$cache/envtest"

# The lock saves the second caller the work. That nobody sees half a directory
# is up to the rename at the end, so where flock is missing (macOS) it is still
# correct, only slower.
exec 9>"$assets.lock"
if command -v flock >/dev/null; then
	if ! flock --nonblock 9; then
		say "another process is getting Kubernetes $kubernetes; waiting for it"
		flock 9
	fi
	rm -rf "$assets".partial-* || true # of one that was killed: nobody else is at work
fi
if complete "$assets"; then
	echo "$assets"
	exit
fi

work=$(mktemp -d "$assets.partial-XXXXXX")
child=
cleanup() {
	if [[ -n $child ]]; then kill "$child" 2>/dev/null || true; fi
	chmod -R u+w "$work"
	rm -rf "$work"
}
trap cleanup EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# download fetches finished binaries. Failing is normal (no internet, or no such
# release published yet), so all it may cost is a moment and one line.
download() {
	local tool=$cache/tools/setup-envtest-$setup_envtest_version/setup-envtest found
	if [[ ! -x $tool ]]; then
		GOBIN=$(dirname "$tool") bounded 300 go install \
			"sigs.k8s.io/controller-runtime/tools/setup-envtest@$setup_envtest_version" || return 1
	fi
	# The index is small: if that does not come within seconds, the archive never will.
	mkdir "$work/download"
	bounded 20 "$tool" list "$major.$minor.x" --bin-dir "$work/download" || return 1
	say "downloading Kubernetes $major.$minor for $GOOS/$GOARCH"
	bounded 900 "$tool" use "$major.$minor.x" --bin-dir "$work/download" || return 1
	found=$("$tool" use "$major.$minor.x" --installed-only --bin-dir "$work/download" -p path) || return 1
	complete "$found" || return 1
	# Copied, because the tool makes its directories read-only: they can be
	# neither moved nor, without the chmod in cleanup, removed.
	mkdir "$work/bin"
	cp "${binaries[@]/#/$found/}" "$work/bin/"
}

# build compiles all three in one go, so that they share what they have in common.
build() {
	local packages=(
		go.etcd.io/etcd/server/v3
		k8s.io/kubernetes/cmd/kube-apiserver
		k8s.io/kubernetes/cmd/kubectl
	)
	local ldflags="-s -w" package
	for package in k8s.io/component-base/version k8s.io/client-go/pkg/version; do
		ldflags+=" -X $package.gitVersion=$kubernetes -X $package.gitMajor=$major -X $package.gitMinor=$minor"
		ldflags+=" -X $package.gitTreeState=archive -X $package.gitCommit=$kubernetes -X $package.buildDate=$release_date"
	done

	say "no Kubernetes to download, so etcd, kube-apiserver and kubectl $kubernetes are built from source."
	say "This happens once per machine and takes 8 to 17 minutes on two cores, less if Go's build cache has a part,"
	say "and about 2.4 GB of memory."
	say "To skip it, set KUBEBUILDER_ASSETS to a directory that has the three binaries."

	cd "$module"
	local start=$SECONDS total
	total=$(go list -mod=readonly -deps "${packages[@]}" 2>"$work/log" | wc -l) || {
		cat "$work/log" >&2
		die "the modules cannot be fetched"
	}
	say "modules are there after $((SECONDS - start))s; compiling up to $((total)) packages into Go's build cache"

	# -v names each package on stderr as it is compiled: that is the progress.
	mkdir "$work/bin"
	CGO_ENABLED=0 go build -mod=readonly -trimpath -buildvcs=false -ldflags "$ldflags" -v \
		-o "$work/bin/" "${packages[@]}" 2>"$work/log" 9>&- &
	child=$!
	local told=$SECONDS
	while kill -0 "$child" 2>/dev/null; do
		sleep 1
		if ((SECONDS - told >= 15)); then
			told=$SECONDS
			say "$((told - start))s: $(($(wc -l <"$work/log"))) packages compiled, linking comes last"
		fi
	done
	if ! wait "$child"; then
		child=
		tail -n 40 "$work/log" >&2
		die "the build failed"
	fi
	child=
	mv "$work/bin/server" "$work/bin/etcd" # Go names it after its directory
	say "built in $((SECONDS - start))s"
}

if ! download >"$work/download.log" 2>&1; then
	build >&2
fi
complete "$work/bin" || die "not all of ${binaries[*]} came out"

if ! complete "$assets"; then
	rm -rf "$assets"
	mv "$work/bin" "$assets"
fi
echo "$assets"
