package memory

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync/atomic"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	utiljson "k8s.io/apimachinery/pkg/util/json"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/rest"
)

// Cluster is one cluster in memory.
type Cluster struct {
	store *store
	reads atomic.Int64
	wrote atomic.Int64
}

// kinds are the resources that are served.
var kinds = map[schema.GroupVersion][]metav1.APIResource{
	{Version: "v1"}: {
		{Name: "namespaces", Kind: "Namespace"}, {Name: "nodes", Kind: "Node"}, {Name: "secrets", Kind: "Secret", Namespaced: true},
		{Name: "configmaps", Kind: "ConfigMap", Namespaced: true}, {Name: "events", Kind: "Event", Namespaced: true},
	},
	{Group: "apps.kruise.io", Version: "v1alpha1"}:                     {{Name: "clonesets", Kind: "CloneSet", Namespaced: true}},
	{Group: "coordination.k8s.io", Version: "v1"}:                      {{Name: "leases", Kind: "Lease", Namespaced: true}},
	{Group: "apps", Version: "v1"}:                                     {{Name: "deployments", Kind: "Deployment", Namespaced: true}},
	{Group: "work.open-cluster-management.io", Version: "v1"}:          {{Name: "appliedmanifestworks", Kind: "AppliedManifestWork"}},
	{Group: "cluster.open-cluster-management.io", Version: "v1alpha1"}: {{Name: "clusterclaims", Kind: "ClusterClaim"}},
}

// New makes a cluster that has nothing but one node in the zone and the namespace kube-system.
func New(zone string) *Cluster {
	c := &Cluster{store: newStore()}
	node := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "v1", "kind": "Node",
		"status": map[string]any{"capacity": map[string]any{"cpu": "8", "memory": "32Gi"}, "allocatable": map[string]any{"cpu": "8", "memory": "32Gi"}},
	}}
	node.SetName("node-1")
	node.SetLabels(map[string]string{"topology.kubernetes.io/zone": zone})
	c.store.put(key{resource: schema.GroupResource{Resource: "nodes"}, name: "node-1"}, node, metav1.Now())
	system := &unstructured.Unstructured{Object: map[string]any{"apiVersion": "v1", "kind": "Namespace"}}
	system.SetName(metav1.NamespaceSystem) // its UID is the cluster's identity
	c.store.put(key{resource: schema.GroupResource{Resource: "namespaces"}, name: metav1.NamespaceSystem}, system, metav1.Now())
	return c
}

// Config reaches the cluster. It speaks JSON.
func (c *Cluster) Config() *rest.Config {
	return &rest.Config{
		Host: "http://memory", Transport: transport{c}, QPS: -1,
		ContentConfig: rest.ContentConfig{ContentType: "application/json", AcceptContentTypes: "application/json"},
	}
}

// Writes and Reads are how often the cluster was asked, watches not counted.
func (c *Cluster) Writes() int64 { return c.wrote.Load() }

// Reads is how many gets and lists there were.
func (c *Cluster) Reads() int64 { return c.reads.Load() }

// ServeHTTP answers a request as an API server would.
func (c *Cluster) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	path := strings.Trim(r.URL.Path, "/")
	switch path {
	case "livez", "healthz", "readyz":
		_, _ = io.WriteString(w, "ok")
		return
	case "version":
		answer(w, http.StatusOK, map[string]string{"major": "1", "minor": "37", "gitVersion": "v1.37.2"})
		return
	}
	if discovered(w, path) {
		return
	}
	t, err := parse(path)
	if err == nil {
		err = c.object(w, r, t)
	}
	var status *apierrors.StatusError
	switch {
	case err == nil:
	case errors.As(err, &status):
		answer(w, int(status.ErrStatus.Code), status.ErrStatus)
	default:
		answer(w, http.StatusBadRequest, apierrors.NewBadRequest(err.Error()).ErrStatus)
	}
}

// target is what a path names.
type target struct {
	key
	version schema.GroupVersion
	kind    string
	status  bool
}

func parse(path string) (target, error) {
	parts := strings.Split(path, "/")
	var t target
	switch {
	case parts[0] == "api" && len(parts) > 2:
		t.version, parts = schema.GroupVersion{Version: parts[1]}, parts[2:]
	case parts[0] == "apis" && len(parts) > 3:
		t.version, parts = schema.GroupVersion{Group: parts[1], Version: parts[2]}, parts[3:]
	default:
		return t, apierrors.NewNotFound(schema.GroupResource{}, path)
	}
	if parts[0] == "namespaces" && len(parts) > 2 {
		t.namespace, parts = parts[1], parts[2:]
	}
	t.resource = schema.GroupResource{Group: t.version.Group, Resource: parts[0]}
	for _, known := range kinds[t.version] {
		if known.Name == parts[0] {
			t.kind = known.Kind
		}
	}
	if len(parts) > 1 {
		t.name = parts[1]
	}
	t.status = len(parts) > 2 && parts[2] == "status"
	if t.kind == "" {
		return t, apierrors.NewNotFound(t.resource, path)
	}
	return t, nil
}

// discovered answers the lists of what there is.
func discovered(w http.ResponseWriter, path string) bool {
	parts := strings.Split(path, "/")
	switch {
	case path == "api":
		answer(w, http.StatusOK, metav1.APIVersions{TypeMeta: metav1.TypeMeta{Kind: "APIVersions"}, Versions: []string{"v1"}})
	case path == "apis":
		groups := metav1.APIGroupList{TypeMeta: metav1.TypeMeta{Kind: "APIGroupList", APIVersion: "v1"}}
		for gv := range kinds {
			if gv.Group != "" {
				v := metav1.GroupVersionForDiscovery{GroupVersion: gv.String(), Version: gv.Version}
				groups.Groups = append(groups.Groups, metav1.APIGroup{Name: gv.Group, Versions: []metav1.GroupVersionForDiscovery{v}, PreferredVersion: v})
			}
		}
		answer(w, http.StatusOK, groups)
	case path == "api/v1", len(parts) == 3 && parts[0] == "apis":
		gv := schema.GroupVersion{Version: "v1"}
		if parts[0] == "apis" {
			gv = schema.GroupVersion{Group: parts[1], Version: parts[2]}
		}
		list := metav1.APIResourceList{TypeMeta: metav1.TypeMeta{Kind: "APIResourceList", APIVersion: "v1"}, GroupVersion: gv.String()}
		for _, one := range kinds[gv] {
			one.Verbs = metav1.Verbs{"get", "list", "watch", "create", "update", "patch", "delete"}
			list.APIResources = append(list.APIResources, one)
		}
		if len(list.APIResources) == 0 {
			answer(w, http.StatusNotFound, apierrors.NewNotFound(schema.GroupResource{Group: gv.Group}, path).ErrStatus)
			return true
		}
		answer(w, http.StatusOK, list)
	default:
		return false
	}
	return true
}

func (c *Cluster) object(w http.ResponseWriter, r *http.Request, t target) error {
	metadataOnly := strings.Contains(r.Header.Get("Accept"), "as=PartialObjectMetadata")
	switch {
	case r.Method == http.MethodGet && r.URL.Query().Get("watch") != "":
		return c.watch(w, r, t, metadataOnly)
	case r.Method == http.MethodGet && t.name == "":
		c.reads.Add(1)
		return c.list(w, r, t, metadataOnly)
	case r.Method == http.MethodGet:
		c.reads.Add(1)
		c.store.mu.Lock()
		o := c.store.objects[t.key]
		c.store.mu.Unlock()
		if o == nil {
			return notFound(t.key)
		}
		answer(w, http.StatusOK, shown(o, metadataOnly))
		return nil
	}
	c.wrote.Add(1)
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return fmt.Errorf("read body: %w", err)
	}
	o, err := c.write(r.Method, t, types.PatchType(r.Header.Get("Content-Type")), body)
	if err != nil {
		return err
	}
	code := http.StatusOK
	if r.Method == http.MethodPost {
		code = http.StatusCreated
	}
	answer(w, code, o)
	return nil
}

func (c *Cluster) write(method string, t target, kind types.PatchType, body []byte) (*unstructured.Unstructured, error) {
	s := c.store
	s.mu.Lock()
	defer s.mu.Unlock()
	switch method {
	case http.MethodDelete:
		return s.delete(t.key)
	case http.MethodPatch:
		old := s.objects[t.key]
		if old == nil && kind != types.ApplyPatchType {
			return nil, notFound(t.key)
		}
		o, err := patch(old, kind, body)
		if err != nil {
			return nil, err
		}
		return s.put(t.key, s.named(o, t), metav1.Now()), nil
	}
	o := &unstructured.Unstructured{}
	if err := utiljson.Unmarshal(body, &o.Object); err != nil {
		return nil, fmt.Errorf("decode body: %w", err)
	}
	if method == http.MethodPost {
		if t.name = o.GetName(); t.name == "" {
			t.name = fmt.Sprintf("%s%d", o.GetGenerateName(), s.version)
		}
		if s.objects[t.key] != nil {
			return nil, apierrors.NewAlreadyExists(t.resource, t.name)
		}
	}
	return s.put(t.key, s.named(o, t), metav1.Now()), nil
}

func (s *store) named(o *unstructured.Unstructured, t target) *unstructured.Unstructured {
	o.SetAPIVersion(t.version.String())
	o.SetKind(t.kind)
	o.SetName(t.name)
	o.SetNamespace(t.namespace)
	return o
}

func (s *store) delete(k key) (*unstructured.Unstructured, error) {
	o := s.objects[k]
	switch {
	case o == nil:
		return nil, notFound(k)
	case len(o.GetFinalizers()) == 0:
		s.remove(k)
		return o, nil
	case o.GetDeletionTimestamp() == nil:
		leaving := o.DeepCopy()
		leaving.SetDeletionTimestamp(new(metav1.Now()))
		return s.put(k, leaving, metav1.Now()), nil
	}
	return o, nil
}

func filter(r *http.Request, t target) (func(*unstructured.Unstructured) bool, error) {
	byLabel, err := labels.Parse(r.URL.Query().Get("labelSelector"))
	if err != nil {
		return nil, err
	}
	byField, err := fields.ParseSelector(r.URL.Query().Get("fieldSelector"))
	if err != nil {
		return nil, err
	}
	return func(o *unstructured.Unstructured) bool {
		return (t.namespace == "" || o.GetNamespace() == t.namespace) && byLabel.Matches(labels.Set(o.GetLabels())) &&
			byField.Matches(fields.Set{"metadata.name": o.GetName(), "metadata.namespace": o.GetNamespace()})
	}, nil
}

func (c *Cluster) list(w http.ResponseWriter, r *http.Request, t target, metadataOnly bool) error {
	keep, err := filter(r, t)
	if err != nil {
		return err
	}
	c.store.mu.Lock()
	all, version := c.store.matching(t.resource, keep), c.store.version
	c.store.mu.Unlock()
	items := []any{}
	for _, o := range all {
		items = append(items, shown(o, metadataOnly).Object)
	}
	list := map[string]any{
		"apiVersion": t.version.String(), "kind": t.kind + "List", "items": items, "metadata": map[string]any{"resourceVersion": fmt.Sprint(version)},
	}
	if metadataOnly {
		list["apiVersion"], list["kind"] = "meta.k8s.io/v1", "PartialObjectMetadataList"
	}
	answer(w, http.StatusOK, list)
	return nil
}

// watch streams what there is, if asked, and then every change.
func (c *Cluster) watch(w http.ResponseWriter, r *http.Request, t target, metadataOnly bool) error {
	keep, err := filter(r, t)
	if err != nil {
		return err
	}
	me := &watcher{of: t.resource, events: make(chan watch.Event, 1000)}
	c.store.mu.Lock()
	var first []*unstructured.Unstructured
	initial := r.URL.Query().Get("sendInitialEvents") == "true"
	if initial {
		first = c.store.matching(t.resource, keep)
	}
	version := c.store.version
	c.store.watchers[me] = true
	c.store.mu.Unlock()
	defer func() {
		c.store.mu.Lock()
		delete(c.store.watchers, me)
		c.store.mu.Unlock()
	}()
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(http.StatusOK)
	out := json.NewEncoder(w)
	send := func(kind watch.EventType, o *unstructured.Unstructured) error {
		return out.Encode(map[string]any{"type": kind, "object": o.Object})
	}
	for _, o := range first {
		if err := send(watch.Added, shown(o, metadataOnly)); err != nil {
			return nil
		}
	}
	if initial {
		if err := send(watch.Bookmark, bookmark(t, version, metadataOnly)); err != nil {
			return nil
		}
	}
	for {
		select {
		case <-r.Context().Done():
			return nil
		case e := <-me.events:
			o, ok := e.Object.(*unstructured.Unstructured)
			if !ok || !keep(o) {
				continue
			}
			if err := send(e.Type, shown(o, metadataOnly)); err != nil {
				return nil
			}
		}
	}
}

func bookmark(t target, version int64, metadataOnly bool) *unstructured.Unstructured {
	o := &unstructured.Unstructured{Object: map[string]any{"apiVersion": t.version.String(), "kind": t.kind}}
	o.SetResourceVersion(fmt.Sprint(version))
	o.SetAnnotations(map[string]string{metav1.InitialEventsAnnotationKey: "true"})
	return shown(o, metadataOnly)
}

// shown is the object, or only its metadata.
func shown(o *unstructured.Unstructured, metadataOnly bool) *unstructured.Unstructured {
	if !metadataOnly {
		return o
	}
	return &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "meta.k8s.io/v1", "kind": "PartialObjectMetadata", "metadata": o.Object["metadata"],
	}}
}

func answer(w http.ResponseWriter, code int, what any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	_ = json.NewEncoder(w).Encode(what)
}
