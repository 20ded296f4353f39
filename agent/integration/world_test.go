package integration_test

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-logr/logr"
	. "github.com/onsi/gomega"
	kruise "github.com/openkruise/kruise-api/apps/v1alpha1"
	kruisebeta "github.com/openkruise/kruise-api/apps/v1beta1"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apiextensions "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	clientscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
	"sigs.k8s.io/yaml"

	"github.com/flotilla-project/flotilla/agent/controllers/cloneset"
	"github.com/flotilla-project/flotilla/agent/podset/acttest"
	"github.com/flotilla-project/flotilla/pkg/index"
	"github.com/flotilla-project/flotilla/pkg/manager"
	"github.com/flotilla-project/flotilla/test/fleet"
)

const patience = 30 * time.Second

// world is a namespace of a real API server, with a client for the test and a kubelet for its pods.
type world struct {
	*WithT
	t         *testing.T
	cfg       *rest.Config
	client    client.Client
	namespace string
}

func newWorld(t *testing.T) *world {
	t.Helper()
	f := fleet.Shared(t)
	w := &world{WithT: NewWithT(t), t: t, cfg: f.Cluster(member).RESTConfig(), namespace: f.Namespace(t, member)}
	w.SetDefaultEventuallyTimeout(patience)
	w.SetDefaultEventuallyPollingInterval(50 * time.Millisecond)
	w.cfg.QPS, w.cfg.Burst = 1000, 1000
	var err error
	w.client, err = client.New(w.cfg, client.Options{Scheme: scheme(w)})
	w.Expect(err).NotTo(HaveOccurred())
	w.installCRD("apps.kruise.io_clonesets.yaml")
	return w
}

func scheme(w *world) *runtime.Scheme {
	s := runtime.NewScheme()
	w.Expect(clientscheme.AddToScheme(s)).To(Succeed())
	w.Expect(kruise.AddToScheme(s)).To(Succeed())
	w.Expect(kruisebeta.AddToScheme(s)).To(Succeed())
	w.Expect(apiextensions.AddToScheme(s)).To(Succeed())
	return s
}

func (w *world) installCRD(file string) {
	w.t.Helper()
	raw, err := os.ReadFile(filepath.Join("..", "..", "deploy", "member", "crds", file))
	w.Expect(err).NotTo(HaveOccurred())
	var crd apiextensions.CustomResourceDefinition
	w.Expect(yaml.Unmarshal(raw, &crd)).To(Succeed())
	if err := w.client.Create(w.t.Context(), &crd); !apierrors.IsAlreadyExists(err) {
		w.Expect(err).NotTo(HaveOccurred())
	}
	w.Eventually(func() error {
		return w.client.List(w.t.Context(), &kruise.CloneSetList{})
	}).Should(Succeed())
}

// writes counts what one agent writes, conflicts included.
type writes struct {
	mutex  sync.Mutex
	counts map[string]int
	next   http.RoundTripper
}

func (c *writes) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.Method != http.MethodGet {
		c.mutex.Lock()
		c.counts[kindOf(r)]++
		c.mutex.Unlock()
	}
	return c.next.RoundTrip(r)
}

// kindOf is "PATCH pods/status".
func kindOf(r *http.Request) string {
	parts := strings.Split(r.URL.Path, "/")
	for i, p := range parts {
		if p == "namespaces" && i+2 < len(parts) {
			kind := parts[i+2]
			if i+4 < len(parts) {
				kind += "/" + parts[i+4]
			}
			return r.Method + " " + kind
		}
	}
	return r.Method + " " + r.URL.Path
}

func (c *writes) reset() {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	c.counts = map[string]int{}
}

// onPods is how often pods were written.
func (c *writes) onPods() int {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	n := 0
	for kind, count := range c.counts {
		if strings.HasPrefix(strings.SplitN(kind, " ", 2)[1], "pods") {
			n += count
		}
	}
	return n
}

// counted is how often each kind was written.
func (c *writes) counted() map[string]int {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	return maps.Clone(c.counts)
}

func (c *writes) String() string {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	return fmt.Sprint(c.counts)
}

// agent starts the CloneSet controller; stop kills it.
func (w *world) agent(options ...cloneset.Options) (counted *writes, stop context.CancelFunc) {
	w.t.Helper()
	counted = &writes{counts: map[string]int{}}
	cfg := rest.CopyConfig(w.cfg)
	cfg.Wrap(func(next http.RoundTripper) http.RoundTripper {
		counted.next = next
		return counted
	})
	m, err := manager.New(cfg, scheme(w), logr.Discard(), "agent-test", w.options())
	w.Expect(err).NotTo(HaveOccurred())
	w.Expect(index.ByOwner(w.t.Context(), m.GetFieldIndexer(), &corev1.Pod{}, &corev1.PersistentVolumeClaim{}, &appsv1.ControllerRevision{})).To(Succeed())
	w.Expect(cloneset.Register(m, append(options, cloneset.Options{})[0])).To(Succeed())
	return counted, w.run(m)
}

func (w *world) options() manager.Options {
	return manager.Options{MetricsAddr: "0", HealthProbeAddr: "0", Namespace: w.namespace, QPS: 500, Burst: 1000, CacheSyncTimeout: patience}
}

func (w *world) run(m ctrl.Manager) context.CancelFunc {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- m.Start(ctx) }()
	stop := sync.OnceFunc(func() {
		cancel()
		w.Expect(<-done).To(Succeed())
	})
	w.t.Cleanup(stop)
	return stop
}

// kubelet runs the pods of the namespace whose images are good.
func (w *world) kubelet(good func(*corev1.Pod) bool) {
	w.t.Helper()
	m, err := manager.New(w.cfg, scheme(w), logr.Discard(), "kubelet-test", w.options())
	w.Expect(err).NotTo(HaveOccurred())
	err = ctrl.NewControllerManagedBy(m).Named("kubelet").For(&corev1.Pod{}).
		Complete(reconcile.Func(func(ctx context.Context, r reconcile.Request) (reconcile.Result, error) {
			var pod corev1.Pod
			if err := m.GetClient().Get(ctx, r.NamespacedName, &pod); err != nil || !good(&pod) {
				return reconcile.Result{}, client.IgnoreNotFound(err)
			}
			before := pod.DeepCopy()
			if !acttest.Run(&pod, time.Now().Truncate(time.Second)) {
				return reconcile.Result{}, nil
			}
			return reconcile.Result{}, client.IgnoreNotFound(m.GetClient().Status().Patch(ctx, &pod, client.StrategicMergeFrom(before)))
		}))
	w.Expect(err).NotTo(HaveOccurred())
	w.run(m)
}

func always(*corev1.Pod) bool { return true }

func (w *world) create(cs *kruise.CloneSet) {
	w.t.Helper()
	w.Expect(w.client.Create(w.t.Context(), cs)).To(Succeed())
}

func (w *world) cloneSet(replicas int32, change ...func(*kruise.CloneSet)) *kruise.CloneSet {
	cs := &kruise.CloneSet{
		ObjectMeta: metav1.ObjectMeta{Name: "web", Namespace: w.namespace},
		Spec: kruise.CloneSetSpec{
			Replicas: &replicas,
			Selector: &metav1.LabelSelector{MatchLabels: map[string]string{"app": "web"}},
			Template: corev1.PodTemplateSpec{
				ObjectMeta: metav1.ObjectMeta{Labels: map[string]string{"app": "web"}},
				Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "main", Image: "web:1"}}},
			},
		},
	}
	for _, c := range change {
		c(cs)
	}
	return cs
}

func (w *world) get() *kruise.CloneSet {
	w.t.Helper()
	var cs kruise.CloneSet
	w.Expect(w.client.Get(w.t.Context(), client.ObjectKey{Namespace: w.namespace, Name: "web"}, &cs)).To(Succeed())
	return &cs
}

func (w *world) change(f func(*kruise.CloneSet)) {
	w.t.Helper()
	before := w.get()
	after := before.DeepCopy()
	f(after)
	w.Expect(w.client.Patch(w.t.Context(), after, client.MergeFrom(before))).To(Succeed())
}

func (w *world) pods() []corev1.Pod {
	w.t.Helper()
	var pods corev1.PodList
	w.Expect(w.client.List(context.Background(), &pods, client.InNamespace(w.namespace))).To(Succeed())
	return pods.Items
}

// ready waits until the CloneSet says so of its present generation.
func (w *world) ready() {
	w.t.Helper()
	w.Eventually(func() string {
		cs := w.get()
		if cs.Status.ObservedGeneration != cs.Generation {
			return "its status is older than its spec"
		}
		for _, c := range cs.Status.Conditions {
			if c.Type == "Ready" && c.Status == corev1.ConditionTrue {
				return "Ready"
			}
		}
		return fmt.Sprintf("%+v", cs.Status.Conditions)
	}).Should(Equal("Ready"))
}
