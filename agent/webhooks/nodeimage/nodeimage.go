// Package nodeimage is admission for NodeImages, which controllers write and users may. It reads and writes nothing.
package nodeimage

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"time"

	kruise "github.com/openkruise/kruise-api/apps/v1alpha1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/flotilla-project/flotilla/pkg/webhook"
)

const (
	// most is how many images a node may be asked for. // NI-2
	most = 256
	// timeoutSeconds and backoffLimit of a tag that says none. // NI-1
	timeoutSeconds, backoffLimit = 600, 3
)

// Defaulter is the handler that fills a NodeImage in.
func Defaulter() http.Handler {
	return webhook.Defaulter(func(_ context.Context, r webhook.Request[*kruise.NodeImage]) error {
		Default(r.New, time.Now())
		return nil
	})
}

// Default changes image in place: times and numbers of tags, and their order. // NI-1
func Default(image *kruise.NodeImage, now time.Time) {
	for _, spec := range image.Spec.Images {
		for i := range spec.Tags {
			fill(&spec.Tags[i], now)
		}
		slices.SortStableFunc(spec.Tags, func(a, b kruise.ImageTagSpec) int { return cmp.Compare(a.Tag, b.Tag) })
	}
	for _, status := range image.Status.ImageStatuses {
		slices.SortStableFunc(status.Tags, func(a, b kruise.ImageTagStatus) int { return cmp.Compare(a.Tag, b.Tag) })
	}
}

func fill(tag *kruise.ImageTagSpec, now time.Time) {
	if tag.CreatedAt == nil {
		tag.CreatedAt = &metav1.Time{Time: now.Truncate(time.Second)}
	}
	if tag.PullPolicy == nil {
		tag.PullPolicy = &kruise.ImageTagPullPolicy{}
	}
	if tag.PullPolicy.TimeoutSeconds == nil {
		tag.PullPolicy.TimeoutSeconds = new(int32(timeoutSeconds))
	}
	if tag.PullPolicy.BackoffLimit == nil {
		tag.PullPolicy.BackoffLimit = new(int32(backoffLimit))
	}
}

// Validator is the handler that judges a NodeImage; with the gate off it refuses all. // NI-2, SJ-0.5
func Validator(on bool) http.Handler {
	return webhook.Validator(func(_ context.Context, r webhook.Request[*kruise.NodeImage]) error {
		if !on {
			return apierrors.NewForbidden(kruise.Resource("nodeimages"), r.New.Name, errors.New("feature gate KruiseDaemon is off"))
		}
		if problems := Validate(r.New); len(problems) > 0 {
			return webhook.BadRequest("%v", problems.ToAggregate())
		}
		return nil
	})
}

// Validate lists what is wrong with a NodeImage that has its defaults. // NI-2
func Validate(image *kruise.NodeImage) (all field.ErrorList) {
	path := field.NewPath("spec", "images")
	if n := len(image.Spec.Images); n > most {
		all = append(all, field.Invalid(path, fmt.Sprintf("%d images", n), fmt.Sprintf("must not be more than %d; wait until pulls are over", most)))
	}
	for _, name := range slices.Sorted(maps.Keys(image.Spec.Images)) {
		at := path.Key(name)
		if name == "" {
			all = append(all, field.Required(at, "an image needs a name"))
		}
		known := map[string]bool{}
		for i := range image.Spec.Images[name].Tags {
			tag := &image.Spec.Images[name].Tags[i]
			if known[tag.Tag] {
				all = append(all, field.Duplicate(at.Child("tags").Index(i).Child("tag"), tag.Tag))
			}
			known[tag.Tag] = true
			all = append(all, validateTag(tag, at.Child("tags").Index(i))...)
		}
	}
	return all
}

func validateTag(tag *kruise.ImageTagSpec, path *field.Path) (all field.ErrorList) {
	if tag.Tag == "" {
		all = append(all, field.Required(path.Child("tag"), "a tag needs a name"))
	}
	if tag.CreatedAt == nil {
		all = append(all, field.Required(path.Child("createdAt"), "say when the tag was asked for"))
	}
	if tag.Version < 0 {
		all = append(all, field.Invalid(path.Child("version"), tag.Version, "must not be negative"))
	}
	switch {
	case tag.PullPolicy == nil:
		all = append(all, field.Required(path.Child("pullPolicy"), "say how to pull"))
	case tag.PullPolicy.TTLSecondsAfterFinished == nil:
		all = append(all, field.Required(path.Child("pullPolicy", "ttlSecondsAfterFinished"), "say how long the tag stays once it was pulled"))
	}
	return all
}
