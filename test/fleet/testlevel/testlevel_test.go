package testlevel

import "testing"

func TestListed(t *testing.T) {
	for name, tc := range map[string]struct {
		list, level string
		want        bool
	}{
		"nothing set lists nothing":       {"", Integration, false},
		"the one level":                   {"integration", Integration, true},
		"one of several, with spaces":     {"integration, e2e", E2E, true},
		"case does not matter":            {"E2E", E2E, true},
		"a prefix of a level is no level": {"int", Integration, false},
		"one level does not imply others": {"e2e", Integration, false},
	} {
		t.Run(name, func(t *testing.T) {
			if got := listed(tc.list, tc.level); got != tc.want {
				t.Errorf("listed(%q, %q) = %v, want %v", tc.list, tc.level, got, tc.want)
			}
		})
	}
}

func TestNeedSkipsBelowItsLevel(t *testing.T) {
	t.Setenv(Env, "integration")
	ran := map[string]bool{}
	for _, level := range []string{Integration, E2E} {
		t.Run(level, func(t *testing.T) {
			Need(t, level)
			ran[level] = true
		})
	}
	if !ran[Integration] || ran[E2E] {
		t.Errorf("ran %v, want integration only", ran)
	}
}
