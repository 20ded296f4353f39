package webhook

import (
	"crypto/tls"
	"crypto/x509"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	. "github.com/onsi/gomega"
	"github.com/spf13/pflag"
	admissionv1 "k8s.io/api/admissionregistration/v1"
	clocktesting "k8s.io/utils/clock/testing"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

func freePort(t testing.TB) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	return l.Addr().(*net.TCPAddr).Port
}

// A certificate is replaced under a process that goes on serving, and callers who know its authority notice nothing.
func TestRotationNeedsNoRestart(t *testing.T) {
	g, c := NewWithT(t), newCluster(t)
	now := clocktesting.NewFakePassiveClock(noon)
	s := serverWith(c, Options{Host: "127.0.0.1", Port: freePort(t)}, oneOfEach(), now)
	g.Expect(s.Ready(&http.Request{})).NotTo(Succeed(), "ready before it started")
	stopped := make(chan error, 1)
	go func() { stopped <- s.Start(t.Context()) }()
	t.Cleanup(func() {
		if err := <-stopped; err != nil {
			t.Error(err)
		}
	})
	<-s.registered

	first := s.keeper.served.Load()
	presented := func() *x509.Certificate {
		roots := x509.NewCertPool()
		roots.AppendCertsFromPEM(first.ca)
		conn, err := tls.Dial("tcp", s.dial, &tls.Config{RootCAs: roots, ServerName: "127.0.0.1", Time: now.Now})
		g.Expect(err).NotTo(HaveOccurred(), "whoever trusted the authority is refused")
		defer func() { _ = conn.Close() }()
		return conn.ConnectionState().PeerCertificates[0]
	}
	before := presented()
	now.SetTime(noon.Add(lifetime - renewBefore - day))
	g.Expect(s.keeper.round(t.Context())).To(Succeed())
	g.Expect(presented().SerialNumber).To(Equal(before.SerialNumber), "rotated too early")
	// The authority is near its end as well, so both are new.
	now.SetTime(noon.Add(lifetime - renewBefore + day))
	g.Expect(s.keeper.round(t.Context())).To(Succeed())
	rotated := s.keeper.served.Load()
	validators := &admissionv1.ValidatingWebhookConfiguration{}
	g.Expect(c.Get(t.Context(), client.ObjectKey{Name: "validators"}, validators)).To(Succeed())
	g.Expect(validators.Webhooks[0].ClientConfig.CABundle).To(Equal(rotated.ca))
	g.Expect(string(rotated.ca)).To(ContainSubstring(string(first.ca)), "replicas that still serve the last certificate would be refused")
	first = rotated
	g.Expect(presented().SerialNumber).NotTo(Equal(before.SerialNumber))
}

func TestAServerIsReadyOnceItIsRegistered(t *testing.T) {
	g, c := NewWithT(t), newCluster(t)
	s := serverWith(c, Options{Host: "127.0.0.1", Port: freePort(t)}, oneOfEach(), clocktesting.NewFakePassiveClock(time.Now()))
	go func() { _ = s.Start(t.Context()) }()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "/readyz", nil)
	g.Expect(err).NotTo(HaveOccurred())
	g.Eventually(func() error { return s.Ready(request) }, 10*time.Second, 5*time.Millisecond).Should(Succeed())
	g.Expect(c.Get(t.Context(), client.ObjectKey{Name: "validators"}, &admissionv1.ValidatingWebhookConfiguration{})).To(Succeed())
}

func TestOptions(t *testing.T) {
	for what, tc := range map[string]struct {
		args     []string
		problems []string
		enabled  bool
		bind     string
	}{
		"nothing listens unless asked":         {},
		"through a service":                    {args: []string{"--webhook-port=9443", "--webhook-service=a/b", "--webhook-secret=a/c"}, enabled: true},
		"by address, to ourselves only":        {args: []string{"--webhook-port=9876", "--webhook-host=127.0.0.1"}, enabled: true, bind: "127.0.0.1"},
		"by name, to ourselves only":           {args: []string{"--webhook-port=9876", "--webhook-host=localhost"}, enabled: true, bind: "127.0.0.1"},
		"by name":                              {args: []string{"--webhook-port=9876", "--webhook-host=hub.example.com"}, enabled: true},
		"nowhere to be found":                  {args: []string{"--webhook-port=9876"}, enabled: true, problems: []string{"needs --webhook-host or --webhook-service"}},
		"a host without a port":                {args: []string{"--webhook-host=a"}, bind: "", problems: []string{"needs --webhook-port"}},
		"everything wrong is reported at once": {args: []string{"--webhook-port=70000", "--webhook-host=https://a", "--webhook-secret=b"}, enabled: true, problems: []string{"70000", "without scheme", "--webhook-secret=b must be namespace/name"}},
	} {
		t.Run(what, func(t *testing.T) {
			var o Options
			flags := pflag.NewFlagSet("test", pflag.ContinueOnError)
			o.Bind(flags)
			if err := flags.Parse(tc.args); err != nil {
				t.Fatal(err)
			}
			problems := o.Validate()
			if len(problems) != len(tc.problems) {
				t.Fatalf("problems: %v", problems)
			}
			for i, want := range tc.problems {
				if !strings.Contains(problems[i].Error(), want) {
					t.Errorf("%q is not in %v", want, problems[i])
				}
			}
			if o.Enabled() != tc.enabled || o.bind() != tc.bind {
				t.Errorf("enabled %v, listens at %q", o.Enabled(), o.bind())
			}
		})
	}
}
