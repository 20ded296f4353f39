package system

import (
	"strings"
	"testing"
)

func TestOutput(t *testing.T) {
	out, err := output(t.Context(), "given", "cat")
	if err != nil || out != "given" {
		t.Errorf("%q, %v", out, err)
	}
	_, err = output(t.Context(), "", "sh", "-c", "echo the reason >&2; exit 3", "/secret/path")
	if err == nil || !strings.Contains(err.Error(), "the reason") || !strings.Contains(err.Error(), "exit status 3") {
		t.Errorf("the error does not say why: %v", err)
	}
	if err != nil && strings.Contains(err.Error(), "/secret/path") {
		t.Errorf("the error is full of paths: %v", err)
	}
}
