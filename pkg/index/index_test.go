package index

import (
	"context"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
)

func owned(name, uid string, controller bool) metav1.ObjectMeta {
	return metav1.ObjectMeta{Namespace: "shop", Name: name, OwnerReferences: []metav1.OwnerReference{{
		APIVersion: "apps/v1", Kind: "ReplicaSet", Name: "web", UID: types.UID(uid), Controller: new(controller),
	}}}
}

func TestOnlyWhatTheOwnerOwnsIsListed(t *testing.T) {
	c := fake.NewClientBuilder().
		WithIndex(&corev1.Pod{}, Key, Owners).
		WithIndex(&corev1.PersistentVolumeClaim{}, Key, Owners).
		WithIndex(&appsv1.ControllerRevision{}, Key, Owners).
		WithObjects(
			&corev1.Pod{ObjectMeta: owned("mine", "1", true)}, &corev1.Pod{ObjectMeta: owned("theirs", "2", true)},
			&corev1.PersistentVolumeClaim{ObjectMeta: owned("mine", "1", true)},
			&appsv1.ControllerRevision{ObjectMeta: owned("mine", "1", true)},
			&appsv1.ControllerRevision{ObjectMeta: owned("named", "1", false)},
		).Build()
	web := &appsv1.ReplicaSet{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "web", UID: "1"}}
	pods, err := PodsOf(context.Background(), c, web)
	if err != nil || len(pods) != 1 || pods[0].Name != "mine" {
		t.Errorf("pods %v, %v", pods, err)
	}
	claims, err := ClaimsOf(context.Background(), c, web)
	if err != nil || len(claims) != 1 {
		t.Errorf("claims %v, %v", claims, err)
	}
	revisions, err := RevisionsOf(context.Background(), c, web)
	if err != nil || len(revisions) != 1 || revisions[0].Name != "mine" {
		t.Errorf("revisions that are not controlled must be left out: %v, %v", revisions, err)
	}
}

func TestOrphansAreThoseWithoutController(t *testing.T) {
	plain := metav1.ObjectMeta{Namespace: "shop", Name: "plain"}
	elsewhere := metav1.ObjectMeta{Namespace: "attic", Name: "plain"}
	c := fake.NewClientBuilder().
		WithIndex(&corev1.Pod{}, Key, Owners).
		WithIndex(&appsv1.ControllerRevision{}, Key, Owners).
		WithObjects(
			&corev1.Pod{ObjectMeta: owned("controlled", "1", true)}, &corev1.Pod{ObjectMeta: owned("named", "1", false)},
			&corev1.Pod{ObjectMeta: plain}, &corev1.Pod{ObjectMeta: elsewhere},
			&appsv1.ControllerRevision{ObjectMeta: owned("controlled", "1", true)}, &appsv1.ControllerRevision{ObjectMeta: plain},
		).Build()
	pods, err := OrphanPods(context.Background(), c, "shop")
	if err != nil || len(pods) != 2 || pods[0].Name != "named" || pods[1].Name != "plain" {
		t.Errorf("pods %v, %v", pods, err)
	}
	revisions, err := OrphanRevisions(context.Background(), c, "shop")
	if err != nil || len(revisions) != 1 || revisions[0].Name != "plain" {
		t.Errorf("revisions %v, %v", revisions, err)
	}
}
