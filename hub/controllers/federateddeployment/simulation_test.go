package federateddeployment

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/flotilla-project/flotilla/apis/apps/v1alpha1"
	"github.com/flotilla-project/flotilla/pkg/condition"
)

// The whole controller over a fleet that is unlucky: clusters fall silent and return, a Placement changes its mind, good
// and bad templates go out. Whatever happens, pods that serve are never fewer than asked for but for the one of each
// workload that is being updated; and when luck returns, all settles and nothing is written any more.
func TestWhateverHappensEnoughPodsServe(t *testing.T) {
	for seed := range uint64(6) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			r := rand.New(rand.NewPCG(seed, 5))
			obj, more := web(inWaves(func(p *v1alpha1.ProgressiveUpdate) { p.Waves[1].Pause = false }), failingOver(v1alpha1.FailoverKeepRunning)), []client.Object(nil)
			placed := seed%2 == 1
			if placed {
				obj = spread(inWaves(func(p *v1alpha1.ProgressiveUpdate) {
					p.Waves = []v1alpha1.Wave{{Name: "canary", Percent: new(int32(20)), SoakSeconds: 20}}
				}), failingOver(v1alpha1.FailoverKeepRunning))
				more = everywhere(2, "east", "west")
			}
			obj.Spec.RevisionHistoryLimit = new(int32(seed % 3)) // what is in use is kept, however many go out on top of each other
			f := stage(t, obj, more...)
			f.run(2 * time.Minute)
			f.mustSay(condition.Ready, "True")
			f.atLeast(10 - 3)
			serve := f.each
			f.each = func() {
				serve()
				if got := f.says(condition.Stalled); strings.Contains(got, "no ControllerRevision any more") {
					t.Errorf("at %s %s", f.clock.Now().Sub(noon), got)
				}
			}
			for step := range 12 {
				f.happens(r, step, placed)
				f.run(time.Duration(1+r.IntN(6)) * time.Minute / 2)
			}
			for _, c := range []string{"east", "west", "north"} {
				f.cut(c, false)
			}
			f.change(image("web:final"))
			f.run(3 * time.Minute)
			f.run(20 * time.Minute)
			f.mustSay(condition.Ready, "True AllReplicasReady")
			if heard, all := f.available(); heard != 10 || all != 10 {
				t.Errorf("%d of %d serve in the end: %s", heard, all, f.on("web:final"))
			}
			if writes, err := f.round(); len(writes) > 0 || err != nil {
				t.Errorf("still writes %v, %v", writes, err)
			}
			if t.Failed() {
				t.Log(f.told())
			}
		})
	}
}

// happens lets something happen.
func (f *theatre) happens(r *rand.Rand, step int, placed bool) {
	clusters := []string{"east", "west", "north"}
	switch c := clusters[r.IntN(3)]; r.IntN(4) {
	case 0:
		f.cut(c, true)
	case 1:
		f.cut(c, false)
	case 2:
		name := fmt.Sprint("web:", step)
		f.bad[name] = r.IntN(2) == 0
		f.change(image(name))
	case 3:
		if placed {
			n := 1 + r.IntN(3)
			r.Shuffle(3, func(i, j int) { clusters[i], clusters[j] = clusters[j], clusters[i] })
			f.decide(int32(n), slices.Sorted(slices.Values(clusters[:n]))...)
		}
	}
}
