// Makes the files of a release. A module of its own, so that the SBOM's library reaches none of
// the operator's dependencies.
module github.com/pluginbinding/kong-plugin-operator/hack/tools/release

go 1.26.0

require (
	github.com/CycloneDX/cyclonedx-go v0.9.3
	sigs.k8s.io/yaml v1.6.0
)

require go.yaml.in/yaml/v2 v2.4.2 // indirect
