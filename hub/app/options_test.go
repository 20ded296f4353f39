package app

import (
	"strings"
	"testing"

	"github.com/spf13/pflag"
)

func parse(t *testing.T, args ...string) *Options {
	t.Helper()
	o, err := NewOptions()
	if err != nil {
		t.Fatal(err)
	}
	flags := pflag.NewFlagSet("hub", pflag.ContinueOnError)
	o.Bind(flags)
	if err := flags.Parse(args); err != nil {
		t.Fatal(err)
	}
	return o
}

func TestDefaultsAreValidAndLetNobodyInUnasked(t *testing.T) {
	o := parse(t)
	if problems := o.Validate(); len(problems) != 0 {
		t.Error(problems)
	}
	if o.gates.Enabled(ManagedClusterAutoApproval) {
		t.Error("clusters would join without a human") // OCM-2.6: off by default
	}
	if o.Manager.MetricsAddr != "0" || o.Manager.HealthProbeAddr != "0" {
		t.Errorf("listens on %s and %s without being asked", o.Manager.MetricsAddr, o.Manager.HealthProbeAddr)
	}
}

func TestAMisspeltControllerIsNamed(t *testing.T) {
	problems := parse(t, "--controllers=jion").Validate()
	if len(problems) != 1 || !strings.Contains(problems[0].Error(), "jion") || !strings.Contains(problems[0].Error(), "join") {
		t.Errorf("%v", problems)
	}
}

func TestTheSchemeBuilds(t *testing.T) {
	if _, err := Scheme(); err != nil {
		t.Error(err)
	}
}
