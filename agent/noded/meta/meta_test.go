package meta

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/openkruise/kruise-api/apps/pub"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	clocktesting "k8s.io/utils/clock/testing"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/flotilla-project/flotilla/agent/noded/cri"
	"github.com/flotilla-project/flotilla/agent/noded/cri/critest"
	"github.com/flotilla-project/flotilla/agent/podset/containermeta"
)

// newPod has containers app, whose environment comes from the label team, and side. The kubelet sorts statuses by name, so
// they come in another order than in the specification.
func newPod(change ...func(*corev1.Pod)) *corev1.Pod {
	team := corev1.EnvVar{Name: "TEAM", ValueFrom: &corev1.EnvVarSource{FieldRef: &corev1.ObjectFieldSelector{FieldPath: "metadata.labels['team']"}}}
	p := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: "shop", Name: "web-1", UID: "u", Labels: map[string]string{"team": "a"},
			OwnerReferences: []metav1.OwnerReference{{APIVersion: "apps.kruise.io/v1alpha1", Kind: "CloneSet", Name: "web", Controller: new(true)}},
		},
		Spec: corev1.PodSpec{Containers: []corev1.Container{{Name: "side"}, {Name: "app", Env: []corev1.EnvVar{team}}}},
		Status: corev1.PodStatus{ContainerStatuses: []corev1.ContainerStatus{
			{Name: "app", ContainerID: "containerd://app-0"}, {Name: "side", ContainerID: "containerd://side-0"},
		}},
	}
	for _, c := range change {
		c(p)
	}
	return p
}

// running is a container as the kubelet makes it.
func running(name string, restarts string) cri.Status {
	return cri.Status{Container: cri.Container{
		ID: name + "-" + restarts, Name: name, PodUID: "u", State: cri.Running,
		Annotations: map[string]string{
			cri.AnnotationHash: "ff", cri.AnnotationHashWithoutResources: "10", cri.AnnotationRestartCount: restarts,
			cri.AnnotationPodGracePeriod: "45", cri.AnnotationPreStopHandler: `{"exec":{"command":["bye"]}}`, cri.AnnotationPorts: `[{"name":"http","containerPort":80}]`,
		},
	}}
}

func envHash(team string) uint64 {
	pod := newPod(labelled(team))
	return containermeta.ExpectedEnv(pod, &pod.Spec.Containers[1])
}

func labelled(team string) func(*corev1.Pod) {
	return func(p *corev1.Pod) { p.Labels["team"] = team }
}

func item(id string, env uint64) pub.RuntimeContainerMeta {
	name, _, _ := strings.Cut(id, "-")
	return pub.RuntimeContainerMeta{Name: name, ContainerID: "containerd://" + id,
		Hashes: pub.RuntimeContainerHashes{PlainHash: 255, PlainHashWithoutResources: 16, ExtractedEnvFromMetadataHash: env}}
}

func reported(items ...pub.RuntimeContainerMeta) func(*corev1.Pod) {
	return func(p *corev1.Pod) {
		if p.Annotations == nil {
			p.Annotations = map[string]string{}
		}
		p.Annotations[pub.RuntimeContainerMetaKey] = changed(newPod(), items)
	}
}

func updatingNow(p *corev1.Pod) {
	p.Status.Conditions = append(p.Status.Conditions, corev1.PodCondition{Type: pub.InPlaceUpdateReady, Status: corev1.ConditionFalse})
}

// CM-1
func TestWhichPodsAreConsidered(t *testing.T) {
	for name, tc := range map[string]struct {
		change func(*corev1.Pod)
		want   bool
	}{
		"those of our workloads":                {func(*corev1.Pod) {}, true},
		"not those of others":                   {func(p *corev1.Pod) { p.OwnerReferences[0].APIVersion = "apps/v1" }, false},
		"not those of nobody":                   {func(p *corev1.Pod) { p.OwnerReferences = nil }, false},
		"not of a group that ends like ours":    {func(p *corev1.Pod) { p.OwnerReferences[0].APIVersion = "my.apps.kruise.io/v1" }, false},
		"anyone's with sidecars":                {func(p *corev1.Pod) { p.OwnerReferences, p.Annotations = nil, map[string]string{sidecarSetsOfPod: ""} }, true},
		"not those that are being deleted":      {func(p *corev1.Pod) { p.DeletionTimestamp = new(metav1.Now()) }, false},
		"not those that have no containers yet": {func(p *corev1.Pod) { p.Status.ContainerStatuses = nil }, false},
	} {
		if got := considered(newPod(tc.change)); got != tc.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}

// CM-2, CM-8
func TestWhichChangesMatter(t *testing.T) {
	settled := reported(item("app-0", envHash("a")), item("side-0", 0))
	restarted := func(p *corev1.Pod) { p.Status.ContainerStatuses[1].ContainerID = "containerd://side-1" }
	for name, tc := range map[string]struct {
		old, pod *corev1.Pod
		noEnvs   bool
		want     bool
	}{
		"a heartbeat":                    {old: newPod(settled), pod: newPod(settled)},
		"a first report":                 {old: newPod(), pod: newPod(), want: true},
		"a report of one container less": {old: newPod(), pod: newPod(reported(item("app-0", 0))), want: true},
		"a container more":               {old: newPod(func(p *corev1.Pod) { p.Status.ContainerStatuses = p.Status.ContainerStatuses[:1] }), pod: newPod(settled), want: true},
		"a restart":                      {old: newPod(settled), pod: newPod(settled, restarted), want: true},
		"other metadata":                 {old: newPod(settled), pod: newPod(settled, labelled("b")), want: true},
		"other metadata, switched off":   {old: newPod(settled), pod: newPod(settled, labelled("b")), noEnvs: true},
		"an environment nobody has seen": {old: newPod(), pod: newPod(reported(item("app-0", 0), item("side-0", 0))), want: true},
		"a pod of others":                {old: newPod(), pod: newPod(func(p *corev1.Pod) { p.OwnerReferences = nil })},
	} {
		if got := due(tc.old, tc.pod, !tc.noEnvs); got != tc.want {
			t.Errorf("%s: %v", name, got)
		}
	}
	if dueAtFirst(newPod(), true) || dueAtFirst(newPod(settled), true) || !dueAtFirst(newPod(settled, restarted), true) {
		t.Error("when the daemon starts, only what changed while it was away matters")
	}
}

func TestDecide(t *testing.T) {
	var (
		first = facts{containers: map[string]cri.Container{"containerd://app-0": running("app", "0").Container, "containerd://side-0": running("side", "0").Container}}
		seenA = facts{containers: first.containers, envs: map[string]uint64{"containerd://app-0": envHash("a")}}
		ended = facts{containers: map[string]cri.Container{"containerd://app-0": {ID: "app-0", State: cri.Exited}, "containerd://side-0": running("side", "0").Container}}
	)
	for name, tc := range map[string]struct {
		pod     *corev1.Pod
		seen    facts
		noEnvs  bool
		want    []pub.RuntimeContainerMeta
		restart []string
	}{
		"everything is reported": { // CM-3
			pod: newPod(), seen: seenA, want: []pub.RuntimeContainerMeta{item("app-0", envHash("a")), item("side-0", 0)},
		},
		"what is recorded stays, and is not written again": { // CM-3
			pod:  newPod(reported(pub.RuntimeContainerMeta{Name: "app", ContainerID: "containerd://app-0", Hashes: pub.RuntimeContainerHashes{PlainHash: 7, ExtractedEnvFromMetadataHash: 9}}, item("side-0", 0))),
			seen: seenA,
		},
		"a missing environment is filled in": { // CM-3
			pod: newPod(reported(item("app-0", 0), item("side-0", 0))), seen: seenA,
			want: []pub.RuntimeContainerMeta{item("app-0", envHash("a")), item("side-0", 0)},
		},
		"a container that the runtime does not have is left out": { // CM-3
			pod: newPod(), seen: facts{containers: map[string]cri.Container{"containerd://side-0": running("side", "0").Container}},
			want: []pub.RuntimeContainerMeta{item("side-0", 0)},
		},
		"an update restarts what has the old environment": { // CM-6
			pod: newPod(labelled("b"), updatingNow, reported(item("app-0", envHash("a")), item("side-0", 0))), seen: first, restart: []string{"app"},
		},
		"without an update nothing is restarted": { // CM-6
			pod: newPod(labelled("b"), reported(item("app-0", envHash("a")), item("side-0", 0))), seen: first,
		},
		"nor what has the new one": { // CM-6
			pod: newPod(updatingNow, reported(item("app-0", envHash("a")), item("side-0", 0))), seen: first,
		},
		"nor what nobody could look into": { // CM-6
			pod: newPod(labelled("b"), updatingNow, reported(item("app-0", 0), item("side-0", 0))), seen: first,
		},
		"nor what has ended already": { // CM-6
			pod: newPod(labelled("b"), updatingNow, reported(item("app-0", envHash("a")), item("side-0", 0))), seen: ended,
		},
		"nor with the gate off": {
			pod: newPod(labelled("b"), updatingNow, reported(item("app-0", envHash("a")), item("side-0", 0))), seen: first, noEnvs: true,
		},
	} {
		t.Run(name, func(t *testing.T) {
			p := decide(tc.pod, tc.seen, !tc.noEnvs)
			want, restart := "", []string(nil)
			if tc.want != nil {
				want = changed(newPod(), tc.want)
			}
			for _, v := range p.restart {
				restart = append(restart, v.name)
			}
			if d := cmp.Diff(want, p.annotation) + cmp.Diff(tc.restart, restart); d != "" {
				t.Error(d)
			}
		})
	}
}

func TestValuesOfVariables(t *testing.T) { // CM-5
	printed := "PATH=/bin\nTEAM=two\nlines=\nEMPTY=\nLAST=x"
	for _, tc := range []struct{ name, expected, want string }{
		{"TEAM", "two\nlines=", "two\nlines="}, {"TEAM", "other", "two"}, {"EMPTY", "x", ""}, {"LAST", "", "x"}, {"NONE", "", ""}, {"AM", "two", ""},
	} {
		if got := valueIn(printed, tc.name, tc.expected); got != tc.want {
			t.Errorf("%s is %q", tc.name, got)
		}
	}
}

func TestHowAContainerEnds(t *testing.T) { // CM-6
	want := ending{grace: 45 * time.Second, preStop: &corev1.LifecycleHandler{Exec: &corev1.ExecAction{Command: []string{"bye"}}}, ports: []corev1.ContainerPort{{Name: "http", ContainerPort: 80}}}
	if d := cmp.Diff(want, endingOf(running("app", "0").Container), cmp.AllowUnexported(ending{})); d != "" {
		t.Error(d)
	}
	broken := cri.Container{Annotations: map[string]string{cri.AnnotationPodGracePeriod: "x", cri.AnnotationPreStopHandler: "{", cri.AnnotationPorts: "{"}}
	if d := cmp.Diff(ending{grace: defaultGrace}, endingOf(broken), cmp.AllowUnexported(ending{})); d != "" {
		t.Error(d)
	}
}

// killer remembers whom it was told to end.
type killer struct {
	ended []string
	fails error
}

func (k *killer) Kill(_ context.Context, _ cri.Runtime, _ *corev1.Pod, c cri.Status, grace time.Duration, preStop *corev1.LifecycleHandler, _ []corev1.ContainerPort) error {
	k.ended = append(k.ended, c.ID+" "+grace.String()+" "+strings.Join(preStop.Exec.Command, " "))
	return k.fails
}

// rig is the part on a fake API server.
type rig struct {
	*testing.T
	*reporter
	runtime *critest.Runtime
	killer  *killer
	now     *clocktesting.FakePassiveClock
	patches []string
}

func newRig(t *testing.T, pod *corev1.Pod) *rig {
	t.Helper()
	scheme := runtime.NewScheme()
	if err := corev1.AddToScheme(scheme); err != nil {
		t.Fatal(err)
	}
	g := &rig{T: t, runtime: &critest.Runtime{}, killer: &killer{}, now: clocktesting.NewFakePassiveClock(time.Unix(1000, 0))}
	c := fake.NewClientBuilder().WithScheme(scheme).WithObjects(pod).WithStatusSubresource(pod).WithInterceptorFuncs(interceptor.Funcs{
		SubResourcePatch: func(ctx context.Context, c client.Client, sub string, obj client.Object, patch client.Patch, opts ...client.SubResourcePatchOption) error {
			raw, err := patch.Data(obj)
			g.patches = append(g.patches, string(raw))
			// A fake API server keeps metadata out of a status; a real one takes labels and annotations of pods there.
			return errors.Join(err, c.Patch(ctx, obj, patch))
		},
	}).Build()
	g.reporter = newReporter(c, Options{Runtimes: cri.Runtimes{g.runtime}, Killer: g.killer, Envs: true})
	g.clock = g.now
	g.runtime.OnExec = func(context.Context, string, []string, time.Duration) (cri.Result, error) {
		return cri.Result{Stdout: []byte("PATH=/bin\nTEAM=a\n")}, nil
	}
	g.runtime.SetContainer(running("app", "0"))
	g.runtime.SetContainer(running("side", "0"))
	return g
}

func (g *rig) round() time.Duration {
	g.Helper()
	result, err := g.Reconcile(g.Context(), reconcile.Request{NamespacedName: client.ObjectKey{Namespace: "shop", Name: "web-1"}})
	if err != nil {
		g.Fatal(err)
	}
	return result.RequeueAfter
}

func (g *rig) pod(change func(*corev1.Pod)) {
	g.Helper()
	var pod corev1.Pod
	if err := g.local.Get(g.Context(), client.ObjectKey{Namespace: "shop", Name: "web-1"}, &pod); err != nil {
		g.Fatal(err)
	}
	change(&pod)
	status := pod.DeepCopy()
	if err := g.local.Update(g.Context(), &pod); err != nil {
		g.Fatal(err)
	}
	status.ResourceVersion = pod.ResourceVersion
	if err := g.local.Status().Update(g.Context(), status); err != nil {
		g.Fatal(err)
	}
}

// CM-3, CM-4, CM-6: report, restart once for a change, report the new container, and write nothing else.
func TestAnUpdateOfTheEnvironment(t *testing.T) {
	g := newRig(t, newPod())
	for range 3 {
		g.round()
	}
	if len(g.patches) != 1 || !strings.HasPrefix(g.patches[0], `{"metadata":{"annotations":{"apps.kruise.io/runtime-containers-meta":`) {
		t.Fatalf("%q", g.patches)
	}
	g.pod(func(p *corev1.Pod) { labelled("b")(p); updatingNow(p) })
	if wait := g.round(); wait != 0 {
		t.Errorf("looks again in %s", wait)
	}
	for range 2 { // the kubelet has not told yet, and within three seconds nobody is asked to end twice
		if wait := g.round(); wait != firstPause {
			t.Errorf("looks again in %s", wait)
		}
	}
	if d := cmp.Diff([]string{"app-0 45s bye"}, g.killer.ended); d != "" {
		t.Error(d)
	}
	old := running("app", "0")
	old.State = cri.Exited
	g.runtime.SetContainer(old)
	g.runtime.SetContainer(running("app", "1"))
	g.runtime.OnExec = func(context.Context, string, []string, time.Duration) (cri.Result, error) {
		return cri.Result{Stdout: []byte("TEAM=b\n")}, nil
	}
	g.now.SetTime(g.now.Now().Add(time.Minute))
	g.round() // the status still names the old one
	g.pod(func(p *corev1.Pod) { p.Status.ContainerStatuses[0].ContainerID = "containerd://app-1" })
	g.round()
	g.round()
	if len(g.patches) != 2 || len(g.killer.ended) != 1 {
		t.Errorf("%d writes, ended %q", len(g.patches), g.killer.ended)
	}
	if r := containermeta.Of(podOf(g)); r["app"].Hashes.ExtractedEnvFromMetadataHash != envHash("b") || r["app"].RestartCount != 1 || r["side"] != item("side-0", 0) {
		t.Errorf("%+v", r)
	}
	if g.restarts.left("shop/web-1/app", g.now.Now().Add(-time.Minute)) != 0 {
		t.Error("the next change waits for this one")
	}
}

func podOf(g *rig) (pod *corev1.Pod) { g.pod(func(p *corev1.Pod) { pod = p }); return pod }

// CM-5: a container that cannot be looked into is tried again, ever more seldom, and reported all the same.
func TestAContainerWithoutEnv(t *testing.T) {
	g := newRig(t, newPod(labelled("b"), updatingNow))
	g.runtime.OnExec = func(context.Context, string, []string, time.Duration) (cri.Result, error) {
		return cri.Result{}, errors.New(`exec: "env": executable file not found in $PATH`)
	}
	var waits []time.Duration
	for range 3 {
		wait := g.round()
		waits = append(waits, wait)
		g.now.SetTime(g.now.Now().Add(wait))
	}
	if d := cmp.Diff([]time.Duration{3 * time.Second, 6 * time.Second, 12 * time.Second}, waits); d != "" {
		t.Error(d)
	}
	if len(g.patches) != 1 || len(g.killer.ended) != 0 {
		t.Errorf("%d writes, ended %q", len(g.patches), g.killer.ended)
	}
	g.runtime.OnExec = func(context.Context, string, []string, time.Duration) (cri.Result, error) {
		return cri.Result{Code: 1}, nil
	}
	if wait := g.round(); wait != 24*time.Second {
		t.Errorf("looks again in %s", wait)
	}
}

// CM-6
func TestARestartThatFailsIsTriedAgain(t *testing.T) {
	g := newRig(t, newPod(labelled("b"), updatingNow, reported(item("app-0", envHash("a")), item("side-0", 0))))
	g.killer.fails = errors.New("no")
	if wait := g.round(); wait != 3*time.Second {
		t.Errorf("tries again in %s", wait)
	}
	g.now.SetTime(g.now.Now().Add(3 * time.Second))
	g.round()
	if len(g.killer.ended) != 2 {
		t.Errorf("%q", g.killer.ended)
	}
}

func TestARuntimeThatIsGoneIsTriedAgain(t *testing.T) {
	g := newRig(t, newPod(reported(item("app-0", envHash("a")), item("side-0", 0))))
	g.runtime.Gone()
	_, err := g.Reconcile(t.Context(), reconcile.Request{NamespacedName: client.ObjectKey{Namespace: "shop", Name: "web-1"}})
	if !errors.Is(err, cri.ErrGone) || len(g.patches) != 0 {
		t.Errorf("%v, wrote %q", err, g.patches)
	}
}
