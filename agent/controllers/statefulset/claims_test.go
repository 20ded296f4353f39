package statefulset

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	kruise "github.com/openkruise/kruise-api/apps/v1beta1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/flotilla-project/flotilla/pkg/condition"
)

func TestOwnersOfClaims(t *testing.T) { // WL-2.8
	const retain, remove = kruise.RetainPersistentVolumeClaimRetentionPolicyType, kruise.DeletePersistentVolumeClaimRetentionPolicyType
	pod := metav1.OwnerReference{APIVersion: "v1", Kind: "Pod", Name: "web-0", UID: "pod"}
	for _, tc := range []struct {
		scaled, deleted kruise.PersistentVolumeClaimRetentionPolicyType
		inside, out     string
	}{
		{retain, retain, "", ""},
		{retain, remove, "StatefulSet", "StatefulSet"},
		{remove, retain, "", "Pod"},
		{remove, remove, "StatefulSet", "Pod"},
	} {
		for inside, want := range map[bool]string{true: tc.inside, false: tc.out} {
			for has, before := range map[string][]metav1.OwnerReference{
				"nobody": nil, "pod": {pod}, "set": {{APIVersion: "apps.kruise.io/v1beta1", Kind: "StatefulSet", Name: "web", UID: "owner"}},
			} {
				c := claims{set: statefulSet(retention(tc.deleted, tc.scaled)), keep: true}
				refs, changed := c.owners(before, pod, inside)
				var kinds []string
				for _, r := range refs {
					kinds = append(kinds, r.Kind)
					if r.Controller != nil || r.BlockOwnerDeletion != nil {
						t.Errorf("reference %+v is not plain", r)
					}
				}
				if got := strings.Join(kinds, " "); got != want || changed != (cmp.Diff(before, refs) != "") {
					t.Errorf("scaled %s, deleted %s, inside %v, from %s: %q, want %q", tc.scaled, tc.deleted, inside, has, got, want)
				}
			}
		}
	}
	off := claims{set: statefulSet(retention(remove, remove))}
	if _, changed := off.owners(nil, pod, false); changed {
		t.Error("the gate is off and owners change")
	}
}

func TestClaimsGoWithTheirPods(t *testing.T) { // WL-2.8
	w := newWorld(t, standard, statefulSet(withClaims, replicas(2), retention("Delete", "Delete")))
	w.Settle()
	owners := func(claim string) string {
		var names []string
		for _, r := range w.claim(claim).OwnerReferences {
			names = append(names, r.APIVersion+" "+r.Kind+" "+r.Name)
		}
		return strings.Join(names, ", ")
	}
	if got := owners("data-web-1"); got != "apps.kruise.io/v1beta1 StatefulSet web" {
		t.Errorf("owned by %s", got)
	}
	w.change(replicas(1))
	writes := w.Settle()
	if i, j := slices.Index(writes, "patch persistentvolumeclaim data-web-1"), slices.Index(writes, "delete pod web-1"); i < 0 || j < 0 {
		t.Errorf("writes %v", writes)
	}
	if got := owners("data-web-1"); got != "v1 Pod web-1" {
		t.Errorf("a condemned pod's claim is owned by %s", got)
	}
	w.change(replicas(2))
	w.Settle()
	if len(w.Pods()) != 1 {
		t.Error("a pod took a claim that goes with the pod before")
	}
	w.conditionIs(condition.Reconciling, "True", "claim data-web-1 of the pod before")
	if err := w.Server.Plain.Delete(t.Context(), w.claim("data-web-1")); err != nil { // as the garbage collector does
		t.Fatal(err)
	}
	w.Settle()
	if got := owners("data-web-1"); len(w.Pods()) != 2 || got != "apps.kruise.io/v1beta1 StatefulSet web" {
		t.Errorf("%d pods, the new claim is owned by %s", len(w.Pods()), got)
	}
	w.change(retention("Retain", "Retain"))
	w.Settle()
	if got := owners("data-web-0"); got != "" {
		t.Errorf("owned by %s", got)
	}
}

func TestClaimsThatWereRetainedAreUsedAgain(t *testing.T) { // WL-2.8
	w := newWorld(t, standard, statefulSet(withClaims, replicas(2)))
	w.Settle()
	uid := w.claim("data-web-1").UID
	w.change(replicas(1))
	w.Settle()
	w.change(replicas(2), retention("Delete", "Retain"))
	w.Settle()
	if claim := w.claim("data-web-1"); claim.UID != uid || len(claim.OwnerReferences) != 1 || claim.OwnerReferences[0].UID != "owner" {
		t.Errorf("claim %+v", claim.ObjectMeta)
	}
}

func TestClaimThatIsBeingDeletedHoldsItsPodUp(t *testing.T) { // WL-2.8
	claim := &corev1.PersistentVolumeClaim{ObjectMeta: metav1.ObjectMeta{Name: "data-web-0", Namespace: "shop", Finalizers: []string{"shop/hold"}}}
	w := newWorld(t, standard, statefulSet(withClaims), claim)
	if err := w.Server.Plain.Delete(t.Context(), claim); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Round(); err == nil {
		t.Error("a failure is not tried again")
	}
	w.conditionIs("FailedCreatePod", "True", "claim data-web-0 is being deleted")
	if !w.told("FailedCreate") {
		t.Error("nobody was told")
	}
}

func TestPendingPodGetsItsClaimBack(t *testing.T) { // WL-2.6.1
	w := newWorld(t, standard, statefulSet(withClaims, replicas(1), toImage("web:bad")))
	if _, err := w.Round(); err != nil {
		t.Fatal(err)
	}
	pod := w.pod("web-0")
	pod.Status.Phase = corev1.PodPending
	if err := w.Server.Plain.Status().Update(t.Context(), pod); err != nil {
		t.Fatal(err)
	}
	if err := w.Server.Plain.Delete(t.Context(), w.claim("data-web-0")); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Round(); err != nil {
		t.Fatal(err)
	}
	w.claim("data-web-0")
}

// grow gives claims what they ask for, as a provisioner does.
func (w *world) grow() {
	w.Helper()
	var all corev1.PersistentVolumeClaimList
	if err := w.Server.Plain.List(w.Context(), &all); err != nil {
		w.Fatal(err)
	}
	for i := range all.Items {
		all.Items[i].Status.Capacity = all.Items[i].Spec.Resources.Requests
		if err := w.Server.Plain.Status().Update(w.Context(), &all.Items[i]); err != nil {
			w.Fatal(err)
		}
	}
}

func (w *world) sizes() string {
	var all []string
	for n := range 2 {
		q := w.claim(fmt.Sprintf("data-web-%d", n)).Spec.Resources.Requests[corev1.ResourceStorage]
		all = append(all, q.String())
	}
	return strings.Join(all, " ")
}

func resizing(t *testing.T, objects ...client.Object) *world {
	w := newWorld(t, Options{AutoResizePVC: true, AutoDeletePVC: true},
		append(objects, statefulSet(withClaims, replicas(2), class("disk"), onPodRollingUpdate))...)
	w.Settle()
	w.grow()
	w.Settle()
	return w
}

func TestClaimsGrowBeforeTheirPodsChange(t *testing.T) { // WL-2.9
	disk := storageClass("disk", new(true), 0, false)
	w := resizing(t, &disk)
	before := w.Pods()
	w.change(size("2Gi"), toImage("web:2"))
	w.Settle()
	if w.sizes() != "1Gi 2Gi" || w.pod("web-1").UID != before[1].UID {
		t.Errorf("claims ask for %s", w.sizes())
	}
	if w.claim("data-web-1").Annotations["apps.kruise.io/owned-by-asts"] != "web" || !w.told("SuccessfulResize") {
		t.Error("the claim does not tell who waits for it, or nobody was told")
	}
	want := []kruise.VolumeClaimStatus{{VolumeClaimName: "data", CompatibleReplicas: 1}}
	if d := cmp.Diff(want, w.set().Status.VolumeClaims); d != "" {
		t.Error(d)
	}
	w.grow()
	w.Settle()
	if d := cmp.Diff([]string{"0 web:1", "1 web:2"}, w.running()); d != "" || w.sizes() != "2Gi 2Gi" {
		t.Errorf("claims ask for %s, %s", w.sizes(), d)
	}
	w.grow()
	w.Settle()
	if d := cmp.Diff([]string{"0 web:2", "1 web:2"}, w.running()); d != "" {
		t.Error(d)
	}
	w.conditionIs(condition.Ready, "True", "")
	w.change(size("3Gi")) // and nothing else: no pod is made anew
	before = w.Pods()
	for range 3 {
		w.Settle()
		w.grow()
	}
	if w.sizes() != "3Gi 3Gi" || w.Pods()[0].UID != before[0].UID {
		t.Errorf("claims ask for %s", w.sizes())
	}
}

func TestClassThatDoesNotLetClaimsGrow(t *testing.T) { // WL-2.9
	for name, expands := range map[string]*bool{"says no": new(false), "says nothing": nil} {
		t.Run(name, func(t *testing.T) {
			disk := storageClass("disk", expands, 0, false)
			w := resizing(t, &disk)
			w.change(size("2Gi"))
			if _, err := w.Round(); err == nil {
				t.Error("a failure is not tried again")
			}
			w.conditionIs("FailedUpdatePod", "True", "storage class disk does not allow it")
			if w.sizes() != "1Gi 1Gi" || !w.told("FailedResize") {
				t.Errorf("claims ask for %s, or nobody was told", w.sizes())
			}
		})
	}
}

func TestClaimThatCannotFit(t *testing.T) { // WL-2.9
	disk := storageClass("disk", new(true), 0, false)
	w := resizing(t, &disk)
	w.change(class("tape"), size("2Gi"))
	w.Settle()
	w.conditionIs(condition.Stalled, "True", "of storage class disk, and its template of tape")
	if w.sizes() != "1Gi 1Gi" || !w.told("FailedUpdatePVC") {
		t.Errorf("claims ask for %s, or nobody was told", w.sizes())
	}
}

func TestFit(t *testing.T) { // WL-2.9
	claim := func(change ...func(*corev1.PersistentVolumeClaim)) *corev1.PersistentVolumeClaim {
		c := statefulSet(withClaims).Spec.VolumeClaimTemplates[0].DeepCopy()
		c.Status.Capacity = c.Spec.Resources.Requests
		for _, f := range change {
			f(c)
		}
		return c
	}
	asks := func(q string) func(*corev1.PersistentVolumeClaim) {
		return func(c *corev1.PersistentVolumeClaim) {
			c.Spec.Resources.Requests = corev1.ResourceList{corev1.ResourceStorage: resource.MustParse(q)}
		}
	}
	pending := func(c *corev1.PersistentVolumeClaim) {
		c.Status.Conditions = []corev1.PersistentVolumeClaimCondition{{Type: corev1.PersistentVolumeClaimFileSystemResizePending, Status: "True"}}
	}
	of := func(name string) func(*corev1.PersistentVolumeClaim) {
		return func(c *corev1.PersistentVolumeClaim) { c.Spec.StorageClassName = &name }
	}
	for name, tc := range map[string]struct {
		claim, template *corev1.PersistentVolumeClaim
		want            fit
	}{
		"as wanted":              {claim(), claim(), fit{"", true, true, true, false}},
		"larger":                 {claim(asks("2Gi")), claim(), fit{"", true, false, false, true}},
		"being resized":          {claim(asks("2Gi")), claim(asks("2Gi")), fit{"", true, false, false, true}},
		"resized but the system": {claim(asks("2Gi"), pending), claim(asks("2Gi")), fit{"", true, false, true, true}},
		"smaller":                {claim(), claim(asks("2Gi")), fit{"", false, true, false, false}},
		"smaller and pending":    {claim(pending), claim(asks("2Gi")), fit{"", false, true, false, false}},
		"a class on one side":    {claim(of("disk")), claim(), fit{"", true, true, true, false}},
		"another class":          {claim(of("disk")), claim(of("tape")), fit{"claim data is of storage class disk, and its template of tape", false, true, false, false}},
	} {
		if d := cmp.Diff(tc.want, compare(tc.claim, tc.template), cmp.AllowUnexported(fit{})); d != "" {
			t.Errorf("%s: %s", name, d)
		}
	}
}

func TestWhoWaitsForAnObject(t *testing.T) { // WL-2.9, WL-0.6
	claim := &corev1.PersistentVolumeClaim{ObjectMeta: metav1.ObjectMeta{
		Namespace: "shop", Name: "data-web-0", Annotations: map[string]string{"apps.kruise.io/owned-by-asts": "a"},
		OwnerReferences: []metav1.OwnerReference{{Kind: "StatefulSet", Name: "b"}, {Kind: "Pod", Name: "c-7"}, {Kind: "Pod", Name: "plain"}},
	}}
	var names []string
	for _, r := range claimant(t.Context(), claim) {
		names = append(names, r.String())
	}
	orphan := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "d-0"}}
	owned := orphan.DeepCopy()
	owned.OwnerReferences = []metav1.OwnerReference{{Kind: "ReplicaSet", Name: "e", Controller: new(true)}}
	for _, pod := range []*corev1.Pod{orphan, owned} {
		for _, r := range adopter(t.Context(), pod) {
			names = append(names, r.String())
		}
	}
	if d := cmp.Diff([]string{"shop/a", "shop/b", "shop/c", "shop/d"}, names); d != "" {
		t.Error(d)
	}
}
