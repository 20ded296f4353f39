package containerrecreaterequest

import (
	"bytes"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	kruise "github.com/openkruise/kruise-api/apps/v1alpha1"
	admissionv1 "k8s.io/api/admission/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/intstr"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
)

func request(change ...func(*kruise.ContainerRecreateRequest)) *kruise.ContainerRecreateRequest {
	r := &kruise.ContainerRecreateRequest{
		ObjectMeta: metav1.ObjectMeta{Name: "again", Namespace: "shop"},
		Spec:       kruise.ContainerRecreateRequestSpec{PodName: "web-x", Containers: []kruise.ContainerRecreateRequestContainer{{Name: "main"}}},
	}
	for _, c := range change {
		c(r)
	}
	return r
}

func pod(change ...func(*corev1.Pod)) *corev1.Pod {
	p := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: "web-x", Namespace: "shop", UID: "p"},
		Spec: corev1.PodSpec{
			NodeName: "node-1", TerminationGracePeriodSeconds: new(int64(12)),
			InitContainers: []corev1.Container{{Name: "first"}},
			Containers:     []corev1.Container{{Name: "main"}, {Name: "slow"}},
		},
		Status: corev1.PodStatus{Phase: corev1.PodRunning, ContainerStatuses: []corev1.ContainerStatus{
			{Name: "main", ContainerID: "containerd://1", RestartCount: 2}, {Name: "slow"},
		}},
	}
	for _, c := range change {
		c(p)
	}
	return p
}

func node(labels ...string) *corev1.Node {
	n := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "node-1", Labels: map[string]string{}}}
	for _, l := range labels {
		n.Labels["type"] = l
	}
	return n
}

func TestValidate(t *testing.T) { // CRR-2
	strategy := func(s kruise.ContainerRecreateRequestStrategy) func(*kruise.ContainerRecreateRequest) {
		return func(r *kruise.ContainerRecreateRequest) { r.Spec.Strategy = &s }
	}
	for name, tc := range map[string]struct {
		change func(*kruise.ContainerRecreateRequest)
		want   string
	}{
		"a good one":   {func(*kruise.ContainerRecreateRequest) {}, ""},
		"no pod":       {func(r *kruise.ContainerRecreateRequest) { r.Spec.PodName = "" }, "spec.podName"},
		"no container": {func(r *kruise.ContainerRecreateRequest) { r.Spec.Containers = nil }, "spec.containers"},
		"one twice": {func(r *kruise.ContainerRecreateRequest) {
			r.Spec.Containers = append(r.Spec.Containers, r.Spec.Containers[0])
		}, "spec.containers[1].name"},
		"too soon":            {func(r *kruise.ContainerRecreateRequest) { r.Spec.ActiveDeadlineSeconds = new(int64(2)) }, "spec.activeDeadlineSeconds"},
		"soon":                {func(r *kruise.ContainerRecreateRequest) { r.Spec.ActiveDeadlineSeconds = new(int64(3)) }, ""},
		"a negative grace":    {strategy(kruise.ContainerRecreateRequestStrategy{TerminationGracePeriodSeconds: new(int64(-1))}), "spec.strategy.terminationGracePeriodSeconds"},
		"a negative unready":  {strategy(kruise.ContainerRecreateRequestStrategy{UnreadyGracePeriodSeconds: new(int64(-1))}), "spec.strategy.unreadyGracePeriodSeconds"},
		"an unknown policy":   {strategy(kruise.ContainerRecreateRequestStrategy{FailurePolicy: "Retry"}), "spec.strategy.failurePolicy"},
		"a known policy":      {strategy(kruise.ContainerRecreateRequestStrategy{FailurePolicy: "Ignore"}), ""},
		"a hook of their own": {func(r *kruise.ContainerRecreateRequest) { r.Spec.Containers[0].PreStop = &kruise.ProbeHandler{} }, "spec.containers[0]"},
		"ports of their own":  {func(r *kruise.ContainerRecreateRequest) { r.Spec.Containers[0].Ports = make([]corev1.ContainerPort, 1) }, "spec.containers[0]"},
		"a context of theirs": {func(r *kruise.ContainerRecreateRequest) {
			r.Spec.Containers[0].StatusContext = &kruise.ContainerRecreateRequestContainerContext{}
		}, "spec.containers[0]"},
	} {
		t.Run(name, func(t *testing.T) {
			var got []string
			for _, p := range Validate(request(tc.change)) {
				got = append(got, p.Field)
			}
			if strings.Join(got, " ") != tc.want {
				t.Errorf("%v", got)
			}
		})
	}
}

func TestFill(t *testing.T) { // CRR-3, CRR-5
	hook := func(h corev1.LifecycleHandler) func(*corev1.Pod) {
		return func(p *corev1.Pod) {
			p.Spec.Containers[0].Lifecycle = &corev1.Lifecycle{PreStop: &h}
			p.Spec.Containers[0].Ports = []corev1.ContainerPort{{Name: "web", ContainerPort: 80}}
		}
	}
	web := &corev1.HTTPGetAction{Path: "/bye", Port: intstr.FromString("web")}
	command := &corev1.ExecAction{Command: []string{"bye"}}
	labels := map[string]string{"crr.apps.kruise.io/active": "true", "crr.apps.kruise.io/node-name": "node-1", "crr.apps.kruise.io/pod-uid": "p"}
	on := &kruise.ContainerRecreateRequestContainerContext{ContainerID: "containerd://1", RestartCount: 2}
	defaults := kruise.ContainerRecreateRequestStrategy{FailurePolicy: "Fail", TerminationGracePeriodSeconds: new(int64(12))}
	for name, tc := range map[string]struct {
		r          *kruise.ContainerRecreateRequest
		pod        *corev1.Pod
		node       *corev1.Node
		container  kruise.ContainerRecreateRequestContainer
		strategy   kruise.ContainerRecreateRequestStrategy
		moreLabels string
	}{
		"a plain one": {r: request(), pod: pod(), node: node(), strategy: defaults,
			container: kruise.ContainerRecreateRequestContainer{Name: "main", StatusContext: on}},
		"a command before the stop": {r: request(), pod: pod(hook(corev1.LifecycleHandler{Exec: command})), node: node(), strategy: defaults,
			container: kruise.ContainerRecreateRequestContainer{Name: "main", StatusContext: on, PreStop: &kruise.ProbeHandler{Exec: command}}},
		"a call before the stop": {r: request(), pod: pod(hook(corev1.LifecycleHandler{HTTPGet: web})), node: node(), strategy: defaults,
			container: kruise.ContainerRecreateRequestContainer{Name: "main", StatusContext: on, PreStop: &kruise.ProbeHandler{HTTPGet: web},
				Ports: []corev1.ContainerPort{{Name: "web", ContainerPort: 80}}}},
		"a node that is none": {r: request(), pod: pod(), node: node("virtual-kubelet"), strategy: defaults, moreLabels: "virtual-kubelet",
			container: kruise.ContainerRecreateRequestContainer{Name: "main", StatusContext: on}},
		"what was said stays": {r: request(func(r *kruise.ContainerRecreateRequest) {
			r.Spec.Strategy = &kruise.ContainerRecreateRequestStrategy{FailurePolicy: "Ignore", TerminationGracePeriodSeconds: new(int64(0))}
		}), pod: pod(), node: node(), container: kruise.ContainerRecreateRequestContainer{Name: "main", StatusContext: on},
			strategy: kruise.ContainerRecreateRequestStrategy{FailurePolicy: "Ignore", TerminationGracePeriodSeconds: new(int64(0))}},
	} {
		t.Run(name, func(t *testing.T) {
			if problems := Fill(tc.r, Facts{tc.pod, tc.node}); len(problems) > 0 {
				t.Fatal(problems)
			}
			if d := cmp.Diff(tc.container, tc.r.Spec.Containers[0]) + cmp.Diff(&tc.strategy, tc.r.Spec.Strategy); d != "" {
				t.Error(d)
			}
			if tc.r.Labels["type"] != tc.moreLabels {
				t.Error(tc.r.Labels)
			}
			delete(tc.r.Labels, "type")
			if d := cmp.Diff(labels, tc.r.Labels); d != "" {
				t.Error(d)
			}
		})
	}
}

func TestWhoCannotBeRecreated(t *testing.T) { // CRR-4, CRR-6
	ended := func(p *corev1.Pod) { p.Status.Phase = corev1.PodSucceeded }
	excused := func(p *corev1.Pod) { p.Status.Conditions = []corev1.PodCondition{{Type: "SidecarTerminated"}} }
	goes := func(p *corev1.Pod) { p.DeletionTimestamp = new(metav1.Now()) }
	of := func(name string) *kruise.ContainerRecreateRequest {
		return request(func(r *kruise.ContainerRecreateRequest) { r.Spec.Containers[0].Name = name })
	}
	for name, tc := range map[string]struct {
		r    *kruise.ContainerRecreateRequest
		pod  *corev1.Pod
		node *corev1.Node
		want string
	}{
		"no pod":              {request(), nil, node(), "Not found"},
		"one that ended":      {request(), pod(ended), node(), "its phase is Succeeded"},
		"one that is excused": {request(), pod(ended, excused), node(), ""},
		"one that goes":       {request(), pod(goes), node(), "it is being deleted"},
		"one without a node":  {request(), pod(func(p *corev1.Pod) { p.Spec.NodeName = "" }), nil, "not on a node"},
		"a node that is gone": {request(), pod(), nil, "node node-1 is gone"},
		"no such container":   {of("other"), pod(), node(), "no such container"},
		"an init container":   {of("first"), pod(), node(), "init container"},
		"one before its time": {of("slow"), pod(), node(), "it has not run yet"},
	} {
		t.Run(name, func(t *testing.T) {
			problems := Fill(tc.r, Facts{tc.pod, tc.node})
			if (tc.want == "") != (len(problems) == 0) || len(problems) > 0 && !strings.Contains(problems[0].Error(), tc.want) {
				t.Errorf("%v", problems)
			}
		})
	}
}

func TestValidateUpdate(t *testing.T) { // CRR-1
	stored := func(change ...func(*kruise.ContainerRecreateRequest)) *kruise.ContainerRecreateRequest {
		return request(append([]func(*kruise.ContainerRecreateRequest){func(r *kruise.ContainerRecreateRequest) {
			r.Labels = map[string]string{"crr.apps.kruise.io/pod-uid": "p", "crr.apps.kruise.io/node-name": "n", "crr.apps.kruise.io/active": "true"}
		}}, change...)...)
	}
	since := func(at string) func(*kruise.ContainerRecreateRequest) {
		return func(r *kruise.ContainerRecreateRequest) {
			r.Annotations = map[string]string{"crr.apps.kruise.io/unready-acquired": at}
		}
	}
	for name, tc := range map[string]struct {
		old, r *kruise.ContainerRecreateRequest
		wrong  int
	}{
		"nothing":               {stored(), stored(), 0},
		"it is over":            {stored(), stored(func(r *kruise.ContainerRecreateRequest) { delete(r.Labels, "crr.apps.kruise.io/active") }), 0},
		"the spec":              {stored(), stored(func(r *kruise.ContainerRecreateRequest) { r.Spec.ActiveDeadlineSeconds = new(int64(9)) }), 1},
		"both labels":           {stored(), request(), 2},
		"the time is set":       {stored(), stored(since("a")), 0},
		"the time is changed":   {stored(since("a")), stored(since("b")), 1},
		"the time is forgotten": {stored(since("a")), stored(), 1},
	} {
		if got := ValidateUpdate(tc.old, tc.r); len(got) != tc.wrong {
			t.Errorf("%s: %v", name, got)
		}
	}
}

func TestHandler(t *testing.T) { // CRR-1, CRR-2: the codes of 0.5
	ask := func(old, r *kruise.ContainerRecreateRequest) *admissionv1.AdmissionResponse {
		t.Helper()
		review := admissionv1.AdmissionReview{Request: &admissionv1.AdmissionRequest{UID: "1", Namespace: "shop", Operation: admissionv1.Create}}
		review.SetGroupVersionKind(admissionv1.SchemeGroupVersion.WithKind("AdmissionReview"))
		review.Request.Object = raw(t, r)
		if old != nil {
			review.Request.Operation, review.Request.OldObject = admissionv1.Update, raw(t, old)
		}
		body, err := json.Marshal(review)
		if err != nil {
			t.Fatal(err)
		}
		call := httptest.NewRequest(http.MethodPost, "/", bytes.NewReader(body))
		call.Header.Set("Content-Type", "application/json")
		answer := httptest.NewRecorder()
		Handler(fake.NewClientBuilder().WithObjects(pod(), node()).Build()).ServeHTTP(answer, call)
		if err := json.Unmarshal(answer.Body.Bytes(), &review); err != nil {
			t.Fatal(err)
		}
		return review.Response
	}
	good := request(func(r *kruise.ContainerRecreateRequest) { r.Namespace = "" })
	if a := ask(nil, good); !a.Allowed || !bytes.Contains(a.Patch, []byte("containerd://1")) {
		t.Errorf("%+v %s", a.Result, a.Patch)
	}
	if a := ask(nil, request(func(r *kruise.ContainerRecreateRequest) { r.Spec.PodName = "none" })); a.Allowed || a.Result.Code != 400 {
		t.Errorf("%+v", a.Result)
	}
	if a := ask(nil, request(func(r *kruise.ContainerRecreateRequest) { r.Spec.Containers = nil })); a.Allowed || a.Result.Code != 400 {
		t.Errorf("%+v", a.Result)
	}
	if a := ask(request(), request(func(r *kruise.ContainerRecreateRequest) { r.Spec.PodName = "other" })); a.Allowed || a.Result.Code != 403 {
		t.Errorf("%+v", a.Result)
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
