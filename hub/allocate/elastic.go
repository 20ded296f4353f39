package allocate

import (
	"fmt"
	"math"

	"k8s.io/apimachinery/pkg/util/intstr"
)

// unlimited is the maximum of a subset that sets none.
const unlimited = math.MaxInt32

// Elastic gives every subset its minimum and then fills each to its maximum, both in the order of the spec. What is
// left when every maximum is reached goes nowhere (WL-5.5.2).
func Elastic(r Request) ([]int32, error) {
	left := int32(1) // of a spec without replicas
	if r.Replicas != nil {
		left = *r.Replicas
	}
	lows, highs, err := bounds(r, left)
	if err != nil {
		return nil, err
	}
	give := make([]int32, len(r.Subsets))
	for i, low := range lows {
		give[i] = min(max(low, 0), left)
		left -= give[i]
	}
	for i := range r.Subsets {
		more := min(max(highs[i]-lows[i], 0), left)
		give[i] += more
		left -= more
	}
	return give, nil
}

func bounds(r Request, total int32) (lows, highs []int32, err error) {
	lows, highs = make([]int32, len(r.Subsets)), make([]int32, len(r.Subsets))
	for i, s := range r.Subsets {
		low, high := resolve(total, s.Min, 0), resolve(total, s.Max, unlimited)
		if low > high {
			return nil, nil, fmt.Errorf("%s: %s is more than maxReplicas %s; lower minReplicas or raise maxReplicas",
				field(i, "minReplicas"), resolved(s.Min, low), resolved(s.Max, high))
		}
		if r.Adaptive {
			low, high = s.adapt(low, high)
		}
		lows[i], highs[i] = low, high
	}
	return lows, highs, nil
}

// adapt keeps what runs where it runs, and asks no more of a subset whose pods find no node.
func (s Subset) adapt(low, high int32) (int32, int32) {
	switch {
	case !s.Exists:
		return low, high
	case s.Unschedulable:
		return min(s.Running, low), min(s.Running, high)
	case s.Running > low:
		return min(s.Running, high), high
	}
	return low, high
}

// resolve counts what does not parse as 0.
func resolve(total int32, v *intstr.IntOrString, absent int32) int32 {
	if v == nil {
		return absent
	}
	n, err := Parse(total, *v)
	if err != nil {
		return 0
	}
	return n
}

// resolved shows a bound with the number it stands for.
func resolved(v *intstr.IntOrString, n int32) string {
	if v == nil || v.Type == intstr.Int {
		return fmt.Sprint(n)
	}
	return fmt.Sprintf("%s (%d)", quote(v), n)
}
