package work

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	authorizationv1 "k8s.io/api/authorization/v1"
	workv1 "open-cluster-management.io/api/work/v1"
)

const (
	answersLast = 5 * time.Second // a round asks once for all objects of a kind in a namespace
	mostAnswers = 1000
)

// access asks the local cluster what an executor may do, so that half a right applies nothing. Whatever it says,
// the requests that follow are made as the executor: the question spares surprises, it does not open doors. OCM-14
type access struct {
	ask func(context.Context, *authorizationv1.SubjectAccessReview) error
	now func() time.Time

	mu   sync.Mutex
	wide map[question]answer // about any name; what is asked by name is asked each time
}

type question struct{ user, verb, group, resource, namespace, name string }

type answer struct {
	allowed bool
	at      time.Time
}

func newAccess(ask func(context.Context, *authorizationv1.SubjectAccessReview) error) *access {
	return &access{ask: ask, now: time.Now, wide: map[question]answer{}}
}

// check returns a notAllowed for an object that the executor may not handle in every way that applying takes.
func (a *access) check(ctx context.Context, executor *workv1.ManifestWorkExecutor, m *manifest, orphan bool) error {
	account := executor.Subject.ServiceAccount
	var missing []string
	for _, verb := range verbsFor(m, orphan) {
		allowed, err := a.may(ctx, account, m.meta, verb)
		if err != nil {
			return fmt.Errorf("ask what executor %s/%s may do: %w", account.Namespace, account.Name, err)
		}
		if !allowed {
			missing = append(missing, verb)
		}
	}
	if len(missing) == 0 {
		return nil
	}
	return &notAllowed{meta: m.meta, account: *account, why: "may not " + strings.Join(missing, ", ") + " it"}
}

// verbsFor are what applying takes, and what removing will.
func verbsFor(m *manifest, orphan bool) []string {
	switch {
	case m.readOnly():
		return []string{"get"}
	case orphan:
		return []string{"create", "update", "patch", "get"}
	default:
		return []string{"create", "update", "patch", "get", "delete"}
	}
}

// may asks for all names first: one answer then does for all objects of the kind.
func (a *access) may(ctx context.Context, account *workv1.ManifestWorkSubjectServiceAccount, meta workv1.ManifestResourceMeta, verb string) (bool, error) {
	q := question{user: userOf(account), verb: verb, group: meta.Group, resource: meta.Resource, namespace: meta.Namespace}
	have, known := a.recall(q)
	if !known {
		allowed, err := a.review(ctx, account, q)
		if err != nil {
			return false, err
		}
		have = answer{allowed, a.now()}
		a.keep(q, have)
	}
	if have.allowed {
		return true, nil
	}
	q.name = meta.Name
	return a.review(ctx, account, q)
}

func (a *access) review(ctx context.Context, account *workv1.ManifestWorkSubjectServiceAccount, q question) (bool, error) {
	review := &authorizationv1.SubjectAccessReview{Spec: authorizationv1.SubjectAccessReviewSpec{
		User: q.user, Groups: []string{"system:serviceaccounts", "system:authenticated", "system:serviceaccounts:" + account.Namespace},
		ResourceAttributes: &authorizationv1.ResourceAttributes{
			Verb: q.verb, Group: q.group, Resource: q.resource, Namespace: q.namespace, Name: q.name,
		},
	}}
	if err := a.ask(ctx, review); err != nil {
		return false, err
	}
	return review.Status.Allowed && !review.Status.Denied, nil
}

func (a *access) recall(q question) (answer, bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	have, ok := a.wide[q]
	return have, ok && a.now().Sub(have.at) < answersLast
}

func (a *access) keep(q question, have answer) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(a.wide) >= mostAnswers {
		clear(a.wide)
	}
	a.wide[q] = have
}

func userOf(account *workv1.ManifestWorkSubjectServiceAccount) string {
	return "system:serviceaccount:" + account.Namespace + ":" + account.Name
}

// notAllowed is an object that a work's executor has not the rights for. It is tried again in a minute.
type notAllowed struct {
	meta    workv1.ManifestResourceMeta
	account workv1.ManifestWorkSubjectServiceAccount
	why     string
	cause   error
}

func (n *notAllowed) Error() string {
	return fmt.Sprintf("not allowed to apply the resource group %q, resource %q, namespace %q, name %q: service account %s/%s %s, will try again in %s",
		n.meta.Group, n.meta.Resource, n.meta.Namespace, n.meta.Name, n.account.Namespace, n.account.Name, n.why, executorWait)
}

func (n *notAllowed) Unwrap() error { return n.cause }

// refusedTo words what the server refused to an executor.
func refusedTo(executor *workv1.ManifestWorkExecutor, m *manifest, err error) error {
	if executor == nil || !forbidden(err) {
		return err
	}
	out := &notAllowed{meta: m.meta, account: *executor.Subject.ServiceAccount, why: "was refused: " + err.Error(), cause: err}
	if strings.Contains(err.Error(), "attempting to grant") {
		out.why = "was refused for permission escalation: it would grant rights that it does not have"
	}
	return out
}

// systemAccount tells the namespaces whose accounts are the cluster's own: as one of them a hub could do anything here.
func systemAccount(namespace string) bool {
	return slices.Contains([]string{"kube-system", "kube-public", "kube-node-lease"}, namespace)
}
