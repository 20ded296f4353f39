package stories

import (
	"context"
	"fmt"
	"strings"
	"testing"

	kruisev1alpha1 "github.com/openkruise/kruise-api/apps/v1alpha1"
	workv1 "open-cluster-management.io/api/work/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/flotilla-project/flotilla/test/fleet/system"
)

// pullEverywhere sends a job to all members, and asks to be told what becomes of it.
const pullEverywhere = `{"apiVersion":"work.open-cluster-management.io/v1alpha1","kind":"ManifestWorkReplicaSet","metadata":{"namespace":"NAMESPACE","name":"pull"},
"spec":{"placementRefs":[{"name":"everywhere"}],"manifestWorkTemplate":{
"deleteOption":{"propagationPolicy":"SelectivelyOrphan","selectivelyOrphans":{"orphaningRules":[{"group":"","resource":"namespaces","namespace":"","name":"NAMESPACE"}]}},
"workload":{"manifests":[
{"apiVersion":"v1","kind":"Namespace","metadata":{"name":"NAMESPACE"}},
{"apiVersion":"apps.kruise.io/v1alpha1","kind":"ImagePullJob","metadata":{"namespace":"NAMESPACE","name":"pull"},
"spec":{"image":"IMAGE","parallelism":10,"completionPolicy":{"type":"Always"}}}]},
"manifestConfigs":[{"resourceIdentifier":{"group":"apps.kruise.io","resource":"imagepulljobs","namespace":"NAMESPACE","name":"pull"},
"feedbackRules":[{"type":"JSONPaths","jsonPaths":[{"name":"desired","path":".status.desired"},{"name":"succeeded","path":".status.succeeded"},{"name":"message","path":".status.message"}]}]}]}}}`

// An ImagePullJob that is sent to every member of a Placement has each node pull the image, and each member's result comes
// back to the hub. // IP-15, IM-11, NI-3
func TestAnImageIsPulledEverywhereFromTheHub(t *testing.T) {
	w := beside(t)
	const name = "registry.local/pulled/everywhere"
	w.send(aBinding)
	w.send(aPlacementForAddOns)
	w.send(strings.ReplaceAll(pullEverywhere, "IMAGE", name+":1"))
	w.Cleanup(func() {
		_, _ = w.Kubectl(context.WithoutCancel(t.Context()), system.HubCluster, "delete", "manifestworkreplicaset", "pull", "-n", w.ns)
	})
	nodes := map[string]string{east: "2", west: "1"}
	w.until("every member's result is on the hub", func() string {
		var works workv1.ManifestWorkList
		if err := w.hub.List(t.Context(), &works, client.MatchingLabels{"work.open-cluster-management.io/manifestworkreplicaset": w.ns + ".pull"}); err != nil {
			return err.Error()
		}
		for member, count := range nodes {
			want := "desired=" + count + " succeeded=" + count + " message=job has completed"
			if got := feedbackOf(works.Items, member); got != want {
				return fmt.Sprintf("%s says %q, not %q", member, got, want)
			}
		}
		return ""
	})
	for _, member := range []string{east, west} {
		var images kruisev1alpha1.NodeImageList
		if err := w.member(member).List(t.Context(), &images); err != nil {
			t.Fatal(err)
		}
		for _, n := range images.Items {
			s := n.Status.ImageStatuses[name]
			if len(s.Tags) != 1 || s.Tags[0].Phase != kruisev1alpha1.ImagePhaseSucceeded || s.Tags[0].ImageID == "" {
				t.Errorf("%s: %+v", n.Name, s)
			}
		}
	}
}

// feedbackOf is what a member says of the job.
func feedbackOf(works []workv1.ManifestWork, member string) string {
	var all []string
	for _, work := range works {
		if work.Namespace != member {
			continue
		}
		for _, m := range work.Status.ResourceStatus.Manifests {
			for _, v := range m.StatusFeedbacks.Values {
				switch {
				case v.Value.Integer != nil:
					all = append(all, fmt.Sprintf("%s=%d", v.Name, *v.Value.Integer))
				case v.Value.String != nil:
					all = append(all, fmt.Sprintf("%s=%s", v.Name, *v.Value.String))
				}
			}
		}
	}
	return strings.Join(all, " ")
}
