package integration

import (
	"bytes"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	. "github.com/onsi/gomega"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/clientcmd"
)

// The tool that people let clusters in with, against the hub that lets them in.
func TestAnAdministratorLetsAClusterIn(t *testing.T) {
	s, g := hubServer(t), NewWithT(t)
	s.run(t, joining()...)
	const name = "by-hand"
	tool := filepath.Join(t.TempDir(), "kubectl-flotilla")
	built, err := exec.CommandContext(t.Context(), "go", "build", "-o", tool, "../cmd/kubectl-flotilla").CombinedOutput()
	g.Expect(err).NotTo(HaveOccurred(), "%s", built)
	flotilla := func(args ...string) (string, string, error) {
		var out, complaints bytes.Buffer
		c := exec.CommandContext(t.Context(), tool, append(args, "--kubeconfig", s.Kubeconfig())...)
		c.Stdout, c.Stderr = &out, &complaints
		err := c.Run()
		return out.String(), complaints.String(), err
	}

	_, complaint, err := flotilla("accept", name)
	g.Expect(err).To(HaveOccurred())
	g.Expect(complaint).To(ContainSubstring("it has not asked to join: there is no ManagedCluster of this name"))

	kubeconfig, notes, err := flotilla("bootstrap", "--duration", "10m")
	g.Expect(err).NotTo(HaveOccurred(), notes)
	g.Expect(notes).To(ContainSubstring("pass --server"))
	cfg, err := clientcmd.RESTConfigFromKubeConfig([]byte(kubeconfig))
	g.Expect(err).NotTo(HaveOccurred())
	boot := s.client(t, cfg)

	waiting := make(chan error, 1)
	var out, complaints string
	go func() {
		var err error
		out, complaints, err = flotilla("accept", name, "--wait", "--timeout", "30s")
		waiting <- err
	}()
	g.Expect(boot.Create(t.Context(), managed(name))).To(Succeed())
	ask(t, boot, name)
	s.settles(t, name, "True HubClusterAdminAccepted")
	agent := s.member(t, name)
	g.Eventually(func() error { return agent.report(t, metav1.ConditionTrue) }, soon, interval).Should(Succeed())
	g.Eventually(waiting, soon).Should(Receive(BeNil()), complaints)
	g.Expect(out).To(And(ContainSubstring("approved certificate request by-hand-"), ContainSubstring("cluster by-hand: accepted\n"), ContainSubstring("joined")))

	table, complaints, err := flotilla("clusters")
	g.Expect(err).NotTo(HaveOccurred(), complaints)
	g.Expect(table).To(MatchRegexp(`(?m)^by-hand +yes +yes +yes `))
	_, complaints, err = flotilla("deny", name)
	g.Expect(err).NotTo(HaveOccurred(), complaints)
	s.settles(t, name, "False HubClusterAdminDenied")
	g.Eventually(func() error { return agent.renew(t, time.Now()) }, soon, interval).Should(MatchError(ContainSubstring("forbidden")))
}
