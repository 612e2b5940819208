package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"helm.sh/helm/v3/pkg/chart"
	"helm.sh/helm/v3/pkg/chart/loader"
	"helm.sh/helm/v3/pkg/chartutil"
	"sigs.k8s.io/yaml"
)

// pack writes the chart as NAME-VERSION.tgz and returns the file's name. No file in it bears
// a time, an owner, or the order of a directory.
func pack(directory, version, output string) (string, error) {
	loaded, err := loader.LoadDir(directory)
	if err != nil {
		return "", err
	}
	loaded.Metadata.Version, loaded.Metadata.AppVersion = version, version
	if err := loaded.Validate(); err != nil {
		return "", err
	}
	files, err := withMetadata(loaded)
	if err != nil {
		return "", err
	}
	content, err := archive(loaded.Name(), files)
	if err != nil {
		return "", err
	}
	name := filepath.Join(output, fmt.Sprintf("%s-%s.tgz", loaded.Name(), version))
	if err := os.MkdirAll(output, 0o755); err != nil {
		return "", err
	}
	if err := os.WriteFile(name, content, 0o644); err != nil {
		return "", err
	}
	return name, nil
}

// withMetadata are the chart's files by name, with the Chart.yaml of this version first, as
// Helm has it.
func withMetadata(loaded *chart.Chart) ([]*chart.File, error) {
	metadata, err := yaml.Marshal(loaded.Metadata)
	if err != nil {
		return nil, err
	}
	files := slices.DeleteFunc(slices.Clone(loaded.Raw), func(file *chart.File) bool { return file.Name == chartutil.ChartfileName })
	slices.SortFunc(files, func(a, b *chart.File) int { return strings.Compare(a.Name, b.Name) })
	return slices.Insert(files, 0, &chart.File{Name: chartutil.ChartfileName, Data: metadata}), nil
}

func archive(prefix string, files []*chart.File) ([]byte, error) {
	var content bytes.Buffer
	zip, err := gzip.NewWriterLevel(&content, gzip.BestCompression)
	if err != nil {
		return nil, err
	}
	tape := tar.NewWriter(zip)
	for _, file := range files {
		header := &tar.Header{Name: path.Join(prefix, file.Name), Mode: 0o644, Size: int64(len(file.Data)), Format: tar.FormatUSTAR}
		if err := tape.WriteHeader(header); err != nil {
			return nil, err
		}
		if _, err := tape.Write(file.Data); err != nil {
			return nil, err
		}
	}
	if err := tape.Close(); err != nil {
		return nil, err
	}
	if err := zip.Close(); err != nil {
		return nil, err
	}
	return content.Bytes(), nil
}
