package register

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	authorizationv1 "k8s.io/api/authorization/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"
)

// kubeconfigs writes one per name; the server is called like it.
func kubeconfigs(t *testing.T, names ...string) []string {
	t.Helper()
	var out []string
	for _, name := range names {
		text := fmt.Sprintf(`{apiVersion: v1, kind: Config, current-context: x, contexts: [{name: x, context: {cluster: c, user: u}}],
clusters: [{name: c, cluster: {server: "https://%s"}}], users: [{name: u, user: {token: t}}]}`, name)
		file := filepath.Join(t.TempDir(), name)
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		out = append(out, file)
	}
	return out
}

func TestChoose(t *testing.T) { // OCM-6.2
	files := kubeconfigs(t, "a", "b", "c")
	for name, tc := range map[string]struct {
		stored, left string
		closed       string // hubs that let nobody in
		want         string
	}{
		"the first":                            {want: "a"},
		"the first that lets us in":            {closed: "ab", want: "c"},
		"the one we know":                      {stored: "https://b", want: "b"},
		"unless it does not let us in":         {stored: "https://b", closed: "b", want: "a"},
		"not the one we just left":             {stored: "https://a", left: "https://a", want: "b"},
		"but that rather than none":            {stored: "https://a", left: "https://a", closed: "bc", want: "a"},
		"none":                                 {closed: "abc"},
		"none, but we have been with one":      {stored: "https://b", closed: "abc", want: "b"},
		"a hub stored that is not in the list": {stored: "https://z", want: "a"},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := Choose(t.Context(), append([]string{"/no/such/file"}, files...), tc.stored, tc.left, func(_ context.Context, b Bootstrap) error {
				if strings.Contains(tc.closed, strings.TrimPrefix(b.Hub.Server, "https://")) {
					return errors.New("closed")
				}
				return nil
			})
			if (err == nil) != (tc.want != "") || err == nil && filepath.Base(got) != tc.want {
				t.Errorf("%q, %v", got, err)
			}
		})
	}
}

func TestMayBootstrap(t *testing.T) { // OCM-3.7
	s := runtime.NewScheme()
	if err := authorizationv1.AddToScheme(s); err != nil {
		t.Fatal(err)
	}
	var asked []string
	denied := ""
	hub := interceptor.NewClient(fake.NewClientBuilder().WithScheme(s).Build(), interceptor.Funcs{
		Create: func(_ context.Context, _ client.WithWatch, o client.Object, _ ...client.CreateOption) error {
			review := o.(*authorizationv1.SelfSubjectAccessReview)
			a := review.Spec.ResourceAttributes
			asked = append(asked, a.Verb+" "+a.Resource+"."+a.Group)
			review.Status.Allowed = a.Verb != denied
			return nil
		},
	})
	if err := MayBootstrap(t.Context(), hub); err != nil {
		t.Fatal(err)
	}
	want := []string{
		"create managedclusters.cluster.open-cluster-management.io", "get managedclusters.cluster.open-cluster-management.io",
		"create certificatesigningrequests.certificates.k8s.io", "get certificatesigningrequests.certificates.k8s.io",
		"list certificatesigningrequests.certificates.k8s.io", "watch certificatesigningrequests.certificates.k8s.io",
	}
	if !slices.Equal(asked, want) {
		t.Errorf("asked %v", asked)
	}
	denied = "watch"
	if err := MayBootstrap(t.Context(), hub); err == nil || !strings.Contains(err.Error(), "may not watch certificatesigningrequests") {
		t.Error(err)
	}
}
