package integration

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/go-logr/logr"
	. "github.com/onsi/gomega"
	authenticationv1 "k8s.io/api/authentication/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/yaml"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	addonv1alpha1 "open-cluster-management.io/api/addon/v1alpha1"
	clusterv1 "open-cluster-management.io/api/cluster/v1"
	clusterv1alpha1 "open-cluster-management.io/api/cluster/v1alpha1"
	clusterv1beta1 "open-cluster-management.io/api/cluster/v1beta1"
	clusterv1beta2 "open-cluster-management.io/api/cluster/v1beta2"
	workv1 "open-cluster-management.io/api/work/v1"
	workv1alpha1 "open-cluster-management.io/api/work/v1alpha1"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	appsv1alpha1 "github.com/flotilla-project/flotilla/apis/apps/v1alpha1"
	"github.com/flotilla-project/flotilla/hub/controllers/addon"
	"github.com/flotilla-project/flotilla/hub/controllers/join"
	"github.com/flotilla-project/flotilla/pkg/manager"
	"github.com/flotilla-project/flotilla/test/fleet"
)

const (
	soon     = 20 * time.Second
	interval = 50 * time.Millisecond
)

// installed says that the manifests are on the test binary's API server, which needs them once.
var installed sync.Once

func scheme(t testing.TB) *runtime.Scheme {
	t.Helper()
	s := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{clientgoscheme.AddToScheme, clusterv1.Install, clusterv1alpha1.Install, clusterv1beta1.Install, clusterv1beta2.Install, workv1.Install, workv1alpha1.Install, addonv1alpha1.Install, appsv1alpha1.AddToScheme} {
		if err := add(s); err != nil {
			t.Fatal(err)
		}
	}
	return s
}

// server is the hub's API server with everything of deploy/hub/base on it.
type server struct {
	*fleet.Running
	// Admin may do everything.
	Admin client.WithWatch
}

func hubServer(t testing.TB) server {
	t.Helper()
	s := server{Running: fleet.Shared(t).Cluster("hub")}
	s.Admin = s.client(t, s.RESTConfig())
	installed.Do(func() {
		s.install(t, "crds", "rbac", "admission", "webhooks")
		s.webhooks(t.Context(), t, asUsual())
	})
	return s
}

func (s server) client(t testing.TB, cfg *rest.Config) client.WithWatch {
	t.Helper()
	cfg = rest.CopyConfig(cfg)
	cfg.QPS, cfg.Burst = -1, -1
	c, err := client.NewWithWatch(cfg, client.Options{Scheme: scheme(t)})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// as is a client with a certificate of that user.
func (s server) as(t testing.TB, user string, groups ...string) client.WithWatch {
	t.Helper()
	cfg, err := s.UserConfig(user, groups...)
	if err != nil {
		t.Fatal(err)
	}
	return s.client(t, cfg)
}

// serviceAccount is a config with a token of that account, and nothing else.
func (s server) serviceAccount(t testing.TB, namespace, name string) *rest.Config {
	t.Helper()
	request := &authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{ExpirationSeconds: new(int64(3600))}}
	account := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}}
	if err := s.Admin.SubResource("token").Create(t.Context(), account, request); err != nil {
		t.Fatalf("request token of %s/%s: %v", namespace, name, err)
	}
	cfg := rest.AnonymousClientConfig(s.RESTConfig())
	cfg.BearerToken = request.Status.Token
	return cfg
}

// install applies the manifests of folders below deploy/hub, namespaces and kinds first, and waits until they are served.
func (s server) install(t testing.TB, folders ...string) {
	t.Helper()
	g := NewWithT(t)
	var all []*unstructured.Unstructured
	for _, folder := range folders {
		files, err := filepath.Glob(filepath.Join("..", "..", "deploy", "hub", folder, "*.yaml"))
		if err != nil || len(files) == 0 {
			t.Fatalf("no manifests in %s: %v", folder, err)
		}
		for _, file := range files {
			if filepath.Base(file) != "kustomization.yaml" {
				all = append(all, objectsIn(t, file)...)
			}
		}
	}
	first := func(o *unstructured.Unstructured) int {
		return slices.Index([]string{"CustomResourceDefinition", "Namespace"}, o.GetKind())
	}
	slices.SortStableFunc(all, func(a, b *unstructured.Unstructured) int { return first(b) - first(a) })
	for _, o := range all {
		g.Expect(s.Admin.Apply(t.Context(), client.ApplyConfigurationFromUnstructured(o), client.FieldOwner("install"), client.ForceOwnership)).
			To(Succeed(), "%s %s", o.GetKind(), o.GetName())
	}
	g.Eventually(func() error {
		var clusters clusterv1.ManagedClusterList
		var works workv1.ManifestWorkList
		return errors.Join(s.Admin.List(t.Context(), &clusters), s.Admin.List(t.Context(), &works))
	}, soon, interval).Should(Succeed())
}

func objectsIn(t testing.TB, file string) (all []*unstructured.Unstructured) {
	t.Helper()
	raw, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	documents := yaml.NewYAMLOrJSONDecoder(bytes.NewReader(raw), 4096)
	for {
		o := &unstructured.Unstructured{}
		err := documents.Decode(o)
		if errors.Is(err, io.EOF) {
			return all
		}
		if err != nil {
			t.Fatalf("decode %s: %v", file, err)
		}
		if len(o.Object) > 0 {
			all = append(all, o)
		}
	}
}

// run runs controllers under the hub's own service account until the test ends.
func (s server) run(t testing.TB, register ...func(ctrl.Manager) error) {
	t.Helper()
	watched, err := join.Watched()
	if err != nil {
		t.Fatal(err)
	}
	maps.Copy(watched, addon.Watched())
	m, err := manager.New(s.serviceAccount(t, "flotilla-system", "hub"), scheme(t), logr.Discard(), "flotilla-hub-test", manager.Options{
		MetricsAddr: "0", HealthProbeAddr: "0", QPS: 500, Burst: 500, CacheSyncTimeout: time.Minute, Watch: watched,
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, register := range register {
		if err := register(m); err != nil {
			t.Fatal(err)
		}
	}
	stopped := make(chan error, 1)
	go func() { stopped <- m.Start(t.Context()) }()
	t.Cleanup(func() {
		select {
		case err := <-stopped:
			if err != nil {
				t.Error(fmt.Errorf("run controllers: %w", err))
			}
		case <-time.After(soon):
			t.Error("the controllers do not stop")
		}
	})
}
