package main

import (
	"strings"
	"testing"
)

func TestOnlyDetachIsATool(t *testing.T) {
	for _, args := range [][]string{nil, {"--kubeconfig=x"}, {"attach"}} {
		if _, named := runTool(args, nil, nil); named {
			t.Errorf("%v is taken for a tool", args)
		}
	}
}

func TestDetachSaysWhatIsWrong(t *testing.T) { // OCM-7.3
	var out, problems strings.Builder
	for _, args := range [][]string{{"detach", "--kubeconfig=/no/such/file"}, {"detach", "now"}} {
		problems.Reset()
		if code, named := runTool(args, &out, &problems); code != 1 || !named || !strings.HasPrefix(problems.String(), "agent detach: ") {
			t.Errorf("%v: code %d, %q", args, code, problems.String())
		}
	}
}
