package main

import (
	"path/filepath"
	"strings"
	"testing"
)

func TestWrongWordsAreExplained(t *testing.T) {
	t.Setenv("FLOTILLA_DEMO", filepath.Join(t.TempDir(), "demo"))
	for _, args := range [][]string{nil, {"up"}, {"sideways"}, {"up", "real", "twice"}} {
		if err := run(args); err == nil || !strings.Contains(err.Error(), "usage") {
			t.Errorf("%q: %v", args, err)
		}
	}
	if err := run([]string{"up", "imaginary"}); err == nil || !strings.Contains(err.Error(), "NODES=imaginary: choose fake or real") {
		t.Errorf("%v", err)
	}
}

func TestDownWithoutADemoIsFine(t *testing.T) {
	t.Setenv("FLOTILLA_DEMO", filepath.Join(t.TempDir(), "demo"))
	for range 2 {
		if err := run([]string{"down"}); err != nil {
			t.Error(err)
		}
	}
}
