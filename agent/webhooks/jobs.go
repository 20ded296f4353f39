package webhooks

import (
	admissionv1 "k8s.io/api/admissionregistration/v1"

	"github.com/flotilla-project/flotilla/agent/webhooks/advancedcronjob"
	"github.com/flotilla-project/flotilla/agent/webhooks/broadcastjob"
	"github.com/flotilla-project/flotilla/agent/webhooks/ephemeraljob"
	"github.com/flotilla-project/flotilla/agent/webhooks/template"
	"github.com/flotilla-project/flotilla/pkg/webhook"
)

// jobs are the hooks of the Job family. All fail closed: what they would refuse is wrong in ways that a controller can only stop
// at, and nobody waits for them but who creates or changes a job. // NP-8.1
func jobs(judge template.Judge, templates bool) []webhook.Hook {
	const create, update = admissionv1.Create, admissionv1.Update
	v1alpha1 := []string{"v1alpha1"}
	return []webhook.Hook{{
		Configuration: Mutating, Name: "mbroadcastjob.kb.io", Mutating: true, Policy: admissionv1.Fail, TimeoutSeconds: patience,
		Path:  "/mutate-apps-kruise-io-v1alpha1-broadcastjob",
		Rules: rule("broadcastjobs", v1alpha1, create, update), Conditions: when(createOrSpec), Handler: broadcastjob.Defaulter(templates),
	}, {
		Configuration: Validating, Name: "vbroadcastjob.kb.io", Policy: admissionv1.Fail, TimeoutSeconds: patience,
		Path:  "/validate-apps-kruise-io-v1alpha1-broadcastjob",
		Rules: rule("broadcastjobs", v1alpha1, create, update), Conditions: when(createOrGeneration), Handler: broadcastjob.Validator(judge),
	}, {
		Configuration: Mutating, Name: "madvancedcronjob.kb.io", Mutating: true, Policy: admissionv1.Fail, TimeoutSeconds: patience,
		Path:  "/mutate-apps-kruise-io-v1alpha1-advancedcronjob",
		Rules: rule("advancedcronjobs", v1alpha1, create, update), Conditions: when(createOrSpec), Handler: advancedcronjob.Defaulter(templates),
	}, {
		Configuration: Validating, Name: "vadvancedcronjob.kb.io", Policy: admissionv1.Fail, TimeoutSeconds: patience,
		Path:  "/validate-apps-kruise-io-v1alpha1-advancedcronjob",
		Rules: rule("advancedcronjobs", v1alpha1, create, update), Conditions: when(createOrGeneration), Handler: advancedcronjob.Validator(judge),
	}, {
		Configuration: Validating, Name: "vephemeraljobs.kb.io", Policy: admissionv1.Fail, TimeoutSeconds: patience,
		Path:  "/validate-apps-kruise-io-v1alpha1-ephemeraljob",
		Rules: rule("ephemeraljobs", v1alpha1, create, update), Conditions: when(createOrGeneration), Handler: ephemeraljob.Validator(judge),
	}}
}
