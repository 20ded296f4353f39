package plainname

import (
	"strings"
	"testing"
)

func TestCheck(t *testing.T) { // BJ-2, CJ-3
	for name, good := range map[string]bool{
		"job": true, "job-1": true, "Job": true, strings.Repeat("a", 63): true, // capitals are refused by the API server
		"": false, "a.b": false, "a_b": false, strings.Repeat("a", 64): false,
	} {
		if got := Check(name); (len(got) == 0) != good {
			t.Errorf("%q: %v", name, got)
		}
	}
}
