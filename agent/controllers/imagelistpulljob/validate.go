package imagelistpulljob

import (
	"fmt"

	kruise "github.com/openkruise/kruise-api/apps/v1alpha1"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/flotilla-project/flotilla/agent/controllers/imagepulljob"
)

// most is how many images a list may have. // IL-2
const most = 255

// Default is a copy of the list with what its user left out. Its children get the pull policy for images themselves. // IL-1
func Default(list *kruise.ImageListPullJob) *kruise.ImageListPullJob {
	list = list.DeepCopy()
	imagepulljob.DefaultTemplate(&list.Spec.ImagePullJobTemplate)
	return list
}

// Validate lists what is wrong with a list that has its defaults. // IL-2
func Validate(list *kruise.ImageListPullJob) field.ErrorList {
	spec := field.NewPath("spec")
	images := spec.Child("images")
	all := imagepulljob.ValidateTemplate(&list.Spec.ImagePullJobTemplate, spec)
	switch n := len(list.Spec.Images); {
	case n == 0:
		all = append(all, field.Required(images, "say which images to pull"))
	case n > most:
		all = append(all, field.Invalid(images, fmt.Sprintf("%d images", n), fmt.Sprintf("must not be more than %d; make a second list", most)))
	}
	known := map[string]bool{}
	for i, image := range list.Spec.Images {
		if known[image] {
			all = append(all, field.Duplicate(images.Index(i), image))
		}
		known[image] = true
		all = append(all, imagepulljob.ValidateImage(image, images.Index(i))...)
	}
	return all
}
