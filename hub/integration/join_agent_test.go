package integration

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"testing"

	. "github.com/onsi/gomega"
	certificatesv1 "k8s.io/api/certificates/v1"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	clusterv1 "open-cluster-management.io/api/cluster/v1"
	workv1 "open-cluster-management.io/api/work/v1"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/flotilla-project/flotilla/hub/controllers/health"
	"github.com/flotilla-project/flotilla/hub/controllers/join"
	"github.com/flotilla-project/flotilla/hub/controllers/join/identity"
)

const allMembers = "system:open-cluster-management:managed-clusters"

// joining are the controllers that these tests are about.
func joining() []func(ctrl.Manager) error {
	return []func(ctrl.Manager) error{
		func(m ctrl.Manager) error { return join.Register(m, join.Options{}) },
		func(m ctrl.Manager) error { return health.Register(m, health.Options{}) },
	}
}

// member is what an agent would hold: a certificate of its cluster.
type member struct {
	client.WithWatch
	cluster, user string
}

func (s server) member(t testing.TB, cluster string) member {
	t.Helper()
	user := "system:open-cluster-management:" + cluster + ":a1"
	return member{s.as(t, user, "system:open-cluster-management:"+cluster, allMembers), cluster, user}
}

// bootstrapper holds a token of the account that clusters ask to join with.
func (s server) bootstrapper(t testing.TB) client.WithWatch {
	t.Helper()
	return s.client(t, s.serviceAccount(t, identity.BootstrapNamespace, identity.BootstrapAccount))
}

func managed(name string, change ...func(*clusterv1.ManagedCluster)) *clusterv1.ManagedCluster {
	c := &clusterv1.ManagedCluster{ObjectMeta: metav1.ObjectMeta{Name: name}}
	for _, change := range change {
		change(c)
	}
	return c
}

func acceptedCluster(c *clusterv1.ManagedCluster) { c.Spec.HubAcceptsClient = true }

// csr asks for a certificate as an agent does. OCM-3.3
func csr(t testing.TB, label, commonName string, organizations ...string) *certificatesv1.CertificateSigningRequest {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{
		Subject: pkix.Name{CommonName: commonName, Organization: organizations},
	}, key)
	if err != nil {
		t.Fatal(err)
	}
	return &certificatesv1.CertificateSigningRequest{
		ObjectMeta: metav1.ObjectMeta{GenerateName: label + "-", Labels: map[string]string{clusterv1.ClusterNameLabelKey: label}},
		Spec: certificatesv1.CertificateSigningRequestSpec{
			Request:    pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: der}),
			SignerName: certificatesv1.KubeAPIServerClientSignerName,
			Usages:     []certificatesv1.KeyUsage{certificatesv1.UsageDigitalSignature, certificatesv1.UsageKeyEncipherment, certificatesv1.UsageClientAuth},
		},
	}
}

// ask sends the request that the cluster's agent would.
func ask(t testing.TB, c client.Client, cluster string) *certificatesv1.CertificateSigningRequest {
	t.Helper()
	request := csr(t, cluster, "system:open-cluster-management:"+cluster+":a1", "system:open-cluster-management:"+cluster, allMembers)
	if err := c.Create(t.Context(), request); err != nil {
		t.Fatalf("create certificate request: %v", err)
	}
	return request
}

// accepted makes a cluster and waits until it is let in.
func (s server) accepted(t testing.TB, name string, change ...func(*clusterv1.ManagedCluster)) *clusterv1.ManagedCluster {
	t.Helper()
	c := managed(name, append(change, acceptedCluster)...)
	if err := s.Admin.Create(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	s.settles(t, name, "True HubClusterAdminAccepted")
	// The lease is the last thing that an accepted cluster gets; with it, the agent can start.
	s.exists(t, lease(name))
	return c
}

// settles waits for the verdict on a cluster.
func (s server) settles(t testing.TB, name, verdict string) {
	t.Helper()
	NewWithT(t).Eventually(func() string {
		return s.condition(t, name, clusterv1.ManagedClusterConditionHubAccepted)
	}, soon, interval).Should(Equal(verdict), "cluster %s", name)
}

// condition in a word or two, empty when there is none.
func (s server) condition(t testing.TB, name, kind string) string {
	t.Helper()
	c := managed(name)
	if err := s.Admin.Get(t.Context(), client.ObjectKeyFromObject(c), c); err != nil {
		t.Fatal(err)
	}
	found := meta.FindStatusCondition(c.Status.Conditions, kind)
	if found == nil {
		return ""
	}
	return string(found.Status) + " " + found.Reason
}

func (s server) exists(t testing.TB, o client.Object) {
	t.Helper()
	NewWithT(t).Eventually(func() error {
		return s.Admin.Get(t.Context(), client.ObjectKeyFromObject(o), o)
	}, soon, interval).Should(Succeed())
}

func (s server) goes(t testing.TB, o client.Object) {
	t.Helper()
	NewWithT(t).Eventually(func() bool {
		return apierrors.IsNotFound(s.Admin.Get(t.Context(), client.ObjectKeyFromObject(o), o))
	}, soon, interval).Should(BeTrue(), "%T %s stays", o, o.GetName())
}

// change patches a cluster as the administrator.
func (s server) change(t testing.TB, name string, change func(*clusterv1.ManagedCluster)) {
	t.Helper()
	if err := changeAs(t.Context(), s.Admin, name, change); err != nil {
		t.Fatal(err)
	}
}

func changeAs(ctx context.Context, c client.Client, name string, change func(*clusterv1.ManagedCluster)) error {
	cluster := managed(name)
	if err := c.Get(ctx, client.ObjectKeyFromObject(cluster), cluster); err != nil {
		return err
	}
	before := cluster.DeepCopy()
	change(cluster)
	return c.Patch(ctx, cluster, client.MergeFrom(before))
}

func lease(cluster string) *coordinationv1.Lease {
	return &coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{Namespace: cluster, Name: "managed-cluster-lease"}}
}

func manifestWork(cluster, name string, manifests ...string) *workv1.ManifestWork {
	w := &workv1.ManifestWork{ObjectMeta: metav1.ObjectMeta{Namespace: cluster, Name: name}}
	if len(manifests) == 0 {
		manifests = []string{configMap("web")}
	}
	for _, m := range manifests {
		var manifest workv1.Manifest
		manifest.Raw = []byte(m)
		w.Spec.Workload.Manifests = append(w.Spec.Workload.Manifests, manifest)
	}
	return w
}

func configMap(name string) string {
	return `{"apiVersion":"v1","kind":"ConfigMap","metadata":{"namespace":"default","name":"` + name + `"}}`
}

func namespace(name string) *corev1.Namespace {
	return &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}
}
