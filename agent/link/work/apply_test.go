package work

import (
	"encoding/json"
	"errors"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	dynamicfake "k8s.io/client-go/dynamic/fake"
	clienttesting "k8s.io/client-go/testing"
	workv1 "open-cluster-management.io/api/work/v1"
)

// applyPatches answers server-side applies with what was sent, and collects it.
func applyPatches(t *testing.T, c *dynamicfake.FakeDynamicClient) *[]map[string]any {
	t.Helper()
	var sent []map[string]any
	c.PrependReactor("patch", "configmaps", func(a clienttesting.Action) (bool, runtime.Object, error) {
		p, ok := a.(clienttesting.PatchActionImpl)
		if !ok || p.GetPatchType() != types.ApplyPatchType {
			return false, nil, nil
		}
		out := map[string]any{}
		if err := json.Unmarshal(p.GetPatch(), &out); err != nil {
			return true, nil, err
		}
		sent = append(sent, out)
		u := &unstructured.Unstructured{Object: out}
		u.SetOwnerReferences([]metav1.OwnerReference{*ours()})
		return true, u, nil
	})
	return &sent
}

func applyManifest(t *testing.T, value string, fields ...workv1.IgnoreField) *manifest {
	m := asManifest(t, configMap(t, value), workv1.UpdateStrategyTypeServerSideApply, value)
	m.config.strategy.ServerSideApply = &workv1.ServerSideApplyConfig{IgnoreFields: fields}
	return m
}

func TestIgnoredFieldsAreNotApplied(t *testing.T) { // OCM-11.3
	live := configMap(t, "theirs")
	live.SetOwnerReferences([]metav1.OwnerReference{*ours()})
	c := members(t, live)
	sent := applyPatches(t, c)
	a := &applier{client: c, owner: ours(), hashes: map[objectKey]applied{}}
	m := applyManifest(t, "mine", workv1.IgnoreField{JSONPointers: []string{"/data/k"}})
	a.applyAll(t.Context(), []*manifest{m})
	if m.failed != nil || len(*sent) != 1 {
		t.Fatal(m.failed, *sent)
	}
	if d := cmp.Diff(map[string]any{}, (*sent)[0]["data"]); d != "" {
		t.Error(d)
	}
}

func TestAnUnchangedManifestLeavesSpokeSideEditsAlone(t *testing.T) { // OCM-11.3
	c := members(t)
	sent := applyPatches(t, c)
	field := workv1.IgnoreField{Condition: workv1.IgnoreFieldsConditionOnSpokeChange, JSONPointers: []string{"/data/k"}}
	a := &applier{client: c, owner: ours(), hashes: map[objectKey]applied{}}
	m := applyManifest(t, "one", field)
	a.applyAll(t.Context(), []*manifest{m})
	edited := m.live.DeepCopy()
	edited.Object["data"] = map[string]any{"k": "edited"}
	edited.SetResourceVersion("9")
	if err := c.Tracker().Create(configMaps, edited, "a"); err != nil {
		t.Fatal(err)
	}
	a.applyAll(t.Context(), []*manifest{applyManifest(t, "one", field)})
	if len(*sent) != 1 {
		t.Errorf("unchanged, applied %d times", len(*sent))
	}
	a.applyAll(t.Context(), []*manifest{applyManifest(t, "two", field)})
	if len(*sent) != 2 {
		t.Errorf("changed, applied %d times", len(*sent))
	}
}

func TestABadIgnorePathAppliesNothing(t *testing.T) { // OCM-11.3
	c := members(t, configMap(t, "theirs"))
	m := applyManifest(t, "mine", workv1.IgnoreField{JSONPointers: []string{"data"}})
	(&applier{client: c, owner: ours(), hashes: map[objectKey]applied{}}).applyAll(t.Context(), []*manifest{m})
	if !errors.Is(m.failed, errIgnoreFields) || slices.Contains(verbs(c), "patch") {
		t.Error(m.failed)
	}
}

func TestAnUnchangedApplyIsNotSentAgain(t *testing.T) { // OCM-11.1
	c := members(t)
	sent := applyPatches(t, c)
	a := &applier{client: c, owner: ours(), hashes: map[objectKey]applied{}}
	m := applyManifest(t, "one")
	a.applyAll(t.Context(), []*manifest{m})
	if err := c.Tracker().Create(configMaps, m.live, "a"); err != nil {
		t.Fatal(err)
	}
	a.applyAll(t.Context(), []*manifest{applyManifest(t, "one")})
	if len(*sent) != 1 {
		t.Errorf("sent %d times", len(*sent))
	}
	drifted := m.live.DeepCopy()
	drifted.SetResourceVersion("9")
	if err := c.Tracker().Update(configMaps, drifted, "a"); err != nil {
		t.Fatal(err)
	}
	a.applyAll(t.Context(), []*manifest{applyManifest(t, "one")})
	if len(*sent) != 2 {
		t.Errorf("drifted, but sent %d times", len(*sent))
	}
}

func TestAnApplyThatWasOutrunIsTriedAgain(t *testing.T) { // OCM-10.2, OCM-10.4
	field := apierrors.NewApplyConflict([]metav1.StatusCause{{Type: metav1.CauseTypeFieldManagerConflict}}, "owned by another")
	stale := apierrors.NewConflict(configMaps.GroupResource(), "c", errors.New("changed"))
	for name, tc := range map[string]struct {
		err  error
		want int
	}{"a field of another manager": {field, 1}, "an older version": {stale, 4}} {
		c, tries := members(t), 0
		c.PrependReactor("patch", "configmaps", func(clienttesting.Action) (bool, runtime.Object, error) {
			tries++
			return true, nil, tc.err
		})
		(&applier{client: c, owner: ours(), hashes: map[objectKey]applied{}}).applyAll(t.Context(), []*manifest{applyManifest(t, "one")})
		if tries != tc.want {
			t.Errorf("%s: %d tries", name, tries)
		}
	}
}
