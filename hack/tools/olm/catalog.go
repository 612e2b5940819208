package main

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"text/template"

	"github.com/operator-framework/operator-registry/alpha/action"
	"github.com/operator-framework/operator-registry/alpha/declcfg"
)

// writeCatalog writes catalog.yaml below a directory of the package's name, which is how a
// catalog of many packages lays them out.
func writeCatalog(ctx context.Context, output, image string, bundles []bundle) error {
	if output == "" || image == "" {
		return errors.New("catalog needs --output and --image")
	}
	images, err := template.New("image").Option("missingkey=error").Parse(image)
	if err != nil {
		return fmt.Errorf("--image: %w", err)
	}
	catalog, err := compose(ctx, images, bundles)
	if err != nil {
		return err
	}
	directory := filepath.Join(output, bundles[0].Package)
	if err := os.MkdirAll(directory, 0o755); err != nil {
		return err
	}
	var content strings.Builder
	if err := declcfg.WriteYAML(*catalog, &content); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(directory, "catalog.yaml"), []byte(content.String()), 0o644)
}

// compose makes the package, its channel and its bundles. The last bundle is the newest: it
// gives the description and the icon.
func compose(ctx context.Context, images *template.Template, bundles []bundle) (*declcfg.DeclarativeConfig, error) {
	newest := bundles[len(bundles)-1]
	channel := declcfg.Channel{Schema: declcfg.SchemaChannel, Package: newest.Package, Name: newest.DefaultChannel}
	render := action.Render{AllowedRefMask: action.RefBundleDir, ImageRefTemplate: images}
	for _, b := range bundles {
		if b.Package != newest.Package || b.DefaultChannel != newest.DefaultChannel {
			return nil, fmt.Errorf("%s is package %s in channel %s; the newest is package %s in channel %s",
				b.directory, b.Package, b.DefaultChannel, newest.Package, newest.DefaultChannel)
		}
		render.Refs = append(render.Refs, b.directory)
		channel.Entries = append(channel.Entries, declcfg.ChannelEntry{
			Name:      b.CSV.Name,
			Replaces:  b.CSV.Spec.Replaces,
			Skips:     b.CSV.Spec.Skips,
			SkipRange: b.CSV.Annotations["olm.skipRange"],
		})
	}
	catalog, err := render.Run(ctx)
	if err != nil {
		return nil, err
	}
	of := declcfg.Package{Schema: declcfg.SchemaPackage, Name: newest.Package, DefaultChannel: newest.DefaultChannel, Description: newest.CSV.Spec.Description}
	if icons := newest.CSV.Spec.Icon; len(icons) > 0 {
		data, err := base64.StdEncoding.DecodeString(icons[0].Data)
		if err != nil {
			return nil, fmt.Errorf("%s: the icon: %w", newest.directory, err)
		}
		of.Icon = &declcfg.Icon{Data: data, MediaType: icons[0].MediaType}
	}
	catalog.Packages = []declcfg.Package{of}
	catalog.Channels = []declcfg.Channel{channel}
	return catalog, upgradeable(*catalog, channel, newest.CSV.Name)
}

// upgradeable refuses a catalog in which a version has no way to the newest.
func upgradeable(catalog declcfg.DeclarativeConfig, channel declcfg.Channel, newest string) error {
	model, err := declcfg.ConvertToModel(catalog)
	if err != nil {
		return err
	}
	head, err := model[channel.Package].Channels[channel.Name].Head()
	if err != nil {
		return err
	}
	if head.Name != newest {
		return fmt.Errorf("channel %s ends in %s, not in %s: give the bundles oldest first", channel.Name, head.Name, newest)
	}
	return nil
}
