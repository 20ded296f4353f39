// Package history names the history of a hub: a random id that stays the same as long as the hub's data only goes
// forward. Restoring a backup gives the hub a new one, and agents that see another id than the one they know remove and
// change nothing until somebody confirms.
//
// It knows where the id is kept and how it is written; it reads and writes nothing itself.
package history

import (
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	utiljson "k8s.io/apimachinery/pkg/util/json"

	"github.com/flotilla-project/flotilla/apis/apps/v1alpha1"
)

// The ConfigMap that holds the id.
const (
	Namespace = "flotilla-system"
	Name      = "hub-history"
	Key       = "id"
)

// NewID is an id that no hub had before.
func NewID() string { return rand.Text() }

// ConfigMap holds an id.
func ConfigMap(id string) *corev1.ConfigMap {
	return &corev1.ConfigMap{
		TypeMeta:   metav1.TypeMeta{APIVersion: "v1", Kind: "ConfigMap"},
		ObjectMeta: metav1.ObjectMeta{Namespace: Namespace, Name: Name},
		Data:       map[string]string{Key: id},
	}
}

// errNotJSON: the stored form is one that only the API server reads.
var errNotJSON = errors.New("not stored as JSON")

// Mark puts the id on a ManagedCluster as it is stored, and keeps everything else in it.
func Mark(stored []byte, id string) ([]byte, error) {
	var cluster map[string]any
	if err := utiljson.Unmarshal(stored, &cluster); err != nil { // whole numbers stay whole
		return nil, errors.Join(errNotJSON, err)
	}
	metadata, ok := cluster["metadata"].(map[string]any)
	if !ok {
		return nil, fmt.Errorf("%w: it has no metadata", errNotJSON)
	}
	annotations, ok := metadata["annotations"].(map[string]any)
	if !ok {
		annotations = map[string]any{}
		metadata["annotations"] = annotations
	}
	if annotations[v1alpha1.AnnotationHubHistory] == id {
		return stored, nil
	}
	annotations[v1alpha1.AnnotationHubHistory] = id
	return json.Marshal(cluster)
}
