# `make help` lists the targets. You need only Go, GNU make, git and bash. This file pins
# every other tool. Make installs them into the user's cache, where a second checkout finds
# them.

VERSION ?= 0.1.0
IMG ?= ghcr.io/pluginbinding/kong-plugin-operator:v$(VERSION)
KUBECTL ?= kubectl
BUNDLE_IMG ?= ghcr.io/pluginbinding/kong-plugin-operator-bundle:v$(VERSION)
CATALOG_IMG ?= ghcr.io/pluginbinding/kong-plugin-operator-catalog:v$(VERSION)
FUZZTIME ?= 20s

SHELL = /usr/bin/env bash -o pipefail
.SHELLFLAGS = -ec

# The Go on the PATH builds everything. A toolchain that switches itself in the middle would
# compile everything twice. The build ignores a go.work of the caller.
export GOTOOLCHAIN ?= local
export GOWORK = off

MODULE := github.com/pluginbinding/kong-plugin-operator
# The API server's libraries bring the tracing pages of gRPC, which nothing here serves.
# Without them the linker can leave out a quarter of the code: ten megabytes less in memory.
BUILD_TAGS := grpcnotrace
# The version comes from this file, not from git. Git refuses to read a checkout that belongs
# to another user, so every build uses -buildvcs=false.
LDFLAGS := -X $(MODULE)/internal/version.Version=$(VERSION)

# The race detector needs a C compiler (not on macOS). Without one, tests run without it.
RACE = $(shell command -v $$(go env CC) >/dev/null && echo -race)

CONTROLLER_GEN_VERSION := v0.23.0
CRD_REF_DOCS_VERSION := v0.2.0
GOLANGCI_LINT_VERSION := v2.15.0
KUSTOMIZE_VERSION := v5.8.1
# opm's version is that in hack/tools/olm/go.mod, which the catalog is composed with, too.
OPM_VERSION := $(shell awk '$$1 == "github.com/operator-framework/operator-registry" { print $$2; exit }' hack/tools/olm/go.mod)

# The path contains the Go release that compiled the tools, because a linter cannot read code
# newer than itself.
TOOLS := $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/kong-plugin-operator/tools/$(shell go env GOVERSION)
CONTROLLER_GEN := $(TOOLS)/controller-gen-$(CONTROLLER_GEN_VERSION)/controller-gen
CRD_REF_DOCS := $(TOOLS)/crd-ref-docs-$(CRD_REF_DOCS_VERSION)/crd-ref-docs
GOLANGCI_LINT := $(TOOLS)/golangci-lint-$(GOLANGCI_LINT_VERSION)/golangci-lint
KUSTOMIZE := $(TOOLS)/kustomize-$(KUSTOMIZE_VERSION)/kustomize
OPM := $(TOOLS)/opm-$(OPM_VERSION)/opm

.DEFAULT_GOAL := build

##@ General

.PHONY: help
help: ## Print this list.
	@awk 'BEGIN {FS = ":.*##"; printf "Usage: make \033[36m<target>\033[0m\n"} \
		/^[a-zA-Z_0-9-]+:.*?##/ { printf "  \033[36m%-18s\033[0m%s\n", $$1, $$2 } \
		/^##@/ { printf "\n\033[1m%s\033[0m\n", substr($$0, 5) }' $(MAKEFILE_LIST)

.PHONY: clean
clean: ## Remove build results (the caches of tools and API server stay).
	rm -rf bin dist cover*.out

##@ Try it

.PHONY: demo
demo: build ## Show the operator at work: API server, a stand-in for Kong (or KONG_ADMIN_URL), bindings; then stop.
	assets=$$(hack/envtest.sh) && KUBEBUILDER_ASSETS=$$assets go run ./hack/demo

.PHONY: run
run: build ## Do the same, and keep it running for experiments.
	assets=$$(hack/envtest.sh) && KUBEBUILDER_ASSETS=$$assets go run ./hack/demo --keep

.PHONY: kongtest
kongtest: ## Run the stand-in for Kong's Admin API alone, on port 8001.
	go run ./test/kongtest/cmd/kongtest --listen 127.0.0.1:8001

##@ Develop

.PHONY: build
build: ## Build the manager and the kubectl plugin into bin/.
	go build -trimpath -buildvcs=false -tags "$(BUILD_TAGS)" -ldflags "$(LDFLAGS)" -o bin/ ./cmd/...

.PHONY: generate
generate: $(CONTROLLER_GEN) ## Generate the DeepCopy methods of the API.
	"$(CONTROLLER_GEN)" object:headerFile=hack/boilerplate.go.txt paths=./api/...

.PHONY: manifests
manifests: $(CONTROLLER_GEN) ## Generate CRDs and the manager's role.
	"$(CONTROLLER_GEN)" crd paths=./api/... output:crd:artifacts:config=config/crd/bases
	"$(CONTROLLER_GEN)" rbac:roleName=manager-role paths=./controllers/... output:rbac:artifacts:config=config/rbac

.PHONY: api-docs
api-docs: $(CRD_REF_DOCS) ## Generate docs/reference.md from the API's comments.
	mkdir -p docs
	"$(CRD_REF_DOCS)" --source-path=api/v1alpha1 --config=hack/crd-ref-docs.yaml \
		--renderer=markdown --output-path=docs/reference.md

.PHONY: fmt
fmt: $(GOLANGCI_LINT) ## Format the code and its imports.
	"$(GOLANGCI_LINT)" fmt ./...

.PHONY: vet
vet: ## Run go vet.
	go vet ./...

.PHONY: lint
lint: $(GOLANGCI_LINT) ## Run the linters, including the import rules.
	"$(GOLANGCI_LINT)" run ./...

.PHONY: lint-fix
lint-fix: $(GOLANGCI_LINT) ## Run the linters and let them fix what they can.
	"$(GOLANGCI_LINT)" run --fix ./...

.PHONY: verify
verify: ## Fail if anything generated is stale, unformatted, or go.mod untidy.
	MAKE="$(MAKE)" hack/verify.sh

##@ Test

# Go starts with these packages, so that the longest does not run alone at the end. Most of
# their time is waiting.
LONGEST := ./test/integration ./test/faults ./test/faults/processes

.PHONY: test
test: ## Run all tests, including those against a real API server, with the race detector.
	@[[ -n "$(RACE)" ]] || echo "no C compiler: testing without the race detector" >&2
	assets=$$(hack/envtest.sh) && KUBEBUILDER_ASSETS=$$assets \
		go test $(RACE) -timeout 15m -covermode=atomic -coverprofile=cover.out $(LONGEST) ./...
	@hack/coverage.sh cover.out internal/identity internal/plugin internal/tenancy

.PHONY: test-unit
test-unit: ## Run the tests that need no API server.
	packages=$$(hack/unit-packages.sh) && go test $$packages

.PHONY: contract
contract: ## Check the stand-in for Kong against the recorded facts; with KONG_ADMIN_URL, a real Kong.
	go test -count=1 ./test/contract/...

.PHONY: fuzz
fuzz: ## Run every fuzz test for FUZZTIME (20s).
	hack/fuzz.sh $(FUZZTIME)

.PHONY: fuzz-keep
fuzz-keep: ## Keep some useful inputs that fuzzing found, as seeds to commit.
	hack/fuzz-keep.sh

.PHONY: model
model: ## Search the states of the whole protocol, all sets of up to four events (20 minutes).
	MODEL_FULL=1 go test -count=1 -v -timeout 3h ./test/model

.PHONY: test-faults
test-faults: ## Break every call of every scenario, alone and in pairs, in process and in real processes.
	assets=$$(hack/envtest.sh) && KUBEBUILDER_ASSETS=$$assets hack/test-faults.sh

# The picture is beside the figures: BENCH_OUT=docs/performance.json stores both.
# `go run ./test/bench --help` lists the other variables.
BENCH_OUT ?= dist/bench.json
BENCH_PACKAGES := ./internal/adminapi ./internal/identity ./internal/plugin

.PHONY: bench
bench: build bench-go ## Measure the real binary with BENCH_N (100 1000 10000) bindings, compare, draw (half an hour).
	go build -trimpath -buildvcs=false -o bin/kongtest ./test/kongtest/cmd/kongtest
	assets=$$(hack/envtest.sh) && KUBEBUILDER_ASSETS=$$assets BENCH_OUT=$(BENCH_OUT) go run ./test/bench
	$(MAKE) --no-print-directory bench-plot

.PHONY: bench-go
bench-go: ## Run the Go benchmarks of one reconcile and of one resync.
	go test -run '^$$' -bench . -benchmem $(BENCH_PACKAGES)

.PHONY: bench-plot
bench-plot: ## Draw the figures in BENCH_OUT (dist/bench.json) again.
	cd hack/tools/plot && go run . "$(abspath $(BENCH_OUT))" "$(abspath $(BENCH_OUT:.json=.svg))"

.PHONY: mutants
mutants: ## Break one rule of the operator at a time and show which tests notice (hours; MUTANTS="-jobs 2" tries two at a time).
	assets=$$(hack/envtest.sh) && KUBEBUILDER_ASSETS=$$assets go run ./hack/mutants $(MUTANTS)

##@ Package

comma := ,
space := $() $()

# The version before this one, if OLM is to upgrade from it; the versions that it may leave
# out on the way, such as ">=0.1.0 <0.2.0"; and the time of the bundle, as in RFC 3339. OLM
# installs a bundle with a ServiceMonitor only where the Prometheus operator's kinds are:
# false leaves them out.
REPLACES ?=
SKIP_RANGE ?=
CREATED_AT ?=
BUNDLE_MONITORING ?= true

# Kustomize sets images by writing into the tree that it builds. Here it writes to a temporary
# overlay, so that deploying changes no file of the checkout.
define with-image
rm -rf dist/$(1) && mkdir -p dist/$(1) && cd dist/$(1) && \
	"$(KUSTOMIZE)" create --resources $(subst $(space),$(comma),$(addprefix ../../config/,$(1) $(2))) && \
	"$(KUSTOMIZE)" edit set image controller=$(IMG) && cd ../..
endef

.PHONY: kustomize-verify
kustomize-verify: $(KUSTOMIZE) ## Build every kustomization below config/.
	@files=$$(find config -name kustomization.yaml | sort); \
	for file in $${files:?there is no kustomization below config}; do \
		if grep -q '^kind: Component' "$$file"; then continue; fi; \
		echo "kustomize build $$(dirname "$$file")"; \
		"$(KUSTOMIZE)" build "$$(dirname "$$file")" >/dev/null; \
	done

# CONTAINER_TOOL=... builds with another than the first of docker, podman and buildah that works.
define build-image
tool=$(or $(CONTAINER_TOOL),$$(hack/container-tool.sh)) && $$tool build $(DOCKER_BUILD_ARGS)
endef

.PHONY: docker-build
docker-build: ## Build the image IMG, with the first of docker, podman and buildah that works.
	$(build-image) --build-arg VERSION=$(VERSION) -t $(IMG) .

.PHONY: bundle
bundle: $(KUSTOMIZE) ## Assemble the OLM bundle from config/manifests; REPLACES, SKIP_RANGE and CREATED_AT may be set.
	$(call with-image,manifests,$(if $(filter true,$(BUNDLE_MONITORING)),manifests/monitoring)) && \
		"$(KUSTOMIZE)" build dist/manifests | go run ./hack/bundle --version="$(VERSION)" \
		--replaces="$(REPLACES)" --skip-range="$(SKIP_RANGE)" --created-at="$(CREATED_AT)"

.PHONY: bundle-build
bundle-build: ## Build the bundle's image BUNDLE_IMG.
	$(build-image) -f bundle.Dockerfile -t $(BUNDLE_IMG) .

# Pure Go, without what opm needs only to build images itself.
OLM_BUILD := -trimpath -buildvcs=false -tags json1,containers_image_openpgp,exclude_graphdriver_btrfs,exclude_graphdriver_devicemapper
olm = cd hack/tools/olm && CGO_ENABLED=0 go run $(OLM_BUILD) . $(1)

# A version that no release has, for the upgrade.
NEXT_VERSION := 9999.0.0

.PHONY: bundle-verify
bundle-verify: $(KUSTOMIZE) $(OPM) ## Validate the bundle, and the upgrade from it to a next version.
	cd hack/tools/olm && CGO_ENABLED=0 go test $(OLM_BUILD) ./...
	rm -rf dist/next && $(call with-image,manifests,manifests/monitoring) && "$(KUSTOMIZE)" build dist/manifests | \
		go run ./hack/bundle --output=dist/next --version=$(NEXT_VERSION) --replaces=$(VERSION)
	$(call olm,catalog --output="$(CURDIR)/dist/next/catalog" --image=$(BUNDLE_TEMPLATE) "$(CURDIR)/bundle" "$(CURDIR)/dist/next/bundle")
	"$(OPM)" validate dist/next/catalog

# The bundles of the catalog, oldest first: the directories of earlier releases (each has its
# bundle), then this one.
CATALOG_BUNDLES ?= bundle
BUNDLE_TEMPLATE = '$(subst v$(VERSION),v{{.Version}},$(BUNDLE_IMG))'
OPM_IMG ?= quay.io/operator-framework/opm:$(OPM_VERSION)

.PHONY: catalog
catalog: $(OPM) ## Make the file-based catalog of CATALOG_BUNDLES in dist/catalog.
	rm -rf dist/catalog dist/catalog.Dockerfile && mkdir -p dist
	$(call olm,catalog --output="$(CURDIR)/dist/catalog" --image=$(BUNDLE_TEMPLATE) $(abspath $(CATALOG_BUNDLES)))
	"$(OPM)" validate dist/catalog
	"$(OPM)" generate dockerfile dist/catalog --base-image=$(OPM_IMG) --builder-image=$(OPM_IMG)

.PHONY: catalog-build
catalog-build: catalog ## Build the catalog's image CATALOG_IMG.
	$(build-image) -f dist/catalog.Dockerfile -t $(CATALOG_IMG) dist

CHART := charts/kong-plugin-operator

.PHONY: chart-files
chart-files: ## Copy what the Helm chart has in common with config/ into it.
	rm -rf $(CHART)/files && mkdir -p $(CHART)/files/crds $(CHART)/files/user-roles
	cp config/crd/bases/*.yaml $(CHART)/files/crds/
	cp config/rbac/role.yaml config/rbac/leader_election_role.yaml config/prometheus/rules.yaml $(CHART)/files/
	cp config/finalizer-at-creation/policy.yaml $(CHART)/files/finalizer-policy.yaml
	cp config/rbac/*_editor_role.yaml config/rbac/*_viewer_role.yaml $(CHART)/files/user-roles/
	dashboards=$$(find config -path 'config/grafana/*.json'); \
	if [[ -n "$$dashboards" ]]; then mkdir $(CHART)/files/dashboards && cp $$dashboards $(CHART)/files/dashboards/; fi

.PHONY: chart
chart: chart-files ## Package the Helm chart into dist/.
	cd hack/tools/chart && go run . --version=$(VERSION) --output="$(CURDIR)/dist" "$(CURDIR)/$(CHART)"

.PHONY: dashboard
dashboard: ## Generate the Grafana dashboard in config/grafana.
	mkdir -p config/grafana
	cd hack/tools/dashboard && go run . "$(CURDIR)/config/grafana/overview.json"

.PHONY: dashboard-verify
dashboard-verify: ## Check the queries of the dashboard and of the alerts against the metrics that there are.
	cd hack/tools/dashboard && go vet . && go test -count=1 .

.PHONY: chart-verify
chart-verify: ## Lint and render the Helm chart, and compare it with config/, object by object.
	cd hack/tools/chart && go vet . && go test -count=1 .

INSTALLER ?= dist/install.yaml

.PHONY: build-installer
build-installer: $(KUSTOMIZE) ## Write everything that `make deploy` applies to one file, dist/install.yaml.
	$(call with-image,default) && mkdir -p $(dir $(INSTALLER)) && "$(KUSTOMIZE)" build dist/default >$(INSTALLER)

RELEASE ?= dist/release

# Before anything is made: a v would get into the names of images and archives.
.PHONY: release-version
release-version:
	@[[ "$(VERSION)" =~ ^[0-9]+\.[0-9]+\.[0-9]+(-[0-9A-Za-z.-]+)?$$ ]] || { echo "VERSION=$(VERSION): must be like 1.2.3, without a v" >&2; exit 1; }

# The time of a release is that of its commit, so that the same commit makes the same bytes.
.PHONY: release
release: release-version $(KUSTOMIZE) chart-files ## Make all files of release VERSION in dist/release.
	rm -rf $(RELEASE) dist/release-bundle && mkdir -p $(RELEASE)
	$(MAKE) --no-print-directory build-installer INSTALLER=$(RELEASE)/install.yaml
	cd hack/tools/chart && go run . --version=$(VERSION) --output="$(abspath $(RELEASE))" "$(CURDIR)/$(CHART)"
	created=$(or $(CREATED_AT),$$(TZ=UTC git log -1 --date=format-local:%Y-%m-%dT%H:%M:%SZ --format=%cd)) && \
		$(call with-image,manifests,$(if $(filter true,$(BUNDLE_MONITORING)),manifests/monitoring)) && \
		"$(KUSTOMIZE)" build dist/manifests | go run ./hack/bundle --output=dist/release-bundle --version="$(VERSION)" \
		--replaces="$(REPLACES)" --skip-range="$(SKIP_RANGE)" --created-at="$$created"
	cd hack/tools/release && go run . --version=$(VERSION) --source="$(CURDIR)" \
		--bundle="$(CURDIR)/dist/release-bundle/bundle" --output="$(abspath $(RELEASE))"
	@cat $(RELEASE)/SHA256SUMS

.PHONY: release-verify
release-verify: ## Make the release twice and fail if a byte differs.
	cd hack/tools/release && go test -count=1 .
	$(MAKE) --no-print-directory release RELEASE=dist/release
	$(MAKE) --no-print-directory release RELEASE=dist/release-again
	diff -r dist/release dist/release-again && rm -rf dist/release-again

##@ Deploy to the cluster of the current kubeconfig

# FORCE_CONFLICTS=true takes over what was installed with a client-side apply.
apply = KUBECTL="$(KUBECTL)" FORCE_CONFLICTS="$(FORCE_CONFLICTS)" hack/apply.sh

.PHONY: install
install: $(KUSTOMIZE) ## Install the CRDs.
	"$(KUSTOMIZE)" build config/crd | $(apply)

.PHONY: uninstall
uninstall: $(KUSTOMIZE) ## Remove the CRDs; refused unless the cluster has no bindings and gateways.
	@KUBECTL="$(KUBECTL)" hack/uninstall-guard.sh
	"$(KUSTOMIZE)" build config/crd | $(KUBECTL) delete --ignore-not-found -f -

# The CRDs first: where they cannot be applied, no new operator runs beside old ones.
.PHONY: deploy
deploy: $(KUSTOMIZE) ## Deploy CRDs and operator from the image IMG; refused where another operator runs.
	@KUBECTL="$(KUBECTL)" hack/deploy-guard.sh
	"$(KUSTOMIZE)" build config/crd | $(apply)
	$(call with-image,default) && "$(KUSTOMIZE)" build dist/default | $(apply)

.PHONY: undeploy
undeploy: $(KUSTOMIZE) ## Remove operator and CRDs; refused unless the cluster has no bindings and gateways.
	@KUBECTL="$(KUBECTL)" hack/uninstall-guard.sh
	"$(KUSTOMIZE)" build config/default | $(KUBECTL) delete --ignore-not-found -f -

# install-tool FILE,PACKAGE@VERSION: the directory name contains the version. A new version is
# a new file, so nothing has to compare versions.
define install-tool
$(1):
	@echo "installing $(2) into $$(@D)" >&2
	@GOBIN="$$(@D)" GOFLAGS= go install $(2) 2>&1 | sed '/^go: downloading/d' >&2
endef

$(eval $(call install-tool,$(CONTROLLER_GEN),sigs.k8s.io/controller-tools/cmd/controller-gen@$(CONTROLLER_GEN_VERSION)))
$(eval $(call install-tool,$(CRD_REF_DOCS),github.com/elastic/crd-ref-docs@$(CRD_REF_DOCS_VERSION)))
$(eval $(call install-tool,$(GOLANGCI_LINT),github.com/golangci/golangci-lint/v2/cmd/golangci-lint@$(GOLANGCI_LINT_VERSION)))
$(eval $(call install-tool,$(KUSTOMIZE),sigs.k8s.io/kustomize/kustomize/v5@$(KUSTOMIZE_VERSION)))

# With its own go.sum, and without the parts of it that need C.
$(OPM):
	@echo "building opm $(OPM_VERSION) into $(@D)" >&2
	@cd hack/tools/olm && CGO_ENABLED=0 GOFLAGS= go build $(OLM_BUILD) -ldflags "-s -w" -o "$@" \
		github.com/operator-framework/operator-registry/cmd/opm 2>&1 | sed '/^go: downloading/d' >&2
