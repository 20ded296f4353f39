package work

import (
	"errors"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/dynamic"
	clienttesting "k8s.io/client-go/testing"
	workv1 "open-cluster-management.io/api/work/v1"
)

func TestDetachLeavesEverythingRunning(t *testing.T) { // OCM-7.3
	b := newBench(t, nil)
	b.ownRecord(t, nil)
	stranger := b.record(t)
	stranger.Name, stranger.ResourceVersion, stranger.UID, stranger.Spec.AgentID = "other", "", "other", "somebody"
	if err := b.local.Create(t.Context(), stranger); err != nil {
		t.Fatal(err)
	}
	acting := func(*workv1.AppliedManifestWork) (dynamic.Interface, error) { return b.member, nil }
	broken := true
	b.member.PrependReactor("patch", "configmaps", func(clienttesting.Action) (bool, runtime.Object, error) {
		return broken, nil, errors.New("busy")
	})
	said := 0
	detach := func() error {
		return Detach(t.Context(), b.local, acting, b.options.AgentID, func(_ *workv1.AppliedManifestWork, objects int, err error) {
			if said++; objects != 1 || (err != nil) != broken {
				t.Errorf("%d objects, %v", objects, err)
			}
		})
	}
	if err := detach(); err == nil || b.recordGone(t) {
		t.Fatalf("what could not be released lost its record: %v", err)
	}
	broken = false
	if err := detach(); err != nil || said != 2 {
		t.Fatalf("%v, said %d", err, said)
	}
	live, err := b.member.Resource(configMaps).Namespace("a").Get(t.Context(), "c", metav1.GetOptions{})
	if err != nil || len(live.GetOwnerReferences()) != 0 || !b.recordGone(t) {
		t.Errorf("%v %v, record gone %v", live, err, b.recordGone(t))
	}
	var left workv1.AppliedManifestWorkList
	if err := b.local.List(t.Context(), &left); err != nil || len(left.Items) != 1 {
		t.Errorf("%d records left, %v", len(left.Items), err)
	}
}
