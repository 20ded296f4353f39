package integration

import (
	"bytes"
	"path/filepath"
	"testing"

	. "github.com/onsi/gomega"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
	workv1 "open-cluster-management.io/api/work/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/flotilla-project/flotilla/agent/link"
)

func TestOfSeveralHubsTheFirstThatLetsUsInIsJoined(t *testing.T) { // OCM-6.2
	w := newWorld(t, "several")
	nobody := clientcmdapi.NewConfig()
	nobody.Clusters["gone"] = &clientcmdapi.Cluster{Server: "https://127.0.0.1:1"}
	nobody.AuthInfos["bootstrap"] = &clientcmdapi.AuthInfo{Token: "x"}
	nobody.Contexts["x"] = &clientcmdapi.Context{Cluster: "gone", AuthInfo: "bootstrap"}
	nobody.CurrentContext = "x"
	file := filepath.Join(t.TempDir(), "gone")
	w.Expect(clientcmd.WriteToFile(*nobody, file)).To(Succeed())
	w.options.BootstrapKubeconfigs, w.options.BootstrapKubeconfig = []string{file, w.options.BootstrapKubeconfig}, ""
	w.join()
}

func TestDetachLeavesEverythingRunning(t *testing.T) { // OCM-7.3
	w := newWorld(t, "detaches")
	w.options.AgentID = "detaches"
	w.join()
	ctx := t.Context()
	w.Expect(w.hub.Create(ctx, w.aWork("detached", w.raw(
		namespaceText("detaches"), deploymentText("detaches", "web", 2), configMapText("detaches", "c", "1"))...))).To(Succeed())
	w.isApplied("detached")
	w.stop()
	var said bytes.Buffer
	config, err := w.at.UserConfig("system:serviceaccount:open-cluster-management-agent:agent",
		"system:serviceaccounts", "system:serviceaccounts:open-cluster-management-agent", "system:authenticated")
	w.Expect(err).NotTo(HaveOccurred())
	w.Expect(link.Detach(ctx, config, w.options, &said)).To(Succeed())
	w.Expect(said.String()).To(Equal("work detached: let go, 3 objects left running\nagent detaches: 1 works let go, nothing was deleted\n"))
	w.Expect(w.gone(&workv1.AppliedManifestWork{}, "", w.recordName("detached"))()).To(BeTrue())
	w.Expect(get(w, ctx, w.member, &appsv1.Deployment{}, "detaches", "web").OwnerReferences).To(BeEmpty())
	w.Expect(get(w, ctx, w.member, &corev1.ConfigMap{}, "detaches", "c").OwnerReferences).To(BeEmpty())

	release := []byte(`{"metadata":{"finalizers":null}}`) // on the hub nobody is left to do it
	err = w.hub.Patch(ctx, w.work(w, "detached"), client.RawPatch(types.MergePatchType, release))
	w.Expect(err == nil || apierrors.IsNotFound(err)).To(BeTrue())
}
