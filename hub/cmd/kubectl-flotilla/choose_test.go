package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	certificatesv1 "k8s.io/api/certificates/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	clusterv1 "open-cluster-management.io/api/cluster/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"

	"github.com/flotilla-project/flotilla/hub/controllers/join/identity"
)

const agent = "system:open-cluster-management:east:a1"

// asked is a request of cluster east, waiting, made with bootstrap credentials, unless the case says otherwise.
func asked(t *testing.T, change ...func(*certificatesv1.CertificateSigningRequest, *pkix.Name)) certificatesv1.CertificateSigningRequest {
	t.Helper()
	subject := pkix.Name{CommonName: agent, Organization: []string{identity.Group("east"), identity.AllMembers}}
	request := certificatesv1.CertificateSigningRequest{
		ObjectMeta: metav1.ObjectMeta{Name: "east-1", Labels: map[string]string{clusterv1.ClusterNameLabelKey: "east"}},
		Spec: certificatesv1.CertificateSigningRequestSpec{
			SignerName: certificatesv1.KubeAPIServerClientSignerName, Username: identity.Bootstrapper,
		},
	}
	for _, change := range change {
		change(&request, &subject)
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{Subject: subject}, key)
	if err != nil {
		t.Fatal(err)
	}
	request.Spec.Request = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: der})
	return request
}

type change = func(*certificatesv1.CertificateSigningRequest, *pkix.Name)

func named(name string) change {
	return func(r *certificatesv1.CertificateSigningRequest, _ *pkix.Name) { r.Name = name }
}
func by(user string) change {
	return func(r *certificatesv1.CertificateSigningRequest, _ *pkix.Name) { r.Spec.Username = user }
}
func becoming(cn string) change {
	return func(_ *certificatesv1.CertificateSigningRequest, s *pkix.Name) { s.CommonName = cn }
}
func in(groups ...string) change {
	return func(_ *certificatesv1.CertificateSigningRequest, s *pkix.Name) { s.Organization = groups }
}
func settled(kind certificatesv1.RequestConditionType) change {
	return func(r *certificatesv1.CertificateSigningRequest, _ *pkix.Name) {
		r.Status.Conditions = []certificatesv1.CertificateSigningRequestCondition{{Type: kind}}
	}
}
func addOn(r *certificatesv1.CertificateSigningRequest, _ *pkix.Name) {
	r.Labels[identity.AddOnLabel] = "logs"
}
func serving(r *certificatesv1.CertificateSigningRequest, _ *pkix.Name) {
	r.Spec.SignerName = certificatesv1.KubeletServingSignerName
}

// cluster is a ManagedCluster with conditions, "Type=Status".
func cluster(name string, conditions ...string) *clusterv1.ManagedCluster {
	c := &clusterv1.ManagedCluster{ObjectMeta: metav1.ObjectMeta{Name: name}}
	for _, condition := range conditions {
		kind, status, _ := strings.Cut(condition, "=")
		c.Status.Conditions = append(c.Status.Conditions, metav1.Condition{Type: kind, Status: metav1.ConditionStatus(status), Message: "because"})
	}
	return c
}

const hasJoined = clusterv1.ManagedClusterConditionJoined + "=True"

// OCM-3.4, the tool's half: known requesters, one name, agents of this cluster.
func TestChoose(t *testing.T) {
	type requests = []certificatesv1.CertificateSigningRequest
	for name, tc := range map[string]struct {
		cluster  *clusterv1.ManagedCluster
		requests requests
		also     string
		want     []string
		problem  string
		notAsked bool
	}{
		"one request":                     {requests: requests{asked(t)}, want: []string{"east-1"}},
		"two of one agent":                {requests: requests{asked(t), asked(t, named("east-2"))}, want: []string{"east-1", "east-2"}},
		"of two agents":                   {requests: requests{asked(t), asked(t, named("east-2"), becoming(agent+"x"))}, problem: "requests under 2 different names wait"},
		"approved before":                 {requests: requests{asked(t, settled(certificatesv1.CertificateApproved))}},
		"joined before, its request gone": {cluster: cluster("east", hasJoined)},
		"nothing yet":                     {problem: "no certificate request of it is here", notAsked: true},
		"denied before":                   {requests: requests{asked(t, settled(certificatesv1.CertificateDenied))}, problem: "east-1 was denied", notAsked: true},
		"a stranger's":                    {requests: requests{asked(t, by("mallory"))}, problem: `it is from user "mallory", which is no bootstrap identity; if you trust that user: --requester=mallory`},
		"one the caller trusts":           {requests: requests{asked(t, by("kubernetes-admin"))}, also: "kubernetes-admin", want: []string{"east-1"}},
		"trust is no prefix":              {requests: requests{asked(t, by("kubernetes-admin2"))}, also: "kubernetes-admin", problem: "no bootstrap identity"},
		"an add-on's and a renewal":       {cluster: cluster("east", hasJoined), requests: requests{asked(t, addOn), asked(t, by(agent))}},
		"to become another cluster":       {requests: requests{asked(t, becoming("system:open-cluster-management:west:a1"))}, problem: "which is no agent of this cluster"},
		"to become an administrator too":  {requests: requests{asked(t, in(identity.Group("east"), "system:masters"))}, problem: "which is no agent of this cluster"},
		"for another signer":              {requests: requests{asked(t, serving)}, problem: "signer"},
		"a system namespace":              {cluster: cluster("kube-system"), problem: "like a system namespace"},
	} {
		t.Run(name, func(t *testing.T) {
			if tc.cluster == nil {
				tc.cluster = cluster("east")
			}
			chosen, err := choose(tc.cluster, tc.requests, tc.also)
			var got []string
			for _, r := range chosen {
				got = append(got, r.Name)
			}
			if !slices.Equal(got, tc.want) || (err != nil) != (tc.problem != "") || errors.Is(err, errNotAsked) != tc.notAsked {
				t.Fatalf("chose %v, %v", got, err)
			}
			if err != nil && !strings.Contains(err.Error(), tc.problem) {
				t.Errorf("%v, want %q in it", err, tc.problem)
			}
		})
	}
}

func fakeHub(t *testing.T, objects ...client.Object) client.WithWatch {
	t.Helper()
	scheme, err := kinds()
	if err != nil {
		t.Fatal(err)
	}
	return fake.NewClientBuilder().WithScheme(scheme).WithObjects(objects...).WithStatusSubresource(&clusterv1.ManagedCluster{}).Build()
}

func TestAcceptApprovesAndAcceptsAndSaysSo(t *testing.T) {
	request := asked(t)
	hub := fakeHub(t, cluster("east", hasJoined), &request)
	var said []string
	a := accepting{hub: hub, waits: true, say: func(format string, args ...any) { said = append(said, fmt.Sprintf(format, args...)) }}
	if err := a.accept(t.Context(), "east"); err != nil {
		t.Fatal(err)
	}
	c, err := get(t.Context(), hub, "east")
	if err != nil || !c.Spec.HubAcceptsClient {
		t.Errorf("%+v, %v", c, err)
	}
	if err := hub.Get(t.Context(), client.ObjectKeyFromObject(&request), &request); err != nil || decided(&request) != certificatesv1.CertificateApproved {
		t.Errorf("%+v, %v", request.Status, err)
	}
	want := []string{"cluster east: approved certificate request east-1 of " + identity.Bootstrapper, "cluster east: accepted", "cluster east: joined"}
	if !slices.Equal(said, want) {
		t.Errorf("said %q", said)
	}
}

func TestAStrangersRequestKeepsAClusterOut(t *testing.T) {
	request := asked(t, by("mallory"))
	hub := fakeHub(t, cluster("east"), &request)
	if err := (accepting{hub: hub}).accept(t.Context(), "east"); err == nil {
		t.Fatal("accepted")
	}
	if c, err := get(t.Context(), hub, "east"); err != nil || c.Spec.HubAcceptsClient {
		t.Errorf("%+v, %v", c, err)
	}
}

func TestWaitingEndsAndSaysWhatWasMissing(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	a := accepting{hub: fakeHub(t), waits: true}
	if err := a.accept(ctx, "east"); err == nil || !strings.Contains(err.Error(), "there is no ManagedCluster of this name") {
		t.Error(err)
	}
	request := asked(t)
	ctx, cancel = context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	a = accepting{hub: fakeHub(t, cluster("east", clusterv1.ManagedClusterConditionHubAccepted+"=False"), &request), waits: true, say: func(string, ...any) {}}
	if err := a.accept(ctx, "east"); err == nil || !strings.Contains(err.Error(), "the hub says: because") {
		t.Error(err)
	}
}

func TestDenyTakesBackAndWritesNothingTwice(t *testing.T) {
	c := cluster("east")
	c.Spec.HubAcceptsClient = true
	hub := fakeHub(t, c)
	for range 2 {
		if err := setAccepted(t.Context(), hub, "east", false); err != nil {
			t.Fatal(err)
		}
	}
	got, err := get(t.Context(), hub, "east")
	if err != nil || got.Spec.HubAcceptsClient || got.ResourceVersion != "1000" {
		t.Errorf("%+v, %v", got, err)
	}
}
