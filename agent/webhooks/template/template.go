// Package template has the API server judge pod templates: the rules for pods are its own, thousands of lines that cannot
// be imported. A PodTemplate is created as a dry run, which the server fills in, validates and forgets. One call, made
// only for templates that are new or changed: five to eight milliseconds for a large one on two busy cores.
//
// It stores nothing and owns nothing. It promises that a server which cannot say what is wrong is not taken for one that
// found something wrong: then a template passes, and its pods are judged when they are created.
package template

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"
)

// patience is what one judgement may take: whoever asked us waits as well.
const patience = 5 * time.Second

// Judge says what is wrong with a pod template.
type Judge interface {
	// Judge names fields below spec.template. An error means that nobody knows. Namespace is where the pods would be.
	Judge(ctx context.Context, namespace string, t *corev1.PodTemplateSpec) (field.ErrorList, error)
}

// Server is the API server as a judge.
type Server struct {
	writer client.Writer
	home   string
}

// NewServer asks through w, in the namespace home: there alone is a right to create PodTemplates needed, and no quota of
// users counts them. Where there is no such namespace, it asks in that of the pods.
func NewServer(w client.Writer, home string) *Server { return &Server{writer: w, home: home} }

// Judge asks. // WL-1.2
func (s *Server) Judge(ctx context.Context, namespace string, t *corev1.PodTemplateSpec) (field.ErrorList, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	err := s.ask(ctx, s.home, t)
	if apierrors.IsNotFound(err) {
		err = s.ask(ctx, namespace, t)
	}
	if problems, ok := Problems(err); ok || err == nil {
		return problems, nil
	}
	return nil, fmt.Errorf("have the API server judge a pod template: %w", err)
}

func (s *Server) ask(ctx context.Context, namespace string, t *corev1.PodTemplateSpec) error {
	asked := &corev1.PodTemplate{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, GenerateName: "flotilla-judged-"}, Template: *t.DeepCopy(),
	}
	return s.writer.Create(ctx, asked, client.DryRunAll)
}

// Problems reads a refusal of a PodTemplate as problems of what it was made of.
func Problems(err error) (all field.ErrorList, ok bool) {
	status, is := errors.AsType[*apierrors.StatusError](err)
	if !is || !apierrors.IsInvalid(err) || status.ErrStatus.Details == nil {
		return nil, false
	}
	for _, cause := range status.ErrStatus.Details.Causes {
		if !strings.HasPrefix(cause.Field, "template") {
			return nil, false // about the PodTemplate itself, which is ours
		}
		all = append(all, problem(cause))
	}
	return all, len(all) > 0
}

func problem(cause metav1.StatusCause) *field.Error {
	kind := field.ErrorType(cause.Type)
	detail := strings.TrimPrefix(strings.TrimPrefix(cause.Message, kind.String()), ": ")
	return &field.Error{Type: kind, Field: "spec." + cause.Field, BadValue: field.OmitValueType{}, Detail: detail}
}

// WithClaims is a copy of a template with a volume for each claim template, so that containers may mount them. // WL-1.2
func WithClaims(t *corev1.PodTemplateSpec, claims []corev1.PersistentVolumeClaim) *corev1.PodTemplateSpec {
	t = t.DeepCopy()
	byName := map[string]int{}
	for i, v := range t.Spec.Volumes {
		byName[v.Name] = i
	}
	for _, c := range claims {
		v := corev1.Volume{Name: c.Name, VolumeSource: corev1.VolumeSource{
			PersistentVolumeClaim: &corev1.PersistentVolumeClaimVolumeSource{ClaimName: c.Name},
		}}
		if i, taken := byName[c.Name]; taken {
			t.Spec.Volumes[i] = v // as it is in the pods
			continue
		}
		byName[c.Name] = len(t.Spec.Volumes)
		t.Spec.Volumes = append(t.Spec.Volumes, v)
	}
	return t
}

// Add asks a judge and adds what our own rules did not say already.
func Add(ctx context.Context, j Judge, namespace string, t *corev1.PodTemplateSpec, known field.ErrorList) field.ErrorList {
	found, err := j.Judge(ctx, namespace, t)
	if err != nil {
		log.FromContext(ctx).Error(err, "let a pod template pass that nobody judged")
		return known
	}
	said := map[string]bool{}
	for _, p := range known {
		said[p.Field] = true
	}
	for _, p := range found {
		if !said[p.Field] {
			known = append(known, p)
		}
	}
	return known
}
