package patch

import (
	"context"
	"encoding/json"
	"testing"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	workv1 "open-cluster-management.io/api/work/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"
)

// sent records patches.
type sent struct {
	kind types.PatchType
	body map[string]any
}

func recorder(t *testing.T) (client.Client, *[]sent) {
	t.Helper()
	s := runtime.NewScheme()
	if err := workv1.Install(s); err != nil {
		t.Fatal(err)
	}
	var all []sent
	record := func(o client.Object, p client.Patch) error {
		data, err := p.Data(o)
		if err != nil {
			return err
		}
		body := map[string]any{}
		all = append(all, sent{kind: p.Type(), body: body})
		return json.Unmarshal(data, &body)
	}
	return interceptor.NewClient(fake.NewClientBuilder().WithScheme(s).Build(), interceptor.Funcs{
		Patch: func(_ context.Context, _ client.WithWatch, o client.Object, p client.Patch, _ ...client.PatchOption) error {
			return record(o, p)
		},
		SubResourcePatch: func(_ context.Context, _ client.Client, sub string, o client.Object, p client.Patch, _ ...client.SubResourcePatchOption) error {
			if sub != "status" {
				t.Errorf("patched %s", sub)
			}
			return record(o, p)
		},
	}), &all
}

func aWork() *workv1.ManifestWork {
	return &workv1.ManifestWork{ObjectMeta: metav1.ObjectMeta{Name: "w", Namespace: "east", UID: "u1", ResourceVersion: "7", Finalizers: []string{"mine"}}}
}

func TestStatusPatchHoldsOnlyTheChangeAndItsPreconditions(t *testing.T) { // OCM-20.1
	c, all := recorder(t)
	after := aWork()
	after.Status.Conditions = []metav1.Condition{{Type: "Applied"}}
	after.Labels = map[string]string{"not": "status"}
	if wrote, err := Status(t.Context(), c, aWork(), after); err != nil || !wrote {
		t.Fatal(wrote, err)
	}
	got := (*all)[0]
	if got.kind != types.MergePatchType {
		t.Errorf("patch type %s", got.kind)
	}
	delete(got.body["status"].(map[string]any), "conditions")
	want := map[string]any{"metadata": map[string]any{"uid": "u1", "resourceVersion": "7"}, "status": map[string]any{}}
	if d := cmp.Diff(want, got.body); d != "" {
		t.Error(d)
	}
}

func TestNothingChangedIsNothingSent(t *testing.T) { // OCM-20.1
	c, all := recorder(t)
	for _, write := range []func(context.Context, client.Client, client.Object, client.Object) (bool, error){Status, Metadata, Spec, Data} {
		if wrote, err := write(t.Context(), c, aWork(), aWork()); wrote || err != nil {
			t.Errorf("wrote %v, %v", wrote, err)
		}
	}
	if len(*all) != 0 {
		t.Errorf("sent %v", *all)
	}
}

func TestFinalizerPatchCarriesTheWholeList(t *testing.T) { // OCM-20.1
	c, all := recorder(t)
	after := aWork()
	after.Finalizers = append(after.Finalizers, "ours")
	if _, err := Metadata(t.Context(), c, aWork(), after); err != nil {
		t.Fatal(err)
	}
	want := map[string]any{"metadata": map[string]any{"uid": "u1", "resourceVersion": "7", "finalizers": []any{"mine", "ours"}}}
	if d := cmp.Diff(want, (*all)[0].body); d != "" {
		t.Error(d)
	}
}
