package integration

import (
	"context"
	"fmt"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/go-logr/logr"
	. "github.com/onsi/gomega"
	admissionv1 "k8s.io/api/admissionregistration/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	workv1 "open-cluster-management.io/api/work/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/flotilla-project/flotilla/hub/webhooks"
	"github.com/flotilla-project/flotilla/pkg/manager"
	"github.com/flotilla-project/flotilla/pkg/webhook"
)

// webhookRights are those of the hub's own service account; the token lasts longer than the test binary.
var webhookRights *rest.Config

// stopWebhooks ends the webhooks that serve the test binary's API server at the moment.
var stopWebhooks = func() {}

// asUsual is how webhooks run when a test says nothing else. Tests remove works by the dozen, so the brake is off.
func asUsual() webhooks.Options {
	return webhooks.Options{DefaultClusterSet: true, ManifestLimit: 500 * 1024, MassRemovalShare: 100}
}

// webhooks serves the hub's webhooks under its own service account, from outside of the cluster, in place of those that
// are served now. They outlive the test.
func (s server) webhooks(ctx context.Context, t testing.TB, o webhooks.Options) {
	t.Helper()
	stopWebhooks()
	if webhookRights == nil {
		webhookRights = s.serviceAccount(t, "flotilla-system", "hub")
	}
	port := freePort(t)
	o.Server = webhook.Options{Host: "127.0.0.1", Port: port, Secret: "flotilla-system/hub-webhook-certs"}
	m, err := manager.New(webhookRights, scheme(t), logr.Discard(), "flotilla-hub-test", manager.Options{
		MetricsAddr: "0", HealthProbeAddr: "0", QPS: 500, Burst: 500, CacheSyncTimeout: time.Minute,
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := webhooks.Register(m, o); err != nil {
		t.Fatal(err)
	}
	serving, stop := context.WithCancel(context.WithoutCancel(ctx))
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		if err := m.Start(serving); err != nil {
			fmt.Fprintln(os.Stderr, "serve webhooks:", err)
		}
	}()
	stopWebhooks = func() { stop(); <-stopped }
	s.answered(ctx, t, port)
}

// webhooksAs serves the webhooks in another way until the test ends.
func (s server) webhooksAs(t testing.TB, change func(*webhooks.Options)) {
	t.Helper()
	o := asUsual()
	change(&o)
	s.webhooks(t.Context(), t, o)
	t.Cleanup(func() { s.webhooks(context.Background(), t, asUsual()) })
}

// answered waits until the API server calls that port.
func (s server) answered(ctx context.Context, t testing.TB, port int) {
	t.Helper()
	g := NewWithT(t)
	at := fmt.Sprintf("https://127.0.0.1:%d/", port)
	g.Eventually(func() error {
		c := &admissionv1.ValidatingWebhookConfiguration{}
		if err := s.Admin.Get(ctx, client.ObjectKey{Name: "manifestworkvalidators.admission.work.open-cluster-management.io"}, c); err != nil {
			return err
		}
		if len(c.Webhooks) != 1 || c.Webhooks[0].ClientConfig.URL == nil {
			return fmt.Errorf("not registered")
		}
		if got := *c.Webhooks[0].ClientConfig.URL; !strings.HasPrefix(got, at) {
			return fmt.Errorf("registered at %s, not %s", got, at)
		}
		return nil
	}, soon, interval).Should(Succeed())
	g.Eventually(func() error {
		empty := &workv1.ManifestWork{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "empty"}}
		return s.Admin.Create(ctx, empty, client.DryRunAll)
	}, soon, interval).Should(MatchError(ContainSubstring("should not be empty")))
}

func freePort(t testing.TB) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	return l.Addr().(*net.TCPAddr).Port
}

// unregistered does something while nobody serves a configuration's webhooks and none are registered in it.
func (s server) unregistered(t testing.TB, configuration string, do func()) {
	t.Helper()
	stopWebhooks()
	stopWebhooks = func() {}
	c := &admissionv1.ValidatingWebhookConfiguration{ObjectMeta: metav1.ObjectMeta{Name: configuration}}
	s.exists(t, c)
	c.Webhooks = nil
	if err := s.Admin.Update(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	m := &admissionv1.MutatingWebhookConfiguration{ObjectMeta: metav1.ObjectMeta{Name: "managedclustermutators.admission.cluster.open-cluster-management.io"}}
	s.exists(t, m) // it leads to the same process
	m.Webhooks = nil
	if err := s.Admin.Update(t.Context(), m); err != nil {
		t.Fatal(err)
	}
	defer s.webhooks(t.Context(), t, asUsual())
	do()
}
