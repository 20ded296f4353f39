package revision

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"

	shared "github.com/flotilla-project/flotilla/pkg/revision"
)

// old is what libraries of Kubernetes 1.30 store for template("nginx:1.25").
const old = `{"spec":{"template":{"$patch":"replace","metadata":{"creationTimestamp":null,"labels":{"app":"web"}},"spec":{"containers":[{"image":"nginx:1.25","imagePullPolicy":"Always","name":"main","resources":{"limits":{"cpu":"1"}},"terminationMessagePath":"/dev/termination-log","terminationMessagePolicy":"File"}],"restartPolicy":"Always","terminationGracePeriodSeconds":30,"volumes":[{"ephemeral":{"volumeClaimTemplate":{"metadata":{"creationTimestamp":null},"spec":{"accessModes":["ReadWriteOnce"],"resources":{"requests":{"storage":"1Gi"}}}}},"name":"scratch"}]}}}}`

func template(image string) *corev1.PodTemplateSpec {
	return &corev1.PodTemplateSpec{
		ObjectMeta: metav1.ObjectMeta{Labels: map[string]string{"app": "web"}},
		Spec: corev1.PodSpec{
			RestartPolicy:                 corev1.RestartPolicyAlways,
			TerminationGracePeriodSeconds: new(int64(30)),
			Containers: []corev1.Container{{
				Name: "main", Image: image, ImagePullPolicy: corev1.PullAlways,
				TerminationMessagePath: "/dev/termination-log", TerminationMessagePolicy: corev1.TerminationMessageReadFile,
				Resources: corev1.ResourceRequirements{Limits: corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("1")}},
			}},
			Volumes: []corev1.Volume{{Name: "scratch", VolumeSource: corev1.VolumeSource{Ephemeral: &corev1.EphemeralVolumeSource{
				VolumeClaimTemplate: &corev1.PersistentVolumeClaimTemplate{Spec: claimSpec("1Gi")},
			}}}},
		},
	}
}

func claimSpec(size string) corev1.PersistentVolumeClaimSpec {
	return corev1.PersistentVolumeClaimSpec{
		AccessModes: []corev1.PersistentVolumeAccessMode{corev1.ReadWriteOnce},
		Resources:   corev1.VolumeResourceRequirements{Requests: corev1.ResourceList{corev1.ResourceStorage: resource.MustParse(size)}},
	}
}

func owner(image string) Owner {
	return Owner{
		Name: "web", Namespace: "shop", Template: template(image), ClaimHash: "7",
		Ref:         metav1.OwnerReference{Kind: "CloneSet", Name: "web", UID: "u"},
		Annotations: map[string]string{"note": "kept"},
	}
}

func data(t *testing.T, image string) []byte {
	t.Helper()
	d, err := Data(template(image))
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func stored(name string, number int64, data []byte) appsv1.ControllerRevision {
	return appsv1.ControllerRevision{
		ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: "shop"},
		Revision:   number, Data: runtime.RawExtension{Raw: data},
	}
}

// timeless is data as newer libraries write it.
func timeless(data string) string {
	return strings.ReplaceAll(strings.ReplaceAll(data, `"creationTimestamp":null,`, ""), `"creationTimestamp":null`, "")
}

func TestDataHasTheBytesOfOlderLibraries(t *testing.T) { // WL-0.5
	if d := cmp.Diff(old, string(data(t, "nginx:1.25"))); d != "" {
		t.Error(d)
	}
}

func TestHashIsTheOneThatClustersHave(t *testing.T) { // WL-0.5
	// Computed apart from this code: FNV-1 over old and "0", in decimal, in the safe alphabet.
	if got, want := shared.Hash([]byte(old), 0), "5d8cfdbb64"; got != want {
		t.Errorf("hash is %s, want %s", got, want)
	}
	if shared.Hash([]byte(old), 0) == shared.Hash([]byte(old), 1) {
		t.Error("the collision count does not change the hash")
	}
	if got := len(shared.Name(strings.Repeat("x", 240), "abc")); got != 223+1+3 {
		t.Errorf("name of a long owner has %d characters", got)
	}
}

func TestEqualLooksAtTheMeaning(t *testing.T) { // WL-0.5
	bare := timeless(old)
	for name, tc := range map[string]struct {
		a, b string
		want bool
	}{
		"the same bytes":              {old, old, true},
		"null times left out":         {old, bare, true},
		"quantities in other words":   {old, strings.Replace(old, `"cpu":"1"`, `"cpu":"1000m"`, 1), true},
		"another image":               {old, strings.Replace(old, "1.25", "1.26", 1), false},
		"an empty volume is not none": {strings.Replace(old, `"ephemeral"`, `"emptyDir":{},"ephemeral"`, 1), old, false},
		"what cannot be read":         {old, "{", false},
	} {
		t.Run(name, func(t *testing.T) {
			if got := Equal([]byte(tc.a), []byte(tc.b)); got != tc.want {
				t.Errorf("got %v", got)
			}
		})
	}
}

func TestResolve(t *testing.T) { // WL-0.5
	one, two := data(t, "web:1"), data(t, "web:2")
	bare := []byte(timeless(string(one)))
	type want struct {
		update, current string
		write           Write
		number          int64
	}
	for name, tc := range map[string]struct {
		image, status string
		existing      []appsv1.ControllerRevision
		want          want
	}{
		"the first revision": {
			image: "web:1",
			want:  want{shared.Name("web", shared.Hash(one, 0)), shared.Name("web", shared.Hash(one, 0)), Create, 1},
		},
		"nothing changed": {
			image: "web:1", status: "web-a",
			existing: []appsv1.ControllerRevision{stored("web-a", 4, one)},
			want:     want{"web-a", "web-a", Keep, 4},
		},
		"a new template": {
			image: "web:2", status: "web-a",
			existing: []appsv1.ControllerRevision{stored("web-a", 4, one)},
			want:     want{shared.Name("web", shared.Hash(two, 0)), "web-a", Create, 5},
		},
		"a rollback makes the older one the newest": {
			image: "web:1", status: "web-b",
			existing: []appsv1.ControllerRevision{stored("web-b", 5, two), stored("web-a", 4, one)},
			want:     want{"web-a", "web-b", Renumber, 6},
		},
		"of two that mean the same the newest serves": {
			image: "web:1", status: "web-a",
			existing: []appsv1.ControllerRevision{stored("web-a", 4, one), stored("web-c", 5, one)},
			want:     want{"web-c", "web-a", Keep, 5},
		},
		"a revision of other libraries is taken over": {
			image: "web:1", status: "web-a",
			existing: []appsv1.ControllerRevision{stored("web-a", 1, bare)},
			want:     want{"web-a", "web-a", Keep, 1},
		},
		"a current revision that is gone is the update revision": {
			image: "web:1", status: "web-gone",
			existing: []appsv1.ControllerRevision{stored("web-a", 4, one)},
			want:     want{"web-a", "web-a", Keep, 4},
		},
	} {
		t.Run(name, func(t *testing.T) {
			o := owner(tc.image)
			o.Current = tc.status
			r, err := Resolve(o, tc.existing)
			if err != nil {
				t.Fatal(err)
			}
			got := want{r.Update.Name, r.Current.Name, r.Write, r.Update.Revision}
			if got != tc.want {
				t.Errorf("got %+v, want %+v", got, tc.want)
			}
			if r.Write == Renumber && r.Update.Annotations[ClaimHashAnnotation] != "7" {
				t.Error("the claim hash of a rollback is not refreshed") // WL-1.6
			}
		})
	}
}

func TestNewRevisionSaysWhoseItIs(t *testing.T) { // WL-0.5
	r, err := Resolve(owner("web:1"), nil)
	if err != nil {
		t.Fatal(err)
	}
	want := metav1.ObjectMeta{
		Name: r.Update.Name, Namespace: "shop",
		Labels:          map[string]string{"app": "web", HashLabel: Short(r.Update.Name)},
		Annotations:     map[string]string{"note": "kept", ClaimHashAnnotation: "7"},
		OwnerReferences: []metav1.OwnerReference{{Kind: "CloneSet", Name: "web", UID: "u"}},
	}
	if d := cmp.Diff(want, r.Update.ObjectMeta); d != "" {
		t.Error(d)
	}
}

func TestClash(t *testing.T) { // WL-0.5
	r, err := Resolve(owner("web:1"), nil)
	if err != nil {
		t.Fatal(err)
	}
	same := stored(r.Update.Name, 9, data(t, "web:1"))
	if got := r.Clash(&same); got.Write != Keep || got.Update.Revision != 9 || got.Current != got.Update {
		t.Errorf("equal data is not adopted: %+v", got)
	}
	other := stored(r.Update.Name, 9, data(t, "web:2"))
	got := r.Clash(&other)
	if got.Write != Create || got.Collisions != 1 || got.Update.Name != shared.Name("web", shared.Hash(data(t, "web:1"), 1)) {
		t.Errorf("a taken name is not left: %+v", got)
	}
	if got.Update.Labels[HashLabel] != Short(r.Update.Name) {
		t.Error("the label does not keep the first hash")
	}
	if got.Current != got.Update {
		t.Errorf("a set that knows one revision is between %s and %s", got.Current.Name, got.Update.Name)
	}
	rolling := r
	rolling.Current = &other
	for _, taken := range []*appsv1.ControllerRevision{&same, &other} {
		if got := rolling.Clash(taken); got.Current != &other {
			t.Errorf("a set that comes from %s now comes from %s", other.Name, got.Current.Name)
		}
	}
}

func TestSame(t *testing.T) { // WL-1.5
	for name, tc := range map[string]struct {
		label, revision string
		want            bool
	}{
		"full name":     {"web-a", "web-a", true},
		"short hash":    {"a", "web-a", true},
		"another":       {"web-b", "web-a", false},
		"no label":      {"", "web-a", false},
		"renamed owner": {"shop-a", "web-a", true},
	} {
		t.Run(name, func(t *testing.T) {
			if got := Same(tc.label, tc.revision); got != tc.want {
				t.Errorf("got %v", got)
			}
		})
	}
}

func TestClaimHash(t *testing.T) { // WL-1.6
	claim := func(name, size string) corev1.PersistentVolumeClaim {
		return corev1.PersistentVolumeClaim{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: claimSpec(size)}
	}
	hash := func(claims ...corev1.PersistentVolumeClaim) string {
		h, err := ClaimHash(claims)
		if err != nil {
			t.Fatal(err)
		}
		return h
	}
	if hash() != "" {
		t.Error("no claims have a hash")
	}
	if hash(claim("a", "1Gi"), claim("b", "2Gi")) != hash(claim("b", "2Gi"), claim("a", "1Gi")) {
		t.Error("the order of claims changes the hash")
	}
	if hash(claim("a", "1Gi")) == hash(claim("a", "2Gi")) {
		t.Error("the size does not change the hash")
	}
	annotated := func(v string) *appsv1.ControllerRevision {
		return &appsv1.ControllerRevision{ObjectMeta: metav1.ObjectMeta{Annotations: map[string]string{ClaimHashAnnotation: v}}}
	}
	if SameClaims(annotated("1"), annotated("2")) || !SameClaims(annotated("1"), &appsv1.ControllerRevision{}) {
		t.Error("claims differ only when both revisions say so")
	}
}

func TestSurplus(t *testing.T) { // WL-0.5
	var all []appsv1.ControllerRevision
	for i, name := range []string{"web-a", "web-b", "web-c", "web-d", "web-e"} {
		r := stored(name, int64(i+1), nil)
		r.CreationTimestamp = metav1.NewTime(time.Unix(int64(i), 0))
		all = append(all, r)
	}
	for name, tc := range map[string]struct {
		limit int
		inUse []string
		want  []string
	}{
		"below the limit":             {5, nil, nil},
		"the oldest go":               {3, nil, []string{"web-a", "web-b"}},
		"those in use do not count":   {1, []string{"web-e", "a"}, []string{"web-b", "web-c"}},
		"none are kept":               {0, []string{"web-e"}, []string{"web-a", "web-b", "web-c", "web-d"}},
		"a negative limit is no loop": {-1, []string{"web-b", "web-c", "web-d", "web-e"}, []string{"web-a"}},
	} {
		t.Run(name, func(t *testing.T) {
			var got []string
			for _, r := range Surplus(all, tc.limit, tc.inUse...) {
				got = append(got, r.Name)
			}
			if d := cmp.Diff(tc.want, got); d != "" {
				t.Error(d)
			}
		})
	}
}
