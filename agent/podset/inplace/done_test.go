package inplace

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/openkruise/kruise-api/apps/pub"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/flotilla-project/flotilla/agent/podset/containermeta"
	"github.com/flotilla-project/flotilla/agent/podset/lifecycle"
)

// reported is the pod with a report of all its containers, each with the environment of the pod's metadata, once changed.
func reported(t *testing.T, pod *corev1.Pod, change func(*pub.RuntimeContainerMetaSet)) *corev1.Pod {
	t.Helper()
	pod = pod.DeepCopy()
	var set pub.RuntimeContainerMetaSet
	for i := range pod.Spec.Containers {
		c := &pod.Spec.Containers[i]
		pod.Status.ContainerStatuses[i].ContainerID = "containerd://" + c.Name
		set.Containers = append(set.Containers, pub.RuntimeContainerMeta{Name: c.Name, ContainerID: "containerd://" + c.Name, Hashes: pub.RuntimeContainerHashes{
			PlainHash: containermeta.Plain(c), ExtractedEnvFromMetadataHash: containermeta.ExpectedEnv(pod, c),
		}})
	}
	if change != nil {
		change(&set)
	}
	text, err := json.Marshal(set)
	if err != nil {
		t.Fatal(err)
	}
	pod.Annotations[pub.RuntimeContainerMetaKey] = string(text)
	return pod
}

// WL-4.7, WL-4.5, WL-4.12.7: what the node daemon reports.
func TestCompletionByTheNodeDaemonsReport(t *testing.T) {
	retagged := start(t, running(), Spec{Revision: "web-b", ContainerImages: map[string]string{"main": "web:2"}})
	readers := running()
	readers.Spec.Containers[1].Env = []corev1.EnvVar{{Name: "APP", ValueFrom: &corev1.EnvVarSource{FieldRef: &corev1.ObjectFieldSelector{FieldPath: "metadata.labels['app']"}}}}
	env := start(t, readers, Spec{Revision: "web-b", UpdateEnvFromMetadata: true,
		ContainerRefMetadata: map[string]metav1.ObjectMeta{"log": {Labels: map[string]string{"app": "shop"}}}})
	both := start(t, readers, Spec{Revision: "web-b", UpdateEnvFromMetadata: true, ContainerImages: map[string]string{"main": "web:2"},
		ContainerRefMetadata: map[string]metav1.ObjectMeta{"log": {Labels: map[string]string{"app": "shop"}}}})
	unstarted := reported(t, retagged, nil)
	unstarted.Status.ContainerStatuses[2].ContainerID = "containerd://another"
	for name, tc := range map[string]struct {
		pod *corev1.Pod
		why string
	}{
		"the same image ID, and the hash of the new container": {reported(t, retagged, nil), ""},
		"the same image ID, and the hash of the old container": {reported(t, retagged, func(s *pub.RuntimeContainerMetaSet) { s.Containers[0].Hashes.PlainHash = 1 }), "container main still runs its old image"},
		"a hash without resources counts too": {reported(t, retagged, func(s *pub.RuntimeContainerMetaSet) {
			s.Containers[0].Hashes = pub.RuntimeContainerHashes{PlainHashWithoutResources: s.Containers[0].Hashes.PlainHash}
		}), ""},
		"a report of another container of that name":                    {unstarted, "container main still runs its old image"},
		"a report that lacks a container":                               {reported(t, retagged, func(s *pub.RuntimeContainerMetaSet) { s.Containers = s.Containers[:2] }), "container main still runs its old image"},
		"an environment nobody reported":                                {env, "its environment comes from metadata, and no node daemon has reported it"},
		"the new environment":                                           {reported(t, env, nil), ""},
		"the old environment":                                           {reported(t, env, func(s *pub.RuntimeContainerMetaSet) { s.Containers[1].Hashes.ExtractedEnvFromMetadataHash = 7 }), "container log has not been seen with its new environment"},
		"an environment that could not be read":                         {reported(t, env, func(s *pub.RuntimeContainerMetaSet) { s.Containers[1].Hashes.ExtractedEnvFromMetadataHash = 0 }), "container log has not been seen with its new environment"},
		"the new environment, while another image is still the old one": {reported(t, both, func(s *pub.RuntimeContainerMetaSet) { s.Containers[0].Hashes.PlainHash = 1 }), "container main still runs its old image"},
	} {
		t.Run(name, func(t *testing.T) {
			if got := Next(tc.pod); got.Why != tc.why || got.Done != (tc.why == "") {
				t.Errorf("got %+v", got)
			}
		})
	}
}

// WL-1.16
func TestShown(t *testing.T) {
	if !Shown(running()) {
		t.Error("a pod that never changed")
	}
	p := start(t, running(), Spec{Revision: "web-b", ContainerImages: map[string]string{"main": "web:2"}})
	if Shown(p) {
		t.Error("the old image")
	}
	p.Status.ContainerStatuses[0].ImageID = "sha:web2"
	if !Shown(p) {
		t.Error("the new image")
	}
}

// WL-4.4: what the record says was updated.
func TestTheRecordSaysWhatIsUpdated(t *testing.T) {
	for name, tc := range map[string]struct {
		spec                   Spec
		images, resources, env bool
	}{
		"images":      {Spec{ContainerImages: map[string]string{"main": "web:2"}}, true, false, false},
		"resources":   {Spec{ContainerResources: map[string]corev1.ResourceRequirements{"main": {Limits: cpu("2")}}}, false, true, false},
		"environment": {Spec{UpdateEnvFromMetadata: true}, false, false, true},
	} {
		state := stateOf(start(t, running(), tc.spec))
		if state.UpdateImages != tc.images || state.UpdateResources != tc.resources || state.UpdateEnvFromMetadata != tc.env {
			t.Errorf("%s: %+v", name, state)
		}
	}
}

// WL-4.6
func TestCompletionOfResources(t *testing.T) {
	resized := func() *corev1.Pod {
		p := running()
		p.Spec.Containers[0].Resources = corev1.ResourceRequirements{Limits: cpu("1"), Requests: cpu("1")}
		p.Labels[pub.LifecycleStateKey] = "Updating"
		p = start(t, p, Spec{Revision: "web-b", ContainerResources: map[string]corev1.ResourceRequirements{"main": {Limits: cpu("2"), Requests: cpu("2")}}})
		p.Status.ContainerStatuses[0].Resources = &corev1.ResourceRequirements{Limits: cpu("2"), Requests: cpu("2")}
		return p
	}
	for name, tc := range map[string]struct {
		status func(*corev1.Pod)
		why    string
	}{
		"the kubelet shows them":                {func(*corev1.Pod) {}, ""},
		"the kubelet shows them in another way": {func(p *corev1.Pod) { p.Status.ContainerStatuses[0].Resources.Limits = cpu("2000m") }, ""},
		"the kubelet shows the old limit":       {func(p *corev1.Pod) { p.Status.ContainerStatuses[0].Resources.Limits = cpu("1") }, "container main still runs with cpu limit 1"},
		"the kubelet shows the old request":     {func(p *corev1.Pod) { p.Status.ContainerStatuses[0].Resources.Requests = cpu("1") }, "container main still runs with cpu request 1"},
		"the kubelet shows nothing":             {func(p *corev1.Pod) { p.Status.ContainerStatuses[0].Resources = nil }, "container main still runs with cpu limit 0 cpu request 0"},
		"another container has what it shall not": {func(p *corev1.Pod) {
			p.Status.ContainerStatuses[1].Resources = &corev1.ResourceRequirements{Limits: amounts("memory", "1Mi")}
		}, "container log still runs with memory limit 1Mi"},
		"a container has no status": {func(p *corev1.Pod) { p.Status.ContainerStatuses = p.Status.ContainerStatuses[:2] }, "container injected has no status"},
		"storage counts for nothing": {func(p *corev1.Pod) {
			p.Status.ContainerStatuses[1].Resources = &corev1.ResourceRequirements{Limits: amounts("ephemeral-storage", "1Mi")}
		}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			p := resized()
			tc.status(p)
			if got := Next(p); got.Why != tc.why || got.Done != (tc.why == "") {
				t.Errorf("got %+v", got)
			}
		})
	}
}

// WL-4.6: whether a pod serves on while it changes.
func TestResourcesAloneInterruptOnlyWhoAsksForIt(t *testing.T) {
	serving := running()
	serving.Spec.Containers[0].Resources.Limits = corev1.ResourceList{"cpu": resource.MustParse("1"), "memory": resource.MustParse("1Gi")}
	serving.Spec.Containers[0].ResizePolicy = []corev1.ContainerResizePolicy{
		{ResourceName: "cpu", RestartPolicy: corev1.NotRequired}, {ResourceName: "memory", RestartPolicy: corev1.RestartContainer},
	}
	serving = Open(serving, noon)
	of := func(name corev1.ResourceName, amount string) map[string]corev1.ResourceRequirements {
		return map[string]corev1.ResourceRequirements{"main": {Limits: amounts(name, amount)}}
	}
	for name, tc := range map[string]struct {
		spec Spec
		want corev1.ConditionStatus
	}{
		"cpu changes under the container":               {Spec{ContainerResources: of("cpu", "2")}, "True"},
		"memory restarts it":                            {Spec{ContainerResources: of("memory", "2Gi")}, "False"},
		"a request of memory restarts it too":           {Spec{ContainerResources: map[string]corev1.ResourceRequirements{"main": {Requests: amounts("memory", "2Gi")}}}, "False"},
		"memory that it has already does not":           {Spec{ContainerResources: of("memory", "1024Mi")}, "True"},
		"an image comes with it":                        {Spec{ContainerResources: of("cpu", "2"), ContainerImages: map[string]string{"log": "log:2"}}, "False"},
		"an environment comes with it":                  {Spec{ContainerResources: of("cpu", "2"), ContainerRefMetadata: map[string]metav1.ObjectMeta{"log": {}}}, "False"},
		"metadata comes with it, which restarts nobody": {Spec{ContainerResources: of("cpu", "2"), MetaDataPatch: []byte(`{}`)}, "True"},
		"metadata alone, as ever":                       {Spec{MetaDataPatch: []byte(`{}`)}, "False"},
	} {
		t.Run(name, func(t *testing.T) {
			if got := lifecycle.Condition(Begin(serving, tc.spec, noon.Add(time.Minute)), pub.InPlaceUpdateReady).Status; got != tc.want {
				t.Errorf("the gate is %s", got)
			}
		})
	}
}

func TestQoS(t *testing.T) {
	with := func(limits, requests corev1.ResourceList) corev1.PodSpec {
		return corev1.PodSpec{Containers: []corev1.Container{{Resources: corev1.ResourceRequirements{Limits: limits, Requests: requests}}}}
	}
	full := corev1.ResourceList{"cpu": resource.MustParse("1"), "memory": resource.MustParse("1Gi")}
	aside := with(full, full)
	aside.InitContainers = []corev1.Container{{}}
	whole := with(nil, nil)
	whole.Resources = &corev1.ResourceRequirements{Limits: full}
	silent := with(nil, cpu("1"))
	silent.Resources = &corev1.ResourceRequirements{}
	for name, tc := range map[string]struct {
		spec corev1.PodSpec
		want corev1.PodQOSClass
	}{
		"nothing":                             {with(nil, nil), corev1.PodQOSBestEffort},
		"storage alone":                       {with(amounts("ephemeral-storage", "1Gi"), nil), corev1.PodQOSBestEffort},
		"a request":                           {with(nil, cpu("1")), corev1.PodQOSBurstable},
		"one limit":                           {with(cpu("1"), nil), corev1.PodQOSBurstable},
		"both limits":                         {with(full, nil), corev1.PodQOSGuaranteed},
		"both limits and requests":            {with(full, full), corev1.PodQOSGuaranteed},
		"both limits and a smaller request":   {with(full, cpu("500m")), corev1.PodQOSBurstable},
		"an init container without any":       {aside, corev1.PodQOSBurstable},
		"a pod as a whole that says nothing":  {silent, corev1.PodQOSBurstable},
		"limits of the pod as a whole decide": {whole, corev1.PodQOSGuaranteed},
	} {
		t.Run(name, func(t *testing.T) {
			if got := qosOf(&tc.spec); got != tc.want {
				t.Errorf("%s", got)
			}
		})
	}
}

func TestResized(t *testing.T) {
	seen := running()
	changed := seen.DeepCopy()
	changed.Spec.Containers[1].Image, changed.Labels["app"] = "log:2", "shop"
	if Resized(seen, changed) != nil {
		t.Error("an image is no resource")
	}
	changed.Spec.Containers[1].Resources.Limits = cpu("2")
	want := seen.DeepCopy()
	want.Spec.Containers[1].Resources.Limits = cpu("2")
	if d := cmp.Diff(want, Resized(seen, changed)); d != "" {
		t.Error(d)
	}
}

// WL-4.6: people read why a pod waits for its resources.
func TestResizeBlocked(t *testing.T) {
	long := strings.Repeat("x", 201)
	for name, tc := range map[string]struct {
		condition corev1.PodCondition
		want      string
	}{
		"more than the node has":    {corev1.PodCondition{Type: "PodResizePending", Status: "True", Reason: "Infeasible", Message: "Node didn't have enough capacity"}, "ResizeInfeasible (Node didn't have enough capacity)"},
		"more than is free":         {corev1.PodCondition{Type: "PodResizePending", Status: "True", Reason: "Deferred"}, "ResizeDeferred"},
		"too many words":            {corev1.PodCondition{Type: "PodResizePending", Status: "True", Reason: "Deferred", Message: long}, "ResizeDeferred"},
		"as many words as fit":      {corev1.PodCondition{Type: "PodResizePending", Status: "True", Reason: "Deferred", Message: long[1:]}, "ResizeDeferred (" + long[1:] + ")"},
		"over":                      {corev1.PodCondition{Type: "PodResizePending", Status: "False", Reason: "Deferred"}, ""},
		"the runtime cannot":        {corev1.PodCondition{Type: "PodResizeInProgress", Status: "True", Reason: "Error", Message: "no such cgroup"}, "ResizeError (no such cgroup)"},
		"in progress":               {corev1.PodCondition{Type: "PodResizeInProgress", Status: "True"}, ""},
		"something else altogether": {corev1.PodCondition{Type: "Ready", Status: "True", Reason: "Deferred"}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			pod := &corev1.Pod{Status: corev1.PodStatus{Conditions: []corev1.PodCondition{tc.condition}}}
			if got := ResizeBlocked(pod); got != tc.want {
				t.Errorf("%q", got)
			}
		})
	}
}

// WL-4.7: the reference leaves a batch undone that is about resources alone.
func TestResourcesWaitForTheirBatchAndGetIt(t *testing.T) {
	p := running()
	p.Spec.Containers[0].Env, p.Spec.Containers[1].Env = barrier("0"), barrier("-1")
	for i := range p.Spec.Containers {
		p.Spec.Containers[i].Resources.Limits = cpu("1")
	}
	show := func() {
		for i := range p.Spec.Containers {
			p.Status.ContainerStatuses[i].Resources = p.Spec.Containers[i].Resources.DeepCopy()
		}
	}
	p = start(t, p, Spec{Revision: "web-b", ContainerResources: map[string]corev1.ResourceRequirements{"main": {Limits: cpu("2")}, "log": {Limits: cpu("3")}}})
	limits := func() string {
		return p.Spec.Containers[0].Resources.Limits.Cpu().String() + " " + p.Spec.Containers[1].Resources.Limits.Cpu().String()
	}
	if got := limits(); got != "2 1" || Next(p).Due != Nothing {
		t.Fatalf("first batch: %s, %+v", got, Next(p))
	}
	show()
	if got := Next(p); got.Due != ApplyNext || got.Done {
		t.Fatalf("with the first batch done: %+v", got)
	}
	p, err := Carry(p, ApplyNext, noon.Add(time.Minute))
	if err != nil {
		t.Fatal(err)
	}
	if got := limits(); got != "2 3" || Next(p).Done {
		t.Fatalf("second batch: %s, %+v", got, Next(p))
	}
	show()
	if got := Next(p); !got.Done {
		t.Errorf("with both done: %+v", got)
	}
}
