package webhooks

import (
	admissionv1 "k8s.io/api/admissionregistration/v1"

	"github.com/flotilla-project/flotilla/agent/webhooks/imagelistpulljob"
	"github.com/flotilla-project/flotilla/agent/webhooks/imagepulljob"
	"github.com/flotilla-project/flotilla/agent/webhooks/nodeimage"
	"github.com/flotilla-project/flotilla/pkg/webhook"
)

// images are the hooks of what pulls images ahead. All fail closed: what a job lacks its controller would have to guess, and
// a node daemon does whatever a NodeImage says. Without its gate a kind is refused, rather than taken and left lying. // NP-8.1
func images(daemon, pulls bool) []webhook.Hook {
	const create, update = admissionv1.Create, admissionv1.Update
	v1alpha1 := []string{"v1alpha1"}
	return []webhook.Hook{{
		Configuration: Mutating, Name: "mimagepulljob.kb.io", Mutating: true, Policy: admissionv1.Fail, TimeoutSeconds: patience,
		Path:  "/mutate-apps-kruise-io-v1alpha1-imagepulljob",
		Rules: rule("imagepulljobs", v1alpha1, create, update), Conditions: when(createOrSpec), Handler: imagepulljob.Defaulter(),
	}, {
		Configuration: Validating, Name: "vimagepulljob.kb.io", Policy: admissionv1.Fail, TimeoutSeconds: patience,
		Path:  "/validate-apps-kruise-io-v1alpha1-imagepulljob",
		Rules: rule("imagepulljobs", v1alpha1, create, update), Conditions: when(createOrGeneration), Handler: imagepulljob.Validator(pulls),
	}, {
		Configuration: Mutating, Name: "mimagelistpulljob.kb.io", Mutating: true, Policy: admissionv1.Fail, TimeoutSeconds: patience,
		Path:  "/mutate-apps-kruise-io-v1alpha1-imagelistpulljob",
		Rules: rule("imagelistpulljobs", v1alpha1, create, update), Conditions: when(createOrSpec), Handler: imagelistpulljob.Defaulter(),
	}, {
		Configuration: Validating, Name: "vimagelistpulljob.kb.io", Policy: admissionv1.Fail, TimeoutSeconds: patience,
		Path:  "/validate-apps-kruise-io-v1alpha1-imagelistpulljob",
		Rules: rule("imagelistpulljobs", v1alpha1, create, update), Conditions: when(createOrGeneration), Handler: imagelistpulljob.Validator(pulls),
	}, {
		Configuration: Mutating, Name: "mnodeimage.kb.io", Mutating: true, Policy: admissionv1.Fail, TimeoutSeconds: patience,
		Path:  "/mutate-apps-kruise-io-v1alpha1-nodeimage",
		Rules: rule("nodeimages", v1alpha1, create, update), Conditions: when(createOrSpec), Handler: nodeimage.Defaulter(),
	}, {
		Configuration: Validating, Name: "vnodeimage.kb.io", Policy: admissionv1.Fail, TimeoutSeconds: patience,
		Path:  "/validate-apps-kruise-io-v1alpha1-nodeimage",
		Rules: rule("nodeimages", v1alpha1, create, update), Conditions: when(createOrGeneration), Handler: nodeimage.Validator(daemon),
	}}
}
