// Package testlevel decides which tests may start something heavy. It owns the
// environment variable FLOTILLA_TEST_LEVEL, a comma-separated list of levels;
// it reads nothing else and writes nothing. A test below its level is skipped
// with a reason that says what to set, never silently.
package testlevel

import (
	"os"
	"slices"
	"strings"
	"testing"
)

// Env names the variable that lists the levels that may run.
const Env = "FLOTILLA_TEST_LEVEL"

// The levels, each switched on by itself.
const (
	// Integration tests start API servers, perhaps with fake nodes; no root.
	Integration = "integration"
	// E2E tests start real nodes: root on Linux.
	E2E = "e2e"
	// Bench tests measure, and take their time.
	Bench = "bench"
)

// Need skips the test unless level is listed in FLOTILLA_TEST_LEVEL.
func Need(t testing.TB, level string) {
	t.Helper()
	if !Has(level) {
		t.Skipf("SKIP %s: set %s=%s to run it", level, Env, level)
	}
}

// Has reports whether level is listed in FLOTILLA_TEST_LEVEL.
func Has(level string) bool {
	return listed(os.Getenv(Env), level)
}

func listed(list, level string) bool {
	return slices.ContainsFunc(strings.Split(list, ","), func(s string) bool {
		return strings.EqualFold(strings.TrimSpace(s), level)
	})
}
