package register

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	certificatesv1 "k8s.io/api/certificates/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/util/keyutil"
	clusterv1 "open-cluster-management.io/api/cluster/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"
)

var noon = time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)

var east = Identity{Cluster: "east", Agent: "a1"}

// issue makes a self-signed pair for a subject, valid around noon.
func issue(t *testing.T, subject pkix.Name, from, until time.Time) (cert, key []byte) {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: subject, NotBefore: from, NotAfter: until}
	der, err := x509.CreateCertificate(rand.Reader, template, template, k.Public(), k)
	if err != nil {
		t.Fatal(err)
	}
	if key, err = keyutil.MarshalPrivateKeyToPEM(k); err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), key
}

var aHub = Hub{Entry: "hub", Server: "https://hub:6443", CAData: []byte("ca")}

func given(t *testing.T, id Identity, from, until time.Time) Credentials {
	t.Helper()
	cert, key := issue(t, id.Subject(), from, until)
	kubeconfig, err := aHub.Kubeconfig()
	if err != nil {
		t.Fatal(err)
	}
	return Credentials{Identity: id, Cert: cert, Key: key, Kubeconfig: kubeconfig}
}

func TestNamesComeFromFlagThenStoreThenChance(t *testing.T) { // OCM-2.1
	if got := (Identity{Cluster: "west"}).Complete(east); got != (Identity{Cluster: "west", Agent: "a1"}) {
		t.Errorf("flag and store: %v", got)
	}
	got := Identity{}.Complete(Identity{})
	if len(got.Cluster) != 36 || len(got.Agent) != 5 {
		t.Errorf("a random cluster name is a UUID, a random agent name has five characters: %v", got)
	}
}

func TestCommonNameIsReadBack(t *testing.T) {
	got, err := ParseCommonName(east.CommonName())
	if err != nil || got != east {
		t.Errorf("got %v, %v", got, err)
	}
	for _, bad := range []string{"", "east", "system:open-cluster-management:east", "system:open-cluster-management::a", "system:open-cluster-management:east:",
		"system:open-cluster-management:east:a:b", "system:node:east:a"} {
		if got, err := ParseCommonName(bad); err == nil {
			t.Errorf("%q was read as %v", bad, got)
		}
	}
}

func TestRequestHasTheContractsContents(t *testing.T) { // OCM-3.3
	csr, key, err := east.Request(7200).New()
	if err != nil {
		t.Fatal(err)
	}
	block, _ := pem.Decode(csr.Spec.Request)
	if block == nil || block.Type != "CERTIFICATE REQUEST" {
		t.Fatalf("request is not PEM: %s", csr.Spec.Request)
	}
	request, err := x509.ParseCertificateRequest(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	if request.Subject.CommonName != "system:open-cluster-management:east:a1" || !east.Owns(request.Subject) ||
		!sameSet(request.Subject.Organization, []string{"system:open-cluster-management:east", "system:open-cluster-management:managed-clusters"}) {
		t.Errorf("subject %v", request.Subject)
	}
	if _, ok := request.PublicKey.(*ecdsa.PublicKey); !ok {
		t.Errorf("key is %T", request.PublicKey)
	}
	if _, err := keyutil.ParsePrivateKeyPEM(key); err != nil {
		t.Error(err)
	}
	seconds := int32(7200)
	want := &certificatesv1.CertificateSigningRequest{
		ObjectMeta: metav1.ObjectMeta{GenerateName: "east-", Labels: map[string]string{"open-cluster-management.io/cluster-name": "east"}},
		Spec: certificatesv1.CertificateSigningRequestSpec{
			Request: csr.Spec.Request, SignerName: "kubernetes.io/kube-apiserver-client", ExpirationSeconds: &seconds,
			Usages: []certificatesv1.KeyUsage{"digital signature", "key encipherment", "client auth"},
		},
	}
	if d := cmp.Diff(want, csr); d != "" {
		t.Error(d)
	}
	if plain, _, _ := east.Request(0).New(); plain.Spec.ExpirationSeconds != nil {
		t.Error("expirationSeconds is set though not configured")
	}
}

func TestStoredCredentialsAreUsedOnlyUnderTheFourRules(t *testing.T) { // OCM-2.4
	good := given(t, east, noon.Add(-time.Hour), noon.Add(time.Hour))
	change := func(f func(*Credentials)) Credentials { c := good; f(&c); return c }
	otherHub := func(f func(*Hub)) *Hub { h := aHub; f(&h); return &h }
	for name, tc := range map[string]struct {
		have Credentials
		want Identity
		boot *Hub
		now  time.Time
		why  string
	}{
		"all is well":                        {have: good, want: east, boot: &aHub, now: noon},
		"no bootstrap kubeconfig to compare": {have: good, want: east, now: noon},
		"names not given match any":          {have: good, boot: &aHub, now: noon},
		"no certificate":                     {have: change(func(c *Credentials) { c.Cert = nil }), boot: &aHub, now: noon, why: "missing"},
		"no kubeconfig":                      {have: change(func(c *Credentials) { c.Kubeconfig = nil }), boot: &aHub, now: noon, why: "missing"},
		"another server":                     {have: good, boot: otherHub(func(h *Hub) { h.Server += "/" }), now: noon, why: "another hub"},
		"another CA":                         {have: good, boot: otherHub(func(h *Hub) { h.CAData = []byte("x") }), now: noon, why: "another hub"},
		"another CA file":                    {have: good, boot: otherHub(func(h *Hub) { h.CAFile = "/ca" }), now: noon, why: "another hub"},
		"another proxy":                      {have: good, boot: otherHub(func(h *Hub) { h.ProxyURL = "http://p" }), now: noon, why: "another hub"},
		"another name of the cluster entry":  {have: good, boot: otherHub(func(h *Hub) { h.Entry = "h2" }), now: noon, why: "another hub"},
		"certificate of another cluster":     {have: good, want: Identity{Cluster: "eas"}, boot: &aHub, now: noon, why: `for cluster "east"`},
		"certificate of another agent":       {have: good, want: Identity{Cluster: "east", Agent: "a"}, boot: &aHub, now: noon, why: `for agent "a1"`},
		"certificate that ran out":           {have: good, want: east, boot: &aHub, now: noon.Add(2 * time.Hour), why: "ran out"},
		"key of another certificate":         {have: change(func(c *Credentials) { _, c.Key = issue(t, east.Subject(), noon, noon) }), boot: &aHub, now: noon, why: "belong together"},
	} {
		t.Run(name, func(t *testing.T) {
			err := tc.have.Usable(tc.want, tc.boot, tc.now)
			if tc.why == "" && err != nil || tc.why != "" && (err == nil || !strings.Contains(err.Error(), tc.why)) {
				t.Errorf("got %v, want %q", err, tc.why)
			}
		})
	}
}

func TestRotationIsDue(t *testing.T) { // OCM-6.1
	start, end := noon, noon.Add(100*time.Minute)
	have := given(t, east, start, end)
	extra := have
	extra.Cert, extra.Key = issue(t, pkix.Name{CommonName: east.CommonName(), Organization: append(east.Subject().Organization, "more")}, start, end)
	noName := have
	noName.Identity.Agent = ""
	for name, tc := range map[string]struct {
		have       Credentials
		want       Identity
		kubeconfig []byte
		now        time.Time
		due        bool
	}{
		"fresh":                         {have: have, want: east, now: start},
		"just above the threshold":      {have: have, want: east, now: start.Add(77 * time.Minute)},
		"at the threshold":              {have: have, want: east, now: start.Add(78 * time.Minute), due: true},
		"run out":                       {have: have, want: east, now: end.Add(time.Hour), due: true},
		"for another agent":             {have: have, want: Identity{Cluster: "east", Agent: "a2"}, now: start, due: true},
		"with an organization too many": {have: extra, want: east, now: start, due: true},
		"secret without agent name":     {have: noName, want: east, now: start, due: true},
		"kubeconfig to store changed":   {have: have, want: east, kubeconfig: []byte("other"), now: start, due: true},
		"no certificate at all":         {want: east, now: start, due: true},
	} {
		t.Run(name, func(t *testing.T) {
			kubeconfig := tc.kubeconfig
			if kubeconfig == nil {
				kubeconfig = have.Kubeconfig
			}
			if why := Due(tc.have, tc.want, kubeconfig, 0.22, tc.now); (why != "") != tc.due {
				t.Errorf("due: %q", why)
			}
		})
	}
	for range 200 {
		if x := Threshold(); x < 0.20 || x >= 0.25 {
			t.Fatalf("threshold %v", x)
		}
	}
}

// A certificate that lives shorter than five minutes ran out between two looks.
func TestAShortCertificateIsLookedAtInTime(t *testing.T) { // OCM-6.1
	for name, tc := range map[string]struct {
		life, left, want time.Duration
	}{
		"a year":                       {life: 8760 * time.Hour, left: 8760 * time.Hour, want: 6570 * time.Hour},
		"two minutes":                  {life: 2 * time.Minute, left: 2 * time.Minute, want: 90 * time.Second},
		"two minutes, dated back five": {life: 7 * time.Minute, left: 2 * time.Minute, want: 15 * time.Second},
		"due when it is issued":        {life: 6 * time.Minute, left: time.Minute, want: 10 * time.Second},
		"nearly over":                  {life: 2 * time.Minute, left: 8 * time.Second, want: 4 * time.Second},
		"over":                         {life: 2 * time.Minute, left: -time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			have := given(t, east, noon.Add(tc.left-tc.life), noon.Add(tc.left))
			if got := DueIn(have, 0.25, noon); got != tc.want {
				t.Errorf("%s", got)
			}
			s := newStore(t)
			if err := s.writeFiles(given(t, east, time.Now().Add(tc.left-tc.life), time.Now().Add(tc.left))); err != nil {
				t.Fatal(err)
			}
			if got := (Rotator{Registrar: Registrar{Store: s}}).due(0.25); got > tc.want {
				t.Errorf("looked at in %s", got)
			}
		})
	}
	if got := DueIn(Credentials{}, 0.25, noon); got < 1000*time.Hour {
		t.Errorf("without a certificate: %s", got)
	}
}

func TestKubeconfigHasTheContractsShape(t *testing.T) { // OCM-2.3
	data, err := aHub.Kubeconfig()
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"client-certificate: tls.crt", "client-key: tls.key", "name: default-context", "name: default-auth", "namespace: configuration", "current-context: default-context", "server: https://hub:6443"} {
		if !bytes.Contains(data, []byte(want)) {
			t.Errorf("kubeconfig lacks %q:\n%s", want, data)
		}
	}
	if back, err := parseHub(data); err != nil || !back.Same(aHub) {
		t.Errorf("read back %v, %v", back, err)
	}
}

func TestCredentialsNeverPrintTheirKey(t *testing.T) {
	c := given(t, east, noon, noon.Add(time.Hour))
	for _, format := range []string{"%v", "%+v", "%s", "%#v"} {
		if text := fmt.Sprintf(format, c); strings.Contains(text, "PRIVATE") || text != "east/a1" {
			t.Errorf("%s prints %q", format, text)
		}
	}
}

func scheme(t *testing.T) *runtime.Scheme {
	t.Helper()
	s := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{corev1.AddToScheme, certificatesv1.AddToScheme, clusterv1.Install} {
		if err := add(s); err != nil {
			t.Fatal(err)
		}
	}
	return s
}

func newStore(t *testing.T, objects ...client.Object) Store {
	return Store{
		Local:     fake.NewClientBuilder().WithScheme(scheme(t)).WithObjects(objects...).Build(),
		Namespace: "open-cluster-management-agent", Name: "hub-kubeconfig-secret", Dir: filepath.Join(t.TempDir(), "hub"),
	}
}

func TestStoreKeepsSecretAndFilesAlike(t *testing.T) {
	ctx, s := t.Context(), newStore(t)
	c := given(t, east, noon, noon.Add(time.Hour))
	if err := s.Save(ctx, Credentials{Identity: east}); err != nil { // names first
		t.Fatal(err)
	}
	if err := s.Save(ctx, c); err != nil {
		t.Fatal(err)
	}
	secret, err := s.secret(ctx)
	if err != nil || secret == nil {
		t.Fatalf("secret %v, %v", secret, err)
	}
	if d := cmp.Diff(c.data(), secret.Data); d != "" {
		t.Error(d)
	}
	for name, want := range c.data() {
		path := filepath.Join(s.Dir, name)
		info, err := os.Stat(path)
		if err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v, %v", name, info, err)
		}
		if got, _ := os.ReadFile(path); !bytes.Equal(got, want) {
			t.Errorf("file %s differs from the secret", name)
		}
	}
	if left, _ := filepath.Glob(filepath.Join(s.Dir, ".*")); len(left) > 0 {
		t.Errorf("temporary files left: %v", left)
	}
}

func TestSecretIsBelievedBeforeTheFiles(t *testing.T) {
	ctx, s := t.Context(), newStore(t)
	old, fresh := given(t, east, noon, noon.Add(time.Hour)), given(t, east, noon, noon.Add(2*time.Hour))
	if err := s.Save(ctx, fresh); err != nil {
		t.Fatal(err)
	}
	if err := s.writeFiles(old); err != nil { // as if the agent had died between the two writes
		t.Fatal(err)
	}
	got, err := s.Load(ctx)
	if err != nil || !bytes.Equal(got.Cert, fresh.Cert) {
		t.Fatalf("loaded the old certificate, %v", err)
	}
	if files, _ := s.Files(); !bytes.Equal(files.Cert, fresh.Cert) || !bytes.Equal(files.Key, fresh.Key) {
		t.Error("files were not brought in line")
	}
}

func TestFilesServeWhileTheLocalAPIServerIsAway(t *testing.T) {
	ctx, s := t.Context(), newStore(t)
	c := given(t, east, noon, noon.Add(time.Hour))
	if err := s.Save(ctx, c); err != nil {
		t.Fatal(err)
	}
	s.Local = interceptor.NewClient(fake.NewClientBuilder().Build(), interceptor.Funcs{
		Get: func(context.Context, client.WithWatch, client.ObjectKey, client.Object, ...client.GetOption) error {
			return errors.New("connection refused")
		},
	})
	got, err := s.Load(ctx)
	if err != nil || !bytes.Equal(got.Cert, c.Cert) {
		t.Errorf("files not used: %v", err)
	}
}

func TestSaveLeavesOthersKeysAndWritesNothingTwice(t *testing.T) {
	secret := &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: "open-cluster-management-agent", Name: "hub-kubeconfig-secret"},
		Data:       map[string][]byte{"token": []byte("addon")},
	}
	ctx, s := t.Context(), newStore(t, secret)
	c := given(t, east, noon, noon.Add(time.Hour))
	if err := s.Save(ctx, c); err != nil {
		t.Fatal(err)
	}
	first, _ := s.secret(ctx)
	if string(first.Data["token"]) != "addon" {
		t.Error("a key of somebody else is gone")
	}
	if err := s.Save(ctx, c); err != nil {
		t.Fatal(err)
	}
	if second, _ := s.secret(ctx); second.ResourceVersion != first.ResourceVersion {
		t.Error("saving the same again wrote the secret")
	}
}

func TestClusterIsCreatedUnacceptedAndThenLeftAlone(t *testing.T) { // OCM-3.2
	ctx := t.Context()
	hub := fake.NewClientBuilder().WithScheme(scheme(t)).Build()
	c := Cluster{Name: "east", URLs: []string{"https://east"}, CA: []byte("ca"), Annotations: map[string]string{"agent.open-cluster-management.io/x": "y"}}
	for range 2 {
		if err := c.Ensure(ctx, hub); err != nil {
			t.Fatal(err)
		}
	}
	var got clusterv1.ManagedCluster
	if err := hub.Get(ctx, client.ObjectKey{Name: "east"}, &got); err != nil {
		t.Fatal(err)
	}
	if got.Spec.HubAcceptsClient || got.ResourceVersion != "1" || got.Annotations["agent.open-cluster-management.io/x"] != "y" {
		t.Errorf("created as %+v", got)
	}
	c.URLs = []string{"https://other"} // same number: the user's business
	if err := c.Ensure(ctx, hub); err != nil {
		t.Fatal(err)
	}
	c.URLs = append(c.URLs, "https://more")
	if err := c.Ensure(ctx, hub); err != nil {
		t.Fatal(err)
	}
	if err := hub.Get(ctx, client.ObjectKey{Name: "east"}, &got); err != nil || got.ResourceVersion != "2" || len(got.Spec.ManagedClusterClientConfigs) != 2 {
		t.Errorf("after a second URL: %+v, %v", got.Spec, err)
	}
}

func TestADeniedAgentDoesNotFailOnItsCluster(t *testing.T) { // OCM-3.2
	for _, refusal := range []error{
		apierrors.NewForbidden(clusterv1.Resource("managedclusters"), "east", errors.New("no")),
		apierrors.NewUnauthorized("no"),
	} {
		hub := interceptor.NewClient(fake.NewClientBuilder().WithScheme(scheme(t)).Build(), interceptor.Funcs{
			Get: func(context.Context, client.WithWatch, client.ObjectKey, client.Object, ...client.GetOption) error {
				return refusal
			},
		})
		if err := (Cluster{Name: "east"}).Ensure(t.Context(), hub); err != nil {
			t.Errorf("%v was not tolerated: %v", refusal, err)
		}
	}
}

func TestOutcomeOfARequest(t *testing.T) {
	approved := certificatesv1.CertificateSigningRequestCondition{Type: certificatesv1.CertificateApproved, Status: corev1.ConditionTrue}
	for name, tc := range map[string]struct {
		status certificatesv1.CertificateSigningRequestStatus
		cert   string
		denied bool
	}{
		"waiting":             {},
		"approved, unsigned":  {status: certificatesv1.CertificateSigningRequestStatus{Conditions: []certificatesv1.CertificateSigningRequestCondition{approved}}},
		"signed, unapproved":  {status: certificatesv1.CertificateSigningRequestStatus{Certificate: []byte("c")}},
		"approved and signed": {status: certificatesv1.CertificateSigningRequestStatus{Conditions: []certificatesv1.CertificateSigningRequestCondition{approved}, Certificate: []byte("c")}, cert: "c"},
		"denied":              {status: certificatesv1.CertificateSigningRequestStatus{Conditions: []certificatesv1.CertificateSigningRequestCondition{{Type: certificatesv1.CertificateDenied}}}, denied: true},
	} {
		cert, err := outcome(&certificatesv1.CertificateSigningRequest{Status: tc.status})
		if string(cert) != tc.cert || errors.Is(err, ErrDenied) != tc.denied {
			t.Errorf("%s: %q, %v", name, cert, err)
		}
	}
}

func TestTenRequestsAreEnough(t *testing.T) { // OCM-3.3
	builder := fake.NewClientBuilder().WithScheme(scheme(t))
	label := map[string]string{"open-cluster-management.io/cluster-name": "east"}
	for i := range 10 {
		builder = builder.WithObjects(&certificatesv1.CertificateSigningRequest{ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprint("east-", i), Labels: label}})
	}
	hub := builder.Build()
	if _, _, err := east.Request(0).Obtain(t.Context(), hub); !errors.Is(err, ErrTooMany) {
		t.Errorf("an eleventh request: %v", err)
	}
	var all certificatesv1.CertificateSigningRequestList
	if err := hub.List(t.Context(), &all); err != nil || len(all.Items) != 10 {
		t.Errorf("%d requests, %v", len(all.Items), err)
	}
	all.Items[0].Labels["open-cluster-management.io/addon-name"] = "x"
	if n := east.Request(0).held(all.Items); n != 9 {
		t.Errorf("an add-on's request counts: %d", n)
	}
}

func TestConditionOfARotation(t *testing.T) { // OCM-3.8, OCM-4.3
	cluster := &clusterv1.ManagedCluster{}
	if !setRotated(cluster, errors.New("no")) || cluster.Status.Conditions[0].Reason != "ClientCertificateUpdateFailed" || cluster.Status.Conditions[0].Status != metav1.ConditionFalse {
		t.Errorf("%+v", cluster.Status.Conditions)
	}
	if !setRotated(cluster, nil) || cluster.Status.Conditions[0].Reason != "ClientCertificateUpdated" || cluster.Status.Conditions[0].Status != metav1.ConditionTrue {
		t.Errorf("%+v", cluster.Status.Conditions)
	}
	cluster.Status.Conditions = []metav1.Condition{{Type: "ManagedClusterConditionClockSynced", Status: metav1.ConditionFalse}}
	if setRotated(cluster, nil) {
		t.Error("wrote though the hub holds our clock for wrong")
	}
}

func TestARefusedCertificateIsNotUsedForAWhile(t *testing.T) {
	s := newStore(t)
	r := NewRegistrar(Registrar{Store: s, Identity: east})
	now := time.Now()
	c := given(t, east, now.Add(-time.Hour), now.Add(time.Hour))
	if err := s.Save(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	if _, err := r.Stored(t.Context()); err != nil {
		t.Fatal(err)
	}
	r.Refuse(c)
	if _, err := r.Stored(t.Context()); err == nil {
		t.Error("the hub refused it, and it is used again")
	}
	r.refused.until = now.Add(-time.Second)
	if _, err := r.Stored(t.Context()); err != nil {
		t.Errorf("never tried again: %v", err)
	}
}

func TestAHubThatGaveNoAnswerIsAskedOnceMore(t *testing.T) {
	calls := 0
	fail := func(err error) func() error { return func() error { calls++; return err } }
	if err := patiently(fail(errors.New("connection refused"))); err == nil || calls != 2 {
		t.Errorf("%d calls", calls)
	}
	calls = 0
	if err := patiently(fail(apierrors.NewBadRequest("no"))); err == nil || calls != 1 {
		t.Errorf("a hub that answered is asked again: %d calls", calls)
	}
}
