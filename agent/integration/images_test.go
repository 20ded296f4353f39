package integration_test

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/go-logr/logr"
	. "github.com/onsi/gomega"
	kruise "github.com/openkruise/kruise-api/apps/v1alpha1"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/client-go/rest"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/flotilla-project/flotilla/agent/controllers/cloneset"
	"github.com/flotilla-project/flotilla/agent/controllers/imagelistpulljob"
	"github.com/flotilla-project/flotilla/agent/controllers/imagepulljob"
	"github.com/flotilla-project/flotilla/agent/controllers/nodeimage"
	"github.com/flotilla-project/flotilla/agent/podset/predownload"
	"github.com/flotilla-project/flotilla/agent/webhooks"
	"github.com/flotilla-project/flotilla/pkg/index"
	"github.com/flotilla-project/flotilla/pkg/manager"
)

// configs is where node daemons read pull secrets.
const configs = "kruise-daemon-config"

// gallery is a world with nodes of its own and what pulls images ahead, under the agent's own rights; the node daemons are
// played.
type gallery struct {
	*hooked
	label   string // of its nodes
	written *writes
}

func newGallery(t *testing.T, nodes int) *gallery {
	t.Helper()
	w := newWorld(t)
	for _, kind := range []string{"nodeimages", "imagepulljobs", "imagelistpulljobs"} {
		w.installCRD("apps.kruise.io_" + kind + ".yaml")
	}
	for _, kind := range []client.ObjectList{&kruise.NodeImageList{}, &kruise.ImagePullJobList{}, &kruise.ImageListPullJobList{}} {
		w.Eventually(func() error { return w.client.List(t.Context(), kind) }).Should(Succeed())
	}
	g := &gallery{hooked: withWebhooks(w, func(o *webhooks.Options) { o.Daemon, o.ImagePulls = true, true }), label: "gallery/" + w.namespace}
	w.apply("rbac/more/pull-secrets.yaml")
	for i := range nodes {
		g.node(fmt.Sprintf("%s-g%d", w.namespace, i))
	}
	g.run(g.controllers())
	g.Eventually(func() int { return len(g.images()) }).Should(Equal(nodes))
	return g
}

func (g *gallery) controllers() ctrl.Manager {
	g.t.Helper()
	g.written = &writes{counts: map[string]int{}}
	cfg := rest.CopyConfig(g.rights)
	cfg.Wrap(func(next http.RoundTripper) http.RoundTripper {
		g.written.next = next
		return g.written
	})
	o := g.world.options()
	o.Namespace, o.Watch = "", map[client.Object]cache.ByObject{&corev1.Secret{}: {Transform: imagepulljob.Strip}}
	m, err := manager.New(cfg, scheme(g.world), logr.Discard(), "agent-test", o)
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(index.ByOwner(g.t.Context(), m.GetFieldIndexer(), &kruise.ImagePullJob{})).To(Succeed())
	g.Expect(nodeimage.Register(m, nodeimage.Options{})).To(Succeed())
	g.Expect(imagepulljob.Register(m, imagepulljob.Options{Secrets: true})).To(Succeed())
	g.Expect(imagelistpulljob.Register(m)).To(Succeed())
	return m
}

func (g *gallery) node(name string) {
	g.t.Helper()
	n := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{g.label: ""}}}
	g.Expect(g.client.Create(g.t.Context(), n)).To(Succeed())
	n.Status.Conditions = []corev1.NodeCondition{{Type: corev1.NodeReady, Status: corev1.ConditionTrue, LastTransitionTime: metav1.Now()}}
	g.Expect(g.client.Status().Update(g.t.Context(), n)).To(Succeed())
	g.t.Cleanup(func() { g.Expect(client.IgnoreNotFound(g.client.Delete(context.Background(), n))).To(Succeed()) })
}

// images are the NodeImages of its nodes.
func (g *gallery) images() []kruise.NodeImage {
	var list kruise.NodeImageList
	g.Expect(g.client.List(context.Background(), &list, client.HasLabels{g.label})).To(Succeed())
	return list.Items
}

// daemons end every pull on the nodes at once.
func (g *gallery) daemons() {
	g.t.Helper()
	m, err := manager.New(g.cfg, scheme(g.world), logr.Discard(), "daemons-test", g.world.options())
	g.Expect(err).NotTo(HaveOccurred())
	err = ctrl.NewControllerManagedBy(m).Named("daemons").For(&kruise.NodeImage{}).
		Complete(reconcile.Func(func(ctx context.Context, r reconcile.Request) (reconcile.Result, error) {
			var n kruise.NodeImage
			if err := m.GetClient().Get(ctx, r.NamespacedName, &n); err != nil {
				return reconcile.Result{}, client.IgnoreNotFound(err)
			}
			if _, ours := n.Labels[g.label]; !ours || !pull(&n) {
				return reconcile.Result{}, nil
			}
			err := m.GetClient().Status().Update(ctx, &n)
			if apierrors.IsConflict(err) {
				return reconcile.Result{RequeueAfter: 10 * time.Millisecond}, nil
			}
			return reconcile.Result{}, client.IgnoreNotFound(err)
		}))
	g.Expect(err).NotTo(HaveOccurred())
	g.run(m)
}

// pull is what a daemon says when all is pulled; false when it has said so.
func pull(n *kruise.NodeImage) (news bool) {
	status := kruise.NodeImageStatus{ImageStatuses: map[string]kruise.ImageStatus{}}
	for name, spec := range n.Spec.Images {
		var tags []kruise.ImageTagStatus
		for _, t := range spec.Tags {
			is := kruise.ImageTagStatus{Tag: t.Tag, Version: t.Version, Phase: kruise.ImagePhaseSucceeded, CompletionTime: new(metav1.Now())}
			said := false
			for _, was := range n.Status.ImageStatuses[name].Tags {
				if was.Tag == t.Tag && was.Version == t.Version {
					is, said = was, true
				}
			}
			news = news || !said
			status.Desired, status.Succeeded = status.Desired+1, status.Succeeded+1
			tags = append(tags, is)
		}
		status.ImageStatuses[name] = kruise.ImageStatus{Tags: tags}
	}
	n.Status = status
	return news
}

func (g *gallery) list(name string, change func(*kruise.ImageListPullJob), images ...string) *kruise.ImageListPullJob {
	g.t.Helper()
	l := &kruise.ImageListPullJob{ObjectMeta: metav1.ObjectMeta{Namespace: g.namespace, Name: name}}
	l.Spec.Images = images
	l.Spec.Selector = &kruise.ImagePullJobNodeSelector{LabelSelector: metav1.LabelSelector{MatchExpressions: []metav1.LabelSelectorRequirement{
		{Key: g.label, Operator: metav1.LabelSelectorOpExists},
	}}}
	if change != nil {
		change(l)
	}
	g.Expect(g.client.Create(g.t.Context(), l)).To(Succeed())
	return l
}

func (g *gallery) summary(l *kruise.ImageListPullJob) func() string {
	return func() string {
		g.Expect(g.client.Get(context.Background(), client.ObjectKeyFromObject(l), l)).To(Succeed())
		return fmt.Sprintf("%d of %d succeeded, over %v", l.Status.Succeeded, l.Status.Desired, l.Status.CompletionTime != nil)
	}
}

func (g *gallery) jobs() []kruise.ImagePullJob {
	var list kruise.ImagePullJobList
	g.Expect(g.client.List(context.Background(), &list, client.InNamespace(g.namespace))).To(Succeed())
	return list.Items
}

// copies are those of the pull secrets of this namespace.
func (g *gallery) copies() (some []corev1.Secret) {
	var list corev1.SecretList
	g.Expect(g.client.List(context.Background(), &list, client.InNamespace(configs))).To(Succeed())
	for _, s := range list.Items {
		if strings.HasPrefix(s.Annotations["imagepulljobs.kruise.io/source-key"], g.namespace+"/") {
			some = append(some, s)
		}
	}
	return some
}

func TestAListOfImagesIsPulledOnEveryNode(t *testing.T) { // SJ-6, SJ-7, SJ-8
	g := newGallery(t, 3)
	robot := &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: g.namespace, Name: "robot"}, Type: corev1.SecretTypeDockerConfigJson,
		Data: map[string][]byte{corev1.DockerConfigJsonKey: []byte(`{"auths":{}}`)},
	}
	g.Expect(g.client.Create(t.Context(), robot)).To(Succeed())
	l := g.list("all", func(l *kruise.ImageListPullJob) {
		l.Spec.PullSecrets, l.Spec.Parallelism = []string{"robot"}, new(intstr.FromInt32(3))
	}, "nginx:1", "registry.test:5000/team/app@sha256:"+strings.Repeat("0a", 32))
	g.Expect(*l.Spec.PullPolicy.TimeoutSeconds).To(BeEquivalentTo(600)) // IL-1

	g.Eventually(func() int { return len(g.copies()) }).Should(Equal(1))
	g.Eventually(func() bool {
		for _, n := range g.images() {
			if len(n.Spec.Images) != 2 || len(n.Spec.Images["nginx"].PullSecrets) != 1 {
				return false
			}
		}
		return true
	}).Should(BeTrue())
	g.daemons()
	g.Eventually(g.summary(l)).Should(Equal("2 of 2 succeeded, over true"))
	for _, j := range g.jobs() {
		g.Expect(j.Status.Message).To(Equal("job has completed"))
		g.Expect(j.Status.Succeeded).To(BeEquivalentTo(3))
		g.Expect(j.Spec.ImagePullPolicy).To(Equal(kruise.PullIfNotPresent))
	}
	g.Eventually(g.copies).Should(BeEmpty()) // IP-7
	g.Eventually(func() bool {
		for _, j := range g.jobs() {
			if len(j.Finalizers) > 0 {
				return false
			}
		}
		return true
	}).Should(BeTrue())

	for _, j := range g.jobs() { // nobody collects garbage here
		g.Expect(g.client.Delete(t.Context(), &j)).To(Succeed())
	}
	g.Eventually(func() int {
		n := 0
		for _, i := range g.images() {
			n += len(i.Spec.Images)
		}
		return n
	}).Should(Equal(0)) // NI-5
	var node corev1.Node
	g.Expect(g.client.Get(t.Context(), client.ObjectKey{Name: g.images()[0].Name}, &node)).To(Succeed())
	node.Labels["zone"] = "a"
	g.Expect(g.client.Update(t.Context(), &node)).To(Succeed())
	g.Eventually(func() string { return g.images()[0].Labels["zone"] }).Should(Equal("a")) // NI-4
	g.Expect(g.client.Delete(t.Context(), &node)).To(Succeed())
	g.Eventually(func() int { return len(g.images()) }).Should(Equal(2)) // NI-3
}

func TestManyImagesOnManyNodesAreFewWrites(t *testing.T) {
	const images, nodes = 40, 20
	g := newGallery(t, nodes)
	g.daemons()
	var refs []string
	for i := range images {
		refs = append(refs, fmt.Sprintf("registry.test/team/app-%d:v1", i))
	}
	g.written.reset()
	l := g.list("many", func(l *kruise.ImageListPullJob) { l.Spec.Parallelism = new(intstr.FromInt32(nodes)) }, refs...)
	g.Eventually(g.summary(l), 2*patience).Should(Equal(fmt.Sprintf("%d of %d succeeded, over true", images, images)))
	t.Logf("%d pulls: %s", images*nodes, g.written)
	asked, told := 0, 0
	for kind, n := range g.written.counted() {
		if strings.Contains(kind, "/nodeimages/") {
			asked += n
		}
		if kind == "PATCH imagepulljobs/status" {
			told += n
		}
	}
	g.Expect(asked).To(And(BeNumerically(">=", nodes), BeNumerically("<=", images*nodes/4)), "writes of NodeImages for %d pulls", images*nodes)
	g.Expect(told).To(BeNumerically("<=", 8*images), "writes of statuses")
}

func TestImagesThatCannotBeRightAreRefused(t *testing.T) { // IP-2, IL-2, NI-2
	g := newGallery(t, 0)
	bad := &kruise.ImagePullJob{ObjectMeta: metav1.ObjectMeta{Namespace: g.namespace, Name: "bad"}}
	bad.Spec.Image = "A b"
	g.Expect(g.client.Create(t.Context(), bad)).To(MatchError(ContainSubstring("spec.image")))
	twice := &kruise.ImageListPullJob{ObjectMeta: metav1.ObjectMeta{Namespace: g.namespace, Name: "twice"}}
	twice.Spec.Images = []string{"nginx", "nginx"}
	g.Expect(g.client.Create(t.Context(), twice)).To(MatchError(ContainSubstring("spec.images[1]")))
	n := &kruise.NodeImage{ObjectMeta: metav1.ObjectMeta{Name: g.namespace + "-fake", Labels: map[string]string{nodeimage.FakeLabel: ""}}}
	n.Spec.Images = map[string]kruise.ImageSpec{"nginx": {Tags: []kruise.ImageTagSpec{{Tag: "1"}}}}
	g.Expect(g.client.Create(t.Context(), n)).To(MatchError(ContainSubstring("ttlSecondsAfterFinished")))
	good := &kruise.ImagePullJob{ObjectMeta: metav1.ObjectMeta{Namespace: g.namespace, Name: "good"}}
	good.Spec.Image, good.Spec.Selector = "nginx", &kruise.ImagePullJobNodeSelector{Names: []string{"nowhere"}}
	g.Expect(g.client.Create(t.Context(), good)).To(Succeed())
	g.Expect(good.Finalizers).To(ConsistOf("apps.kruise.io/deletion-protection"))
	g.Eventually(func() string { // no node is none that is missing
		g.Expect(g.client.Get(context.Background(), client.ObjectKeyFromObject(good), good)).To(Succeed())
		return good.Status.Message
	}).Should(Equal("job has completed"))
}

func TestAnUpdateHasItsImagesPulledAhead(t *testing.T) { // WL-1.14
	w := newWorld(t)
	w.installCRD("apps.kruise.io_imagepulljobs.yaml")
	w.Eventually(func() error { return w.client.List(t.Context(), &kruise.ImagePullJobList{}) }).Should(Succeed())
	w.apply("rbac/namespace.yaml", "rbac/agent.yaml")
	m, err := manager.New(w.serviceAccount(home, "agent"), scheme(w), logr.Discard(), "agent-test", w.options())
	w.Expect(err).NotTo(HaveOccurred())
	w.Expect(index.ByOwner(t.Context(), m.GetFieldIndexer(), &corev1.Pod{}, &corev1.PersistentVolumeClaim{}, &appsv1.ControllerRevision{}, &kruise.ImagePullJob{})).To(Succeed())
	w.Expect(cloneset.Register(m, cloneset.Options{PreDownload: true, Retry: manager.DefaultRetry()})).To(Succeed())
	w.run(m)
	w.kubelet(func(p *corev1.Pod) bool { return p.Spec.Containers[0].Image == "web:1" })
	w.create(w.cloneSet(5, func(cs *kruise.CloneSet) {
		cs.Spec.UpdateStrategy.Type = kruise.InPlaceIfPossibleCloneSetUpdateStrategyType
		cs.Spec.Template.Spec.ImagePullSecrets = []corev1.LocalObjectReference{{Name: "robot"}}
	}))
	w.ready()
	jobs := func() []kruise.ImagePullJob {
		var list kruise.ImagePullJobList
		w.Expect(w.client.List(context.Background(), &list, client.InNamespace(w.namespace))).To(Succeed())
		return list.Items
	}
	w.Expect(jobs()).To(BeEmpty())
	w.change(func(cs *kruise.CloneSet) { cs.Spec.Template.Spec.Containers[0].Image = "web:2" }) // which nobody can pull yet
	w.Eventually(jobs).Should(HaveLen(1))
	job, cs := jobs()[0], w.get()
	w.Eventually(func() string { return w.get().Status.UpdateRevision }).Should(Equal(strings.TrimSuffix(job.Name, "-main")))
	w.Expect(job.Spec.Image).To(Equal("web:2"))
	w.Expect(job.Spec.PullSecrets).To(ConsistOf("robot"))
	w.Expect(metav1.IsControlledBy(&job, cs)).To(BeTrue())
	var update appsv1.ControllerRevision
	w.Eventually(func() string {
		w.Expect(w.client.Get(context.Background(), client.ObjectKey{Namespace: w.namespace, Name: strings.TrimSuffix(job.Name, "-main")}, &update)).To(Succeed())
		return update.Labels[predownload.CreatedLabel]
	}).Should(Equal("true"))
	w.change(func(cs *kruise.CloneSet) { cs.Spec.Template.Spec.Containers[0].Image = "web:1" }) // back again
	w.Eventually(jobs).Should(BeEmpty())
}
