#!/usr/bin/env bash
#
# Prints the directory that contains etcd, kube-apiserver and kubectl, and gets them first if
# they are missing. Only that directory goes to stdout, so a caller can write
#
#     assets=$(hack/envtest.sh) && KUBEBUILDER_ASSETS=$assets go test ./...
#
# It tries these sources, in this order:
#   1. KUBEBUILDER_ASSETS, if it is set and has all three;
#   2. the user's cache, which is independent of the checkout;
#   3. setup-envtest, which downloads them if there is internet;
#   4. their source code, through the Go module proxy (hack/tools/envtest).

set -euo pipefail

readonly setup_envtest_version=v0.25.1
readonly binaries=(etcd kube-apiserver kubectl)
readonly release_date=2026-10-27T12:01:04Z # of the Kubernetes release; fixed, so that builds are reproducible

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
readonly root
readonly module=$root/hack/tools/envtest

# A go.work or a toolchain switch of the caller must not affect these builds.
export GOWORK=off GOTOOLCHAIN="${GOTOOLCHAIN:-local}"

exec 3>&2 # for messages of this script: some commands below have their stderr in a log
say() { printf 'envtest: %s\n' "$*" >&3; }
die() { say "$*"; exit 1; }

# complete DIR reports whether DIR has every binary.
complete() {
	local binary
	for binary in "${binaries[@]}"; do
		[[ -x $1/$binary ]] || return 1
	done
}

sha256() {
	if command -v sha256sum >/dev/null; then sha256sum; else shasum -a 256; fi
}

# bounded SECONDS COMMAND... runs the command with a time limit, because a network that drops
# packets must not stall the script.
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

# The binaries run on this machine, even if the caller cross-compiles.
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

# The lock saves a second caller the work. The rename at the end ensures that nobody sees an
# incomplete directory. So the script is correct without flock (macOS), only slower.
exec 9>"$assets.lock"
if command -v flock >/dev/null; then
	if ! flock --nonblock 9; then
		say "another process is getting Kubernetes $kubernetes; waiting for it"
		flock 9
	fi
	rm -rf "$assets".partial-* || true # from a killed run: this process holds the lock
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

# download fetches prebuilt binaries. A failure is normal (no internet, or this release is not
# published yet), so it must be quick and print at most one line.
download() {
	local tool=$cache/tools/setup-envtest-$setup_envtest_version/setup-envtest found
	if [[ ! -x $tool ]]; then
		GOBIN=$(dirname "$tool") bounded 300 go install \
			"sigs.k8s.io/controller-runtime/tools/setup-envtest@$setup_envtest_version" || return 1
	fi
	# The index is small. If it does not arrive within seconds, the archive will not either.
	mkdir "$work/download"
	bounded 20 "$tool" list "$major.$minor.x" --bin-dir "$work/download" || return 1
	say "downloading Kubernetes $major.$minor for $GOOS/$GOARCH"
	bounded 900 "$tool" use "$major.$minor.x" --bin-dir "$work/download" || return 1
	found=$("$tool" use "$major.$minor.x" --installed-only --bin-dir "$work/download" -p path) || return 1
	complete "$found" || return 1
	# Copy the binaries, because the tool makes its directories read-only. They cannot be moved,
	# and they cannot be removed without the chmod in cleanup.
	mkdir "$work/bin"
	cp "${binaries[@]/#/$found/}" "$work/bin/"
}

# build compiles all three with one command, so that they share common packages.
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

	# -v prints each compiled package to stderr, which shows the progress.
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
	mv "$work/bin/server" "$work/bin/etcd" # Go names a binary after its directory
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
