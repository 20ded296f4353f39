package webhook

import (
	"bytes"
	"context"
	"errors"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	. "github.com/onsi/gomega"
	admissionv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	clocktesting "k8s.io/utils/clock/testing"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"
)

var inCluster = Options{Port: 9443, Service: "flotilla-system/hub-webhook", Secret: "flotilla-system/hub-webhook-certs"}

func oneOfEach() Set {
	answer := http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})
	rule := admissionv1.RuleWithOperations{
		Operations: []admissionv1.OperationType{admissionv1.Create},
		Rule:       admissionv1.Rule{APIGroups: []string{"g"}, APIVersions: []string{"v1"}, Resources: []string{"things"}},
	}
	return Set{
		Hooks: []Hook{
			{Configuration: "mutators", Name: "m.g", Mutating: true, Path: "/mutate", Rules: []admissionv1.RuleWithOperations{rule}, Policy: admissionv1.Fail, Handler: answer},
			{Configuration: "validators", Name: "a.g", Path: "/a", Rules: []admissionv1.RuleWithOperations{rule}, Policy: admissionv1.Fail, Handler: answer},
			{Configuration: "validators", Name: "b.g", Path: "/b", Rules: []admissionv1.RuleWithOperations{rule}, Policy: admissionv1.Ignore, Counts: true, Handler: answer},
		},
		Conversions: []Conversion{{Definition: "things.g", Path: "/convert", Handler: answer}, {Definition: "absent.g", Path: "/convert", Handler: answer}},
	}
}

// cluster is a fake API server that counts writes.
type cluster struct {
	client.Client
	writes int
}

func newCluster(t testing.TB, objects ...client.Object) *cluster {
	t.Helper()
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{admissionv1.AddToScheme, corev1.AddToScheme, apiextensionsv1.AddToScheme} {
		if err := add(scheme); err != nil {
			t.Fatal(err)
		}
	}
	c := &cluster{}
	c.Client = interceptor.NewClient(fake.NewClientBuilder().WithScheme(scheme).WithObjects(objects...).Build(), interceptor.Funcs{
		Create: func(ctx context.Context, inner client.WithWatch, o client.Object, opts ...client.CreateOption) error {
			c.writes++
			return inner.Create(ctx, o, opts...)
		},
		Update: func(ctx context.Context, inner client.WithWatch, o client.Object, opts ...client.UpdateOption) error {
			c.writes++
			return inner.Update(ctx, o, opts...)
		},
		Patch: func(ctx context.Context, inner client.WithWatch, o client.Object, p client.Patch, opts ...client.PatchOption) error {
			c.writes++
			return inner.Patch(ctx, o, p, opts...)
		},
	})
	return c
}

func replica(c client.Client, o Options, now time.Time) *keeper {
	return &keeper{client: c, store: o.store(c), names: o.names(), at: o.address(), set: oneOfEach(), clock: clocktesting.NewFakePassiveClock(now)}
}

func things() *apiextensionsv1.CustomResourceDefinition {
	return &apiextensionsv1.CustomResourceDefinition{ObjectMeta: metav1.ObjectMeta{Name: "things.g"}}
}

func TestWhatIsRegisteredInsideACluster(t *testing.T) {
	g, c := NewWithT(t), newCluster(t, things())
	k := replica(c, inCluster, noon)
	g.Expect(k.round(t.Context())).To(Succeed())

	validators := &admissionv1.ValidatingWebhookConfiguration{}
	g.Expect(c.Get(t.Context(), client.ObjectKey{Name: "validators"}, validators)).To(Succeed())
	g.Expect(validators.Webhooks).To(HaveLen(2))
	for _, w := range validators.Webhooks {
		g.Expect(w.ClientConfig.Service.Name).To(Equal("hub-webhook"))
		g.Expect(w.ClientConfig.CABundle).To(Equal(k.served.Load().ca))
	}
	g.Expect(*validators.Webhooks[0].ClientConfig.Service.Path).To(Equal("/a"))
	g.Expect(*validators.Webhooks[0].FailurePolicy).To(Equal(admissionv1.Fail))
	g.Expect(*validators.Webhooks[0].SideEffects).To(Equal(admissionv1.SideEffectClassNone))
	g.Expect(*validators.Webhooks[1].SideEffects).To(Equal(admissionv1.SideEffectClassNoneOnDryRun), "what counts requests must not be called for dry runs unawares")
	g.Expect(c.Get(t.Context(), client.ObjectKey{Name: "mutators"}, &admissionv1.MutatingWebhookConfiguration{})).To(Succeed())

	definition := things()
	g.Expect(c.Get(t.Context(), client.ObjectKeyFromObject(definition), definition)).To(Succeed())
	g.Expect(definition.Spec.Conversion.Strategy).To(Equal(apiextensionsv1.WebhookConverter))
	g.Expect(*definition.Spec.Conversion.Webhook.ClientConfig.Service.Path).To(Equal("/convert"))

	stored := &corev1.Secret{}
	g.Expect(c.Get(t.Context(), client.ObjectKey{Namespace: "flotilla-system", Name: "hub-webhook-certs"}, stored)).To(Succeed())
	g.Expect(stored.Data).To(And(HaveKey("ca-cert.pem"), HaveKey("ca-key.pem"), HaveKey("cert.pem"), HaveKey("key.pem"), HaveKey("tls.crt"), HaveKey("tls.key"))) // NP-8 (WH-9)

	before := c.writes
	g.Expect(k.round(t.Context())).To(Succeed())
	g.Expect(c.writes).To(Equal(before), "nothing changed, so nothing is written")
}

func TestOutsideAClusterTheAddressIsAURL(t *testing.T) {
	g, c := NewWithT(t), newCluster(t, things())
	g.Expect(replica(c, inCluster, noon).round(t.Context())).To(Succeed())
	g.Expect(replica(c, Options{Host: "127.0.0.1", Port: 9876}, noon).round(t.Context())).To(Succeed())

	mutators := &admissionv1.MutatingWebhookConfiguration{}
	g.Expect(c.Get(t.Context(), client.ObjectKey{Name: "mutators"}, mutators)).To(Succeed())
	g.Expect(*mutators.Webhooks[0].ClientConfig.URL).To(Equal("https://127.0.0.1:9876/mutate"))
	g.Expect(mutators.Webhooks[0].ClientConfig.Service).To(BeNil())
	definition := things()
	g.Expect(c.Get(t.Context(), client.ObjectKeyFromObject(definition), definition)).To(Succeed())
	g.Expect(*definition.Spec.Conversion.Webhook.ClientConfig.URL).To(Equal("https://127.0.0.1:9876/convert"))
	g.Expect(definition.Spec.Conversion.Webhook.ClientConfig.Service).To(BeNil())
}

// NP-8 (WH-5): what others changed or deleted comes back.
func TestARegistrationIsRepaired(t *testing.T) {
	g, c := NewWithT(t), newCluster(t)
	k := replica(c, inCluster, noon)
	g.Expect(k.round(t.Context())).To(Succeed())
	have := &admissionv1.ValidatingWebhookConfiguration{}
	g.Expect(c.Get(t.Context(), client.ObjectKey{Name: "validators"}, have)).To(Succeed())
	want := have.DeepCopy()
	have.Webhooks[0].FailurePolicy = new(admissionv1.Ignore)
	have.Webhooks = have.Webhooks[:1]
	g.Expect(c.Update(t.Context(), have)).To(Succeed())
	g.Expect(c.Delete(t.Context(), &admissionv1.MutatingWebhookConfiguration{ObjectMeta: metav1.ObjectMeta{Name: "mutators"}})).To(Succeed())

	g.Expect(k.round(t.Context())).To(Succeed())
	g.Expect(c.Get(t.Context(), client.ObjectKey{Name: "validators"}, have)).To(Succeed())
	g.Expect(have.Webhooks).To(Equal(want.Webhooks))
	g.Expect(c.Get(t.Context(), client.ObjectKey{Name: "mutators"}, &admissionv1.MutatingWebhookConfiguration{})).To(Succeed())
}

// NP-15 (HA-2): all replicas serve, and one Secret makes them agree.
func TestReplicasShareACertificate(t *testing.T) {
	g, c := NewWithT(t), newCluster(t)
	one, two := replica(c, inCluster, noon), replica(c, inCluster, noon)
	// Both find nothing; the second to write loses, reads and follows.
	nothing, err := two.store.load(t.Context())
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(one.certificate(t.Context())).To(Succeed())
	g.Expect(two.store.save(t.Context(), made(t, nothing, noon, "x"))).To(MatchError(errLost))
	g.Expect(two.certificate(t.Context())).To(Succeed())
	g.Expect(two.served.Load().pair.equal(one.served.Load().pair)).To(BeTrue())

	// The same when it is about to end.
	late := noon.Add(lifetime - renewBefore + day)
	one.clock, two.clock = clocktesting.NewFakePassiveClock(late), clocktesting.NewFakePassiveClock(late)
	old, err := two.store.load(t.Context())
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(one.round(t.Context())).To(Succeed())
	g.Expect(two.store.save(t.Context(), made(t, old, late, "x"))).To(MatchError(errLost))
	g.Expect(two.round(t.Context())).To(Succeed())
	g.Expect(two.served.Load().pair.equal(one.served.Load().pair)).To(BeTrue())
	g.Expect(bytes.Equal(old.Cert, one.served.Load().pair.Cert)).To(BeFalse(), "nothing was rotated")
}

func TestAFailedRoundIsRepeatedSoonAndAGoodOneEveryMinute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t)
		rounds, broken := 0, true
		refuse := apierrors.NewForbidden(schema.GroupResource{Resource: "secrets"}, "x", errors.New("no"))
		k := replica(interceptor.NewClient(c.Client.(client.WithWatch), interceptor.Funcs{
			Get: func(ctx context.Context, inner client.WithWatch, key client.ObjectKey, o client.Object, opts ...client.GetOption) error {
				if _, ok := o.(*corev1.Secret); ok {
					rounds++
					if broken {
						return refuse
					}
				}
				return inner.Get(ctx, key, o, opts...)
			},
		}), inCluster, noon)
		done := make(chan struct{})
		ctx, stop := context.WithCancel(t.Context())
		defer stop()
		go k.keep(ctx, done)
		time.Sleep(3 * time.Second) //nolint:forbidigo // of the bubble's clock
		synctest.Wait()
		if rounds < 3 || rounds > 6 {
			t.Errorf("%d rounds in 3 seconds of failing", rounds)
		}
		broken = false
		<-done
		before := rounds
		time.Sleep(10*period + time.Second) //nolint:forbidigo // of the bubble's clock
		synctest.Wait()
		if rounds-before != 10 {
			t.Errorf("%d rounds in 10 minutes", rounds-before)
		}
	})
}
