package credentials

import (
	"context"
	"encoding/base64"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"github.com/google/go-cmp/cmp"
	kruisev1alpha1 "github.com/openkruise/kruise-api/apps/v1alpha1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	kubeletv1 "k8s.io/kubelet/config/v1"
	clocktesting "k8s.io/utils/clock/testing"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/flotilla-project/flotilla/agent/noded/cri"
)

// IM-8: what the kubelet would find.
func TestMatching(t *testing.T) {
	for name, tc := range map[string]struct {
		written, repository string
		want                bool
	}{
		"a host":                          {"quay.io", "quay.io/team/app", true},
		"another host":                    {"quay.io", "ghcr.io/team/app", false},
		"docker hub by its old address":   {"https://index.docker.io/v1/", "docker.io/library/nginx", true},
		"docker hub by its name":          {"docker.io", "docker.io/library/nginx", true},
		"a port":                          {"registry.local:5000", "registry.local:5000/app", true},
		"another port":                    {"registry.local:5000", "registry.local:5001/app", false},
		"a path":                          {"quay.io/team", "quay.io/team/app", true},
		"the path is whole words":         {"quay.io/team", "quay.io/teams/app", false},
		"with scheme and API":             {"http://registry.local:5000/v2/team", "registry.local:5000/team/app", true},
		"a star is one part of the host":  {"*.dkr.ecr.amazonaws.com", "1.dkr.ecr.amazonaws.com/app", true},
		"a star is no two parts":          {"*.amazonaws.com", "1.dkr.amazonaws.com/app", false},
		"a host is not its own subdomain": {"quay.io", "evil.quay.io/team/app", false},
		"nor a longer one":                {"quay.io", "quay.io.evil.org/team/app", false},
	} {
		t.Run(name, func(t *testing.T) {
			if got := matches(pattern(tc.written), tc.repository); got != tc.want {
				t.Errorf("%s matches %s: %v", tc.written, tc.repository, got)
			}
		})
	}
}

func secret(name string, data map[string]string) *corev1.Secret {
	s := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: "kruise-daemon-config", Name: name}, Data: map[string][]byte{}}
	for k, v := range data {
		s.Data[k] = []byte(v)
	}
	return s
}

func ref(name string) kruisev1alpha1.ReferenceObject {
	return kruisev1alpha1.ReferenceObject{Namespace: "kruise-daemon-config", Name: name}
}

func keys(t *testing.T, reads *int, secrets ...client.Object) *Keys {
	t.Helper()
	scheme := runtime.NewScheme()
	if err := corev1.AddToScheme(scheme); err != nil {
		t.Fatal(err)
	}
	c := fake.NewClientBuilder().WithScheme(scheme).WithObjects(secrets...).WithInterceptorFuncs(interceptor.Funcs{
		Get: func(ctx context.Context, c client.WithWatch, key client.ObjectKey, obj client.Object, opts ...client.GetOption) error {
			*reads++
			return c.Get(ctx, key, obj, opts...)
		},
	}).Build()
	return &Keys{Secrets: c, Clock: clocktesting.NewFakePassiveClock(time.Unix(1000, 0)), Log: logr.Discard()}
}

// IM-8: both kinds of secrets, all that match, the most exact first.
func TestSecrets(t *testing.T) {
	reads := 0
	auth := base64.StdEncoding.EncodeToString([]byte("robot:a:b"))
	k := keys(t, &reads,
		secret("new", map[string]string{corev1.DockerConfigJsonKey: `{"auths":{"quay.io":{"username":"wide","password":"1"},"quay.io/team":{"auth":"` + auth + `"}}}`}),
		secret("old", map[string]string{corev1.DockerConfigKey: `{"https://quay.io/v1/":{"username":"old","password":"2"}}`}),
	)
	got, err := k.For(t.Context(), "quay.io/team/app", []kruisev1alpha1.ReferenceObject{ref("new"), ref("missing"), ref("old")})
	want := []cri.Auth{{Username: "robot", Password: "a:b"}, {Username: "wide", Password: "1"}, {Username: "old", Password: "2"}}
	if d := cmp.Diff(want, got); d != "" || err != nil {
		t.Error(d, err)
	}
	if got, err := k.For(t.Context(), "ghcr.io/app", []kruisev1alpha1.ReferenceObject{ref("new")}); len(got) != 0 || err != nil {
		t.Error(got, err)
	}
}

func TestRepositories(t *testing.T) {
	for image, want := range map[string]string{"nginx": "docker.io/library/nginx", "me/app:1": "docker.io/me/app", "registry.local:5000/app": "registry.local:5000/app"} {
		if got, err := repositoryOf(image); got != want || err != nil {
			t.Errorf("%s is of %s, %v", image, got, err)
		}
	}
	if _, err := repositoryOf("a b"); err == nil {
		t.Error("a name that is none has a repository")
	}
}

// IM-9: a secret is believed for five to ten minutes, its absence not at all.
func TestSecretsAreBelievedForAWhile(t *testing.T) {
	reads := 0
	k := keys(t, &reads, secret("s", map[string]string{corev1.DockerConfigKey: `{"quay.io":{"username":"u"}}`}))
	now := clocktesting.NewFakePassiveClock(time.Unix(1000, 0))
	k.Clock = now
	ask := func(name string) {
		t.Helper()
		if _, err := k.For(t.Context(), "quay.io/app", []kruisev1alpha1.ReferenceObject{ref(name)}); err != nil {
			t.Error(err)
		}
	}
	ask("s")
	now.SetTime(now.Now().Add(5*time.Minute - time.Second))
	ask("s")
	if reads != 1 {
		t.Errorf("%d reads within five minutes", reads)
	}
	now.SetTime(now.Now().Add(5*time.Minute + 2*time.Second))
	ask("s")
	if reads != 2 {
		t.Errorf("%d reads after ten minutes", reads)
	}
	ask("missing")
	ask("missing")
	if reads != 4 {
		t.Errorf("%d reads, an absence is remembered", reads)
	}
}

// IM-8: an unusable secret fails, and its error holds nothing of it.
func TestUnusableSecretsAreNotQuoted(t *testing.T) {
	reads := 0
	k := keys(t, &reads, secret("bad", map[string]string{corev1.DockerConfigJsonKey: `{"auths":hunter2`}), secret("other", map[string]string{"password": "hunter2"}))
	for _, name := range []string{"bad", "other"} {
		_, err := k.For(t.Context(), "quay.io/app", []kruisev1alpha1.ReferenceObject{ref(name)})
		if err == nil || strings.Contains(err.Error(), "hunter2") || !strings.Contains(err.Error(), "kruise-daemon-config/"+name) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func plugin(t *testing.T, script string) *Plugins {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "helper"), []byte("#!/bin/sh\n"+script), 0o755); err != nil {
		t.Fatal(err)
	}
	config := filepath.Join(dir, "config.yaml")
	if err := os.WriteFile(config, []byte(`apiVersion: kubelet.config.k8s.io/v1
kind: CredentialProviderConfig
providers:
- name: helper
  apiVersion: credentialprovider.kubelet.k8s.io/v1
  matchImages: ["*.registry.io"]
  defaultCacheDuration: 1h
  args: [get]
  env: [{name: REGION, value: north}]
- name: helper
  apiVersion: credentialprovider.kubelet.k8s.io/v1
  matchImages: ["*.registry.io"]
  defaultCacheDuration: 1h
  tokenAttributes: {serviceAccountTokenAudience: x, cacheType: Token, requireServiceAccount: true}
`), 0o600); err != nil {
		t.Fatal(err)
	}
	p, err := LoadPlugins(config, dir, logr.Discard())
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// IM-8
func TestPluginsAreAskedAsTheKubeletAsks(t *testing.T) {
	p := plugin(t, `grep -q '"kind":"CredentialProviderRequest".*"image":"a.registry.io/app"' || exit 1
echo '{"kind":"CredentialProviderResponse","apiVersion":"credentialprovider.kubelet.k8s.io/v1","cacheKeyType":"Registry","auth":{"*.registry.io":{"username":"'$REGION'","password":"'$1'"}}}'`)
	want := []cri.Auth{{Username: "north", Password: "get"}}
	if d := cmp.Diff(want, p.lookup(t.Context(), "a.registry.io/app")); d != "" {
		t.Error(d)
	}
	p.run = func(context.Context, kubeletv1.CredentialProvider, []byte) ([]byte, error) {
		return nil, errors.New("asked again")
	}
	if d := cmp.Diff(want, p.lookup(t.Context(), "a.registry.io/other")); d != "" {
		t.Errorf("an answer for the registry is not kept: %s", d)
	}
	if got := p.lookup(t.Context(), "b.registry.io/app"); len(got) != 0 {
		t.Errorf("a plugin that fails gave %v", got)
	}
	if got := p.lookup(t.Context(), "quay.io/app"); len(got) != 0 {
		t.Errorf("a plugin is asked for what it does not know: %v", got)
	}
}

func TestPluginsAreOptional(t *testing.T) { // IM-8
	if p, err := LoadPlugins(filepath.Join(t.TempDir(), "none.yaml"), "", logr.Discard()); p != nil || err != nil {
		t.Errorf("%v, %v", p, err)
	}
	config := filepath.Join(t.TempDir(), "config.yaml")
	for name, text := range map[string]string{
		"no file of ours":      `]`,
		"a path for a name":    `{"providers":[{"name":"../x","matchImages":["a.io"],"apiVersion":"credentialprovider.kubelet.k8s.io/v1"}]}`,
		"nothing to match":     `{"providers":[{"name":"x","apiVersion":"credentialprovider.kubelet.k8s.io/v1"}]}`,
		"a missing program":    `{"providers":[{"name":"x","matchImages":["a.io"],"apiVersion":"credentialprovider.kubelet.k8s.io/v1"}]}`,
		"another API entirely": `{"providers":[{"name":"x","matchImages":["a.io"],"apiVersion":"v1"}]}`,
	} {
		if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := LoadPlugins(config, t.TempDir(), logr.Discard()); err == nil {
			t.Errorf("%s is taken", name)
		}
	}
}
