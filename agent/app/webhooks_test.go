package app

import (
	"strings"
	"testing"

	"k8s.io/component-base/featuregate"

	"github.com/flotilla-project/flotilla/pkg/webhook"
)

func TestWebhookOptions(t *testing.T) { // NP-8, NP-11.3
	const service = "open-cluster-management-agent/kruise-webhook-service"
	for name, tc := range map[string]struct {
		environment map[string]string
		args        []string
		want        webhook.Options
		wrong       string
	}{
		"nothing listens unless asked": {want: webhook.Options{Service: service}},
		"a port is all that a pod needs": {
			args: []string{"--webhook-port=9876"}, want: webhook.Options{Port: 9876, Service: service},
		},
		"outside of the cluster": {
			args: []string{"--webhook-port=1", "--webhook-host=127.0.0.1"}, want: webhook.Options{Port: 1, Host: "127.0.0.1", Service: service},
		},
		"an environment as OpenKruise has it": {
			environment: map[string]string{"WEBHOOK_HOST": "10.0.0.1"}, want: webhook.Options{Host: "10.0.0.1", Port: 9876, Service: service},
		},
		"and all of it": {
			environment: map[string]string{"POD_NAMESPACE": "kruise-system", "SERVICE_NAME": "s", "SECRET_NAME": "c", "WEBHOOK_PORT": "1"},
			want:        webhook.Options{Port: 1, Service: "kruise-system/s", Secret: "kruise-system/c"},
		},
		"a flag wins": {
			environment: map[string]string{"WEBHOOK_PORT": "1"}, args: []string{"--webhook-port=2"}, want: webhook.Options{Port: 2, Service: service},
		},
		"a port in words": {
			environment: map[string]string{"WEBHOOK_PORT": "one"}, want: webhook.Options{Service: service}, wrong: "WEBHOOK_PORT=one",
		},
		"a host with a path": {
			args: []string{"--webhook-port=1", "--webhook-host=a/b"}, want: webhook.Options{Port: 1, Host: "a/b", Service: service}, wrong: "--webhook-host=a/b",
		},
	} {
		t.Run(name, func(t *testing.T) {
			for _, key := range []string{"POD_NAMESPACE", "SERVICE_NAME", "SECRET_NAME", "WEBHOOK_PORT", "WEBHOOK_HOST"} {
				t.Setenv(key, tc.environment[key])
			}
			o := parse(t, tc.args...)
			if o.Webhooks.Server != tc.want {
				t.Errorf("%+v", o.Webhooks.Server)
			}
			problems := o.Validate()
			if (tc.wrong == "") != (len(problems) == 0) || len(problems) > 0 && !strings.Contains(problems[0].Error(), tc.wrong) {
				t.Error(problems)
			}
		})
	}
}

// WL-0.3
func TestGatesOfWebhooks(t *testing.T) {
	for gate, want := range map[featuregate.Feature]bool{
		"PodWebhook": true, "KruisePodReadinessGate": false, "TemplateNoDefaults": false, "ResourcesDeletionProtection": false,
	} {
		if got := parse(t).gates.Enabled(gate); got != want {
			t.Errorf("%s is %v by default", gate, got)
		}
	}
}

// NP-9 (DP-2)
func TestTheProtectionLogIsOpenedAtStart(t *testing.T) {
	if guard, err := parse(t, "--protection-log-path=/nowhere/at/all").guard(); guard != nil || err != nil {
		t.Errorf("without the gate: %v, %v", guard, err)
	}
	if _, err := parse(t, "--feature-gates=ResourcesDeletionProtection=true", "--protection-log-path=/nowhere/at/all").guard(); err == nil {
		t.Error("a folder that is not there goes unnoticed")
	}
	guard, err := parse(t, "--feature-gates=ResourcesDeletionProtection=true,DeletionProtectionForCRDCascadingGate=true", "--protection-log-path="+t.TempDir()).guard()
	if err != nil || guard.Journal == nil || !guard.Definitions {
		t.Errorf("%+v, %v", guard, err)
	}
}
