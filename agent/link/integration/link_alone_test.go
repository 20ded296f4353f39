package integration

import (
	"path/filepath"
	"testing"
	"time"

	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
	workv1 "open-cluster-management.io/api/work/v1"
)

func TestWorksAreCarriedOutWithoutJoining(t *testing.T) { // OCM-2.5
	t.Parallel()
	w := newWorld(t, "alone")
	ctx := t.Context()
	config := w.there.RESTConfig()
	out := clientcmdapi.NewConfig()
	out.Clusters["hub"] = &clientcmdapi.Cluster{Server: config.Host, CertificateAuthorityData: config.CAData}
	out.AuthInfos["admin"] = &clientcmdapi.AuthInfo{ClientCertificateData: config.CertData, ClientKeyData: config.KeyData}
	out.Contexts["x"] = &clientcmdapi.Context{Cluster: "hub", AuthInfo: "admin"}
	out.CurrentContext = "x"
	file := filepath.Join(t.TempDir(), "hub")
	w.Expect(clientcmd.WriteToFile(*out, file)).To(Succeed())
	w.Expect(w.hub.Create(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "alone"}})).To(Succeed())
	w.options.BootstrapKubeconfig, w.options.WorkloadSourceConfig = "", file
	w.options.AgentID, w.options.EvictionGrace = "alone", 3*time.Second
	w.start()
	for _, name := range []string{"alone", "alone-lost"} { // nobody made a ManagedCluster
		w.Expect(w.hub.Create(ctx, w.aWork(name, w.raw(namespaceText("alone"), configMapText("alone", name, "1"))...))).To(Succeed())
		w.isApplied(name)
	}
	w.Expect(w.hub.Delete(ctx, w.work(w, "alone"))).To(Succeed())
	w.Eventually(w.gone(&workv1.AppliedManifestWork{}, "", w.recordName("alone"))).WithTimeout(10 * time.Second).Should(BeTrue())
	w.Expect(w.gone(&corev1.ConfigMap{}, "alone", "alone")()).To(BeTrue())
	w.lose("alone-lost")
	w.Eventually(w.gone(&corev1.ConfigMap{}, "alone", "alone-lost")).WithTimeout(15 * time.Second).Should(BeTrue())
}
