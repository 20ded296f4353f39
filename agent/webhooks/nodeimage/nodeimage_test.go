package nodeimage

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	kruise "github.com/openkruise/kruise-api/apps/v1alpha1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

var noon = time.Date(2026, 1, 2, 12, 0, 0, 0, time.UTC)

func image(tags ...kruise.ImageTagSpec) *kruise.NodeImage {
	return &kruise.NodeImage{Spec: kruise.NodeImageSpec{Images: map[string]kruise.ImageSpec{"nginx": {Tags: tags}}}}
}

func TestDefault(t *testing.T) { // NI-1
	early := &metav1.Time{Time: noon.Add(-time.Hour)}
	got := image(kruise.ImageTagSpec{Tag: "2"}, kruise.ImageTagSpec{Tag: "1", CreatedAt: early, PullPolicy: &kruise.ImageTagPullPolicy{TimeoutSeconds: new(int32(9)), BackoffLimit: new(int32(0))}})
	got.Status.ImageStatuses = map[string]kruise.ImageStatus{"nginx": {Tags: []kruise.ImageTagStatus{{Tag: "b"}, {Tag: "a"}}}}
	Default(got, noon)
	want := image(
		kruise.ImageTagSpec{Tag: "1", CreatedAt: early, PullPolicy: &kruise.ImageTagPullPolicy{TimeoutSeconds: new(int32(9)), BackoffLimit: new(int32(0))}},
		kruise.ImageTagSpec{Tag: "2", CreatedAt: &metav1.Time{Time: noon}, PullPolicy: &kruise.ImageTagPullPolicy{TimeoutSeconds: new(int32(600)), BackoffLimit: new(int32(3))}})
	want.Status.ImageStatuses = map[string]kruise.ImageStatus{"nginx": {Tags: []kruise.ImageTagStatus{{Tag: "a"}, {Tag: "b"}}}}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
}

func TestValidate(t *testing.T) { // NI-2
	tag := func(name string, change ...func(*kruise.ImageTagSpec)) kruise.ImageTagSpec {
		one := kruise.ImageTagSpec{Tag: name, CreatedAt: &metav1.Time{Time: noon}, PullPolicy: &kruise.ImageTagPullPolicy{TTLSecondsAfterFinished: new(int32(1))}}
		for _, c := range change {
			c(&one)
		}
		return one
	}
	many := func(n int) *kruise.NodeImage {
		i := image()
		i.Spec.Images = map[string]kruise.ImageSpec{}
		for k := range n {
			i.Spec.Images[fmt.Sprint("image-", k)] = kruise.ImageSpec{Tags: []kruise.ImageTagSpec{tag("1")}}
		}
		return i
	}
	nameless := image()
	nameless.Spec.Images = map[string]kruise.ImageSpec{"": {}}
	for name, tc := range map[string]struct {
		image *kruise.NodeImage
		want  string
	}{
		"nothing":        {image: &kruise.NodeImage{}},
		"as many as may": {image: many(256)},
		"too many":       {image: many(257), want: "spec.images"},
		"no name":        {image: nameless, want: "spec.images[]"},
		"no tag":         {image: image(tag("")), want: "spec.images[nginx].tags[0].tag"},
		"a tag twice":    {image: image(tag("1"), tag("1")), want: "spec.images[nginx].tags[1].tag"},
		"no time":        {image: image(tag("1", func(t *kruise.ImageTagSpec) { t.CreatedAt = nil })), want: "spec.images[nginx].tags[0].createdAt"},
		"below zero":     {image: image(tag("1", func(t *kruise.ImageTagSpec) { t.Version = -1 })), want: "spec.images[nginx].tags[0].version"},
		"no policy":      {image: image(tag("1", func(t *kruise.ImageTagSpec) { t.PullPolicy = nil })), want: "spec.images[nginx].tags[0].pullPolicy"},
		"no TTL":         {image: image(tag("1", func(t *kruise.ImageTagSpec) { t.PullPolicy.TTLSecondsAfterFinished = nil })), want: "spec.images[nginx].tags[0].pullPolicy.ttlSecondsAfterFinished"},
	} {
		t.Run(name, func(t *testing.T) {
			problems := Validate(tc.image)
			if len(problems) == 0 && tc.want == "" {
				return
			}
			if len(problems) != 1 || problems[0].Field != tc.want {
				t.Errorf("%v", problems)
			}
		})
	}
}
