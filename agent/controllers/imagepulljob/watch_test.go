package imagepulljob

import (
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	kruise "github.com/openkruise/kruise-api/apps/v1alpha1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	crevent "sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
)

// heard is a queue that remembers who was called.
type heard struct {
	queue
	names []string
}

func (h *heard) AddAfter(r reconcile.Request, after time.Duration) {
	if after < shortest || after > longestYet {
		h.names = append(h.names, "too soon or too late")
	}
	h.names = append(h.names, r.Name)
}

func TestWhoIsWokenByWhat(t *testing.T) { // IP-9, IP-17
	ofPods := func(j *kruise.ImagePullJob) {
		j.Spec.PodSelector = &kruise.ImagePullJobPodSelector{LabelSelector: metav1.LabelSelector{MatchLabels: map[string]string{"app": "web"}}}
	}
	onB := func(j *kruise.ImagePullJob) { j.Spec.Selector = &kruise.ImagePullJobNodeSelector{Names: []string{"b"}} }
	ofRedis := func(j *kruise.ImagePullJob) { j.Spec.Image = "redis" }
	leaving := func(j *kruise.ImagePullJob) { j.DeletionTimestamp, j.Finalizers = ago(0), []string{Finalizer} }
	w := newWorld(t, pullJob(called("all"), withSecrets("robot")), pullJob(called("onb"), onB), pullJob(called("pods"), ofPods), pullJob(called("redis"), ofRedis),
		pullJob(called("over"), completed(0), withSecrets("robot")), pullJob(called("leaving"), leaving))
	watch := watches{local: w.server, options: Options{ConfigNamespace: defaultNamespace}}
	pod := func(node, app string, changes ...func(*corev1.Pod)) *corev1.Pod {
		p := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "p", Labels: map[string]string{"app": app}}, Spec: corev1.PodSpec{NodeName: node}}
		for _, c := range changes {
			c(p)
		}
		return p
	}
	copied := secret("robot-x", "one")
	copied.Namespace, copied.Labels, copied.Annotations = defaultNamespace, map[string]string{sourceUIDLabel: "u"}, map[string]string{referencesNote: "shop/all"}
	other := secret("robot", "one")
	other.Namespace = "elsewhere"
	bare := nodeImage("a", func(n *kruise.NodeImage) { n.Labels = nil })
	everyone := []string{"all", "onb", "pods", "redis"}
	for name, tc := range map[string]struct {
		by       handler.EventHandler
		old, new client.Object // old is nil for what comes
		gone     bool
		want     []string
	}{
		"a NodeImage comes":         {by: watch.images(), new: nodeImage("a"), want: []string{"all", "pods", "redis"}},
		"one that is chosen comes":  {by: watch.images(), new: nodeImage("b"), want: everyone},
		"a NodeImage goes":          {by: watch.images(), new: nodeImage("b"), gone: true, want: everyone},
		"a pull is over":            {by: watch.images(), old: nodeImage("a", asked), new: nodeImage("a", asked, says(kruise.ImagePhaseSucceeded, 0)), want: []string{"all", "onb", "pods"}},
		"a tag is asked for":        {by: watch.images(), old: nodeImage("a"), new: nodeImage("a", asked), want: []string{"all", "onb", "pods"}},
		"nothing about images":      {by: watch.images(), old: nodeImage("a"), new: nodeImage("a", func(n *kruise.NodeImage) { n.Annotations = map[string]string{"x": "y"} })},
		"labels change":             {by: watch.images(), old: bare, new: nodeImage("a"), want: []string{"all", "pods", "redis"}},
		"a pod has got a node":      {by: watch.pods(), old: pod("", "web"), new: pod("a", "web"), want: []string{"pods"}},
		"another pod":               {by: watch.pods(), old: pod("", "db"), new: pod("a", "db")},
		"a pod is relabelled":       {by: watch.pods(), old: pod("a", "web"), new: pod("a", "db"), want: []string{"pods"}},
		"a pod is ready":            {by: watch.pods(), old: pod("a", "web"), new: pod("a", "web", func(p *corev1.Pod) { p.Status.Phase = corev1.PodRunning })},
		"a pod ends":                {by: watch.pods(), old: pod("a", "web"), new: pod("a", "web", func(p *corev1.Pod) { p.Status.Phase = corev1.PodFailed }), want: []string{"pods"}},
		"a pod is gone":             {by: watch.pods(), new: pod("a", "web"), gone: true, want: []string{"pods"}},
		"a pod waits":               {by: watch.pods(), new: pod("", "web")},
		"a secret comes":            {by: watch.secrets(), new: secret("robot", "one"), want: []string{"all"}},
		"a secret is another":       {by: watch.secrets(), old: secret("robot", "one"), new: secret("robot", "two"), want: []string{"all"}},
		"a secret is as it was":     {by: watch.secrets(), old: secret("robot", "one"), new: secret("robot", "one")},
		"a secret nobody names":     {by: watch.secrets(), new: secret("door", "one")},
		"of another namespace":      {by: watch.secrets(), new: other},
		"somebody deletes a copy":   {by: watch.secrets(), new: copied, gone: true, want: []string{"all"}},
		"a source is gone":          {by: watch.secrets(), new: secret("robot", "one"), gone: true},
		"the namespace for secrets": {by: watch.namespaces(), new: home(), want: everyone},
		"some namespace":            {by: watch.namespaces(), new: &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "x"}}},
	} {
		t.Run(name, func(t *testing.T) {
			var q heard
			switch {
			case tc.gone:
				tc.by.Delete(t.Context(), crevent.DeleteEvent{Object: tc.new}, &q)
			case tc.old == nil:
				tc.by.Create(t.Context(), crevent.CreateEvent{Object: tc.new}, &q)
			default:
				tc.by.Update(t.Context(), crevent.UpdateEvent{ObjectOld: tc.old, ObjectNew: tc.new}, &q)
			}
			slices.Sort(q.names)
			if d := cmp.Diff(tc.want, q.names); d != "" {
				t.Error(d)
			}
		})
	}
}

func TestTheMoreJobsTheLongerAreEventsGathered(t *testing.T) {
	for jobs, want := range map[int]time.Duration{0: shortest, 1: shortest, 200: 2 * time.Second, 10000: longestYet} {
		if got := gather(jobs); got != want {
			t.Errorf("%d jobs: %v", jobs, got)
		}
	}
}

func TestOrdersFromBeforeTheWriterRanAreWritten(t *testing.T) {
	w := newWorld(t, nodeImage("a"))
	w.desk.place(order{name: "nginx", tag: "1"}, []string{"a"})
	var q added
	if w.desk.open(&q); !slices.Equal(q.names, []string{"a"}) {
		t.Errorf("%v", q.names)
	}
}

type added struct {
	queue
	names []string
}

func (a *added) Add(r reconcile.Request) { a.names = append(a.names, r.Name) }
