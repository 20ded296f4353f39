package revision

import (
	"bytes"
	"testing"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
)

var web = Owner{Name: "web", Namespace: "shop", Ref: metav1.OwnerReference{Name: "web", UID: "1"}, Labels: map[string]string{"app": "web"}}

func numbered(name string, number int64, data string) appsv1.ControllerRevision {
	return appsv1.ControllerRevision{
		ObjectMeta: metav1.ObjectMeta{Name: name}, Revision: number, Data: runtime.RawExtension{Raw: []byte(data)},
	}
}

// WL-0.5
func TestResolve(t *testing.T) {
	first := Name("web", Hash([]byte("c"), 0))
	for name, tc := range map[string]struct {
		existing []appsv1.ControllerRevision
		want     string
		number   int64
		write    Write
	}{
		"the first is number one":                {want: first, number: 1, write: Create},
		"a new one is numbered highest plus one": {existing: []appsv1.ControllerRevision{numbered("b", 4, "b"), numbered("a", 1, "a")}, want: first, number: 5, write: Create},
		"the newest is kept":                     {existing: []appsv1.ControllerRevision{numbered("x", 4, "c"), numbered("a", 1, "a")}, want: "x", number: 4, write: Keep},
		"going back renumbers":                   {existing: []appsv1.ControllerRevision{numbered("x", 1, "c"), numbered("b", 2, "b")}, want: "x", number: 3, write: Renumber},
		"of equal ones the last is used":         {existing: []appsv1.ControllerRevision{numbered("x", 1, "c"), numbered("y", 2, "c"), numbered("b", 3, "b")}, want: "y", number: 4, write: Renumber},
		"a taken name counts a collision":        {existing: []appsv1.ControllerRevision{numbered(first, 1, "other")}, want: Name("web", Hash([]byte("c"), 1)), number: 2, write: Create},
	} {
		t.Run(name, func(t *testing.T) {
			got, write := Resolve(web, []byte("c"), tc.existing, bytes.Equal)
			if got.Name != tc.want || got.Revision != tc.number || write != tc.write {
				t.Errorf("got %s number %d write %d, want %s %d %d", got.Name, got.Revision, write, tc.want, tc.number, tc.write)
			}
		})
	}
}

func TestANewRevisionBelongsToItsOwner(t *testing.T) {
	got, _ := Resolve(web, []byte("c"), nil, bytes.Equal)
	hash := Hash([]byte("c"), 0)
	want := metav1.ObjectMeta{
		Name: "web-" + hash, Namespace: "shop", Labels: map[string]string{"app": "web", HashLabel: hash},
		OwnerReferences: []metav1.OwnerReference{web.Ref},
	}
	if d := cmp.Diff(want, got.ObjectMeta); d != "" {
		t.Error(d)
	}
	if len(web.Labels) != 1 {
		t.Error("the owner's labels were changed")
	}
}

// The sum is FNV-1 over data and collision count, in decimal, in the safe alphabet: the same forever, or everything rolls.
func TestHashesNeverChange(t *testing.T) {
	for data, want := range map[string]string{"": "d8bfb7bc", `{"spec":{}}`: "59c9b4d596"} {
		if got := Hash([]byte(data), 0); got != want {
			t.Errorf("hash of %q is %s, want %s", data, got, want)
		}
	}
	if Hash([]byte("a"), 0) == Hash([]byte("a"), 1) {
		t.Error("the collision count must change the hash")
	}
}

// WL-5.6
func TestSurplus(t *testing.T) {
	three := []appsv1.ControllerRevision{numbered("c", 3, ""), numbered("a", 1, ""), numbered("b", 2, "")}
	for name, tc := range map[string]struct {
		limit  int
		needed string
		want   []string
	}{
		"within the limit nothing goes":        {limit: 3},
		"the oldest go":                        {limit: 1, want: []string{"a", "b"}},
		"what is needed stays":                 {limit: 1, needed: "a", want: []string{"b"}},
		"a limit of none keeps what is needed": {limit: 0, needed: "c", want: []string{"a", "b"}},
	} {
		t.Run(name, func(t *testing.T) {
			var got []string
			for _, r := range Surplus(three, tc.limit, func(name string) bool { return name == tc.needed }) {
				got = append(got, r.Name)
			}
			if d := cmp.Diff(tc.want, got); d != "" {
				t.Error(d)
			}
		})
	}
}
