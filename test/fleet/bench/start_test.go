package bench

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/go-logr/logr"
	kruisev1alpha1 "github.com/openkruise/kruise-api/apps/v1alpha1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	k8sruntime "k8s.io/apimachinery/pkg/runtime"
	clusterv1 "open-cluster-management.io/api/cluster/v1"
	workv1 "open-cluster-management.io/api/work/v1"
	logf "sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/flotilla-project/flotilla/test/fleet"
	"github.com/flotilla-project/flotilla/test/fleet/system"
	"github.com/flotilla-project/flotilla/test/fleet/testlevel"
)

// leftovers is how many objects of each kind lie about when a controller is started.
const leftovers = 200

// BenchmarkStart starts each controller of hub and agent alone, as a process of its own, on an API server that is hub
// and member at once and full of leftovers, and takes the time until its workers run.
func BenchmarkStart(b *testing.B) {
	testlevel.Need(b, testlevel.Bench)
	logf.SetLogger(logr.Discard())
	ctx := b.Context()
	f, err := fleet.Start(ctx, fleet.Config{Name: "start", Log: os.Stderr, Clusters: []fleet.Cluster{{Name: system.HubCluster}}})
	if err != nil {
		b.Fatal(err)
	}
	defer func() {
		if err := f.Stop(context.WithoutCancel(ctx)); err != nil {
			b.Error(err)
		}
	}()
	_, file, _, _ := runtime.Caller(0)
	options := system.Options{Source: filepath.Join(filepath.Dir(file), "..", "..", ".."), Log: os.Stderr}
	hub, err := system.Install(ctx, f, options)
	if err != nil {
		b.Fatal(err)
	}
	agent, err := system.InstallAlone(ctx, f, system.HubCluster, options)
	if err != nil {
		b.Fatal(err)
	}
	litter(b, f)
	if err := errors.Join(hub.KillHub(ctx), agent.KillAgent(ctx, system.HubCluster)); err != nil {
		b.Fatal(err)
	}
	for range b.N {
		startEach(b, "hub", hub.HubCommand())
		startEach(b, "agent", agent.AgentCommand(system.HubCluster))
	}
}

func litter(b *testing.B, f *fleet.Fleet) {
	b.Helper()
	w := &fleetBench{B: b, hub: connectHub(b, f)}
	for _, add := range []func(*k8sruntime.Scheme) error{kruisev1alpha1.AddToScheme} {
		if err := add(w.hub.Scheme()); err != nil {
			b.Fatal(err)
		}
	}
	for i := range leftovers {
		name := fmt.Sprintf("left-%03d", i)
		labels := map[string]string{"app": name}
		w.create(
			&corev1.ConfigMap{ObjectMeta: at(name)},
			&corev1.Secret{ObjectMeta: at(name)},
			&corev1.Pod{ObjectMeta: at(name), Spec: corev1.PodSpec{Containers: []corev1.Container{{Name: "a", Image: "registry.local/web:v1"}}}},
			&clusterv1.ManagedCluster{ObjectMeta: metav1.ObjectMeta{Name: name}},
			&workv1.ManifestWork{ObjectMeta: at(name), Spec: workv1.ManifestWorkSpec{Workload: workv1.ManifestsTemplate{Manifests: []workv1.Manifest{
				{RawExtension: k8sruntime.RawExtension{Raw: []byte(`{"apiVersion":"v1","kind":"ConfigMap","metadata":{"namespace":"default","name":"` + name + `"}}`)}},
			}}}},
			&kruisev1alpha1.CloneSet{ObjectMeta: at(name), Spec: kruisev1alpha1.CloneSetSpec{
				Replicas: new(int32(0)), Selector: &metav1.LabelSelector{MatchLabels: labels},
				Template: corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: labels},
					Spec: corev1.PodSpec{Containers: []corev1.Container{{Name: "a", Image: "registry.local/web:v1"}}}},
			}},
		)
	}
}

var choices = regexp.MustCompile(`choose from \[([^\]]*)\]`)

// startEach runs a binary once for each of its controllers.
func startEach(b *testing.B, binary string, command []string) {
	b.Helper()
	said, err := exec.CommandContext(b.Context(), command[0], "--controllers=none").CombinedOutput()
	known := choices.FindSubmatch(said)
	if err == nil || known == nil {
		b.Fatalf("%s does not tell its controllers: %v %s", binary, err, said)
	}
	slowest := time.Duration(0)
	for name := range strings.FieldsSeq(string(known[1])) {
		took, ran := startOne(b, append(command[:len(command):len(command)], "--controllers="+name))
		if !ran {
			fmt.Printf("%s --controllers=%s: nothing to run without more flags\n", binary, name)
			continue
		}
		fmt.Printf("%s --controllers=%s: workers run after %d ms\n", binary, name, took.Milliseconds())
		slowest = max(slowest, took)
	}
	b.ReportMetric(float64(slowest.Milliseconds()), binary+"-slowest-ms")
}

// startOne waits until a process says that its workers run. ran is false for one that has none.
func startOne(b *testing.B, command []string) (took time.Duration, ran bool) {
	b.Helper()
	ctx, cancel := context.WithTimeout(b.Context(), 10*time.Second)
	defer cancel()
	process := exec.CommandContext(ctx, command[0], command[1:]...)
	out, err := process.StderrPipe()
	if err != nil {
		b.Fatal(err)
	}
	began := time.Now()
	if err := process.Start(); err != nil {
		b.Fatal(err)
	}
	for lines := bufio.NewScanner(out); lines.Scan() && !ran; {
		ran = strings.Contains(lines.Text(), "Starting workers")
		took = time.Since(began)
	}
	cancel()
	_ = process.Wait()
	return took, ran
}
