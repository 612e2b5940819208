# The operator's image: one static binary, the certificate authorities it trusts
# by default, and a user that is not root. Nothing is written at run time, so the
# root file system may be read-only.
#
#   docker build -t kong-plugin-operator .
#   docker build -t kong-plugin-operator --build-arg BASE=scratch .
ARG BUILDER=golang:1.26
ARG BASE=gcr.io/distroless/static:nonroot

FROM ${BUILDER} AS builder
ARG TARGETOS
ARG TARGETARCH
ARG VERSION=dev
WORKDIR /workspace

# The modules first: they change less often than the code and keep their layer.
COPY go.mod go.sum ./
RUN go mod download

COPY api/ api/
COPY cmd/ cmd/
COPY controllers/ controllers/
COPY internal/ internal/

# The platform is set by the tool that builds for others; empty means the builder's own.
# The Makefile says what the tag is for.
RUN CGO_ENABLED=0 GOOS=${TARGETOS} GOARCH=${TARGETARCH} go build -trimpath -buildvcs=false \
      -tags grpcnotrace -ldflags "-s -w -X github.com/pluginbinding/kong-plugin-operator/internal/version.Version=${VERSION}" \
      -o manager ./cmd/manager

FROM ${BASE}
# scratch has no certificates, and distroless has these very ones.
COPY --from=builder /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
COPY --from=builder /workspace/manager /manager
# By number, so that Kubernetes can tell that it is not root.
USER 65532:65532
ENTRYPOINT ["/manager"]
