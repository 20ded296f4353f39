package app

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/spf13/pflag"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	kruisev1alpha1 "github.com/openkruise/kruise-api/apps/v1alpha1"
)

func parse(t *testing.T, args ...string) (*Options, error) {
	t.Helper()
	o, err := NewOptions()
	if err != nil {
		t.Fatal(err)
	}
	flags := pflag.NewFlagSet("noded", pflag.ContinueOnError)
	o.Bind(flags)
	return o, flags.Parse(args)
}

// NP-11.2, ND-1: what OpenKruise's chart passes.
func TestAnInstallationOfOpenKruiseStarts(t *testing.T) {
	t.Setenv("NODE_NAME", "node-7")
	o, err := parse(t, "--logtostderr=true", "--addr=:10221", "--feature-gates=AllAlpha=true,PreDownloadImageForInPlaceUpdate=true,DaemonWatchingPod=false",
		"--socket-file=containerd/containerd.sock", "--enable-pprof=true", "--pprof-addr=localhost:10222",
		"--plugin-config-file=/kruise/CredentialProviderPlugin.yaml", "--plugin-bin-dir=/kruise/plugins")
	if err != nil || len(o.Validate()) != 0 {
		t.Fatal(err, o.Validate())
	}
	if o.gates.on(WatchingPods) || !o.gates.on(PodProbes) || strings.Join(o.gates.foreign(), ",") != "PreDownloadImageForInPlaceUpdate" {
		t.Errorf("gates: %v, not ours: %v", o.gates.known, o.gates.foreign())
	}
	if o.NodeName != "node-7" {
		t.Errorf("runs on %q", o.NodeName)
	}
}

// NP-11.2
func TestDefaults(t *testing.T) {
	o, err := parse(t, "--node-name=a")
	if err != nil || len(o.Validate()) != 0 {
		t.Fatal(err, o.Validate())
	}
	if o.Profiling {
		t.Error("the profiler is served without being asked for")
	}
	if o.Manager.MetricsAddr != ":10221" || o.PluginConfig != "/kruise/CredentialProviderPlugin.yaml" || o.PluginFolder != "/kruise/plugins" {
		t.Errorf("%+v", o)
	}
}

func TestEverythingWrongIsReportedAtOnce(t *testing.T) { // ND-1
	t.Setenv("NODE_NAME", "")
	o, err := parse(t, "--controllers=no-such", "--rest-config-qps=0")
	if err != nil || len(o.Validate()) != 3 {
		t.Errorf("%v, %v", err, o.Validate())
	}
	if _, err := parse(t, "--feature-gates=PodProbeMarkerGate"); err == nil {
		t.Error("a gate without a value is taken")
	}
}

// ND-2: nothing of another node is ever listed.
func TestOnlyThisNodesObjectsAreWatched(t *testing.T) {
	want := map[string]string{
		"NodeImage": "metadata.name=n1", "NodePodProbe": "metadata.name=n1", "Pod": "spec.nodeName=n1",
		"ContainerRecreateRequest": "crr.apps.kruise.io/active=true,crr.apps.kruise.io/node-name=n1",
	}
	for kind, by := range ours("n1") {
		got := ""
		if by.Field != nil {
			got = by.Field.String()
		}
		if by.Label != nil {
			got += by.Label.String()
		}
		if name := nameOf(kind); want[name] != got || got == "" {
			t.Errorf("%s by %q, want %q", name, got, want[name])
		}
	}
	if len(ours("n1")) != len(want) {
		t.Errorf("%d kinds", len(ours("n1")))
	}
}

func nameOf(kind client.Object) string {
	switch kind.(type) {
	case *kruisev1alpha1.NodeImage:
		return "NodeImage"
	case *kruisev1alpha1.NodePodProbe:
		return "NodePodProbe"
	case *kruisev1alpha1.ContainerRecreateRequest:
		return "ContainerRecreateRequest"
	case *corev1.Pod:
		return "Pod"
	}
	return "?"
}

// ND-5
func TestHealthNamesTheFirstCheckThatFails(t *testing.T) {
	synced := map[string]bool{}
	one := func(name string) check {
		return check{name, func(context.Context) bool { return synced[name] }}
	}
	h := healthz([]check{one("nodeImageInformerSynced"), one("crrInformerSynced")})
	get := func() (int, string) {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/healthz", nil))
		return w.Code, w.Body.String()
	}
	if code, body := get(); code != 500 || !strings.Contains(body, "nodeImageInformerSynced") {
		t.Errorf("%d %s", code, body)
	}
	synced["nodeImageInformerSynced"] = true
	if code, body := get(); code != 500 || !strings.Contains(body, "crrInformerSynced") {
		t.Errorf("%d %s", code, body)
	}
	synced["crrInformerSynced"] = true
	if code, body := get(); code != 200 || body != "ok" {
		t.Errorf("%d %s", code, body)
	}
}
