package main

import (
	"bytes"
	"strings"
	"testing"
)

func TestTools(t *testing.T) {
	for name, tc := range map[string]struct {
		args  []string
		named bool
		code  int
		says  []string
	}{
		"the hub itself is no tool":        {args: []string{"--controllers=join"}},
		"nor is nothing":                   {},
		"help":                             {[]string{"backup", "--help"}, true, 0, []string{"hub backup", "--to"}},
		"restore advises to stop the hub":  {[]string{"restore", "--help"}, true, 0, []string{"--replicas=0", "--dry-run", "flotilla.dev/confirm-history"}},
		"everything wrong is told at once": {[]string{"backup", "--cert=c", "--prefix="}, true, 2, []string{"--to", "--key", "--prefix"}},
		"a misspelt flag":                  {[]string{"restore", "--form=x"}, true, 2, []string{"--form"}},
		"a file that is not there":         {[]string{"restore", "--from=nowhere"}, true, 1, []string{"nowhere"}},
	} {
		t.Run(name, func(t *testing.T) {
			var out, problems bytes.Buffer
			code, named := runTool(tc.args, &out, &problems)
			if named != tc.named || code != tc.code {
				t.Errorf("%v, %d: %s", named, code, problems.String())
			}
			for _, word := range tc.says {
				if !strings.Contains(out.String()+problems.String(), word) {
					t.Errorf("does not say %s:\n%s%s", word, out.String(), problems.String())
				}
			}
		})
	}
}
