package manager

import (
	"errors"
	"testing"

	"github.com/spf13/pflag"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"
)

func TestOptions(t *testing.T) {
	for name, tc := range map[string]struct {
		args     []string
		problems int
	}{
		"defaults are fine":                       {},
		"several replicas need a lease":           {args: []string{"--enable-leader-election"}, problems: 1},
		"everything wrong is reported at once":    {args: []string{"--enable-leader-election", "--rest-config-qps=0", "--workers=CloneSet.apps.kruise.io=0"}, problems: 3},
		"workers are set by kind":                 {args: []string{"--workers=CloneSet.apps.kruise.io=10"}},
		"a lease with a name and a place is fine": {args: []string{"--enable-leader-election", "--leader-election-id=hub", "--leader-election-namespace=flotilla-system"}},
	} {
		t.Run(name, func(t *testing.T) {
			o := Options{QPS: 50, Burst: 100}
			flags := pflag.NewFlagSet("test", pflag.ContinueOnError)
			o.Bind(flags)
			if err := flags.Parse(tc.args); err != nil {
				t.Fatal(err)
			}
			if problems := o.Validate(); len(problems) != tc.problems {
				t.Errorf("%d problems: %v", len(problems), problems)
			}
		})
	}
}

func TestSchemeSaysWhatItCannotKnow(t *testing.T) {
	s, err := Scheme(corev1.AddToScheme)
	if err != nil || !s.Recognizes(corev1.SchemeGroupVersion.WithKind("Pod")) {
		t.Errorf("pods are not known: %v", err)
	}
	broken := errors.New("two kinds of one name")
	if _, err := Scheme(func(*runtime.Scheme) error { return broken }); !errors.Is(err, broken) {
		t.Errorf("%v", err)
	}
}
