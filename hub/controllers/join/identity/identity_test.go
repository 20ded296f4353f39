package identity

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestParseUser(t *testing.T) {
	type name struct {
		Cluster, Agent string
		OK             bool
	}
	for user, want := range map[string]name{
		"system:open-cluster-management:east:k2x9a":                          {"east", "k2x9a", true},
		"system:open-cluster-management:east":                                {},
		"system:open-cluster-management:east:":                               {},
		"system:open-cluster-management::k2x9a":                              {},
		"open-cluster-management:east:k2x9a":                                 {},
		"system:open-cluster-management:cluster:east:addon:logs:agent:k2x9a": {},
		"kubernetes-admin":                                                   {},
	} {
		var got name
		got.Cluster, got.Agent, got.OK = ParseUser(user)
		if d := cmp.Diff(want, got); d != "" {
			t.Errorf("%s: %s", user, d)
		}
	}
	if cluster, agent, ok := ParseUser(User("west", "a")); cluster != "west" || agent != "a" || !ok {
		t.Error("User and ParseUser disagree")
	}
}

// OCM-3.1: stock identities are a service account and bootstrap tokens of one group; neither is matched by prefix.
func TestBootstrappers(t *testing.T) {
	for name, tc := range map[string]struct {
		user   string
		groups []string
		want   bool
	}{
		"the service account":               {user: Bootstrapper, want: true},
		"a service account beginning alike": {user: Bootstrapper + "-2"},
		"a bootstrap token for joining":     {user: "system:bootstrap:abc123", groups: []string{BootstrapTokenGroup}, want: true},
		"a bootstrap token for nodes":       {user: "system:bootstrap:abc123", groups: []string{"system:bootstrappers:kubeadm"}},
		"a user that begins like a token":   {user: "system:bootstrapper", groups: []string{BootstrapTokenGroup}},
		"an administrator":                  {user: "kubernetes-admin"},
	} {
		if got := IsBootstrapper(tc.user, tc.groups); got != tc.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}

func TestSubjectRefusesWhatIsNoCertificateRequest(t *testing.T) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{Subject: pkix.Name{CommonName: "me"}}, key)
	if err != nil {
		t.Fatal(err)
	}
	block := func(kind string, der []byte) []byte { return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}) }
	for name, tc := range map[string]struct {
		request []byte
		problem string
	}{
		"a request":        {request: block("CERTIFICATE REQUEST", der)},
		"no PEM":           {request: []byte("hello"), problem: "no PEM block"},
		"a certificate":    {request: block("CERTIFICATE", der), problem: `type "CERTIFICATE"`},
		"not a request":    {request: block("CERTIFICATE REQUEST", []byte{1}), problem: "parse certificate request"},
		"a second request": {request: append(block("CERTIFICATE REQUEST", der), block("CERTIFICATE REQUEST", der)...), problem: "follows"},
	} {
		t.Run(name, func(t *testing.T) {
			subject, err := Subject(tc.request)
			switch {
			case tc.problem == "" && (err != nil || subject.CommonName != "me"):
				t.Errorf("got %v, %v", subject, err)
			case tc.problem != "" && (err == nil || !strings.Contains(err.Error(), tc.problem)):
				t.Errorf("got error %v, want %q in it", err, tc.problem)
			}
		})
	}
}

// OCM-2.1: a name has to do for a namespace.
func TestReservedNames(t *testing.T) {
	for cluster, want := range map[string]bool{
		strings.Repeat("a", 63): false, strings.Repeat("a", 64): true, "with.dots": true, "Upper": true, "-": true, "": true,
		"kube-system": true, "kube-anything": true, "default": true, "flotilla-system": true,
		"open-cluster-management": true, "open-cluster-management-hub": true, "managed-clusters": true,
		"east": false, "kubernetes": false, "flotilla-east": false, "default-2": false,
	} {
		if got := Reserved(cluster) != ""; got != want {
			t.Errorf("%s: reserved is %v", cluster, got)
		}
	}
}
