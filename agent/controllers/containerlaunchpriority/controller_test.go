package containerlaunchpriority

import (
	"context"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/flotilla-project/flotilla/pkg/loop"
)

var noon = time.Date(2026, 1, 2, 12, 0, 0, 0, time.UTC)

// pod has containers behind the barriers p_5 (first), p_0 (second) and p_-3 (third), and a free one.
func pod(change ...func(*corev1.Pod)) *corev1.Pod {
	p := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "web", Namespace: "shop", UID: "p"}}
	for _, c := range [][2]string{{"first", "p_5"}, {"second", "p_0"}, {"third", "p_-3"}} {
		p.Spec.Containers = append(p.Spec.Containers, corev1.Container{Name: c[0], Env: []corev1.EnvVar{{Name: "KRUISE_CONTAINER_BARRIER", ValueFrom: &corev1.EnvVarSource{
			ConfigMapKeyRef: &corev1.ConfigMapKeySelector{LocalObjectReference: corev1.LocalObjectReference{Name: "web-barrier"}, Key: c[1]}}}}})
	}
	p.Spec.Containers = append(p.Spec.Containers, corev1.Container{Name: "free"})
	for _, c := range change {
		c(p)
	}
	return p
}

func ready(names ...string) func(*corev1.Pod) {
	return func(p *corev1.Pod) {
		for _, n := range names {
			p.Status.ContainerStatuses = append(p.Status.ContainerStatuses, corev1.ContainerStatus{Name: n, Ready: true})
		}
	}
}

func completed(p *corev1.Pod) {
	p.Annotations = map[string]string{"apps.kruise.io/container-launch-priority-completed": "true"}
}

func allReady(p *corev1.Pod) {
	p.Status.Conditions = []corev1.PodCondition{{Type: corev1.ContainersReady, Status: corev1.ConditionTrue}}
}

func goes(p *corev1.Pod) { p.DeletionTimestamp = new(metav1.NewTime(noon)) }

func barriers(uid string, keys ...string) *corev1.ConfigMap {
	cm := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "web-barrier", Namespace: "shop"}, Data: map[string]string{}}
	if uid != "" {
		cm.OwnerReferences = []metav1.OwnerReference{{APIVersion: "v1", Kind: "Pod", Name: "web", UID: "p"}}
		cm.OwnerReferences[0].UID = "p"
		if uid != "p" {
			cm.OwnerReferences[0].UID = "old"
		}
	}
	for _, k := range keys {
		cm.Data[k] = "true"
	}
	return cm
}

func TestDecide(t *testing.T) { // CL-4, CL-5, CL-6
	for name, tc := range map[string]struct {
		pod  *corev1.Pod
		cm   *corev1.ConfigMap
		want plan
	}{
		"the highest first":                  {pod(), nil, plan{open: "p_5", make: true}},
		"it is open":                         {pod(), barriers("p", "p_5"), plan{}},
		"the next once it is ready":          {pod(ready("first")), barriers("p", "p_5"), plan{open: "p_0"}},
		"the last completes":                 {pod(ready("first", "second")), barriers("p", "p_5", "p_0"), plan{open: "p_-3", complete: true}},
		"also when it is open already":       {pod(ready("first", "second")), barriers("p", "p_5", "p_0", "p_-3"), plan{complete: true}},
		"all open, the first restarts":       {pod(ready("second")), barriers("p", "p_5", "p_0", "p_-3"), plan{complete: true}},
		"nothing is left":                    {pod(ready("first", "second", "third")), barriers("p", "p_5"), plan{complete: true}},
		"it is said":                         {pod(completed), nil, plan{}},
		"all are ready":                      {pod(allReady), nil, plan{}},
		"it goes":                            {pod(goes), nil, plan{}},
		"barriers of an earlier pod":         {pod(), barriers("old", "p_5", "p_0", "p_-3"), plan{open: "p_5", reset: true}},
		"a ConfigMap that somebody has made": {pod(), barriers("", "x"), plan{open: "p_5"}},
		"a pod without barriers":             {pod(func(p *corev1.Pod) { p.Spec.Containers = p.Spec.Containers[3:] }), nil, plan{}},
		"those of one level start together":  {pod(func(p *corev1.Pod) { p.Spec.Containers = p.Spec.Containers[:1] }), nil, plan{open: "p_5", make: true, complete: true}},
	} {
		t.Run(name, func(t *testing.T) {
			if d := cmp.Diff(tc.want, (&steps{}).Decide(tc.pod, tc.cm, noon), cmp.AllowUnexported(plan{})); d != "" {
				t.Error(d)
			}
		})
	}
}

type world struct {
	client.Client
	fail error
}

func newWorld(objects ...client.Object) *world {
	w := &world{}
	w.Client = fake.NewClientBuilder().WithObjects(objects...).WithInterceptorFuncs(interceptor.Funcs{
		Get: func(ctx context.Context, c client.WithWatch, key client.ObjectKey, o client.Object, opts ...client.GetOption) error {
			if _, ok := o.(*corev1.ConfigMap); ok && w.fail != nil {
				return w.fail
			}
			return c.Get(ctx, key, o, opts...)
		},
	}).Build()
	return w
}

func (w *world) reconcile() error {
	l := &loop.Loop[*corev1.Pod, *corev1.ConfigMap, plan]{Steps: &steps{local: w, plain: w}, Client: w, New: func() *corev1.Pod { return &corev1.Pod{} }}
	_, err := l.Reconcile(context.Background(), reconcile.Request{NamespacedName: client.ObjectKey{Namespace: "shop", Name: "web"}})
	return err
}

func (w *world) barriers(t *testing.T) *corev1.ConfigMap {
	t.Helper()
	var cm corev1.ConfigMap
	if err := w.Get(t.Context(), client.ObjectKey{Namespace: "shop", Name: "web-barrier"}, &cm); err != nil {
		t.Fatal(err)
	}
	return &cm
}

func TestBarriersOpenOneByOne(t *testing.T) { // CL-4, CL-5
	w := newWorld(pod())
	for _, step := range []struct {
		ready []string
		want  map[string]string
		done  string
	}{
		{nil, map[string]string{"p_5": "true"}, ""},
		{[]string{"first"}, map[string]string{"p_5": "true", "p_0": "true"}, ""},
		{[]string{"second"}, map[string]string{"p_5": "true", "p_0": "true", "p_-3": "true"}, "true"},
	} {
		var p corev1.Pod
		if err := w.Get(t.Context(), client.ObjectKey{Namespace: "shop", Name: "web"}, &p); err != nil {
			t.Fatal(err)
		}
		ready(step.ready...)(&p)
		if err := w.Status().Update(t.Context(), &p); err != nil {
			t.Fatal(err)
		}
		if err := w.reconcile(); err != nil {
			t.Fatal(err)
		}
		cm := w.barriers(t)
		if d := cmp.Diff(step.want, cm.Data); d != "" || len(cm.OwnerReferences) != 1 || cm.OwnerReferences[0].Controller != nil || cm.OwnerReferences[0].UID != "p" {
			t.Error(d, cm.OwnerReferences)
		}
		if err := w.Get(t.Context(), client.ObjectKey{Namespace: "shop", Name: "web"}, &p); err != nil {
			t.Fatal(err)
		}
		if got := p.Annotations["apps.kruise.io/container-launch-priority-completed"]; got != step.done {
			t.Errorf("after %v it is said %q", step.ready, got)
		}
	}
}

func TestThePodOfANameDoesNotInheritOpenBarriers(t *testing.T) {
	w := newWorld(pod(), barriers("old", "p_5", "p_0", "p_-3"))
	if err := w.reconcile(); err != nil {
		t.Fatal(err)
	}
	cm := w.barriers(t)
	if d := cmp.Diff(map[string]string{"p_5": "true"}, cm.Data); d != "" || len(cm.OwnerReferences) != 1 || cm.OwnerReferences[0].UID != "p" {
		t.Error(d, cm.OwnerReferences)
	}
}

func TestAReadThatFailsOpensNothing(t *testing.T) {
	w := newWorld(pod(), barriers("p", "p_5"))
	w.fail = apierrors.NewTimeoutError("slow", 1)
	if err := w.reconcile(); err == nil {
		t.Error("absence was assumed")
	}
}
