package notice

import (
	"strings"
	"testing"

	eventsv1 "k8s.io/api/events/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	clusterv1 "open-cluster-management.io/api/cluster/v1"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
)

func TestTellingTwiceIsTellingOnce(t *testing.T) { // OCM-20.3
	s := runtime.NewScheme()
	if err := eventsv1.AddToScheme(s); err != nil {
		t.Fatal(err)
	}
	hub := fake.NewClientBuilder().WithScheme(s).Build()
	cluster := &clusterv1.ManagedCluster{ObjectMeta: metav1.ObjectMeta{Name: "east", UID: "u"}}
	for _, occasion := range []string{"1", "1", "2"} {
		if err := Warn(t.Context(), hub, cluster, "HeldByBrake", occasion, strings.Repeat("x", 2000)); err != nil {
			t.Fatal(err)
		}
	}
	var events eventsv1.EventList
	if err := hub.List(t.Context(), &events); err != nil || len(events.Items) != 2 {
		t.Fatalf("%d events, %v", len(events.Items), err)
	}
	e := events.Items[0]
	if e.Namespace != "east" || e.Name != "east.heldbybrake.1" || e.ReportingController != "klusterlet-agent" || e.Regarding.UID != "u" || len(e.Note) != 1024 {
		t.Errorf("%+v", e)
	}
}
