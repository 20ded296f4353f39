package demo

import (
	"bytes"
	"context"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/flotilla-project/flotilla/test/fleet"
	"github.com/flotilla-project/flotilla/test/fleet/testlevel"
)

func TestIndenter(t *testing.T) {
	var out bytes.Buffer
	w := &indenter{to: &out, start: true}
	for _, part := range []string{"one\ntw", "o\n\n", "three"} {
		if _, err := io.WriteString(w, part); err != nil {
			t.Fatal(err)
		}
	}
	if got, want := out.String(), "  one\n  two\n\n  three"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}

// The demo is what people see first: it is told to its end, and nothing of it stays.
func TestTheDemoIsToldToItsEnd(t *testing.T) {
	testlevel.Need(t, testlevel.Integration)
	source, err := filepath.Abs("../../..")
	if err != nil {
		t.Fatal(err)
	}
	var told bytes.Buffer
	d := Demo{Dir: filepath.Join(t.TempDir(), "demo"), Source: source, Kind: fleet.Fake, Out: io.MultiWriter(&told, t.Output())}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		if err := fleet.Down(ctx, d.Dir); err != nil {
			t.Error(err)
		}
		if left := processes(t, d.Dir); len(left) != 0 {
			t.Errorf("processes are left: %q", left)
		}
	})
	if err := d.Up(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, line := range []string{
		"zone-c   west      c      5         5       5         5",
		"5 of 5 pods on west are the same objects as before",
		"took its place while the hub was gone",
		"The fleet is yours",
		d.fleet.Cluster("east").Kubeconfig(),
	} {
		if !strings.Contains(told.String(), line) {
			t.Errorf("the demo did not say %q", line)
		}
	}
}

// processes are the command lines that name a folder.
func processes(t *testing.T, folder string) (lines []string) {
	t.Helper()
	paths, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range paths {
		raw, err := os.ReadFile(path)
		if line := string(bytes.ReplaceAll(raw, []byte{0}, []byte{' '})); err == nil && strings.Contains(line, folder) {
			lines = append(lines, line)
		}
	}
	return lines
}
