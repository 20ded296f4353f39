package imagepulljob

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	kruise "github.com/openkruise/kruise-api/apps/v1alpha1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/sets"
)

func TestDecide(t *testing.T) { // IP-10, IP-13, IP-14
	some := func(names string, changes ...func(*kruise.NodeImage)) (all []*kruise.NodeImage) {
		for _, name := range strings.Fields(names) {
			all = append(all, nodeImage(name, changes...))
		}
		return all
	}
	for name, tc := range map[string]struct {
		job     *kruise.ImagePullJob
		nodes   []*kruise.NodeImage
		ordered []string
		want    string
		recheck time.Duration
	}{
		"one by one unless told otherwise":   {job: pullJob(), nodes: some("a b c"), want: "ask a; 3 desired 1 active 0 succeeded 0 failed"},
		"as many as it may":                  {job: pullJob(parallel("2")), nodes: some("a b c"), want: "ask a b; 3 desired 2 active 0 succeeded 0 failed"},
		"a percentage is nothing":            {job: pullJob(parallel("50%")), nodes: some("a b"), want: "ask; 2 desired 0 active 0 succeeded 0 failed"},
		"zero is a pause":                    {job: pullJob(parallel("0")), nodes: some("a b"), want: "ask; 2 desired 0 active 0 succeeded 0 failed"},
		"what pulls takes room":              {job: pullJob(parallel("2")), nodes: append(some("a", asked), some("b c")...), want: "ask b; 3 desired 2 active 0 succeeded 0 failed"},
		"what is ordered takes room":         {job: pullJob(parallel("2")), nodes: some("a b c"), ordered: []string{"a"}, want: "ask b; 3 desired 2 active 0 succeeded 0 failed"},
		"an old version is not done":         {job: pullJob(), nodes: some("a", asked, says(kruise.ImagePhaseSucceeded, 5)), want: "ask; 1 desired 1 active 0 succeeded 0 failed"},
		"another tag of the image":           {job: pullJob(), nodes: some("a b", func(n *kruise.NodeImage) { o := order{name: "nginx", tag: "2"}; o.apply(n) }), want: "ask a; 2 desired 1 active 0 succeeded 0 failed"},
		"status without this tag is pulling": {job: pullJob(), nodes: some("a", asked, func(n *kruise.NodeImage) { n.Status.ImageStatuses = map[string]kruise.ImageStatus{"nginx": {}} }), want: "ask; 1 desired 1 active 0 succeeded 0 failed"},
		"waiting is pulling":                 {job: pullJob(), nodes: some("a", asked, says(kruise.ImagePhaseWaiting, 0)), want: "ask; 1 desired 1 active 0 succeeded 0 failed"},
		"done and failed":                    {job: pullJob(), nodes: append(some("a", asked, says(kruise.ImagePhaseSucceeded, 0)), some("b", asked, says(kruise.ImagePhaseFailed, 0))...), want: "ask; 2 desired 0 active 1 succeeded 1 failed [b]; job has completed", recheck: soon},
		"no node":                            {job: pullJob(), want: "ask; 0 desired 0 active 0 succeeded 0 failed; job has completed", recheck: soon},
		"no node, and never done":            {job: pullJob(never), want: "ask; 0 desired 0 active 0 succeeded 0 failed"},
		"never done":                         {job: pullJob(never), nodes: some("a", asked, says(kruise.ImagePhaseSucceeded, 0)), want: "ask; 1 desired 0 active 1 succeeded 0 failed"},
		"before the deadline":                {job: pullJob(limited(700), started(600*time.Second)), nodes: some("a", asked), want: "ask; 1 desired 1 active 0 succeeded 0 failed", recheck: 100 * time.Second},
		"just before the deadline":           {job: pullJob(limited(700), started(700*time.Second-time.Millisecond)), nodes: some("a", asked), want: "ask; 1 desired 1 active 0 succeeded 0 failed", recheck: time.Second},
		"over the deadline":                  {job: pullJob(limited(700), started(700*time.Second)), nodes: append(some("a", asked), some("b c", untouched)...), want: "ask; 3 desired 0 active 0 succeeded 3 failed [a b c]; job exceeds activeDeadlineSeconds", recheck: soon},
	} {
		t.Run(name, func(t *testing.T) {
			s := &steps{options: Options{ConfigNamespace: defaultNamespace}}
			p := s.Decide(tc.job, seen{targets: tc.nodes, ordered: sets.New(tc.ordered...), luck: func(int32) int32 { return 0 }}, noon)
			got := strings.TrimSpace("ask "+strings.Join(p.nodes, " ")) + fmt.Sprintf("; %d desired %d active %d succeeded %d failed", p.counts.desired, p.counts.active, p.counts.succeeded, len(p.counts.failed))
			if len(p.counts.failed) > 0 {
				got += fmt.Sprint(" ", p.counts.failed)
			}
			if p.end != "" {
				got += "; " + p.end
			}
			if got != tc.want || p.Recheck() != tc.recheck {
				t.Errorf("%s, again after %v; want %s after %v", got, p.Recheck(), tc.want, tc.recheck)
			}
		})
	}
}

func untouched(*kruise.NodeImage) {}

func TestJobsThatCannotPullSayWhy(t *testing.T) { // IP-2, IP-8
	s := &steps{options: Options{ConfigNamespace: "configs"}}
	p := s.Decide(pullJob(), seen{homeless: true, targets: []*kruise.NodeImage{nodeImage("a")}}, noon)
	if p.wait != "namespace configs for pull secrets does not exist; create it" || len(p.nodes) > 0 {
		t.Errorf("%q, asks %v", p.wait, p.nodes)
	}
	if p := s.Decide(pullJob(), seen{wrong: "spec.image is empty"}, noon); p.wait != "spec.image is empty" || len(p.nodes) > 0 {
		t.Errorf("%q, asks %v", p.wait, p.nodes)
	}
}

func TestOrdersInANodeImage(t *testing.T) { // IP-11, IP-12
	ref := func(uid string) corev1.ObjectReference {
		return corev1.ObjectReference{APIVersion: "apps.kruise.io/v1alpha1", Kind: "ImagePullJob", Namespace: "shop", Name: "pull", UID: "job"}
	}
	policy := &kruise.ImageTagPullPolicy{TimeoutSeconds: new(int32(600)), BackoffLimit: new(int32(3)), TTLSecondsAfterFinished: new(int32(1800 + 300 + 7))}
	sandbox := &kruise.SandboxConfig{Labels: map[string]string{"a": "b"}}
	robot := kruise.ReferenceObject{Namespace: defaultNamespace, Name: "robot-x"}
	o := newOrder(Default(pullJob(func(j *kruise.ImagePullJob) { j.Spec.SandboxConfig = sandbox })), "nginx", "1", []kruise.ReferenceObject{robot}, noon, func(int32) int32 { return 7 })
	want := kruise.ImageTagSpec{
		Tag: "1", CreatedAt: ago(0), PullPolicy: policy, ImagePullPolicy: kruise.PullIfNotPresent, OwnerReferences: []corev1.ObjectReference{ref("job")},
	}
	node := nodeImage("a", func(n *kruise.NodeImage) { // what others asked for stays
		n.Spec.Images = map[string]kruise.ImageSpec{"nginx": {Tags: []kruise.ImageTagSpec{{Tag: "2"}}, SandboxConfig: &kruise.SandboxConfig{}}}
	})
	if !o.apply(node) {
		t.Error("nothing was written")
	}
	wanted := kruise.ImageSpec{PullSecrets: []kruise.ReferenceObject{robot}, SandboxConfig: sandbox, Tags: []kruise.ImageTagSpec{want, {Tag: "2"}}}
	if d := cmp.Diff(wanted, node.Spec.Images["nginx"]); d != "" {
		t.Error(d)
	}
	if o.apply(node) {
		t.Error("the same order was written twice")
	}

	o.secrets = append(o.secrets, kruise.ReferenceObject{Namespace: defaultNamespace, Name: "late"})
	o.at = metav1.NewTime(noon.Add(time.Hour))
	if !o.apply(node) || len(node.Spec.Images["nginx"].PullSecrets) != 2 || !node.Spec.Images["nginx"].Tags[0].CreatedAt.Time.Equal(noon) {
		t.Errorf("a late secret is added, and the tag left alone: %+v", node.Spec.Images["nginx"])
	}

	second := newOrder(Default(pullJob(called("second"), func(j *kruise.ImagePullJob) { j.Spec.ImagePullPolicy = kruise.PullAlways })), "nginx", "1", nil, noon.Add(time.Hour), func(int32) int32 { return 0 })
	second.apply(node)
	tag := node.Spec.Images["nginx"].Tags[0]
	if tag.Version != 1 || len(tag.OwnerReferences) != 2 || !tag.CreatedAt.Time.Equal(noon.Add(time.Hour)) || tag.ImagePullPolicy != kruise.PullAlways || !cmp.Equal(tag.PullPolicy, policy) {
		t.Errorf("a second job raises the version and keeps the numbers: %+v", tag)
	}
	if got := stateOf(node, pullJob(), &order{name: "nginx", tag: "1"}); got != pulling {
		t.Errorf("the first job is %v again", got)
	}

	again := nodeImage("b", says(kruise.ImagePhaseSucceeded, 4)) // the daemon has pulled version 4, and the tag went
	if o.apply(again); again.Spec.Images["nginx"].Tags[0].Version != 5 {
		t.Errorf("version %d after 4", again.Spec.Images["nginx"].Tags[0].Version)
	}
}

func TestPullPolicyOfTags(t *testing.T) { // IP-12
	for name, tc := range map[string]struct {
		job      *kruise.ImagePullJob
		deadline *int64
		ttl      int32
	}{
		"by the timeouts": {job: pullJob(), ttl: 600*3 + 300 + 7},
		"by the deadline": {job: pullJob(limited(1000)), deadline: new(int64(1000)), ttl: 1000 + 300 + 7},
		"by the TTL":      {job: pullJob(limited(1000), ttl(60)), deadline: new(int64(1000)), ttl: 60 + 300 + 7},
		"never":           {job: pullJob(never), deadline: new(int64(1800)), ttl: 86400 - 600 + 7},
		"never, and slow": {job: pullJob(never, func(j *kruise.ImagePullJob) { j.Spec.PullPolicy = &kruise.PullPolicy{TimeoutSeconds: new(int32(3600))} }), deadline: new(int64(3600)), ttl: 86400 - 600 + 7},
	} {
		got := pullPolicy(Default(tc.job), func(n int32) int32 { return 7 })
		if !cmp.Equal(got.ActiveDeadlineSeconds, tc.deadline) || *got.TTLSecondsAfterFinished != tc.ttl {
			t.Errorf("%s: deadline %v, TTL %d", name, got.ActiveDeadlineSeconds, *got.TTLSecondsAfterFinished)
		}
	}
}

func TestDefaults(t *testing.T) { // IP-1
	got := Default(pullJob())
	want := kruise.ImagePullJobSpec{Image: "docker.io/library/nginx:1", ImagePullJobTemplate: kruise.ImagePullJobTemplate{
		PullPolicy: &kruise.PullPolicy{TimeoutSeconds: new(int32(600)), BackoffLimit: new(int32(3))}, CompletionPolicy: kruise.CompletionPolicy{Type: kruise.Always},
		ImagePullPolicy: kruise.PullIfNotPresent,
	}}
	if d := cmp.Diff(want, got.Spec); d != "" {
		t.Error(d)
	}
}

func TestValidate(t *testing.T) { // IP-2
	labels := metav1.LabelSelector{MatchLabels: map[string]string{"a": "b"}}
	odd := metav1.LabelSelector{MatchExpressions: []metav1.LabelSelectorRequirement{{Key: "a", Operator: "Near"}}}
	nodes := func(s kruise.ImagePullJobNodeSelector) change {
		return func(j *kruise.ImagePullJob) { j.Spec.Selector = &s }
	}
	pods := func(s metav1.LabelSelector) change {
		return func(j *kruise.ImagePullJob) { j.Spec.PodSelector = &kruise.ImagePullJobPodSelector{LabelSelector: s} }
	}
	ofImage := func(i string) change { return func(j *kruise.ImagePullJob) { j.Spec.Image = i } }
	for name, tc := range map[string]struct {
		job  *kruise.ImagePullJob
		want string
	}{
		"the least":              {job: pullJob()},
		"names":                  {job: pullJob(nodes(kruise.ImagePullJobNodeSelector{Names: []string{"a", "b"}}))},
		"names and labels":       {job: pullJob(nodes(kruise.ImagePullJobNodeSelector{Names: []string{"a"}, LabelSelector: labels})), want: "spec.selector"},
		"a name twice":           {job: pullJob(nodes(kruise.ImagePullJobNodeSelector{Names: []string{"a", "a"}})), want: "spec.selector.names[1]"},
		"odd selector":           {job: pullJob(nodes(kruise.ImagePullJobNodeSelector{LabelSelector: odd})), want: "spec.selector"},
		"odd podSelector":        {job: pullJob(pods(odd)), want: "spec.podSelector"},
		"both":                   {job: pullJob(pods(labels), nodes(kruise.ImagePullJobNodeSelector{LabelSelector: labels})), want: "spec.podSelector"},
		"no image":               {job: pullJob(ofImage("")), want: "spec.image"},
		"odd image":              {job: pullJob(ofImage("A b")), want: "spec.image"},
		"a short deadline":       {job: pullJob(limited(599)), want: "spec.completionPolicy.activeDeadlineSeconds"},
		"long enough":            {job: pullJob(limited(600), ttl(0))},
		"never, with a deadline": {job: pullJob(never, limited(600)), want: "spec.completionPolicy.activeDeadlineSeconds"},
		"never, with a TTL":      {job: pullJob(never, ttl(1)), want: "spec.completionPolicy.ttlSecondsAfterFinished"},
		"another type":           {job: pullJob(func(j *kruise.ImagePullJob) { j.Spec.CompletionPolicy.Type = "Soon" }), want: "spec.completionPolicy.type"},
	} {
		t.Run(name, func(t *testing.T) {
			errs := Validate(Default(tc.job))
			if len(errs) == 0 && tc.want == "" {
				return
			}
			if len(errs) != 1 || errs[0].Field != tc.want {
				t.Errorf("%v", errs)
			}
		})
	}
}
