// Package acttest is an API server in memory for tests of code that writes pods. It is controller-runtime's fake client,
// made like the real one where that matters here: the pods/status endpoint takes metadata too, a deletion that names another
// UID is a conflict and such a patch invalid, resources of a pod change by its resize endpoint only, and every write is counted.
package acttest

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"

	kruise "github.com/openkruise/kruise-api/apps/v1alpha1"
	kruisebeta "github.com/openkruise/kruise-api/apps/v1beta1"
	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/validation/field"
	clientscheme "k8s.io/client-go/kubernetes/scheme"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/flotilla-project/flotilla/pkg/index"
)

// Server is the API server. Make one with New.
type Server struct {
	client.WithWatch
	mutex  sync.Mutex
	writes []string
	// Before is asked before each write, named "create pod web-x", "patch pod web-x", "patch pod/status web-x" or "delete pod
	// web-x". Its error is the answer. It may write to Plain to win a race.
	Before func(write string) error
	// Plain is the same store without counting and asking.
	Plain client.WithWatch
	// Older serves no pods/resize and takes resources with the rest, as servers before 1.32 that let pods be resized.
	Older bool
	uids  int
}

// New is a server that holds the objects.
func New(objects ...client.Object) (*Server, error) {
	scheme := runtime.NewScheme()
	if err := clientscheme.AddToScheme(scheme); err != nil {
		return nil, err
	}
	if err := kruise.AddToScheme(scheme); err != nil {
		return nil, err
	}
	if err := kruisebeta.AddToScheme(scheme); err != nil {
		return nil, err
	}
	builder := fake.NewClientBuilder().WithScheme(scheme).WithObjects(objects...).
		WithStatusSubresource(&kruise.CloneSet{}, &kruise.DaemonSet{}, &kruisebeta.StatefulSet{}, &corev1.Pod{},
			&kruise.BroadcastJob{}, &kruise.AdvancedCronJob{}, &kruise.EphemeralJob{},
			&kruise.NodeImage{}, &kruise.ImagePullJob{}, &kruise.ImageListPullJob{})
	for _, indexed := range []client.Object{
		&corev1.Pod{}, &corev1.PersistentVolumeClaim{}, &appsv1.ControllerRevision{}, &kruise.ImagePullJob{},
		&batchv1.Job{}, &kruise.BroadcastJob{},
	} {
		builder = builder.WithIndex(indexed, index.Key, index.Owners)
	}
	s := &Server{Plain: builder.Build()}
	s.WithWatch = interceptor.NewClient(s.Plain, interceptor.Funcs{
		Create: s.create, Delete: s.delete, Patch: s.patch, SubResourcePatch: s.patchStatus, Update: s.update,
	})
	return s, nil
}

// Writes lists the writes so far, sorted, and forgets them.
func (s *Server) Writes() []string {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	writes := slices.Sorted(slices.Values(s.writes))
	s.writes = nil
	return writes
}

func (s *Server) note(verb string, obj client.Object, subresource string) error {
	name := fmt.Sprintf("%T", obj)
	kind := strings.ToLower(name[strings.LastIndex(name, ".")+1:])
	if subresource != "" {
		kind += "/" + subresource
	}
	write := fmt.Sprintf("%s %s %s", verb, kind, obj.GetName())
	s.mutex.Lock()
	s.writes = append(s.writes, write)
	s.mutex.Unlock()
	if s.Before == nil {
		return nil
	}
	return s.Before(write)
}

func (s *Server) create(ctx context.Context, c client.WithWatch, obj client.Object, opts ...client.CreateOption) error {
	if err := s.note("create", obj, ""); err != nil {
		return err
	}
	s.mutex.Lock()
	s.uids++
	obj.SetUID(types.UID(fmt.Sprintf("uid-%d", s.uids)))
	s.mutex.Unlock()
	return c.Create(ctx, obj, opts...)
}

func (s *Server) update(ctx context.Context, c client.WithWatch, obj client.Object, opts ...client.UpdateOption) error {
	if err := s.note("update", obj, ""); err != nil {
		return err
	}
	return c.Update(ctx, obj, opts...)
}

func (s *Server) delete(ctx context.Context, c client.WithWatch, obj client.Object, opts ...client.DeleteOption) error {
	if err := s.note("delete", obj, ""); err != nil {
		return err
	}
	if p := (&client.DeleteOptions{}).ApplyOptions(opts).Preconditions; p != nil && p.UID != nil {
		there, err := s.uidOf(ctx, obj)
		if err != nil {
			return err
		}
		if there != *p.UID {
			return apierrors.NewConflict(corev1.Resource("objects"), obj.GetName(), fmt.Errorf("the UID is %s, not %s", there, *p.UID))
		}
	}
	return c.Delete(ctx, obj, opts...)
}

func (s *Server) uidOf(ctx context.Context, obj client.Object) (types.UID, error) {
	there := obj.DeepCopyObject().(client.Object)
	err := s.Plain.Get(ctx, client.ObjectKeyFromObject(obj), there)
	return there.GetUID(), err
}

func (s *Server) patch(ctx context.Context, c client.WithWatch, obj client.Object, patch client.Patch, opts ...client.PatchOption) error {
	if err := s.note("patch", obj, ""); err != nil {
		return err
	}
	tree, err := s.checked(ctx, obj, patch)
	if err != nil {
		return err
	}
	if _, isPod := obj.(*corev1.Pod); isPod && !s.Older && resources(tree) {
		return apierrors.NewInvalid(corev1.SchemeGroupVersion.WithKind("Pod").GroupKind(), obj.GetName(),
			field.ErrorList{field.Forbidden(field.NewPath("spec"), "pod updates may not change resources")})
	}
	return c.Patch(ctx, obj, patch, opts...)
}

// checked is the patch as a tree, once its UID was compared.
func (s *Server) checked(ctx context.Context, obj client.Object, patch client.Patch) (map[string]any, error) {
	data, err := patch.Data(obj)
	if err != nil {
		return nil, err
	}
	var tree map[string]any
	if err := json.Unmarshal(data, &tree); err != nil {
		return nil, err
	}
	metadata, _ := tree["metadata"].(map[string]any)
	uid, ok := metadata["uid"].(string)
	if !ok {
		return tree, nil
	}
	there, err := s.uidOf(ctx, obj)
	if err == nil && string(there) != uid {
		err = apierrors.NewInvalid(corev1.SchemeGroupVersion.WithKind("Object").GroupKind(), obj.GetName(),
			field.ErrorList{field.Invalid(field.NewPath("metadata", "uid"), uid, "field is immutable")})
	}
	return tree, err
}

// patchStatus takes metadata as well when it is a pod's, which the fake client drops.
func (s *Server) patchStatus(ctx context.Context, c client.Client, sub string, obj client.Object, patch client.Patch, opts ...client.SubResourcePatchOption) error {
	if err := s.note("patch", obj, sub); err != nil {
		return err
	}
	if _, isPod := obj.(*corev1.Pod); !isPod || sub != "status" {
		return c.SubResource(sub).Patch(ctx, obj, patch, opts...)
	}
	tree, err := s.checked(ctx, obj, patch)
	if err != nil {
		return err
	}
	if sub == "resize" {
		return s.resize(ctx, obj, patch, tree)
	}
	rest := maps.Clone(tree)
	delete(rest, "status")
	part := func(t map[string]any) (client.Patch, error) {
		data, err := json.Marshal(t)
		return client.RawPatch(patch.Type(), data), err
	}
	first, err := part(rest)
	if err != nil {
		return err
	}
	if err := s.Plain.Patch(ctx, obj, first); err != nil {
		return err
	}
	second, err := part(map[string]any{"status": tree["status"]})
	if err != nil {
		return err
	}
	return s.Plain.Status().Patch(ctx, obj, second)
}

// resize takes nothing but resources.
func (s *Server) resize(ctx context.Context, obj client.Object, patch client.Patch, tree map[string]any) error {
	if s.Older {
		return apierrors.NewGenericServerResponse(http.StatusNotFound, "patch", corev1.Resource("pods"), obj.GetName(), "404 page not found", 0, true)
	}
	spec, _ := tree["spec"].(map[string]any)
	data, err := json.Marshal(map[string]any{"metadata": tree["metadata"], "spec": map[string]any{"containers": spec["containers"]}})
	if err != nil {
		return err
	}
	return s.Plain.Patch(ctx, obj, client.RawPatch(patch.Type(), data))
}

// resources tells whether the patch of a pod changes any.
func resources(tree map[string]any) bool {
	spec, _ := tree["spec"].(map[string]any)
	containers, _ := spec["containers"].([]any)
	return slices.ContainsFunc(containers, func(c any) bool {
		fields, _ := c.(map[string]any)
		return fields["resources"] != nil
	})
}
