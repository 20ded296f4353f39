package inplace

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/openkruise/kruise-api/apps/pub"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/flotilla-project/flotilla/agent/podset/lifecycle"
)

var noon = time.Date(2026, 1, 2, 12, 0, 0, 0, time.UTC)

func template(change ...func(*corev1.PodTemplateSpec)) *corev1.PodTemplateSpec {
	t := &corev1.PodTemplateSpec{
		ObjectMeta: metav1.ObjectMeta{Labels: map[string]string{"app": "web"}, Annotations: map[string]string{"team": "a"}},
		Spec: corev1.PodSpec{
			InitContainers: []corev1.Container{{Name: "init", Image: "init:1"}},
			Containers:     []corev1.Container{{Name: "main", Image: "web:1"}, {Name: "log", Image: "log:1"}},
		},
	}
	for _, c := range change {
		c(t)
	}
	return t
}

func TestDiff(t *testing.T) { // WL-4.3
	type mod = func(*corev1.PodTemplateSpec)
	for name, tc := range map[string]struct {
		from, to  mod
		gates     Gates
		images    map[string]string
		resources map[string]corev1.ResourceRequirements
		refs      map[string]metav1.ObjectMeta
		metadata  string
		refused   string // path
	}{
		"nothing but the name of the revision": {},
		"an image": {
			to:     func(t *corev1.PodTemplateSpec) { t.Spec.Containers[0].Image = "web:2" },
			images: map[string]string{"main": "web:2"},
		},
		"an image, and defaults that the old template was stored without": {
			to: func(t *corev1.PodTemplateSpec) {
				t.Spec.Containers[0].Image, t.Spec.Containers[0].ImagePullPolicy = "web:2", corev1.PullAlways
				t.Spec.DNSPolicy, t.Spec.TerminationGracePeriodSeconds = corev1.DNSClusterFirst, new(int64(30))
			},
			images: map[string]string{"main": "web:2"},
		},
		"two images": {
			to: func(t *corev1.PodTemplateSpec) {
				t.Spec.Containers[0].Image, t.Spec.Containers[1].Image = "web:2", "log:2"
			},
			images: map[string]string{"main": "web:2", "log": "log:2"},
		},
		"metadata added, changed and dropped": {
			to: func(t *corev1.PodTemplateSpec) {
				t.Labels = map[string]string{"app": "web", "tier": "front"}
				t.Annotations = nil
			},
			metadata: `{"metadata":{"annotations":null,"labels":{"tier":"front"}}}`,
		},
		"an init container's image": {
			to:      func(t *corev1.PodTemplateSpec) { t.Spec.InitContainers[0].Image = "init:2" },
			refused: "/spec/initContainers/0/image",
		},
		"a container more": {
			to: func(t *corev1.PodTemplateSpec) {
				t.Spec.Containers = append(t.Spec.Containers, corev1.Container{Name: "x"})
			},
			refused: "/spec/containers/-",
		},
		"a container less": {
			to:      func(t *corev1.PodTemplateSpec) { t.Spec.Containers = t.Spec.Containers[:1] },
			refused: "/spec/containers/1",
		},
		"containers in another order": { // WL-4.12.3
			to: func(t *corev1.PodTemplateSpec) {
				t.Spec.Containers[0], t.Spec.Containers[1] = t.Spec.Containers[1], t.Spec.Containers[0]
			},
			refused: "/spec/containers/0/name",
		},
		"a field of the pod": {
			to:      func(t *corev1.PodTemplateSpec) { t.Spec.HostNetwork = true },
			refused: "/spec/hostNetwork",
		},
		"an image that was not there": {
			from:    func(t *corev1.PodTemplateSpec) { t.Spec.Containers[0].Image = "" },
			refused: "/spec/containers/0/image",
		},
		"resources without their gate": { // WL-4.6
			from: limits("1", ""), to: limits("2", ""),
			refused: "/spec/containers/0/resources/limits/cpu",
		},
		"a limit and the request that follows it": {
			from: limits("1", ""), to: limits("2", ""), gates: vertical,
			resources: map[string]corev1.ResourceRequirements{"main": {Limits: cpu("2"), Requests: cpu("2")}},
		},
		"a limit and a request": {
			from: limits("1", "500m"), to: limits("2", "750m"), gates: vertical,
			resources: map[string]corev1.ResourceRequirements{"main": {Limits: cpu("2"), Requests: cpu("750m")}},
		},
		"a request alone": {
			from: limits("1", "500m"), to: limits("1", "750m"), gates: vertical,
			resources: map[string]corev1.ResourceRequirements{"main": {Requests: cpu("750m")}},
		},
		"a limit that is written in another way": {from: limits("1", ""), to: limits("1000m", ""), gates: vertical},
		"a limit that was not there": {
			to: limits("1", ""), gates: vertical,
			refused: "/spec/containers/0/resources/limits",
		},
		"a limit that goes": {
			from: limits("1", ""), gates: vertical,
			refused: "/spec/containers/0/resources/limits",
		},
		"a request that is added": {
			from: limits("1", ""), to: limits("1", "500m"), gates: vertical,
			refused: "/spec/containers/0/resources/requests",
		},
		"another QoS class": {
			from: guaranteed("1", "1"), to: guaranteed("1", "500m"), gates: vertical,
			refused: "/spec/containers",
		},
		"the same QoS class": {
			from: guaranteed("1", "1"), to: guaranteed("2", "2"), gates: vertical,
			resources: map[string]corev1.ResourceRequirements{"main": {Limits: cpu("2"), Requests: cpu("2")}, "log": {Limits: cpu("2"), Requests: cpu("2")}},
		},
		"storage of a container": {
			from: func(t *corev1.PodTemplateSpec) {
				t.Spec.Containers[0].Resources.Limits = amounts("ephemeral-storage", "1Gi")
			},
			to: func(t *corev1.PodTemplateSpec) {
				t.Spec.Containers[0].Resources.Limits = amounts("ephemeral-storage", "2Gi")
			},
			gates:   vertical,
			refused: "/spec/containers/0/resources/limits/ephemeral-storage",
		},
		"resources of an init container": {
			from:    func(t *corev1.PodTemplateSpec) { t.Spec.InitContainers[0].Resources.Limits = cpu("1") },
			to:      func(t *corev1.PodTemplateSpec) { t.Spec.InitContainers[0].Resources.Limits = cpu("2") },
			gates:   vertical,
			refused: "/spec/initContainers/0/resources/limits/cpu",
		},
		"a label that a container reads": { // WL-4.5
			from: readsLabel,
			to: func(t *corev1.PodTemplateSpec) {
				readsLabel(t)
				t.Labels["app"], t.Labels["tier"] = "shop", "front"
			},
			gates:    Gates{EnvFromMetadata: true},
			refs:     map[string]metav1.ObjectMeta{"log": {Labels: map[string]string{"app": "shop"}}},
			metadata: `{"metadata":{"labels":{"tier":"front"}}}`,
		},
		"an annotation that a container reads": {
			from: readsAnnotation,
			to: func(t *corev1.PodTemplateSpec) {
				readsAnnotation(t)
				t.Annotations["team"] = "b"
			},
			gates: Gates{EnvFromMetadata: true},
			refs:  map[string]metav1.ObjectMeta{"main": {Annotations: map[string]string{"team": "b"}}},
		},
		"a label that a container reads, and nothing else": {
			from: readsLabel,
			to: func(t *corev1.PodTemplateSpec) {
				readsLabel(t)
				t.Labels["app"] = "shop"
			},
			gates: Gates{EnvFromMetadata: true},
			refs:  map[string]metav1.ObjectMeta{"log": {Labels: map[string]string{"app": "shop"}}},
		},
		"a label that a container reads, added": {
			from: func(t *corev1.PodTemplateSpec) {
				readsLabel(t)
				t.Labels = map[string]string{"other": "x"}
			},
			to: func(t *corev1.PodTemplateSpec) {
				readsLabel(t)
				t.Labels["other"] = "x"
			},
			gates: Gates{EnvFromMetadata: true},
			refs:  map[string]metav1.ObjectMeta{"log": {Labels: map[string]string{"app": "web"}}},
		},
		"the first label at all, which a container reads": {
			from: func(t *corev1.PodTemplateSpec) {
				readsLabel(t)
				t.Labels = nil
			},
			to:       readsLabel,
			gates:    Gates{EnvFromMetadata: true},
			metadata: `{"metadata":{"labels":{"app":"web"}}}`,
		},
		"a label that a container reads, removed": {
			from: func(t *corev1.PodTemplateSpec) {
				readsLabel(t)
				t.Labels["other"] = "x"
			},
			to: func(t *corev1.PodTemplateSpec) {
				readsLabel(t)
				t.Labels = map[string]string{"other": "x"}
			},
			gates:    Gates{EnvFromMetadata: true},
			metadata: `{"metadata":{"labels":{"app":null}}}`,
		},
		"an annotation that is named like a label which a container reads": {
			from: readsLabel,
			to: func(t *corev1.PodTemplateSpec) {
				readsLabel(t)
				t.Annotations["app"] = "shop"
			},
			gates:    Gates{EnvFromMetadata: true},
			metadata: `{"metadata":{"annotations":{"app":"shop"}}}`,
		},
		"a label that a container reads, without the gate": {
			from: readsLabel,
			to: func(t *corev1.PodTemplateSpec) {
				readsLabel(t)
				t.Labels["app"] = "shop"
			},
			metadata: `{"metadata":{"labels":{"app":"shop"}}}`,
		},
	} {
		t.Run(name, func(t *testing.T) {
			from, to := template(), template()
			if tc.from != nil {
				tc.from(from)
			}
			if tc.to != nil {
				tc.to(to)
			}
			spec, err := Diff(from, to, "web-b", tc.gates)
			if tc.refused != "" {
				var no *NotPossible
				if !errors.As(err, &no) || no.Path != tc.refused || no.Why == "" {
					t.Fatalf("got %v, want a refusal of %s", err, tc.refused)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(tc.images, spec.ContainerImages); d != "" {
				t.Error(d)
			}
			if d := cmp.Diff(tc.metadata, string(spec.MetaDataPatch)); d != "" {
				t.Error(d)
			}
			if d := cmp.Diff(tc.resources, spec.ContainerResources); d != "" {
				t.Error(d)
			}
			if d := cmp.Diff(tc.refs, spec.ContainerRefMetadata); d != "" || spec.UpdateEnvFromMetadata != (tc.refs != nil) {
				t.Error(d, spec.UpdateEnvFromMetadata)
			}
		})
	}
}

var vertical = Gates{Resources: true}

func amounts(name corev1.ResourceName, amount string) corev1.ResourceList {
	return corev1.ResourceList{name: resource.MustParse(amount)}
}

func cpu(amount string) corev1.ResourceList { return amounts(corev1.ResourceCPU, amount) }

// limits gives the main container a limit, and a request unless that is empty.
func limits(limit, request string) func(*corev1.PodTemplateSpec) {
	return func(t *corev1.PodTemplateSpec) {
		t.Spec.Containers[0].Resources.Limits = cpu(limit)
		if request != "" {
			t.Spec.Containers[0].Resources.Requests = cpu(request)
		}
	}
}

// guaranteed gives all containers limits of cpu and memory and a request of cpu.
func guaranteed(limit, request string) func(*corev1.PodTemplateSpec) {
	return func(t *corev1.PodTemplateSpec) {
		give := func(all []corev1.Container) {
			for i := range all {
				all[i].Resources.Limits = cpu(limit)
				all[i].Resources.Limits[corev1.ResourceMemory] = resource.MustParse("64Mi")
				all[i].Resources.Requests = cpu(request)
			}
		}
		give(t.Spec.Containers)
		t.Spec.InitContainers = nil
	}
}

func readsAnnotation(t *corev1.PodTemplateSpec) {
	t.Spec.Containers[0].Env = []corev1.EnvVar{{Name: "TEAM", ValueFrom: &corev1.EnvVarSource{
		FieldRef: &corev1.ObjectFieldSelector{FieldPath: "metadata.annotations['team']"},
	}}}
}

func readsLabel(t *corev1.PodTemplateSpec) {
	t.Spec.Containers[1].Env = []corev1.EnvVar{{Name: "APP", ValueFrom: &corev1.EnvVarSource{
		FieldRef: &corev1.ObjectFieldSelector{FieldPath: "metadata.labels['app']"},
	}}}
}

func running() *corev1.Pod {
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{
			Name:        "web-x",
			Labels:      map[string]string{"app": "web", "mine": "kept", "controller-revision-hash": "web-b"},
			Annotations: map[string]string{"team": "a"},
		},
		Spec: corev1.PodSpec{
			ReadinessGates: []corev1.PodReadinessGate{{ConditionType: pub.InPlaceUpdateReady}},
			Containers:     []corev1.Container{{Name: "main", Image: "web:1"}, {Name: "log", Image: "log:1"}, {Name: "injected", Image: "side:1"}},
		},
		Status: corev1.PodStatus{ContainerStatuses: []corev1.ContainerStatus{
			{Name: "main", Image: "web:1", ImageID: "sha:web1", Ready: true},
			{Name: "log", Image: "log:1", ImageID: "sha:log1", Ready: true},
			{Name: "injected", Image: "side:1", ImageID: "sha:side1", Ready: true},
		}},
	}
}

func start(t *testing.T, pod *corev1.Pod, spec Spec) *corev1.Pod {
	t.Helper()
	got, err := Start(pod, spec, noon)
	if err != nil {
		t.Fatal(err)
	}
	return got
}

func TestStartAppliesTheSpec(t *testing.T) { // WL-4.2, WL-4.4
	legacy := func() *corev1.Pod {
		p := running()
		p.Annotations[pub.InPlaceUpdateStateKeyOld], p.Annotations[pub.InPlaceUpdateGraceKeyOld] = "{}", "{}"
		return p
	}
	before := legacy()
	got := start(t, before, Spec{
		Revision: "web-b", ContainerImages: map[string]string{"main": "web:2"},
		MetaDataPatch: []byte(`{"metadata":{"annotations":null,"labels":{"tier":"front"}}}`),
	})
	if d := cmp.Diff(legacy(), before); d != "" {
		t.Errorf("the pod that was given changed: %s", d)
	}
	if got.Spec.Containers[0].Image != "web:2" || got.Spec.Containers[1].Image != "log:1" {
		t.Errorf("containers %+v", got.Spec.Containers)
	}
	if d := cmp.Diff(map[string]string{"app": "web", "mine": "kept", "tier": "front", "controller-revision-hash": "web-b"}, got.Labels); d != "" {
		t.Error(d)
	}
	want := map[string]string{pub.InPlaceUpdateStateKey: `{"revision":"web-b","updateTimestamp":"2026-01-02T12:00:00Z",` +
		`"lastContainerStatuses":{"main":{"imageID":"sha:web1"}},"updateImages":true,` +
		`"containerBatchesRecord":[{"timestamp":"2026-01-02T12:00:00Z","containers":["main"]}]}`}
	if d := cmp.Diff(want, got.Annotations); d != "" { // the legacy keys are gone // WL-4.1
		t.Error(d)
	}
}

func TestCompletion(t *testing.T) { // WL-4.7
	show := func(p *corev1.Pod, image, id string) *corev1.Pod {
		p = p.DeepCopy()
		p.Status.ContainerStatuses[0].Image, p.Status.ContainerStatuses[0].ImageID = image, id
		return p
	}
	to := func(image string) *corev1.Pod {
		return start(t, running(), Spec{Revision: "web-b", ContainerImages: map[string]string{"main": image}})
	}
	unseen := to("web:2")
	unseen.Status.ContainerStatuses = unseen.Status.ContainerStatuses[1:]
	broken := running()
	broken.Annotations[pub.InPlaceUpdateStateKey] = "{"
	fromEnv := to("web:2")
	fromEnv.Annotations[pub.InPlaceUpdateStateKey] = `{"updateEnvFromMetadata":true}`
	for name, tc := range map[string]struct {
		pod  *corev1.Pod
		done bool
		due  Step
	}{
		"a pod that never changed opens its gate":     {running(), true, MakeReady}, // WL-4.12.8
		"the old image still runs":                    {to("web:2"), false, Nothing},
		"the new image runs":                          {show(to("web:2"), "web:2", "sha:web2"), true, MakeReady},
		"a new tag of the same image":                 {show(to("web:2"), "web:2", "sha:web1"), true, MakeReady}, // WL-4.12.6
		"the status shows the tag that was left out":  {show(to("web"), "web:latest", "sha:web1"), true, MakeReady},
		"the container has no status":                 {unseen, false, Nothing},
		"a state that cannot be read holds nobody up": {broken, true, MakeReady},
		"an environment from metadata":                {fromEnv, false, Nothing}, // WL-4.12.7
	} {
		t.Run(name, func(t *testing.T) {
			got := Next(tc.pod)
			if got.Done != tc.done || got.Due != tc.due || !got.Done && got.Why == "" {
				t.Errorf("got %+v", got)
			}
		})
	}
}

func TestPodAtRestIsNotLookedInto(t *testing.T) {
	rest := running()
	rest.Labels[pub.LifecycleStateKey] = "Normal"
	rest.Status.Conditions = []corev1.PodCondition{{Type: pub.InPlaceUpdateReady, Status: "True"}}
	rest.Annotations[pub.InPlaceUpdateStateKey] = `{"updateEnvFromMetadata":true}` // would never be done
	if got := Next(rest); got != (Progress{Done: true}) {
		t.Errorf("a pod at rest: %+v", got)
	}
	for name, disturb := range map[string]func(*corev1.Pod){
		"updating":          func(p *corev1.Pod) { p.Labels[pub.LifecycleStateKey] = "Updating" },
		"a closed gate":     func(p *corev1.Pod) { p.Status.Conditions[0].Status = "False" },
		"a grace period":    func(p *corev1.Pod) { p.Annotations[pub.InPlaceUpdateGraceKey] = "{}" },
		"a gate unheard of": func(p *corev1.Pod) { p.Spec.ReadinessGates = nil },
	} {
		t.Run(name, func(t *testing.T) {
			p := rest.DeepCopy()
			disturb(p)
			if Next(p).Done {
				t.Error("its state was not looked into")
			}
		})
	}
}

func TestGate(t *testing.T) { // WL-4.2, WL-4.7
	p := running()
	p.Status.Conditions = []corev1.PodCondition{{Type: corev1.ContainersReady, Status: "True"}, {Type: corev1.PodReady, Status: "True"}}
	p = Open(p, noon)
	if got := Next(p); got.Due != Nothing {
		t.Errorf("an open gate asks for %+v", got)
	}
	closed := Begin(p, Spec{}, noon.Add(time.Minute))
	c := lifecycle.Condition(closed, pub.InPlaceUpdateReady)
	if c.Status != "False" || c.Reason != "StartInPlaceUpdate" || !c.LastTransitionTime.Time.Equal(noon.Add(time.Minute)) {
		t.Errorf("closed gate: %+v", c)
	}
	if ready := lifecycle.Condition(closed, corev1.PodReady); ready.Status != "False" || ready.Reason != "ReadinessGatesNotReady" {
		t.Errorf("ready: %+v", ready)
	}
	if again := Begin(closed, Spec{}, noon.Add(time.Hour)); cmp.Diff(closed, again) != "" {
		t.Error("a closed gate was closed again")
	}
	opened := Open(closed, noon.Add(time.Hour))
	if c := lifecycle.Condition(opened, pub.InPlaceUpdateReady); c.Status != "True" || c.Reason != "" {
		t.Errorf("open gate: %+v", c)
	}
	p.Spec.ReadinessGates = nil
	if d := cmp.Diff(p, Begin(p, Spec{}, noon)); d != "" {
		t.Errorf("a pod without the gate changed: %s", d)
	}
}

func TestGracePeriod(t *testing.T) { // WL-4.2, WL-4.7
	p := start(t, running(), Spec{Revision: "web-b", ContainerImages: map[string]string{"main": "web:2"}, GraceSeconds: 30})
	if p.Spec.Containers[0].Image != "web:1" {
		t.Error("the image changed before the grace period was over")
	}
	got := Next(p)
	if got.Done || !got.Grace || got.Due != ApplyGrace || !got.NotBefore.Equal(noon.Add(30*time.Second)) {
		t.Errorf("during the grace period: %+v", got)
	}

	after, err := Carry(p, ApplyGrace, noon.Add(30*time.Second))
	if err != nil {
		t.Fatal(err)
	}
	if _, left := pub.GetInPlaceUpdateGrace(after); left || after.Spec.Containers[0].Image != "web:2" || Next(after).Done {
		t.Errorf("after the grace period: %+v", after)
	}

	p.Labels["controller-revision-hash"] = "web-c"
	if got := Next(p); got.Due != DropGrace || !got.NotBefore.IsZero() {
		t.Errorf("with another revision: %+v", got)
	}
	dropped, err := Carry(p, DropGrace, noon)
	if err != nil {
		t.Fatal(err)
	}
	if _, left := pub.GetInPlaceUpdateGrace(dropped); left || dropped.Spec.Containers[0].Image != "web:1" {
		t.Error("the grace period was not dropped")
	}
}

func barrier(priority string) []corev1.EnvVar {
	return []corev1.EnvVar{{Name: "KRUISE_CONTAINER_BARRIER", ValueFrom: &corev1.EnvVarSource{
		ConfigMapKeyRef: &corev1.ConfigMapKeySelector{Key: "p_" + priority},
	}}}
}

func TestBatchesFollowTheLaunchPriority(t *testing.T) { // WL-4.4
	p := running()
	p.Spec.Containers[0].Env, p.Spec.Containers[1].Env = barrier("-1"), barrier("0")
	spec := Spec{Revision: "web-b", ContainerImages: map[string]string{"main": "web:2", "log": "log:2", "injected": "side:2"}}
	p = start(t, p, spec)
	if got := []string{p.Spec.Containers[0].Image, p.Spec.Containers[1].Image, p.Spec.Containers[2].Image}; strings.Join(got, " ") != "web:1 log:2 side:2" {
		t.Errorf("first batch: %v", got)
	}
	if got := Next(p); got.Due != Nothing {
		t.Errorf("while the first batch restarts: %+v", got)
	}
	for i, image := range []string{"", "log:2", "side:2"} {
		if image != "" {
			p.Status.ContainerStatuses[i] = corev1.ContainerStatus{Name: p.Spec.Containers[i].Name, Image: image, ImageID: "sha:" + image}
		}
	}
	if got := Next(p); got.Due != Nothing || !strings.Contains(got.Why, "injected") {
		t.Errorf("while the first batch is not ready: %+v", got)
	}
	p.Status.ContainerStatuses[1].Ready, p.Status.ContainerStatuses[2].Ready = true, true
	if got := Next(p); got.Due != ApplyNext || got.Done {
		t.Errorf("with the first batch ready: %+v", got)
	}
	p, err := Carry(p, ApplyNext, noon.Add(time.Minute))
	if err != nil {
		t.Fatal(err)
	}
	if p.Spec.Containers[0].Image != "web:2" || !strings.Contains(p.Annotations[pub.InPlaceUpdateStateKey], `"containers":["main"]`) {
		t.Errorf("second batch: %v", p.Annotations)
	}
	p.Status.ContainerStatuses[0] = corev1.ContainerStatus{Name: "main", Image: "web:2", ImageID: "sha:web2"}
	if got := Next(p); !got.Done {
		t.Errorf("with all batches done: %+v", got)
	}
}

func TestMetadataOfContainersWaitsForTheirBatch(t *testing.T) { // WL-4.12.5
	p := running()
	p.Spec.Containers[0].Env, p.Spec.Containers[1].Env = barrier("0"), barrier("-1")
	meta := func(key string) metav1.ObjectMeta { return metav1.ObjectMeta{Labels: map[string]string{key: "new"}} }
	got := start(t, p, Spec{Revision: "web-b", ContainerRefMetadata: map[string]metav1.ObjectMeta{"main": meta("a"), "log": meta("b")}})
	if got.Labels["a"] != "new" || got.Labels["b"] != "" {
		t.Errorf("labels %v", got.Labels)
	}
	got = start(t, p, Spec{Revision: "web-b", ContainerRefMetadata: map[string]metav1.ObjectMeta{"main": meta("a"), "log": meta("a")}})
	if strings.Contains(got.Annotations[pub.InPlaceUpdateStateKey], "nextContainer") {
		t.Error("a container that shares a key with the first batch was left for later")
	}
}

func TestResourcesOfABatch(t *testing.T) { // WL-4.4
	want := resource.MustParse("2")
	p := start(t, running(), Spec{Revision: "web-b", ContainerResources: map[string]corev1.ResourceRequirements{
		"main": {Limits: corev1.ResourceList{"cpu": want}},
	}})
	if got := p.Spec.Containers[0].Resources.Limits["cpu"]; !got.Equal(want) {
		t.Errorf("limit is %s", got.String())
	}
}
