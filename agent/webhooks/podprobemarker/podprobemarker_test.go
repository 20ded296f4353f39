package podprobemarker

import (
	"bytes"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	kruise "github.com/openkruise/kruise-api/apps/v1alpha1"
	admissionv1 "k8s.io/api/admission/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/intstr"
)

func marker(change ...func(*kruise.PodProbeMarker)) *kruise.PodProbeMarker {
	m := &kruise.PodProbeMarker{
		ObjectMeta: metav1.ObjectMeta{Name: "game", Namespace: "shop"},
		Spec: kruise.PodProbeMarkerSpec{
			Selector: &metav1.LabelSelector{MatchLabels: map[string]string{"app": "game"}},
			Probes: []kruise.PodContainerProbe{{
				Name: "idle", ContainerName: "main", PodConditionType: "game.io/idle",
				Probe:        kruise.ContainerProbeSpec{Probe: corev1.Probe{ProbeHandler: corev1.ProbeHandler{Exec: &corev1.ExecAction{Command: []string{"idle"}}}}},
				MarkerPolicy: []kruise.ProbeMarkerPolicy{{State: "Succeeded", Labels: map[string]string{"idle": "yes"}}},
			}},
		},
	}
	for _, c := range change {
		c(m)
	}
	return m
}

// first changes the one probe.
func first(change func(*kruise.PodContainerProbe)) func(*kruise.PodProbeMarker) {
	return func(m *kruise.PodProbeMarker) { change(&m.Spec.Probes[0]) }
}

func handler(h corev1.ProbeHandler) func(*kruise.PodProbeMarker) {
	return first(func(p *kruise.PodContainerProbe) { p.Probe.ProbeHandler = h })
}

func socket(host string, port intstr.IntOrString) func(*kruise.PodProbeMarker) {
	return handler(corev1.ProbeHandler{TCPSocket: &corev1.TCPSocketAction{Host: host, Port: port}})
}

func policies(all ...kruise.ProbeMarkerPolicy) func(*kruise.PodProbeMarker) {
	return first(func(p *kruise.PodContainerProbe) { p.MarkerPolicy = all })
}

func TestValidate(t *testing.T) {
	const probe = "spec.probes[0].probe"
	yes := map[string]string{"idle": "yes"}
	twice := func(change func(*kruise.PodContainerProbe)) func(*kruise.PodProbeMarker) {
		return func(m *kruise.PodProbeMarker) {
			m.Spec.Probes = append(m.Spec.Probes, *m.Spec.Probes[0].DeepCopy())
			change(&m.Spec.Probes[1])
		}
	}
	for name, tc := range map[string]struct {
		change func(*kruise.PodProbeMarker)
		want   []string
	}{
		// PM-1
		"a good one":            {func(*kruise.PodProbeMarker) {}, nil},
		"no selector":           {func(m *kruise.PodProbeMarker) { m.Spec.Selector = nil }, []string{"spec.selector"}},
		"an empty selector":     {func(m *kruise.PodProbeMarker) { m.Spec.Selector = &metav1.LabelSelector{} }, []string{"spec.selector"}},
		"no probes":             {func(m *kruise.PodProbeMarker) { m.Spec.Probes = nil }, []string{"spec.probes"}},
		"no name":               {first(func(p *kruise.PodContainerProbe) { p.Name = "" }), []string{"spec.probes[0].name"}},
		"a name with #":         {first(func(p *kruise.PodContainerProbe) { p.Name = "a#b" }), []string{"spec.probes[0].name"}},
		"a reserved name":       {first(func(p *kruise.PodContainerProbe) { p.Name = "KruisePodReady" }), []string{"spec.probes[0].name"}},
		"a reserved condition":  {first(func(p *kruise.PodContainerProbe) { p.PodConditionType = "Ready" }), []string{"spec.probes[0].podConditionType"}},
		"no label key":          {first(func(p *kruise.PodContainerProbe) { p.PodConditionType = "a b" }), []string{"spec.probes[0].podConditionType"}},
		"no container":          {first(func(p *kruise.PodContainerProbe) { p.ContainerName = "" }), []string{"spec.probes[0].containerName"}},
		"nothing comes of it":   {first(func(p *kruise.PodContainerProbe) { p.PodConditionType, p.MarkerPolicy = "", nil }), []string{"spec.probes[0].podConditionType"}},
		"a name twice":          {twice(func(p *kruise.PodContainerProbe) { p.PodConditionType = "other" }), []string{"spec.probes[1].name"}},
		"a condition twice":     {twice(func(p *kruise.PodContainerProbe) { p.Name = "other" }), []string{"spec.probes[1].podConditionType"}},
		"no condition twice":    {twice(func(p *kruise.PodContainerProbe) { p.Name, p.PodConditionType = "other", "" }), nil},
		"a negative number":     {first(func(p *kruise.PodContainerProbe) { p.Probe.PeriodSeconds = -1 }), []string{probe + ".periodSeconds"}},
		"another negative one":  {first(func(p *kruise.PodContainerProbe) { p.Probe.FailureThreshold = -1 }), []string{probe + ".failureThreshold"}},
		"an unreadable pattern": {func(m *kruise.PodProbeMarker) { m.Spec.Selector.MatchLabels["a b"] = "c" }, []string{"spec.selector.matchLabels"}},
		// PM-2
		"no handler":               {handler(corev1.ProbeHandler{}), []string{probe}},
		"grpc is none":             {handler(corev1.ProbeHandler{GRPC: &corev1.GRPCAction{Port: 1}}), []string{probe}},
		"HTTP is refused":          {handler(corev1.ProbeHandler{HTTPGet: &corev1.HTTPGetAction{}}), []string{probe + ".httpGet"}},
		"no command":               {handler(corev1.ProbeHandler{Exec: &corev1.ExecAction{}}), []string{probe + ".exec.command"}},
		"a port":                   {socket("", intstr.FromInt32(80)), nil},
		"a named port":             {socket("", intstr.FromString("web")), nil},
		"a port out of range":      {socket("", intstr.FromInt32(70000)), []string{probe + ".tcpSocket.port"}},
		"no port name":             {socket("", intstr.FromString("w_b")), []string{probe + ".tcpSocket.port"}},
		"the address of a machine": {socket("10.0.0.1", intstr.FromInt32(80)), []string{probe + ".tcpSocket.host"}},
		"two handlers":             {handler(corev1.ProbeHandler{Exec: &corev1.ExecAction{Command: []string{"x"}}, TCPSocket: &corev1.TCPSocketAction{Port: intstr.FromInt32(1)}}), []string{probe}},
		// PM-3
		"both states":     {policies(kruise.ProbeMarkerPolicy{State: "Succeeded", Labels: yes}, kruise.ProbeMarkerPolicy{State: "Failed", Annotations: yes}), nil},
		"another state":   {policies(kruise.ProbeMarkerPolicy{State: "True", Labels: yes}), []string{"spec.probes[0].markerPolicy[0].state"}},
		"one state twice": {policies(kruise.ProbeMarkerPolicy{State: "Failed", Labels: yes}, kruise.ProbeMarkerPolicy{State: "Failed", Labels: yes}), []string{"spec.probes[0].markerPolicy[1].state"}},
		"no marks":        {policies(kruise.ProbeMarkerPolicy{State: "Failed"}), []string{"spec.probes[0].markerPolicy[0]"}},
		"a wrong label":   {policies(kruise.ProbeMarkerPolicy{State: "Failed", Labels: map[string]string{"a b": "c"}}), []string{"spec.probes[0].markerPolicy[0].labels"}},
	} {
		t.Run(name, func(t *testing.T) {
			var got []string
			for _, p := range Validate(marker(tc.change)) {
				got = append(got, p.Field)
			}
			if !slices.Equal(got, tc.want) {
				t.Errorf("%v", got)
			}
		})
	}
}

func TestTheSelectorIsFixed(t *testing.T) { // PM-1
	for name, tc := range map[string]struct {
		change func(*kruise.PodProbeMarker)
		code   int32
	}{
		"without a gate": {nil, 403},
		"another probe":  {first(func(p *kruise.PodContainerProbe) { p.Name = "busy" }), 200},
		"another pod":    {func(m *kruise.PodProbeMarker) { m.Spec.Selector.MatchLabels["app"] = "other" }, 400},
		"a wrong probe":  {first(func(p *kruise.PodContainerProbe) { p.Name = "" }), 400},
		"nothing at all": {func(*kruise.PodProbeMarker) {}, 200},
	} {
		on := tc.change != nil
		if !on {
			tc.change = func(*kruise.PodProbeMarker) {}
		}
		review := admissionv1.AdmissionReview{Request: &admissionv1.AdmissionRequest{UID: "1", Operation: admissionv1.Update, Object: raw(t, marker(tc.change)), OldObject: raw(t, marker())}}
		review.SetGroupVersionKind(admissionv1.SchemeGroupVersion.WithKind("AdmissionReview"))
		call := httptest.NewRequest(http.MethodPost, "/", bytes.NewReader(raw(t, review).Raw))
		call.Header.Set("Content-Type", "application/json")
		answer := httptest.NewRecorder()
		Validator(on).ServeHTTP(answer, call)
		if err := json.Unmarshal(answer.Body.Bytes(), &review); err != nil {
			t.Fatal(err)
		}
		if review.Response.Result.Code != tc.code || tc.code == 400 && !strings.Contains(review.Response.Result.Message, "spec.") {
			t.Errorf("%s: %+v", name, review.Response.Result)
		}
	}
}

func raw(t *testing.T, o any) runtime.RawExtension {
	t.Helper()
	text, err := json.Marshal(o)
	if err != nil {
		t.Fatal(err)
	}
	return runtime.RawExtension{Raw: text}
}
