package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"io/fs"
	"os"
	"path"
	"path/filepath"
)

// file is one file of an archive.
type file struct {
	name    string
	content []byte
	mode    int64
}

// filesOf reads a directory, in the order of the names.
func filesOf(directory, prefix string) ([]file, error) {
	var files []file
	err := filepath.WalkDir(directory, func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		relative, err := filepath.Rel(directory, name)
		if err != nil {
			return err
		}
		content, err := os.ReadFile(name)
		files = append(files, file{name: path.Join(prefix, filepath.ToSlash(relative)), content: content, mode: 0o644})
		return err
	})
	return files, err
}

// archive makes a tar.gz in which nothing tells of the machine: no time, no owner.
func archive(files []file) ([]byte, error) {
	var content bytes.Buffer
	zip, err := gzip.NewWriterLevel(&content, gzip.BestCompression)
	if err != nil {
		return nil, err
	}
	tape := tar.NewWriter(zip)
	for _, f := range files {
		header := &tar.Header{Name: f.name, Mode: f.mode, Size: int64(len(f.content)), Format: tar.FormatUSTAR}
		if err := tape.WriteHeader(header); err != nil {
			return nil, err
		}
		if _, err := tape.Write(f.content); err != nil {
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
