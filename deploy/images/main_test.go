package main

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-containerregistry/pkg/v1/tarball"
)

func TestAnImageRunsItsProgramAsNobody(t *testing.T) {
	folder := t.TempDir()
	if err := os.WriteFile(filepath.Join(folder, "hub"), []byte("program"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := pack(folder, "dev", "hub"); err != nil {
		t.Fatal(err)
	}
	image, err := tarball.ImageFromPath(filepath.Join(folder, "hub.tar"), nil)
	if err != nil {
		t.Fatal(err)
	}
	file, err := image.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	if file.Config.User != nobody || len(file.Config.Entrypoint) != 1 || file.Config.Entrypoint[0] != "/hub" {
		t.Errorf("image config %+v", file.Config)
	}
	if err := pack(folder, "dev", "missing"); err == nil {
		t.Error("a missing binary must be an error")
	}
}
