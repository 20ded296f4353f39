package main

import (
	"path/filepath"
	"strings"
	"testing"
)

func TestAMissingProgramIsNamed(t *testing.T) {
	path := filepath.Join(t.TempDir(), "app")
	if err := run("127.0.0.1:0", path, ""); err == nil || !strings.Contains(err.Error(), path) {
		t.Errorf("error %v does not name %s", err, path)
	}
}
