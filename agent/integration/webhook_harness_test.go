package integration_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/go-logr/logr"
	. "github.com/onsi/gomega"
	kruise "github.com/openkruise/kruise-api/apps/v1alpha1"
	kruisebeta "github.com/openkruise/kruise-api/apps/v1beta1"
	admissionv1 "k8s.io/api/admissionregistration/v1"
	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/apimachinery/pkg/util/yaml"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/flotilla-project/flotilla/agent/controllers/statefulset"
	"github.com/flotilla-project/flotilla/agent/webhooks"
	"github.com/flotilla-project/flotilla/agent/webhooks/protection"
	"github.com/flotilla-project/flotilla/pkg/manager"
	"github.com/flotilla-project/flotilla/pkg/webhook"
)

// home is the namespace of the agent.
const home = "open-cluster-management-agent"

// hooked is a world whose API server asks the agent's webhooks, which run outside of it under the agent's own rights.
type hooked struct {
	*world
	options webhooks.Options
	rights  *rest.Config
	stop    context.CancelFunc
}

func withWebhooks(w *world, change ...func(*webhooks.Options)) *hooked {
	w.t.Helper()
	h := &hooked{world: w, options: webhooks.Options{TemplateDefaults: true, Pods: true, Protection: &protection.Guard{}, StatefulSets: statefulset.Options{AutoDeletePVC: true}}}
	h.options.Server = webhook.Options{
		Host: "127.0.0.1", Port: freePort(w), Service: home + "/kruise-webhook-service", Secret: home + "/kruise-webhook-certs",
	}
	for _, c := range change {
		c(&h.options)
	}
	w.installCRD("apps.kruise.io_statefulsets.yaml")
	w.apply(filepath.Join("rbac", "namespace.yaml"), filepath.Join("rbac", "*.yaml"), filepath.Join("webhooks", "*.yaml"))
	h.rights = w.serviceAccount(home, "agent")
	w.t.Cleanup(h.unregister)
	h.start()
	return h
}

func freePort(w *world) int {
	w.t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	w.Expect(err).NotTo(HaveOccurred())
	defer func() { _ = l.Close() }()
	return l.Addr().(*net.TCPAddr).Port
}

// apply makes what is not there of files of deploy/member.
func (w *world) apply(patterns ...string) {
	w.t.Helper()
	for _, pattern := range patterns {
		files, err := filepath.Glob(filepath.Join("..", "..", "deploy", "member", pattern))
		w.Expect(err).NotTo(HaveOccurred())
		for _, file := range files {
			raw, err := os.ReadFile(file)
			w.Expect(err).NotTo(HaveOccurred())
			w.createAll(raw)
		}
	}
}

func (w *world) createAll(raw []byte) {
	w.t.Helper()
	documents := yaml.NewYAMLOrJSONDecoder(bytes.NewReader(raw), 4096)
	for {
		o := &unstructured.Unstructured{}
		err := documents.Decode(o)
		if errors.Is(err, io.EOF) {
			return
		}
		w.Expect(err).NotTo(HaveOccurred())
		if o.GetKind() == "" || o.GetKind() == "Kustomization" {
			continue
		}
		if err := w.client.Create(w.t.Context(), o); !apierrors.IsAlreadyExists(err) {
			w.Expect(err).NotTo(HaveOccurred())
		}
	}
}

// serviceAccount is what a pod with that service account may do.
func (w *world) serviceAccount(namespace, name string) *rest.Config {
	w.t.Helper()
	account := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}}
	token := &authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{ExpirationSeconds: new(int64(3600))}}
	w.Expect(w.client.SubResource("token").Create(w.t.Context(), account, token)).To(Succeed())
	cfg := rest.AnonymousClientConfig(w.cfg)
	cfg.BearerToken, cfg.QPS, cfg.Burst = token.Status.Token, 500, 500
	return cfg
}

// probe is not what tests call theirs.
func probe(cs *kruise.CloneSet) { cs.Name = "probe" }

// half is what no schema refuses.
func half(cs *kruise.CloneSet) { cs.Spec.UpdateStrategy.Partition = new(intstr.FromString("half")) }

// start serves the webhooks and waits until the API server asks them.
func (h *hooked) start() {
	h.t.Helper()
	m, err := manager.New(h.rights, scheme(h.world), logr.Discard(), "agent-test", manager.Options{
		MetricsAddr: "0", HealthProbeAddr: "0", QPS: 500, Burst: 500, CacheSyncTimeout: patience,
	})
	h.Expect(err).NotTo(HaveOccurred())
	h.Expect(webhooks.Register(m, h.options)).To(Succeed())
	h.stop = h.run(m)
	h.Eventually(h.answered).Should(Succeed())
}

// answered says whether the API server asks the webhooks that are served now: it takes a moment to notice new ones.
func (h *hooked) answered() error {
	at := fmt.Sprintf("https://127.0.0.1:%d/", h.options.Server.Port)
	c := &admissionv1.ValidatingWebhookConfiguration{ObjectMeta: metav1.ObjectMeta{Name: webhooks.Validating}}
	if err := h.client.Get(context.Background(), client.ObjectKeyFromObject(c), c); err != nil {
		return err
	}
	elsewhere := func(w admissionv1.ValidatingWebhook) bool {
		return w.ClientConfig.URL == nil || !strings.HasPrefix(*w.ClientConfig.URL, at)
	}
	if len(c.Webhooks) == 0 || slices.ContainsFunc(c.Webhooks, elsewhere) {
		return fmt.Errorf("not registered at %s yet", at)
	}
	asked := h.cloneSet(1, probe, half)
	if err := h.client.Create(context.Background(), asked, client.DryRunAll); !apierrors.IsInvalid(err) {
		return fmt.Errorf("not asked yet: %w", err)
	}
	asked = h.cloneSet(1, probe)
	if err := h.client.Create(context.Background(), asked, client.DryRunAll); err != nil {
		return err
	}
	if asked.Spec.RevisionHistoryLimit == nil {
		return errors.New("not asked for defaults yet")
	}
	return nil
}

// unregister leaves the API server as other tests want it.
func (h *hooked) unregister() {
	h.stop()
	ctx := context.Background()
	m := &admissionv1.MutatingWebhookConfiguration{ObjectMeta: metav1.ObjectMeta{Name: webhooks.Mutating}}
	v := &admissionv1.ValidatingWebhookConfiguration{ObjectMeta: metav1.ObjectMeta{Name: webhooks.Validating}}
	h.Expect(client.IgnoreNotFound(h.client.Delete(ctx, m))).To(Succeed())
	h.Expect(client.IgnoreNotFound(h.client.Delete(ctx, v))).To(Succeed())
	h.Expect(h.convertByName()).To(Succeed())
	h.Eventually(func() error {
		return errors.Join(h.client.Create(ctx, h.cloneSet(1, probe, half), client.DryRunAll), h.client.List(ctx, &kruise.StatefulSetList{}),
			h.client.List(ctx, &kruisebeta.StatefulSetList{}), h.client.Create(ctx, ownedPod(h.namespace), client.DryRunAll))
	}).Should(Succeed())
}

// convertByName takes back where StatefulSets are converted.
func (h *hooked) convertByName() error {
	crd := &unstructured.Unstructured{}
	crd.SetAPIVersion("apiextensions.k8s.io/v1")
	crd.SetKind("CustomResourceDefinition")
	crd.SetName("statefulsets.apps.kruise.io")
	patch := []byte(`[{"op":"replace","path":"/spec/conversion","value":{"strategy":"None"}}]`)
	return h.client.Patch(context.Background(), crd, client.RawPatch("application/json-patch+json", patch))
}

// ownedPod is a pod of a CloneSet.
func ownedPod(namespace string) *corev1.Pod {
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: namespace, GenerateName: "owned-",
			OwnerReferences: []metav1.OwnerReference{{APIVersion: "apps.kruise.io/v1alpha1", Kind: "CloneSet", Name: "web", UID: "none", Controller: new(true)}},
		},
		Spec: corev1.PodSpec{Containers: []corev1.Container{{Name: "main", Image: "web:1"}}},
	}
}
