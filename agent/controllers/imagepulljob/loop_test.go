package imagepulljob

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	kruise "github.com/openkruise/kruise-api/apps/v1alpha1"
	beta "github.com/openkruise/kruise-api/apps/v1beta1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

func TestAPullFromStartToEnd(t *testing.T) { // IP-10, IP-13, IP-14, IP-15, IP-16
	w := newWorld(t, home(), nodeImage("a"), nodeImage("b"), nodeImage("c"), pullJob(parallel("2"), ttl(60)))
	w.round()
	w.says("3 desired, 2 active, 0 succeeded, 0 failed: job is running, progress 0.0%")
	if start := w.job().Status.StartTime; start == nil || !start.Time.Equal(noon) {
		t.Errorf("started at %v", start)
	}
	w.round() // the orders are not written yet
	w.deliver()
	if d := cmp.Diff([]string{"patch imagepulljob/status pull", "patch nodeimage a", "patch nodeimage b"}, w.server.Writes()); d != "" {
		t.Error(d)
	}
	w.round()
	if writes := w.server.Writes(); len(writes) > 0 {
		t.Errorf("nothing has changed for the job: %v", writes)
	}
	w.daemons(kruise.ImagePhaseSucceeded)
	w.round()
	w.says("3 desired, 1 active, 2 succeeded, 0 failed: job is running, progress 66.7%")
	w.deliver()
	w.daemons(kruise.ImagePhaseFailed) // now all say so
	w.round()
	w.says("3 desired, 0 active, 0 succeeded, 3 failed: job has completed")
	if s := w.job().Status; !slices.Equal(s.FailedNodes, []string{"a", "b", "c"}) || s.CompletionTime == nil {
		t.Errorf("%+v", s)
	}
	if wait := w.round().RequeueAfter; wait <= 59*time.Second || wait > time.Minute {
		t.Errorf("looks again after %v", wait)
	}
	w.clock.Step(time.Minute)
	w.round()
	if w.job() != nil {
		t.Error("it outlives its time")
	}
}

func TestAnOrderThatIsLostIsPlacedAgain(t *testing.T) { // IP-11
	w := newWorld(t, home(), nodeImage("a"), pullJob())
	w.round()
	w.restart() // before anything was written
	w.round()
	w.deliver()
	if n := w.nodes()[0]; len(n.Spec.Images["nginx"].Tags) != 1 || n.Spec.Images["nginx"].Tags[0].Version != 0 {
		t.Errorf("%+v", n.Spec)
	}
}

func TestOneWriteForAllThatIsAskedOfANode(t *testing.T) { // IP-11, and one pull however many want it
	w := newWorld(t, home(), nodeImage("a"), pullJob(), pullJob(called("twin")), pullJob(called("other"), func(j *kruise.ImagePullJob) { j.Spec.Image = "redis:7" }))
	w.round("pull", "twin", "other")
	w.server.Writes()
	w.deliver()
	if writes := w.server.Writes(); len(writes) != 1 {
		t.Errorf("%v", writes)
	}
	spec := w.nodes()[0].Spec.Images
	if len(spec) != 2 || len(spec["nginx"].Tags) != 1 || len(spec["nginx"].Tags[0].OwnerReferences) != 2 {
		t.Errorf("%+v", spec)
	}
}

func TestANodeThatRefusesIsTold(t *testing.T) {
	w := newWorld(t, home(), nodeImage("a"), pullJob())
	w.round()
	answer := error(apierrors.NewConflict(kruise.Resource("nodeimages"), "a", errors.New("changed")))
	w.server.Before = func(string) error { return answer }
	w.clock.Step(quiet)
	if result, err := w.desk.Reconcile(t.Context(), request("a")); err != nil || result.RequeueAfter == 0 {
		t.Errorf("a lost race: %v, %v", result, err)
	}
	answer = errors.New("more than 256 images")
	if _, err := w.desk.Reconcile(t.Context(), request("a")); err == nil {
		t.Error("no error, and nobody tries again")
	}
	if len(w.events.Events) != 1 || !strings.Contains(<-w.events.Events, "ask node a for 1 images: more than 256 images") {
		t.Error("the job's user is not told")
	}
	w.server.Before = nil
	w.deliver()
	if len(w.nodes()[0].Spec.Images) != 1 {
		t.Error("the order was lost")
	}
}

func TestOrdersWaitForEachOther(t *testing.T) {
	w := newWorld(t, home(), nodeImage("a"), pullJob(), pullJob(called("twin")))
	w.round()
	for range 40 { // somebody orders all the time
		w.clock.Step(quiet / 2)
		w.round("twin")
		w.desk.place(order{name: "redis", tag: "7"}, []string{"a"})
		if result, err := w.desk.Reconcile(t.Context(), request("a")); err != nil {
			t.Fatal(err)
		} else if result.RequeueAfter == 0 {
			if waited := w.clock.Now().Sub(noon); waited != atMost {
				t.Errorf("written after %v, want %v", waited, atMost)
			}
			return
		}
	}
	t.Error("never written")
}

func TestSecretsAreCopiedSharedAndReleased(t *testing.T) { // IP-5, IP-6, IP-7
	w := newWorld(t, home(), secret("robot", "one"), nodeImage("a"), nodeImage("b"), pullJob(withSecrets("robot", "missing"), parallel("2")), pullJob(called("twin"), withSecrets("robot")))
	w.round("pull", "twin")
	w.deliver()
	copies := w.copies()
	if len(copies) != 1 {
		t.Fatalf("%d copies", len(copies))
	}
	c := copies[0]
	want := metav1.ObjectMeta{
		Name: c.Name, GenerateName: "robot-", Namespace: defaultNamespace, UID: c.UID, ResourceVersion: c.ResourceVersion,
		Labels:      map[string]string{"team": "a", "imagepulljobs.kruise.io/source-uid": "uid-of-robot"},
		Annotations: map[string]string{"imagepulljobs.kruise.io/source-key": "shop/robot", "imagepulljobs.kruise.io/references": "shop/pull,shop/twin"},
	}
	if d := cmp.Diff(want, c.ObjectMeta); d != "" || !strings.HasPrefix(c.Name, "robot-") || c.Type != corev1.SecretTypeDockerConfigJson || string(c.Data[corev1.DockerConfigJsonKey]) != "one" {
		t.Errorf("%s %s %+v", d, c.Type, c.Data)
	}
	for _, n := range w.nodes() {
		if refs := n.Spec.Images["nginx"].PullSecrets; !slices.Equal(refs, []kruise.ReferenceObject{{Namespace: defaultNamespace, Name: c.Name}}) {
			t.Errorf("node %s refers to %v", n.Name, refs)
		}
	}
	if !slices.Contains(w.job().Finalizers, Finalizer) {
		t.Error("it could be gone before its secrets are released")
	}

	source := secret("robot", "two")
	if err := w.server.Plain.Update(context.Background(), source); err != nil {
		t.Fatal(err)
	}
	w.round()
	if c := w.copies()[0]; string(c.Data[corev1.DockerConfigJsonKey]) != "two" {
		t.Error("the copy is not as the source")
	}
	if err := w.server.Plain.Delete(context.Background(), source); err != nil {
		t.Fatal(err)
	}
	w.round()
	if len(w.copies()) != 1 {
		t.Error("a source that is missing takes its copy away")
	}

	w.daemons(kruise.ImagePhaseSucceeded)
	w.round()
	w.round()
	if c := w.copies(); len(c) != 1 || c[0].Annotations[referencesNote] != "shop/twin" || slices.Contains(w.job().Finalizers, Finalizer) {
		t.Errorf("after the first has completed: %v, finalizers %v", c, w.job().Finalizers)
	}
	if err := w.server.Plain.Delete(context.Background(), pullJob(called("twin"))); err != nil {
		t.Fatal(err)
	}
	w.round("twin")
	if c := w.copies(); len(c) != 0 {
		t.Errorf("nobody needs %v any more", c)
	}
	w.server.Writes()
	w.round()
	if writes := w.server.Writes(); len(writes) > 0 {
		t.Errorf("a job that is over is written: %v", writes)
	}
}

func TestASecretThatComesLateReachesNodes(t *testing.T) { // IP-9, IP-11
	w := newWorld(t, home(), nodeImage("a"), pullJob(withSecrets("robot")))
	w.round()
	w.deliver()
	if err := w.server.Plain.Create(context.Background(), secret("robot", "one")); err != nil {
		t.Fatal(err)
	}
	w.round()
	w.deliver()
	image := w.nodes()[0].Spec.Images["nginx"]
	if len(image.PullSecrets) != 1 || image.Tags[0].Version != 0 || len(image.Tags[0].OwnerReferences) != 1 {
		t.Errorf("%+v", image)
	}
}

func TestSecretsAtHomeAreReferredToDirectly(t *testing.T) { // IP-5
	source := secret("robot", "one")
	source.Namespace = "shop"
	w := newWorld(t, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "shop"}}, source, nodeImage("a"), pullJob(withSecrets("robot")))
	w.steps.options.ConfigNamespace = "shop"
	w.round()
	w.deliver()
	if refs := w.nodes()[0].Spec.Images["nginx"].PullSecrets; !slices.Equal(refs, []kruise.ReferenceObject{{Namespace: "shop", Name: "robot"}}) {
		t.Errorf("%v", refs)
	}
}

func TestWithoutANamespaceForSecretsNothingIsPulled(t *testing.T) { // IP-8
	w := newWorld(t, nodeImage("a"), pullJob())
	w.round()
	w.says("0 desired, 0 active, 0 succeeded, 0 failed: namespace kruise-daemon-config for pull secrets does not exist; create it")
	if err := w.server.Plain.Create(context.Background(), home()); err != nil {
		t.Fatal(err)
	}
	w.round()
	w.says("1 desired, 1 active, 0 succeeded, 0 failed: job is running, progress 0.0%")
}

func TestWhichNodes(t *testing.T) { // IP-4
	pod := func(name, node string, changes ...func(*corev1.Pod)) client.Object {
		p := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: name, Labels: map[string]string{"app": "web"}}, Spec: corev1.PodSpec{NodeName: node}}
		for _, c := range changes {
			c(p)
		}
		return p
	}
	byPods := func(j *kruise.ImagePullJob) {
		j.Spec.PodSelector = &kruise.ImagePullJobPodSelector{LabelSelector: metav1.LabelSelector{MatchLabels: map[string]string{"app": "web"}}}
	}
	ofSet := func(kind string) change {
		return func(j *kruise.ImagePullJob) {
			j.OwnerReferences = []metav1.OwnerReference{{APIVersion: "apps.kruise.io/v1alpha1", Kind: kind, Name: "web", UID: "set", Controller: new(true)}}
		}
	}
	by := func(s kruise.ImagePullJobNodeSelector) change {
		return func(j *kruise.ImagePullJob) { j.Spec.Selector = &s }
	}
	ended := func(p *corev1.Pod) { p.Status.Phase = corev1.PodSucceeded }
	well := func(p *corev1.Pod) {
		p.Status.Conditions = []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionTrue}}
	}
	for name, tc := range map[string]struct {
		job     *kruise.ImagePullJob
		objects []client.Object
		want    string
	}{
		"all":            {job: pullJob(), want: "a b c"},
		"by name":        {job: pullJob(by(kruise.ImagePullJobNodeSelector{Names: []string{"c", "x", "a"}})), want: "a c"},
		"by label":       {job: pullJob(by(kruise.ImagePullJobNodeSelector{LabelSelector: metav1.LabelSelector{MatchLabels: map[string]string{"name": "b"}}})), want: "b"},
		"by no label":    {job: pullJob(by(kruise.ImagePullJobNodeSelector{})), want: "a b c"},
		"of pods":        {job: pullJob(byPods), objects: []client.Object{pod("p0", "c"), pod("p1", "a"), pod("p2", "c"), pod("p3", ""), pod("p4", "b", ended), pod("p5", "x")}, want: "a c"},
		"of no pods":     {job: pullJob(byPods), want: ""},
		"least healthy":  {job: pullJob(byPods, ofSet("CloneSet")), objects: []client.Object{&kruise.CloneSet{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "web"}}, pod("p0", "a", well), pod("p1", "c"), pod("p2", "b", well)}, want: "c a b"},
		"a set is gone":  {job: pullJob(byPods, ofSet("CloneSet")), objects: []client.Object{pod("p0", "b"), pod("p1", "a")}, want: "a b"},
		"by its ordinal": {job: pullJob(byPods, ofSet("StatefulSet")), objects: []client.Object{statefulSet(), pod("web-2", "a"), pod("web-10", "b"), pod("web-0", "c")}, want: "b a c"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, append(tc.objects, home(), nodeImage("c"), nodeImage("a"), nodeImage("b"), tc.job)...)
			targets, err := w.steps.targets(t.Context(), tc.job)
			var names []string
			for _, n := range targets {
				names = append(names, n.Name)
			}
			if got := strings.Join(names, " "); err != nil || got != tc.want {
				t.Errorf("%q (%v), want %q", got, err, tc.want)
			}
		})
	}
}

func TestTheCacheHoldsNoOtherSecrets(t *testing.T) {
	for kind, kept := range map[corev1.SecretType]bool{corev1.SecretTypeDockerConfigJson: true, corev1.SecretTypeDockercfg: true, corev1.SecretTypeOpaque: false, "helm.sh/release.v1": false} {
		s := secret("x", "token")
		s.Type, s.Annotations = kind, map[string]string{corev1.LastAppliedConfigAnnotation: "token"}
		if _, err := Strip(s); err != nil || (len(s.Data) > 0) != kept || (len(s.Annotations) > 0) != kept {
			t.Errorf("%s: %v, %v", kind, s.Data, err)
		}
	}
	if o, err := Strip(home()); err != nil || o == nil {
		t.Error(o, err)
	}
}

func TestAnOddSecretIsReadPastTheCache(t *testing.T) { // IP-5
	source := secret("robot", "one")
	source.Type = corev1.SecretTypeOpaque
	w := newWorld(t, home(), source, nodeImage("a"), pullJob(withSecrets("robot")))
	w.round()
	if c := w.copies(); len(c) != 1 || c[0].Type != corev1.SecretTypeOpaque || len(c[0].Data) != 1 {
		t.Errorf("%+v", c)
	}
}

func statefulSet() client.Object {
	return &beta.StatefulSet{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "web"}}
}

func TestWithoutTheRightToReadSecretsAJobSaysSo(t *testing.T) { // IP-5
	w := newWorld(t, home(), secret("robot", "one"), nodeImage("a"), pullJob(withSecrets("robot")), pullJob(called("open")))
	w.steps.options.Secrets = false
	w.round("pull", "open")
	if text := w.job().Status.Message; !strings.Contains(text, "apply deploy/member/rbac/more/pull-secrets.yaml") {
		t.Error(text)
	}
	w.deliver()
	if tags := w.nodes()[0].Spec.Images["nginx"].Tags; len(tags) != 1 || tags[0].OwnerReferences[0].Name != "open" {
		t.Errorf("%+v", tags)
	}
}
