package stories

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	kruisev1alpha1 "github.com/openkruise/kruise-api/apps/v1alpha1"
	corev1 "k8s.io/api/core/v1"
	workv1 "open-cluster-management.io/api/work/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/flotilla-project/flotilla/test/fleet/system"
)

// greeting is a pod that says hello and is done.
const greeting = `"template":{"spec":{"restartPolicy":"Never",SELECT"containers":[{"name":"main","image":"registry.local/web:v1","args":["hello","there"]}]}}`

// jobsEverywhere sends a BroadcastJob and an AdvancedCronJob to all members, and asks to be told what becomes of them.
const jobsEverywhere = `{"apiVersion":"work.open-cluster-management.io/v1alpha1","kind":"ManifestWorkReplicaSet","metadata":{"namespace":"NAMESPACE","name":"jobs"},
"spec":{"placementRefs":[{"name":"everywhere"}],"manifestWorkTemplate":{
"deleteOption":{"propagationPolicy":"SelectivelyOrphan","selectivelyOrphans":{"orphaningRules":[{"group":"","resource":"namespaces","namespace":"","name":"NAMESPACE"}]}},
"workload":{"manifests":[
{"apiVersion":"v1","kind":"Namespace","metadata":{"name":"NAMESPACE"}},
{"apiVersion":"apps.kruise.io/v1alpha1","kind":"BroadcastJob","metadata":{"namespace":"NAMESPACE","name":"greet"},"spec":{"completionPolicy":{"type":"Always"},GREETING}},
{"apiVersion":"apps.kruise.io/v1alpha1","kind":"AdvancedCronJob","metadata":{"namespace":"NAMESPACE","name":"again"},
"spec":{"schedule":"@every 5s","concurrencyPolicy":"Forbid","successfulJobsHistoryLimit":1,"template":{"broadcastJobTemplate":{"spec":{"completionPolicy":{"type":"Always"},GREETING}}}}}]},
"manifestConfigs":[
{"resourceIdentifier":{"group":"apps.kruise.io","resource":"broadcastjobs","namespace":"NAMESPACE","name":"greet"},
"feedbackRules":[{"type":"JSONPaths","jsonPaths":[{"name":"phase","path":".status.phase"},{"name":"succeeded","path":".status.succeeded"}]}]},
{"resourceIdentifier":{"group":"apps.kruise.io","resource":"advancedcronjobs","namespace":"NAMESPACE","name":"again"},
"feedbackRules":[{"type":"JSONPaths","jsonPaths":[{"name":"makes","path":".status.type"},{"name":"last","path":".status.lastScheduleTime"}]}]}]}}}`

// A BroadcastJob and an AdvancedCronJob that are sent to every member of a Placement run on all nodes of each, and each member's
// result comes back to the hub. // BJ-13, CJ-8
func TestJobsRunEverywhereFromTheHub(t *testing.T) {
	w := beside(t)
	w.send(aBinding)
	w.send(aPlacementForAddOns)
	w.send(strings.ReplaceAll(jobsEverywhere, "GREETING", strings.ReplaceAll(greeting, "SELECT", "")))
	w.Cleanup(func() {
		_, _ = w.Kubectl(context.WithoutCancel(t.Context()), system.HubCluster, "delete", "manifestworkreplicaset", "jobs", "-n", w.ns)
	})
	w.until("every member's result is on the hub", func() string {
		var works workv1.ManifestWorkList
		if err := w.hub.List(t.Context(), &works, client.MatchingLabels{"work.open-cluster-management.io/manifestworkreplicaset": w.ns + ".jobs"}); err != nil {
			return err.Error()
		}
		for member, nodes := range map[string]string{east: "2", west: "1"} {
			want := "phase=completed succeeded=" + nodes + " makes=BroadcastJob last=20"
			if got := feedbackOf(works.Items, member); !strings.HasPrefix(got, want) {
				return fmt.Sprintf("%s says %q, not %q", member, got, want)
			}
		}
		return ""
	})
	w.until("the set sums it up", func() string {
		out := w.onHub("get", "manifestworkreplicaset", "jobs", "-n", w.ns, "-o", "jsonpath={.status.summary}")
		if !strings.Contains(out, `"available":2`) || !strings.Contains(out, `"total":2`) {
			return out
		}
		return ""
	})
	for _, member := range []string{east, west} {
		w.until(member+" runs it again and again", func() string { return w.runsAgain(member) })
	}
}

// runsAgain is empty once a member's AdvancedCronJob has run twice.
func (w *world) runsAgain(member string) string {
	var jobs kruisev1alpha1.BroadcastJobList
	if err := w.member(member).List(w.Context(), &jobs, client.InNamespace(w.ns)); err != nil {
		return err.Error()
	}
	var done []string
	for _, job := range jobs.Items {
		if strings.HasPrefix(job.Name, "again-") && job.Status.Phase == kruisev1alpha1.PhaseCompleted {
			done = append(done, job.Name)
		}
	}
	if len(done) == 0 {
		return fmt.Sprintf("%d jobs, and none has completed", len(jobs.Items))
	}
	var acj kruisev1alpha1.AdvancedCronJob
	if err := w.member(member).Get(w.Context(), client.ObjectKey{Namespace: w.ns, Name: "again"}, &acj); err != nil {
		return err.Error()
	}
	slices.Sort(done)
	if last := acj.Status.LastScheduleTime; last == nil || fmt.Sprintf("again-%d", last.Unix()) <= done[0] {
		return fmt.Sprintf("it ran for %v and last at %v", done, last)
	}
	return ""
}

const daily = `{"apiVersion":"apps.kruise.io/v1alpha1","kind":"BroadcastJob","metadata":{"namespace":"NAMESPACE","name":"CALLED"},
"spec":{"parallelism":"50%","completionPolicy":{POLICY},GREETING}}`

func (w *world) broadcast(name, policy string) {
	w.Helper()
	pods := strings.ReplaceAll(greeting, "SELECT", `"nodeSelector":{"stories/`+w.ns+`":"yes"},`)
	w.onEast(strings.ReplaceAll(daily, "GREETING", pods), "CALLED", name, "POLICY", policy)
}

// greeted are the nodes where a job's pod has said hello.
func (w *world) greeted(name string) (nodes []string) {
	w.Helper()
	var pods corev1.PodList
	if err := w.east.List(w.Context(), &pods, client.InNamespace(w.ns), client.MatchingLabels{"broadcastjob-name": name}); err != nil {
		w.Fatal(err)
	}
	for _, p := range pods.Items {
		if p.Status.Phase == corev1.PodSucceeded {
			nodes = append(nodes, p.Spec.NodeName)
		}
	}
	slices.Sort(nodes)
	return nodes
}

func (w *world) has(name string, nodes ...string) {
	w.Helper()
	w.until(fmt.Sprintf("%s has run on %v", name, nodes), func() string {
		if on := w.greeted(name); !slices.Equal(on, nodes) {
			return fmt.Sprintf("it has run on %v", on)
		}
		return ""
	})
}

// A BroadcastJob that never completes runs on each node that comes; one that completes goes when its time to live has passed, and
// its pods with it. // BJ-5, BJ-13, BJ-14, BJ-15, BJ-16
func (w *world) runsOnEveryNode() {
	n1, n2, n3 := east+"-n1", east+"-n2", east+"-n3"
	w.mark(n1, true)
	w.mark(n2, true)
	w.broadcast("always", `"type":"Never"`)
	w.has("always", n1, n2)
	w.mark(n3, true)
	w.has("always", n1, n2, n3)
	w.broadcast("once", `"type":"Always","ttlSecondsAfterFinished":10`)
	w.has("once", n1, n2, n3)
	w.until("the job and its pods are gone", func() string {
		var job kruisev1alpha1.BroadcastJob
		err := w.east.Get(w.Context(), client.ObjectKey{Namespace: w.ns, Name: "once"}, &job)
		if on := w.greeted("once"); client.IgnoreNotFound(err) != nil || err == nil || len(on) > 0 {
			return fmt.Sprintf("%+v, pods on %v", job.Status, on)
		}
		return ""
	})
	w.mark(n1, false)
	w.has("always", n2, n3)
}

const aVisitor = `{"apiVersion":"apps.kruise.io/v1alpha1","kind":"EphemeralJob","metadata":{"namespace":"NAMESPACE","name":"visit"},
"spec":{"selector":{"matchLabels":{"app":"host"}},"parallelism":2,"template":{"ephemeralContainers":[{"name":"visitor","image":"registry.local/web:v1",
"args":["hello","host"],"imagePullPolicy":"IfNotPresent","terminationMessagePolicy":"File"}]}}}`

const someHosts = `{"apiVersion":"apps/v1","kind":"Deployment","metadata":{"namespace":"NAMESPACE","name":"host"},
"spec":{"replicas":2,"selector":{"matchLabels":{"app":"host"}},"template":{"metadata":{"labels":{"app":"host"}},
"spec":{"containers":[{"name":"main","image":"registry.local/web:v1"}]}}}}`

// The containers of an EphemeralJob run in pods that run already, and what they say is in those pods' logs. // EJ-7, EJ-9
func TestAnEphemeralJobVisitsRunningPods(t *testing.T) {
	w := beside(t)
	w.eastNamespace()
	w.onEast(someHosts)
	w.until("two pods run", func() string {
		up := slices.DeleteFunc(w.pods(east), func(p corev1.Pod) bool { return !isReady(&p) })
		if len(up) != 2 {
			return fmt.Sprintf("%d are ready", len(up))
		}
		return ""
	})
	w.onEast(aVisitor)
	w.until("the job has succeeded", func() string {
		var job kruisev1alpha1.EphemeralJob
		err := w.east.Get(t.Context(), client.ObjectKey{Namespace: w.ns, Name: "visit"}, &job)
		if err != nil || job.Status.Phase != kruisev1alpha1.EphemeralJobSucceeded || job.Status.Succeeded != 2 {
			return fmt.Sprintf("%+v, %v", job.Status, err)
		}
		return ""
	})
	for _, p := range w.pods(east) {
		said, err := w.Kubectl(t.Context(), east, "logs", "-n", w.ns, p.Name, "-c", "visitor")
		if want := "hello host from " + p.Name; err != nil || !strings.Contains(said, want) {
			t.Errorf("the visitor of %s said %q, %v", p.Name, said, err)
		}
		if !isReady(&p) || p.Status.ContainerStatuses[0].RestartCount != 0 {
			t.Errorf("the pod was disturbed: %+v", p.Status)
		}
	}
}
