package stories

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"

	kruisev1alpha1 "github.com/openkruise/kruise-api/apps/v1alpha1"
	kruisev1beta1 "github.com/openkruise/kruise-api/apps/v1beta1"
	appsv1 "k8s.io/api/apps/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/intstr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/flotilla-project/flotilla/test/fleet"
	"github.com/flotilla-project/flotilla/test/fleet/system"
)

// leftovers are the sets of a cluster whose OpenKruise was removed, with what must stay of them: pods with their containers,
// claims with their volumes, revisions with their numbers.
type leftovers struct {
	ns        string
	lives     map[string]map[types.UID]life
	claims    map[string]string
	revisions map[string]int64
}

// The files in testdata/openkruise are written from the clauses, with what OpenKruise 1.8 stores: a CloneSet in the middle of
// a partitioned update, one of whose pods was updated in place and another lacks a label of later releases; a StatefulSet; a
// DaemonSet, whose template has no defaults. // WL-0.5, WL-1.4, WL-1.5, WL-1.6, WL-2.4, WL-3.2, WL-3.6, WL-4.1
func leaveBehind(t *testing.T, f *fleet.Fleet, s *system.System) *leftovers {
	t.Helper()
	w := &world{T: t, System: s, ns: f.Namespace(t, east), east: connect(t, f, east)}
	for _, args := range [][]string{
		{"apply", "-k", s.Source("deploy/member/crds")}, {"wait", "--for=condition=Established", "crd", "--all", "--timeout=60s"},
	} {
		if _, err := s.Kubectl(t.Context(), east, args...); err != nil {
			t.Fatal(err)
		}
	}
	sets := map[string]int{"cloneset": 3, "statefulset": 2, "daemonset": 3}
	all := 0
	for file, pods := range sets {
		w.leave(filepath.Join("testdata", "openkruise", file+".json"))
		all += pods
	}
	w.until("what OpenKruise left runs", func() string {
		if n := readyOf(w.pods(east)); n != all {
			return w.shown("web") + w.shown("db") + w.shown("logs")
		}
		return ""
	})
	l := &leftovers{ns: w.ns, lives: map[string]map[types.UID]life{}, claims: w.claims(), revisions: w.revisions()}
	for _, name := range []string{"web", "db", "logs"} {
		l.lives[name] = w.lives(name)
	}
	return l
}

// leave creates the objects of a file, a line each. The first owns the others.
func (w *world) leave(file string) {
	w.Helper()
	raw, err := os.ReadFile(file)
	if err != nil {
		w.Fatal(err)
	}
	uid := "none"
	decoder := json.NewDecoder(bytes.NewReader(bytes.ReplaceAll(raw, []byte("NAMESPACE"), []byte(w.ns))))
	for {
		var line json.RawMessage
		if err := decoder.Decode(&line); errors.Is(err, io.EOF) {
			return
		} else if err != nil {
			w.Fatalf("%s: %v", file, err)
		}
		o := &unstructured.Unstructured{}
		if err := json.Unmarshal([]byte(strings.ReplaceAll(string(line), `"UID"`, `"`+uid+`"`)), &o.Object); err != nil {
			w.Fatalf("%s: %v", file, err)
		}
		w.store(o)
		if uid == "none" {
			uid = string(o.GetUID())
		}
	}
}

// store creates an object with its status.
func (w *world) store(o *unstructured.Unstructured) {
	w.Helper()
	status, has := o.Object["status"]
	if err := w.east.Create(w.Context(), o); err != nil {
		w.Fatalf("create %s %s: %v", o.GetKind(), o.GetName(), err)
	}
	if !has {
		return
	}
	patch, err := json.Marshal(map[string]any{"status": status})
	if err != nil {
		w.Fatal(err)
	}
	kind := types.MergePatchType
	if o.GetKind() == "Pod" {
		kind = types.StrategicMergePatchType // beside what the kubelet says
	}
	if err := w.east.Status().Patch(w.Context(), o, client.RawPatch(kind, patch)); err != nil {
		w.Fatalf("write the status of %s %s: %v", o.GetKind(), o.GetName(), err)
	}
}

// revisions are the story's ControllerRevisions with their numbers.
func (w *world) revisions() map[string]int64 {
	w.Helper()
	var list appsv1.ControllerRevisionList
	if err := w.east.List(w.Context(), &list, client.InNamespace(w.ns)); err != nil {
		w.Fatal(err)
	}
	all := map[string]int64{}
	for _, r := range list.Items {
		all[r.Name] = r.Revision
	}
	return all
}

// takesOver finds everything as it was left, and then goes on with it: the update that was under way, and others.
func (h *home) takesOver(w *world) {
	w.ns = h.left.ns
	at := metav1.ObjectMeta{Namespace: w.ns}
	clones, state, daemons := &kruisev1alpha1.CloneSet{ObjectMeta: at}, &kruisev1beta1.StatefulSet{ObjectMeta: at}, &kruisev1alpha1.DaemonSet{ObjectMeta: at}
	clones.Name, state.Name, daemons.Name = "web", "db", "logs"
	d := w.keepDiary()
	w.settles(clones, state, daemons)
	w.stays("everything is as it was left", func() string { return h.left.differ(w) })

	w.alter(clones, func() { clones.Spec.UpdateStrategy.Partition = new(intstr.FromInt32(0)) })
	w.alter(state, func() { state.Spec.Template.Spec.Containers[0].Image = image("v2") })
	w.alter(daemons, func() { daemons.Spec.Template.Spec.Containers[0].Image = image("v2") })
	w.settles(clones, state, daemons)
	web := w.lives("web")
	for uid, was := range h.left.lives["web"] {
		if was.name == "web-4xk2p" { // the last one of its update
			w.sameLife(was, web[uid], 1)
		} else {
			w.sameLife(was, web[uid], 0)
		}
	}
	w.wentOn("db", h.left.lives["db"], 1)
	w.wentOn("logs", h.left.lives["logs"], 1)
	if is := w.claims(); !maps.Equal(is, h.left.claims) {
		w.Errorf("claims were %v, are %v", h.left.claims, is)
	}
	for name, places := range map[string]int{"web": 3, "db": 2, "logs": 3} {
		if wrong := d.overBudget(name, places, 1); wrong != "" {
			w.Error(wrong)
		}
	}
}

// differ says what is not as it was left.
func (l *leftovers) differ(w *world) string {
	for name, was := range l.lives {
		if is := w.lives(name); !maps.Equal(is, was) {
			return fmt.Sprintf("pods of %s were %v, are %v", name, was, is)
		}
	}
	if is := w.claims(); !maps.Equal(is, l.claims) {
		return fmt.Sprintf("claims were %v, are %v", l.claims, is)
	}
	if is := w.revisions(); !maps.Equal(is, l.revisions) {
		return fmt.Sprintf("revisions were %v, are %v", l.revisions, is)
	}
	return ""
}
