package app

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"k8s.io/component-base/featuregate"
)

// gates are the daemon's among those that an installation passes to manager and daemon alike: a name that is not ours is
// no mistake. // NP-11.2
type gates struct {
	known  featuregate.MutableFeatureGate
	others map[string]bool
}

func newGates() (*gates, error) {
	on := featuregate.FeatureSpec{Default: true, PreRelease: featuregate.Beta}
	g := &gates{known: featuregate.NewFeatureGate(), others: map[string]bool{}}
	return g, g.known.Add(map[featuregate.Feature]featuregate.FeatureSpec{PodProbes: on, WatchingPods: on, EnvFromMetadata: on})
}

func (g *gates) on(name featuregate.Feature) bool { return g.known.Enabled(name) }

// foreign are the names that are not ours.
func (g *gates) foreign() (names []string) {
	for name := range g.others {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// Set implements pflag.Value.
func (g *gates) Set(words string) error {
	all := g.known.GetAll()
	ours := map[string]bool{}
	for word := range strings.SplitSeq(words, ",") {
		if strings.TrimSpace(word) == "" {
			continue
		}
		name, value, _ := strings.Cut(strings.TrimSpace(word), "=")
		on, err := strconv.ParseBool(strings.TrimSpace(value))
		if err != nil {
			return fmt.Errorf("%s: must be name=true or name=false", word)
		}
		if _, known := all[featuregate.Feature(name)]; known { // AllAlpha and AllBeta are among them
			ours[name] = on
		} else {
			g.others[name] = on
		}
	}
	return g.known.SetFromMap(ours)
}

// String implements pflag.Value.
func (g *gates) String() string { return "" }

// Type implements pflag.Value.
func (g *gates) Type() string { return "mapStringBool" }
