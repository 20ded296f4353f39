package placement

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"

	authenticationv1 "k8s.io/api/authentication/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/utils/clock"
	clusterv1 "open-cluster-management.io/api/cluster/v1"
	clusterv1alpha1 "open-cluster-management.io/api/cluster/v1alpha1"
	clusterv1beta1 "open-cluster-management.io/api/cluster/v1beta1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/flotilla-project/flotilla/hub/schedule"
)

// DebugPath is where Debug is served; a namespace and a name follow.
const DebugPath = "/debug/placements/"

// debugLimit is how many bytes a Placement in a request may have.
const debugLimit = 1 << 20

// Guard says who asks, and what they may.
type Guard interface {
	Who(ctx context.Context, token string) (authenticationv1.UserInfo, error)
	May(ctx context.Context, who authenticationv1.UserInfo, what authorizationv1.ResourceAttributes) (bool, error)
}

// Debug evaluates a stored Placement (GET), or the one in the request (POST), and tells each step. It writes nothing, and
// reads the fleet anew, so that every replica can answer. Whoever asks may create Placements in the namespace. OCM-17.5
type Debug struct {
	Hub   client.Reader // with the controller's index
	Guard Guard
	Clock clock.PassiveClock
}

// Trace is what Debug answers.
type Trace struct {
	Placement  *clusterv1beta1.Placement `json:"placement,omitempty"`
	Filtered   []Filtered                `json:"filteredPipelineResults,omitempty"`
	Prioritize []schedule.Prioritized    `json:"prioritizeResults,omitempty"`
	Scores     map[string]int64          `json:"aggregatedScores,omitempty"`
	Error      string                    `json:"error,omitempty"`
}

// Filtered is the clusters that are left after a step, and why others are not.
type Filtered struct {
	Name     string            `json:"name"`
	Clusters []string          `json:"filteredClusters"`
	Left     map[string]string `json:"leftOut,omitempty"`
}

// ServeHTTP answers one request.
func (d *Debug) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	trace, code := d.answer(r)
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	_ = json.NewEncoder(w).Encode(trace)
}

func (d *Debug) answer(r *http.Request) (Trace, int) {
	namespace, name, found := strings.Cut(strings.TrimPrefix(r.URL.Path, DebugPath), "/")
	if r.Method == http.MethodPost {
		return d.posted(r, namespace)
	}
	if r.Method != http.MethodGet || !found || namespace == "" || name == "" {
		return wrong(fmt.Errorf("want GET %s<namespace>/<name>, or POST %s with a Placement", DebugPath, DebugPath)), http.StatusBadRequest
	}
	if err := d.admit(r, namespace); err != nil {
		return wrong(err), codeOf(err)
	}
	p := &clusterv1beta1.Placement{}
	if err := d.Hub.Get(r.Context(), client.ObjectKey{Namespace: namespace, Name: name}, p); err != nil {
		return wrong(fmt.Errorf("read placement: %w", err)), codeOf(err)
	}
	return d.trace(r.Context(), p)
}

func (d *Debug) posted(r *http.Request, namespace string) (Trace, int) {
	p := &clusterv1beta1.Placement{}
	err := json.NewDecoder(http.MaxBytesReader(nil, r.Body, debugLimit)).Decode(p)
	if p.Namespace == "" {
		p.Namespace = strings.Trim(namespace, "/")
	}
	if err != nil || p.Namespace == "" {
		return wrong(errors.Join(errors.New("want a Placement with metadata.namespace as JSON"), err)), http.StatusBadRequest
	}
	if err := d.admit(r, p.Namespace); err != nil {
		return wrong(err), codeOf(err)
	}
	return d.trace(r.Context(), p)
}

var placements = clusterv1beta1.Resource("placements")

// admit wants a token of somebody who may create Placements in the namespace.
func (d *Debug) admit(r *http.Request, namespace string) error {
	token, bearer := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	if !bearer || token == "" {
		return apierrors.NewUnauthorized("send a token: Authorization: Bearer ...")
	}
	who, err := d.Guard.Who(r.Context(), token)
	if err != nil {
		return err
	}
	allowed, err := d.Guard.May(r.Context(), who, authorizationv1.ResourceAttributes{
		Namespace: namespace, Verb: "create", Group: placements.Group, Resource: placements.Resource,
	})
	if err != nil {
		return err
	}
	if !allowed {
		return apierrors.NewForbidden(placements, "", fmt.Errorf("%s may not create placements in namespace %s", who.Username, namespace))
	}
	return nil
}

func (d *Debug) trace(ctx context.Context, p *clusterv1beta1.Placement) (Trace, int) {
	v, err := survey(ctx, d.Hub)
	if err != nil {
		return wrong(err), codeOf(err)
	}
	seen, err := observe(ctx, d.Hub, v, p)
	if err != nil {
		return wrong(err), codeOf(err)
	}
	if seen.untouched {
		return Trace{Placement: p, Error: "nothing is scheduled: the placement is being deleted, or disabled by annotation " + clusterv1beta1.PlacementDisableAnnotation}, http.StatusOK
	}
	result := schedule.Schedule(seen.Facts, d.Clock.Now())
	t := Trace{Placement: p, Prioritize: result.Prioritized(), Scores: result.Totals(), Filtered: pipeline(result)}
	if result.Problem != nil {
		t.Error = result.Problem.Error()
	}
	return t, http.StatusOK
}

// pipeline are the stages with the clusters that passed each and all before it.
func pipeline(result schedule.Result) (all []Filtered) {
	refused := map[string]map[string]string{}
	for _, left := range result.Left {
		if refused[left.Stage] == nil {
			refused[left.Stage] = map[string]string{}
		}
		refused[left.Stage][left.Cluster] = left.Why
	}
	names := ""
	stages := []string{schedule.StagePredicate, schedule.StageToleration, schedule.StageSpread, schedule.StageNumber}
	for i, stage := range stages {
		names = strings.TrimPrefix(names+","+stage, ",")
		passed := selected(result)
		for _, later := range stages[i+1:] {
			passed = slices.AppendSeq(passed, maps.Keys(refused[later]))
		}
		slices.Sort(passed)
		all = append(all, Filtered{Name: names, Clusters: passed, Left: refused[stage]})
	}
	return all
}

func selected(result schedule.Result) []string {
	all := []string{}
	for _, g := range result.Groups {
		for _, d := range g.Decisions {
			all = append(all, d.ClusterName)
		}
	}
	return all
}

// survey is the fleet as the controller sees it, read at once.
func survey(ctx context.Context, r client.Reader) (*view, error) {
	v := newView()
	var clusters clusterv1.ManagedClusterList
	if err := r.List(ctx, &clusters); err != nil {
		return nil, fmt.Errorf("list clusters: %w", err)
	}
	for i := range clusters.Items {
		v.setCluster(&clusters.Items[i])
	}
	var scores clusterv1alpha1.AddOnPlacementScoreList
	if err := r.List(ctx, &scores); err != nil {
		return nil, fmt.Errorf("list scores: %w", err)
	}
	for i := range scores.Items {
		v.setScore(scores.Items[i].Name, scores.Items[i].Namespace, &scores.Items[i])
	}
	var decisions clusterv1beta1.PlacementDecisionList
	if err := r.List(ctx, &decisions); err != nil {
		return nil, fmt.Errorf("list decisions: %w", err)
	}
	for i := range decisions.Items {
		v.setDecision(&decisions.Items[i])
	}
	return v, nil
}

func wrong(err error) Trace { return Trace{Error: err.Error()} }

func codeOf(err error) int {
	if status, ok := errors.AsType[*apierrors.StatusError](err); ok {
		return int(status.ErrStatus.Code)
	}
	return http.StatusInternalServerError
}
