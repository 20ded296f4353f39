package work

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	authorizationv1 "k8s.io/api/authorization/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/rest"
	clienttesting "k8s.io/client-go/testing"
	workv1 "open-cluster-management.io/api/work/v1"
)

func asAccount(namespace, name string) *workv1.ManifestWorkExecutor {
	return &workv1.ManifestWorkExecutor{Subject: workv1.ManifestWorkExecutorSubject{
		Type: workv1.ExecutorSubjectTypeServiceAccount, ServiceAccount: &workv1.ManifestWorkSubjectServiceAccount{Namespace: namespace, Name: name},
	}}
}

// reviewer allows what may says of "verb" or "verb name", and notes what was asked.
type reviewer struct {
	may   []string
	asked []authorizationv1.SubjectAccessReviewSpec
	fails error
}

func (r *reviewer) ask(_ context.Context, review *authorizationv1.SubjectAccessReview) error {
	r.asked = append(r.asked, review.Spec)
	at := review.Spec.ResourceAttributes
	review.Status.Allowed = slices.Contains(r.may, strings.TrimSpace(at.Verb+" "+at.Name))
	return r.fails
}

var all = []string{"create", "update", "patch", "get", "delete"}

func TestAnExecutorIsAskedAboutBeforeEachApply(t *testing.T) { // OCM-14
	const start = `not allowed to apply the resource group "", resource "configmaps", namespace "a", name "c": service account a/app `
	const end = ", will try again in 1m0s"
	for name, tc := range map[string]struct {
		may    []string
		option *workv1.DeleteOption
		want   string
		did    []string
	}{
		"everything":                {all, nil, "", []string{"get", "create"}},
		"of this name only":         {[]string{"create c", "update c", "patch c", "get c", "delete c"}, nil, "", []string{"get", "create"}},
		"nothing":                   {nil, nil, start + "may not create, update, patch, get, delete it" + end, nil},
		"half":                      {[]string{"create", "get"}, nil, start + "may not update, patch, delete it" + end, nil},
		"all but to remove it":      {all[:4], nil, start + "may not delete it" + end, nil},
		"which it need not, orphan": {all[:4], &workv1.DeleteOption{PropagationPolicy: workv1.DeletePropagationPolicyTypeOrphan}, "", []string{"get", "create"}},
	} {
		t.Run(name, func(t *testing.T) {
			c, r := members(t), &reviewer{may: tc.may}
			m := asManifest(t, configMap(t, "v"), workv1.UpdateStrategyTypeUpdate, "h")
			a := &applier{client: c, owner: ours(), option: tc.option, hashes: map[objectKey]applied{}, executor: asAccount("a", "app"), access: newAccess(r.ask)}
			a.applyAll(t.Context(), []*manifest{m})
			got := ""
			if m.failed != nil {
				got = m.failed.Error()
			}
			if d := cmp.Diff(tc.want, got); d != "" {
				t.Error(d)
			}
			if d := cmp.Diff(tc.did, verbs(c)); d != "" {
				t.Error(d)
			}
			first := r.asked[0]
			if d := cmp.Diff([]string{"system:serviceaccounts", "system:authenticated", "system:serviceaccounts:a"}, first.Groups); d != "" || first.User != "system:serviceaccount:a:app" {
				t.Error(first.User, d)
			}
			if tc.want != "" && (!calm(m.failed) || !m.denied()) {
				t.Error("retried eagerly")
			}
		})
	}
}

func TestOneAnswerDoesForAllObjectsOfAKind(t *testing.T) {
	r, now := &reviewer{may: all}, noon
	a := newAccess(r.ask)
	a.now = func() time.Time { return now }
	check := func(name string) {
		m := asManifest(t, configMap(t, "v"), workv1.UpdateStrategyTypeUpdate, "h")
		m.meta.Name = name
		if err := a.check(t.Context(), asAccount("a", "app"), m, false); err != nil {
			t.Error(err)
		}
	}
	check("one")
	check("two")
	if len(r.asked) != 5 {
		t.Errorf("asked %d times", len(r.asked))
	}
	now = now.Add(answersLast)
	check("three")
	if len(r.asked) != 10 {
		t.Errorf("asked %d times, a right that is taken away is not noticed", len(r.asked))
	}
}

func TestAReadOnlyManifestTakesToReadOnly(t *testing.T) {
	r := &reviewer{may: []string{"get"}}
	m := asManifest(t, configMap(t, "v"), workv1.UpdateStrategyTypeReadOnly, "h")
	if err := newAccess(r.ask).check(t.Context(), asAccount("a", "app"), m, false); err != nil {
		t.Error(err)
	}
}

func TestAQuestionThatFailsAppliesNothing(t *testing.T) {
	c, r := members(t), &reviewer{may: all, fails: errors.New("away")}
	m := asManifest(t, configMap(t, "v"), workv1.UpdateStrategyTypeUpdate, "h")
	a := &applier{client: c, owner: ours(), hashes: map[objectKey]applied{}, executor: asAccount("a", "app"), access: newAccess(r.ask)}
	a.applyAll(t.Context(), []*manifest{m})
	if m.failed == nil || m.denied() || len(verbs(c)) != 0 {
		t.Error(m.failed)
	}
}

func TestWhatTheServerRefusesAnExecutorIsToldAlike(t *testing.T) { // OCM-14
	for text, want := range map[string]string{
		"no":                     "was refused: ",
		"is attempting to grant": "was refused for permission escalation: it would grant rights that it does not have, will try again in 1m0s",
	} {
		c, r := members(t), &reviewer{may: all}
		c.PrependReactor("create", "configmaps", func(clienttesting.Action) (bool, runtime.Object, error) {
			return true, nil, apierrors.NewForbidden(configMaps.GroupResource(), "c", errors.New(text))
		})
		m := asManifest(t, configMap(t, "v"), workv1.UpdateStrategyTypeUpdate, "h")
		a := &applier{client: c, owner: ours(), hashes: map[objectKey]applied{}, executor: asAccount("a", "app"), access: newAccess(r.ask)}
		a.applyAll(t.Context(), []*manifest{m})
		if !m.denied() || !strings.Contains(m.failed.Error(), want) || !strings.HasSuffix(m.failed.Error(), "will try again in 1m0s") || !forbidden(m.failed) {
			t.Errorf("%v", m.failed)
		}
	}
}

func TestTheClustersOwnAccountsAreNobodysExecutor(t *testing.T) {
	o := &objects{config: &rest.Config{}}
	if c, err := o.as(asAccount("kube-system", "clusterrole-aggregation-controller")); err == nil || c != nil {
		t.Error("acts as the cluster itself")
	}
}
