package placement

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	authenticationv1 "k8s.io/api/authentication/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	clusterv1beta1 "open-cluster-management.io/api/cluster/v1beta1"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"
)

// guard knows alice, who may create placements in shop.
type guard struct{}

func (guard) Who(_ context.Context, token string) (authenticationv1.UserInfo, error) {
	if token != "alice" && token != "bob" {
		return authenticationv1.UserInfo{}, apierrors.NewUnauthorized("who is this")
	}
	return authenticationv1.UserInfo{Username: token}, nil
}

func (guard) May(_ context.Context, who authenticationv1.UserInfo, what authorizationv1.ResourceAttributes) (bool, error) {
	return who.Username == "alice" && what == authorizationv1.ResourceAttributes{
		Namespace: "shop", Verb: "create", Group: "cluster.open-cluster-management.io", Resource: "placements",
	}, nil
}

// asked sends a request; the body makes it a POST.
func (h *hub) asked(t *testing.T, path, token, body string) (code int, answer Trace) {
	t.Helper()
	method := http.MethodGet
	if body != "" {
		method = http.MethodPost
	}
	r := httptest.NewRequestWithContext(t.Context(), method, path, strings.NewReader(body))
	if token != "" {
		r.Header.Set("Authorization", "Bearer "+token)
	}
	w := httptest.NewRecorder()
	(&Debug{Hub: h.Client, Guard: guard{}, Clock: h.clock}).ServeHTTP(w, r)
	if err := json.Unmarshal(w.Body.Bytes(), &answer); err != nil {
		t.Fatalf("%v: %s", err, w.Body)
	}
	return w.Code, answer
}

// OCM-17.5: each step of a decision, for who may make placements, and nothing is written.
func TestADecisionIsTraced(t *testing.T) {
	h := newHub(t, interceptor.Funcs{}, prod(), binding("prod"), placement(number(1)), cluster("a"), cluster("b"), cluster("tainted", "gpu"))
	code, got := h.asked(t, "/debug/placements/shop/web", "alice", "")
	if code != http.StatusOK || got.Error != "" || got.Placement.Name != "web" {
		t.Fatalf("%d %+v", code, got)
	}
	want := []Filtered{
		{Name: "Predicate", Clusters: []string{"a", "b", "tainted"}},
		{Name: "Predicate,TaintToleration", Clusters: []string{"a", "b"}, Left: map[string]string{"tainted": got.Filtered[1].Left["tainted"]}},
		{Name: "Predicate,TaintToleration,Spread", Clusters: []string{"a", "b"}},
		{Name: "Predicate,TaintToleration,Spread,NumberOfClusters", Clusters: []string{"a"}, Left: map[string]string{"b": got.Filtered[3].Left["b"]}},
	}
	if d := cmp.Diff(want, got.Filtered); d != "" {
		t.Error(d)
	}
	if why := got.Filtered[1].Left["tainted"]; !strings.Contains(why, "gpu") {
		t.Errorf("tainted is left out for %q", why)
	}
	if d := cmp.Diff(map[string]int64{"a": 100, "b": 100}, got.Scores); d != "" {
		t.Error(d)
	}
	names := []string{}
	for _, p := range got.Prioritize {
		names = append(names, p.Name)
	}
	if d := cmp.Diff([]string{"Balance", "Steady"}, names); d != "" {
		t.Error(d)
	}
	if len(h.writes) > 0 {
		t.Errorf("wrote %v", h.writes)
	}
}

// OCM-17.5
func TestAPlacementIsTriedBeforeItIsThere(t *testing.T) {
	h := newHub(t, interceptor.Funcs{}, prod(), binding("prod"), cluster("a"), cluster("b"))
	try := func(change func(*clusterv1beta1.Placement)) (int, Trace) {
		body, err := json.Marshal(placement(change))
		if err != nil {
			t.Fatal(err)
		}
		return h.asked(t, "/debug/placements/", "alice", string(body))
	}
	code, got := try(func(p *clusterv1beta1.Placement) {
		p.Spec.Predicates = []clusterv1beta1.ClusterPredicate{{RequiredClusterSelector: clusterv1beta1.ClusterSelector{
			CelSelector: clusterv1beta1.ClusterCelSelector{CelExpressions: []string{`managedCluster.metadata.name == "b"`}},
		}}}
	})
	if code != http.StatusOK || !cmp.Equal(got.Filtered[3].Clusters, []string{"b"}) {
		t.Errorf("%d %+v", code, got)
	}
	code, got = try(func(p *clusterv1beta1.Placement) {
		p.Spec.Tolerations = []clusterv1beta1.Toleration{{Operator: "Equal"}}
	})
	if code != http.StatusOK || got.Error == "" {
		t.Errorf("what is wrong with it is not said: %d %+v", code, got)
	}
}

// OCM-17.5
func TestWhoMayTrace(t *testing.T) {
	h := newHub(t, interceptor.Funcs{}, prod(), binding("prod"), placement(), cluster("a"))
	for name, tc := range map[string]struct {
		path, token, body string
		want              int
	}{
		"nobody":                       {"/debug/placements/shop/web", "", "", http.StatusUnauthorized},
		"a token of nobody":            {"/debug/placements/shop/web", "eve", "", http.StatusUnauthorized},
		"somebody without the right":   {"/debug/placements/shop/web", "bob", "", http.StatusForbidden},
		"in another namespace":         {"/debug/placements/other/web", "alice", "", http.StatusForbidden},
		"posting into another one":     {"/debug/placements/shop", "alice", `{"metadata":{"namespace":"other"}}`, http.StatusForbidden},
		"what is not there":            {"/debug/placements/shop/none", "alice", "", http.StatusNotFound},
		"no name":                      {"/debug/placements/shop", "alice", "", http.StatusBadRequest},
		"no namespace in a posted one": {"/debug/placements/", "alice", `{}`, http.StatusBadRequest},
		"no placement at all":          {"/debug/placements/shop", "alice", `[]`, http.StatusBadRequest},
		"too much":                     {"/debug/placements/shop", "alice", `{"metadata":{"name":"` + strings.Repeat("x", debugLimit) + `"}}`, http.StatusBadRequest},
	} {
		if code, got := h.asked(t, tc.path, tc.token, tc.body); code != tc.want || got.Error == "" || got.Scores != nil {
			t.Errorf("%s: %d %q, want %d", name, code, got.Error, tc.want)
		}
	}
}
