package ordinal

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/flotilla-project/flotilla/agent/podset"
)

var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

type option func(*Spec)

// set is an ordered one of a replicas count that rolls from a to b by recreating.
func set(replicas int, options ...option) Spec {
	s := Spec{
		Replicas: replicas, UpdateRevision: "b", CurrentRevision: "a", MaxUnavailable: 1, ScaleMaxUnavailable: podset.Unlimited,
		Ordered: true, InPlaceFrom: map[string]bool{"a": true},
	}
	for _, o := range options {
		o(&s)
	}
	return s
}

func parallel(s *Spec)                { s.Ordered = false }
func unordered(s *Spec)               { s.Ordered, s.Unordered = false, true }
func paused(s *Spec)                  { s.Paused = true }
func onDelete(s *Spec)                { s.OnDelete = true }
func inPlace(s *Spec)                 { s.UpdateType = podset.InPlaceIfPossible }
func inPlaceOnly(s *Spec)             { s.UpdateType = podset.InPlaceOnly }
func resize(s *Spec)                  { s.Resize = true }
func partition(n int) option          { return func(s *Spec) { s.Partition = n } }
func down(n int) option               { return func(s *Spec) { s.MaxUnavailable = n } }
func scaleDown(n int) option          { return func(s *Spec) { s.ScaleMaxUnavailable = n } }
func start(n int) option              { return func(s *Spec) { s.Start = n } }
func reserve(r ...Range) option       { return func(s *Spec) { s.Reserved = r } }
func minReady(d time.Duration) option { return func(s *Spec) { s.MinReady = d } }
func settledOn(revision string) option {
	return func(s *Spec) { s.UpdateRevision, s.CurrentRevision = revision, revision }
}
func hooks(l podset.Lifecycle) option { return func(s *Spec) { s.Lifecycle = &l } }

type mark func(*Pod)

// up is a pod that has been available for an hour.
func up(n int, revision string, marks ...mark) Pod {
	p := Pod{Ordinal: n, Pod: podset.Pod{
		Name: fmt.Sprintf("web-%d", n), Slot: fmt.Sprint(n), Revision: revision, Node: "node-1", Phase: podset.Running, Ready: true,
		ReadySince: noon.Add(-time.Hour), State: podset.Normal, InPlace: podset.InPlace{Done: true},
	}}
	for _, m := range marks {
		m(&p)
	}
	return p
}

func unready(p *Pod)             { p.Ready, p.ReadySince = false, time.Time{} }
func starting(p *Pod)            { unready(p); p.Phase = podset.Pending }
func ended(p *Pod)               { unready(p); p.Phase = podset.Finished }
func leaving(p *Pod)             { p.Terminating = true }
func marked(p *Pod)              { p.Marked = true }
func fresh(p *Pod)               { p.ReadySince = noon.Add(-10 * time.Second) }
func hookedDelete(p *Pod)        { p.HookedDelete = true }
func hookedUpdate(p *Pod)        { p.HookedUpdate, p.AllHookedUpdate = true, true }
func changing(p *Pod)            { p.State, p.InPlace.Done = podset.Updating, false }
func unopened(p *Pod)            { unready(p); p.InPlace.Due = podset.OpenGate }
func wrong(p *Pod)               { p.Wrong = "its name label is wrong" }
func lacking(p *Pod)             { p.LacksClaims = true }
func in(state podset.State) mark { return func(p *Pod) { p.State = state } }
func priority(n int64) mark      { return func(p *Pod) { p.Priority = [2]int64{n} } }
func claims(c Claims) mark       { return func(p *Pod) { p.Claims = c } }

// short tells a plan in a few words, so that a case is one line.
func short(p Plan) string {
	var words []string
	for _, c := range p.Create {
		words = append(words, "create "+c.Slot+c.Revision)
	}
	for _, d := range p.Delete {
		words = append(words, "delete "+d.Slot)
	}
	for _, u := range p.Update {
		words = append(words, "update "+strings.TrimPrefix(u.Pod, "web-"))
	}
	for _, r := range p.Refresh {
		word := "refresh " + strings.TrimPrefix(r.Pod, "web-")
		if r.State != "" {
			word += " " + string(r.State)
		}
		if r.Rearm {
			word += " hooked"
		}
		words = append(words, word)
	}
	for _, r := range p.Repair {
		words = append(words, "repair "+strings.TrimPrefix(r.Pod, "web-"))
	}
	for _, r := range p.Resize {
		words = append(words, "resize "+strings.TrimPrefix(r.Pod, "web-"))
	}
	for _, r := range p.Refused {
		words = append(words, "refuse "+strings.TrimPrefix(r.Pod, "web-"))
	}
	return strings.Join(words, ", ")
}

func ups(revision string, from, to int) (pods []Pod) {
	for n := from; n <= to; n++ {
		pods = append(pods, up(n, revision))
	}
	return pods
}

func and(pods []Pod, more ...Pod) []Pod { return append(slices.Clone(pods), more...) }

var preDelete = podset.Lifecycle{PreDelete: &podset.Hook{}}
var preUpdate = podset.Lifecycle{InPlaceUpdate: &podset.Hook{}}

var plans = map[string]struct {
	spec Spec
	pods []Pod
	want string
}{
	// WL-2.6.1: along the ordinals
	"an ordered set makes the lowest first and one at a time":                   {set(3, settledOn("b")), nil, "create 0b"},
	"an ordered set waits for the one before":                                   {set(3, settledOn("b")), []Pod{up(0, "b", unready)}, ""},
	"an ordered set waits for minReadySeconds":                                  {set(3, settledOn("b"), minReady(time.Minute)), []Pod{up(0, "b", fresh)}, ""},
	"an ordered set goes on behind an available pod":                            {set(3, settledOn("b")), ups("b", 0, 0), "create 1b"},
	"an ordered set waits for a terminating pod":                                {set(3, settledOn("b")), []Pod{up(0, "b", leaving), up(1, "b")}, ""},
	"a hole is filled before anything above it is looked at":                    {set(3, settledOn("b")), []Pod{up(0, "b"), up(2, "b", ended)}, "create 1b"},
	"a parallel set makes all at once":                                          {set(3, settledOn("b"), parallel), nil, "create 0b, create 1b, create 2b"},
	"a parallel set does not wait":                                              {set(3, settledOn("b"), parallel), []Pod{up(0, "b", unready), up(1, "b", leaving)}, "create 2b"},
	"the scale budget ends the walk":                                            {set(4, settledOn("b"), parallel, scaleDown(2)), nil, "create 0b, create 1b"},                         // WL-2.16.3
	"pods that are not up use the scale budget":                                 {set(4, settledOn("b"), parallel, scaleDown(2)), []Pod{up(0, "b", unready), up(1, "b", leaving)}, ""}, // WL-2.6.1
	"a used up scale budget does not hold scale-in":                             {set(2, settledOn("b"), parallel, scaleDown(1)), and(nil, up(5, "b")), "create 0b, delete 5"},         // WL-2.6.1
	"a used up scale budget does not hold updates":                              {set(2, parallel, scaleDown(1)), []Pod{up(0, "a", unready), up(1, "b")}, "delete 0"},
	"an ended pod is deleted and ends the pass":                                 {set(3, parallel), []Pod{up(0, "a", ended), up(1, "a"), up(5, "a")}, "delete 0"},
	"an ended pod that is hooked blocks the pass":                               {set(2, parallel, hooks(preDelete)), []Pod{up(0, "a", ended, hookedDelete), up(5, "a")}, "refresh 0 PreparingDelete"}, // WL-2.16.11
	"an ended pod is deleted once its hook lets go":                             {set(1, hooks(preDelete)), []Pod{up(0, "b", ended, in(podset.PreparingDelete))}, "delete 0"},
	"an ended pod keeps being waited for":                                       {set(1, hooks(preDelete)), []Pod{up(0, "b", ended, hookedDelete, in(podset.PreparingDelete)), up(4, "b")}, ""},
	"a stale claim ends the pass":                                               {set(2, settledOn("b"), parallel, func(s *Spec) { s.Stale = map[int]string{0: "data-web-0"} }), []Pod{up(5, "b")}, ""}, // WL-2.8
	"claims of a pending pod are made":                                          {set(1, settledOn("b")), []Pod{up(0, "b", starting, lacking, wrong)}, "repair 0"},
	"claims of a pending pod are made even if that is all":                      {set(1, settledOn("b")), []Pod{up(0, "b", starting, lacking)}, "repair 0"},
	"claims of a running pod come with its update":                              {set(1, settledOn("b")), []Pod{up(0, "b", lacking)}, ""},
	"an available pod is repaired":                                              {set(1, settledOn("b")), []Pod{up(0, "b", wrong)}, "repair 0"}, // WL-2.4
	"an ordered set repairs nobody that is not available":                       {set(1, settledOn("b")), []Pod{up(0, "b", unready, wrong)}, ""},
	"a parallel set repairs whoever is there":                                   {set(1, settledOn("b"), parallel), []Pod{up(0, "b", unready, wrong)}, "repair 0"},
	"a deleted set plans nothing":                                               {set(3, func(s *Spec) { s.Deleting = true }), nil, ""}, // WL-2.6 F
	"a gate opens on whoever is there":                                          {set(2), []Pod{up(0, "b", unopened), up(1, "b", unopened)}, "refresh 0, refresh 1"},
	"a pod whose deletion nobody wants any more is made anew once it is let go": {set(2, settledOn("b"), hooks(preDelete)), []Pod{up(0, "b"), up(1, "b", in(podset.PreparingDelete))}, "delete 1"},

	// WL-2.4, WL-2.6.2: places
	"the highest goes first":                                 {set(1, settledOn("b")), ups("b", 0, 2), "delete 2"},
	"a parallel set scales in at once":                       {set(1, settledOn("b"), parallel), ups("b", 0, 2), "delete 2, delete 1"},
	"a reserved ordinal moves its pod to the top":            {set(3, settledOn("b"), parallel, reserve(Range{1, 1})), ups("b", 0, 2), "create 3b, delete 1"}, // WL-2.16.2
	"an ordered set adds before it takes the reserved one":   {set(3, settledOn("b"), reserve(Range{1, 1})), ups("b", 0, 2), "create 3b"},
	"then the reserved one goes":                             {set(3, settledOn("b"), reserve(Range{1, 1})), ups("b", 0, 3), "delete 1"},
	"the window starts where it is told":                     {set(2, settledOn("b"), parallel, start(5)), ups("b", 5, 5), "create 6b"},
	"what is below the start is condemned":                   {set(1, settledOn("b"), start(5)), and(ups("b", 5, 5), up(0, "b")), "delete 0"},
	"scale-in waits for a terminating pod":                   {set(1, settledOn("b")), []Pod{up(0, "b"), up(1, "b"), up(2, "b", leaving)}, ""},
	"a parallel scale-in does not":                           {set(1, settledOn("b"), parallel), []Pod{up(0, "b"), up(1, "b"), up(2, "b", leaving)}, "delete 1"},
	"scale-in waits while a lower one is unhealthy":          {set(1, settledOn("b")), []Pod{up(0, "b"), up(1, "b", unready), up(2, "b", unready)}, ""},
	"the first unhealthy may go":                             {set(1, settledOn("b")), []Pod{up(0, "b"), up(1, "b"), up(2, "b", unready)}, "delete 2"},
	"scale-in honours minReadySeconds":                       {set(1, settledOn("b"), minReady(time.Minute)), []Pod{up(0, "b"), up(1, "b", fresh)}, ""},
	"a condemned pod asks its hook":                          {set(1, settledOn("b"), hooks(preDelete)), []Pod{up(0, "b"), up(1, "b", hookedDelete)}, "refresh 1 PreparingDelete"},
	"of two condemned ones that ended the higher goes first": {set(1, settledOn("b")), []Pod{up(0, "b"), up(1, "b", ended), up(2, "b", ended)}, "delete 2"},
	"a hook holds those below it up":                         {set(1, settledOn("b"), hooks(preDelete)), []Pod{up(0, "b"), up(1, "b", hookedDelete), up(2, "b", hookedDelete, in(podset.PreparingDelete))}, ""},
	"what its hook let go does not wait for those below it":  {set(1, settledOn("b"), hooks(preDelete)), []Pod{up(0, "b"), up(1, "b", hookedDelete, unready), up(2, "b", in(podset.PreparingDelete))}, "delete 2"},
	"claims of the condemned are repaired before":            {set(1, settledOn("b")), []Pod{up(0, "b"), up(1, "b", wrong)}, "delete 1, repair 1"},

	// WL-2.7: revisions of new pods
	"the partition counts from the lowest":               {set(3, parallel, partition(2)), nil, "create 0a, create 1a, create 2b"},
	"the partition counts pods and no reserved ordinals": {set(3, parallel, partition(2), reserve(Range{1, 1})), nil, "create 0a, create 2a, create 3b"}, // WL-2.16.1
	"unordered counts what is not updated":               {set(3, unordered, partition(1)), []Pod{up(2, "a")}, "create 0b, create 1b"},
	"unordered fills up the partition":                   {set(3, unordered, partition(2)), []Pod{up(2, "b")}, "create 0a, create 1a"},
	"unordered takes what was planned into account":      {set(3, unordered, partition(1)), nil, "create 0a, create 1b, create 2b"},
	"OnDelete makes the new revision":                    {set(2, parallel, onDelete, partition(2)), nil, "create 0b, create 1b"},
	"waiting pods count as updated with the gate": {
		set(2, unordered, partition(1), func(s *Spec) { s.PreparingUpdateAsUpdate = true }, hooks(preUpdate), inPlace),
		[]Pod{up(1, "a", in(podset.PreparingUpdate), hookedUpdate)}, "create 0a",
	},

	// WL-2.10: updates
	"the highest is updated first":                                    {set(3), ups("a", 0, 2), "delete 2"},
	"one at a time":                                                   {set(3), []Pod{up(0, "a"), up(1, "a"), up(2, "b", unready)}, ""},
	"maxUnavailable at a time when parallel":                          {set(4, parallel, down(2)), ups("a", 0, 3), "delete 3, delete 2"},
	"a pod that is down is updated though others are":                 {set(3, parallel), []Pod{up(0, "a"), up(1, "a", unready), up(2, "b", unready)}, "delete 1"},
	"the partition keeps its pods":                                    {set(3, parallel, down(3), partition(2)), ups("a", 0, 2), "delete 2"},
	"with reserved ordinals the partition is an index":                {set(3, parallel, down(3), partition(2), reserve(Range{1, 1})), []Pod{up(0, "a"), up(2, "a"), up(3, "a")}, "delete 3"}, // WL-2.16.1
	"a partition over replicas keeps all":                             {set(2, partition(5)), ups("a", 0, 1), ""},
	"paused updates nobody":                                           {set(2, paused), ups("a", 0, 1), ""},
	"paused deletes no marked pod":                                    {set(2, paused), []Pod{up(0, "b"), up(1, "b", marked)}, ""}, // WL-2.16.6
	"OnDelete updates nobody":                                         {set(2, onDelete), ups("a", 0, 1), ""},
	"OnDelete deletes no marked pod":                                  {set(2, onDelete), []Pod{up(0, "b"), up(1, "b", marked)}, ""}, // WL-2.16.6
	"a marked pod is deleted":                                         {set(2), []Pod{up(0, "b", marked), up(1, "b")}, "delete 0"},
	"a marked pod is deleted whatever the partition":                  {set(2, partition(2)), []Pod{up(0, "a", marked), up(1, "a")}, "delete 0"},
	"a marked pod over the limit is skipped, one that is down is not": {set(3, parallel), []Pod{up(0, "b", unready, marked), up(1, "b"), up(2, "b", marked)}, "delete 0"}, // WL-2.16.5
	"ordered, one that cannot run is made anew":                       {set(3), []Pod{up(0, "a"), up(1, "a"), up(2, "x", blocked)}, "delete 2"},
	"ordered, the highest of them first":                              {set(3), []Pod{up(0, "x", blocked), up(1, "x", blocked), up(2, "b")}, "delete 1"},
	"ordered, one that cannot run but is wanted stays":                {set(3), []Pod{up(0, "a"), up(1, "a"), up(2, "b", blocked)}, ""},
	"ordered, one that is only slow is waited for":                    {set(3), []Pod{up(0, "a"), up(1, "a"), up(2, "x", starting)}, ""},
	"ordered, one that cannot run but is kept stays":                  {set(3, partition(3)), []Pod{up(0, "a"), up(1, "a"), up(2, "x", blocked)}, ""},
	"ordered and in place, one that cannot run is updated":            {set(2, inPlace), []Pod{up(0, "a"), up(1, "a", blocked)}, "update 1"},
	"ordered and paused, one that cannot run stays":                   {set(2, paused), []Pod{up(0, "a"), up(1, "x", blocked)}, ""},
	"a blocked target ends the loop":                                  {set(3, parallel), []Pod{up(0, "a", unready), up(1, "b"), up(2, "a")}, ""}, // WL-2.16.5
	"an ordered set does not wait for a marked pod":                   {set(3), []Pod{up(0, "b"), up(1, "b", unready, marked), up(2, "b")}, "delete 1"},
	"a paused one does":                                               {set(3, paused), []Pod{up(0, "b"), up(1, "b", unready, marked), up(2, "b")}, ""},
	"marked pods use the update's budget":                             {set(3, parallel), []Pod{up(0, "b", marked), up(1, "a"), up(2, "a")}, "delete 0"},
	"an update in place that is not done is down":                     {set(2, inPlace), []Pod{up(0, "a"), up(1, "b", changing, in(podset.Normal))}, ""},
	"pods to come are down":                                           {set(3, parallel), ups("a", 0, 1), "create 2b"},
	"a pod becomes available by time":                                 {set(2, minReady(time.Minute)), []Pod{up(0, "a"), up(1, "b", fresh)}, ""},
	"refreshing comes before updating":                                {set(2, parallel, inPlace), []Pod{up(0, "a"), up(1, "b", changing, func(p *Pod) { p.InPlace.Done = true })}, "refresh 1 Normal"},

	// WL-2.10.1: unordered
	"by priority":           {set(3, unordered, func(s *Spec) { s.Prioritized = true }), []Pod{up(0, "a"), up(1, "a", priority(-5)), up(2, "a")}, "delete 1"},
	"ties from the highest": {set(3, unordered, func(s *Spec) { s.Prioritized = true }), ups("a", 0, 2), "delete 2"},
	"a blocked one of a higher priority lets one that is down heal": {set(2, unordered, func(s *Spec) { s.Prioritized = true }), []Pod{up(0, "a", priority(-1)), up(1, "x", unready)}, "delete 1"},
	"updated ones use up the quota":                                 {set(3, unordered, partition(2), down(3)), []Pod{up(0, "b"), up(1, "a"), up(2, "a")}, ""},
	"terminating ones use up the quota":                             {set(3, unordered, partition(2), down(3)), []Pod{up(0, "a"), up(1, "a", leaving), up(2, "a")}, ""},

	// WL-2.11, WL-2.12: hooks, in place
	"in place where it fits":                  {set(2, inPlace), ups("a", 0, 1), "update 1"},
	"anew where it does not":                  {set(2, inPlace), ups("c", 0, 1), "delete 1"},
	"refused where it must":                   {set(2, inPlaceOnly), ups("c", 0, 1), "refuse 1"},
	"recreate deletes though it would fit":    {set(1), ups("a", 0, 0), "delete 0"},
	"recreate asks the preDelete hook":        {set(2, hooks(preDelete)), []Pod{up(0, "a"), up(1, "a", hookedDelete)}, "refresh 1 PreparingDelete"},
	"and waits for it":                        {set(2, hooks(preDelete)), []Pod{up(0, "a"), up(1, "a", hookedDelete, in(podset.PreparingDelete))}, ""},
	"and goes on when it lets go":             {set(2, hooks(preDelete)), []Pod{up(0, "a"), up(1, "a", in(podset.PreparingDelete))}, "delete 1"},
	"in place asks the inPlaceUpdate hook":    {set(2, inPlace, hooks(preUpdate)), []Pod{up(0, "a"), up(1, "a", hookedUpdate)}, "refresh 1 PreparingUpdate"},
	"and counts the pod while it waits":       {set(3, inPlace, parallel, hooks(preUpdate)), []Pod{up(0, "a", hookedUpdate), up(1, "a", hookedUpdate, in(podset.PreparingUpdate))}, "create 2b"},
	"ordered, it goes on when it lets go":     {set(2, inPlace, hooks(preUpdate)), []Pod{up(0, "a", hookedUpdate), up(1, "a", in(podset.PreparingUpdate))}, "update 1"},
	"parallel, it goes on when it lets go":    {set(2, inPlace, parallel, hooks(preUpdate)), []Pod{up(0, "a", hookedUpdate), up(1, "a", in(podset.PreparingUpdate))}, "update 1"},
	"paused, it stays":                        {set(2, inPlace, paused, hooks(preUpdate)), []Pod{up(0, "a"), up(1, "a", in(podset.PreparingUpdate))}, ""},
	"rolled back while it waits":              {set(2, settledOn("a"), inPlace, hooks(preUpdate)), []Pod{up(0, "a"), up(1, "a", hookedUpdate, in(podset.PreparingUpdate))}, "refresh 1 Normal"},
	"not to be updated any more":              {set(2, inPlace, partition(2), hooks(preUpdate)), []Pod{up(0, "a"), up(1, "a", hookedUpdate, in(podset.PreparingUpdate))}, "refresh 1 Normal"},
	"an updated pod is hooked again":          {set(2, inPlace, parallel, hooks(preUpdate)), []Pod{up(0, "b", hookedUpdate), up(1, "a", in(podset.Updated))}, "refresh 1 PreparingUpdate hooked"},
	"an unknown state is refused":             {set(1, inPlace, parallel), []Pod{up(0, "a", in("Dreaming"))}, "refuse 0"},
	"a pod without state is updated in place": {set(1, inPlace), []Pod{up(0, "a", in(""))}, "update 0"}, // WL-2.16.9
	"a new pod becomes normal":                {set(1, settledOn("b")), []Pod{up(0, "b", in(podset.PreparingNormal))}, "refresh 0 Normal"},
	"a preNormal hook holds it":               {set(1, settledOn("b"), hooks(podset.Lifecycle{PreNormal: &podset.Hook{}})), []Pod{up(0, "b", in(podset.PreparingNormal))}, ""},

	// WL-2.9: claims
	"claims are resized before the pod is updated":    {set(2, resize), []Pod{up(0, "a", claims(Claims{Small: true})), up(1, "a", claims(Claims{Small: true, Incomplete: true}))}, "resize 1"},
	"a pod whose claims are being resized waits":      {set(2, resize, parallel), []Pod{up(0, "a"), up(1, "a", claims(Claims{Unready: true, Incomplete: true}))}, ""},
	"resized claims let the pod be updated":           {set(2, resize, parallel), []Pod{up(0, "a"), up(1, "a", claims(Claims{Unready: true}))}, "delete 1"},
	"only the size changed":                           {set(1, settledOn("b"), resize), []Pod{up(0, "b", claims(Claims{Small: true, Incomplete: true}))}, "resize 0"},
	"claims that cannot fit are refused":              {set(1, settledOn("b"), resize), []Pod{up(0, "b", claims(Claims{Misfit: "class"}))}, "refuse 0"},
	"without the type claims are none of our concern": {set(1, settledOn("b")), []Pod{up(0, "b", claims(Claims{Small: true, Misfit: "class"}))}, ""},
}

func TestDecide(t *testing.T) {
	for name, tc := range plans {
		t.Run(name, func(t *testing.T) {
			plan := Decide(tc.spec, tc.pods, noon)
			if got := short(plan); got != tc.want {
				t.Errorf("got  %q\nwant %q", got, tc.want)
			}
			backwards := slices.Clone(tc.pods)
			slices.Reverse(backwards)
			if d := cmp.Diff(plan.Lines(), Decide(tc.spec, backwards, noon).Lines()); d != "" {
				t.Errorf("the order of a list is no fact: %s", d)
			}
		})
	}
}

// WL-0.1: without minReadySeconds a pod is available at once, also by a clock that is ahead of ours or that nobody wrote down.
func ahead(p *Pod)     { p.ReadySince = noon.Add(time.Hour) }
func unwritten(p *Pod) { p.ReadySince = time.Time{} }

func TestAvailableAtOnce(t *testing.T) {
	for _, since := range []mark{ahead, unwritten} {
		if got := short(Decide(set(2, settledOn("b")), []Pod{up(0, "b", since)}, noon)); got != "create 1b" {
			t.Errorf("%q", got)
		}
	}
}

// WL-2.16.3
func TestWhatTheScaleBudgetHoldsBackIsCounted(t *testing.T) {
	if got := Decide(set(5, settledOn("b"), parallel, scaleDown(2)), ups("b", 4, 4), noon).Waiting.Creates; got != 2 {
		t.Errorf("%d", got)
	}
}

func TestUpdatesThatWaitAreCountedOnce(t *testing.T) {
	for name, tc := range map[string]struct {
		spec Spec
		want int
	}{
		"ordered": {set(5), 4}, "unordered": {set(5, unordered), 4}, "some are kept": {set(5, unordered, partition(2)), 2},
	} {
		if got := Decide(tc.spec, ups("a", 0, 4), noon).Waiting.Updates; got != tc.want {
			t.Errorf("%s: %d", name, got)
		}
	}
}

func TestRecheck(t *testing.T) {
	for name, tc := range map[string]struct {
		spec Spec
		pods []Pod
		want time.Duration
	}{
		"nothing to wait for":     {set(1), ups("b", 0, 0), 0},
		"minReadySeconds":         {set(1, minReady(time.Minute)), []Pod{up(0, "b", fresh)}, 50 * time.Second},
		"a clock that is ahead":   {set(1, settledOn("b")), []Pod{up(0, "b", ahead)}, 0},
		"the end of a grace time": {set(1), []Pod{up(0, "b", func(p *Pod) { p.InPlace.Due, p.InPlace.NotBefore = podset.ApplyNow, noon.Add(time.Second) })}, time.Second},
	} {
		if got := Decide(tc.spec, tc.pods, noon).Recheck(); got != tc.want {
			t.Errorf("%s: %s, want %s", name, got, tc.want)
		}
	}
}
