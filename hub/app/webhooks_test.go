package app

import (
	"strings"
	"testing"
)

func TestWebhookOptions(t *testing.T) {
	for name, tc := range map[string]struct {
		args     []string
		problems []string
		serves   bool
	}{
		"nothing listens unless asked":     {},
		"a port is all that a pod needs":   {args: []string{"--webhook-port=9443"}, serves: true},
		"outside of the cluster":           {args: []string{"--webhook-port=9443", "--webhook-host=127.0.0.1"}, serves: true},
		"limits that are none":             {args: []string{"--manifestLimit=0", "--mass-removal-share=101"}, problems: []string{"--manifestLimit=0", "--mass-removal-share=101"}},
		"what the server does not like":    {args: []string{"--webhook-host=a"}, problems: []string{"--webhook-host=a"}},
		"the brake can be taken off":       {args: []string{"--mass-removal-share=100"}},
		"and set so that it always brakes": {args: []string{"--mass-removal-share=0"}},
	} {
		t.Run(name, func(t *testing.T) {
			o := parse(t, tc.args...)
			problems := o.Validate()
			if len(problems) != len(tc.problems) {
				t.Fatal(problems)
			}
			for i, want := range tc.problems {
				if !strings.Contains(problems[i].Error(), want) {
					t.Errorf("%v", problems[i])
				}
			}
			if o.Webhooks.Server.Enabled() != tc.serves {
				t.Errorf("serves: %v", o.Webhooks.Server.Enabled())
			}
		})
	}
	if o := parse(t); o.Webhooks.ManifestLimit != 512000 || o.gates.Enabled(NilExecutorValidating) { // OCM-9.3, OCM-2.6
		t.Errorf("limit %d", o.Webhooks.ManifestLimit)
	}
}

// Without webhooks the hub removes what Placements no longer select as OCM's does. OCM-18.5
func TestPlacementsAreBrakedWhereDeletionsAre(t *testing.T) {
	for name, tc := range map[string]struct {
		args []string
		want bool
	}{
		"no webhooks":        {nil, false},
		"webhooks":           {[]string{"--webhook-port=9443"}, true},
		"the brake is off":   {[]string{"--webhook-port=9443", "--mass-removal-share=100"}, false},
		"it always brakes":   {[]string{"--webhook-port=9443", "--mass-removal-share=0"}, true},
		"only its share set": {[]string{"--mass-removal-share=20"}, false},
	} {
		if o := parse(t, tc.args...); o.Webhooks.braked() != tc.want {
			t.Errorf("%s: %v", name, !tc.want)
		}
	}
}
