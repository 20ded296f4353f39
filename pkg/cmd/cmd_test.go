package cmd

import (
	"context"
	"errors"
	"os"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/pflag"
	logsapi "k8s.io/component-base/logs/api/v1"
)

func TestChoose(t *testing.T) {
	known := []string{"join", "health", "work"}
	for name, tc := range map[string]struct {
		wanted   []string
		want     map[string]bool
		problems int
	}{
		"all":               {wanted: []string{"*"}, want: map[string]bool{"join": true, "health": true, "work": true}},
		"all but one":       {wanted: []string{"*", "-work"}, want: map[string]bool{"join": true, "health": true}},
		"just one":          {wanted: []string{"join"}, want: map[string]bool{"join": true}},
		"unknown ones":      {wanted: []string{"jion", "-helth"}, want: map[string]bool{}, problems: 2},
		"none is no choice": {want: map[string]bool{}},
	} {
		t.Run(name, func(t *testing.T) {
			got, problems := Choose(known, tc.wanted)
			if d := cmp.Diff(tc.want, got); d != "" || len(problems) != tc.problems {
				t.Error(d, problems)
			}
		})
	}
}

type options struct{ problems []error }

func (o *options) Bind(*pflag.FlagSet) {}
func (o *options) Validate() []error   { return o.problems }

func TestMainTellsWrongUsageFromFailure(t *testing.T) {
	args := os.Args
	t.Cleanup(func() { os.Args = args })
	logsapi.ReapplyHandling = logsapi.ReapplyHandlingIgnoreUnchanged // one process, several binaries
	fine := func(context.Context) error { return nil }
	for name, tc := range map[string]struct {
		args []string
		o    options
		run  func(context.Context) error
		want int
	}{
		"stopped":      {run: fine, want: 0},
		"failed":       {run: func(context.Context) error { return errors.New("no API server") }, want: 1},
		"invalid":      {o: options{problems: []error{errors.New("one"), errors.New("two")}}, run: fine, want: 2},
		"unknown flag": {args: []string{"--no-such-flag"}, run: fine, want: 2},
	} {
		t.Run(name, func(t *testing.T) {
			os.Args = append([]string{"test"}, tc.args...)
			if got := Main("test", "tests", &tc.o, tc.run); got != tc.want {
				t.Errorf("exit code %d, want %d", got, tc.want)
			}
		})
	}
}
