package main

import (
	"bytes"
	"debug/buildinfo"
	"fmt"
	"os"
	"path/filepath"

	cyclonedx "github.com/CycloneDX/cyclonedx-go"
)

// writeSBOM writes NAME-VERSION.cdx.json: the modules that a program was linked from, as the
// program itself says. It has neither time nor serial number, which would differ each time.
func (r release) writeSBOM(program, name string) error {
	info, err := buildinfo.ReadFile(program)
	if err != nil {
		return fmt.Errorf("%s: %w", program, err)
	}
	root := component(cyclonedx.ComponentTypeApplication, module, "v"+r.version)
	standard := component(cyclonedx.ComponentTypeLibrary, "std", info.GoVersion)
	components, direct := []cyclonedx.Component{standard}, []string{standard.BOMRef}
	for _, dependency := range info.Deps {
		if dependency.Replace != nil {
			dependency = dependency.Replace
		}
		one := component(cyclonedx.ComponentTypeLibrary, dependency.Path, dependency.Version)
		components, direct = append(components, one), append(direct, one.BOMRef)
	}
	bom := cyclonedx.NewBOM()
	bom.Metadata = &cyclonedx.Metadata{Component: &root}
	bom.Components = &components
	bom.Dependencies = &[]cyclonedx.Dependency{{Ref: root.BOMRef, Dependencies: &direct}}

	var content bytes.Buffer
	if err := cyclonedx.NewBOMEncoder(&content, cyclonedx.BOMFileFormatJSON).SetPretty(true).Encode(bom); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(r.output, fmt.Sprintf("%s-%s.cdx.json", name, r.version)), content.Bytes(), 0o644)
}

func component(kind cyclonedx.ComponentType, path, version string) cyclonedx.Component {
	purl := "pkg:golang/" + path + "@" + version
	return cyclonedx.Component{BOMRef: purl, Type: kind, Name: path, Version: version, PackageURL: purl}
}
