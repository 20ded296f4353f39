package podset

import (
	"fmt"
	"hash/fnv"
	"math/big"
	"strconv"
	"strings"

	"k8s.io/apimachinery/pkg/util/intstr"
)

// PartitionCount is how many pods stay on the current revision (0.4, partition
// parser). Any percentage below 100% updates at least one pod of two or more.
func PartitionCount(partition *intstr.IntOrString, replicas *int32) (int, error) {
	n := 1
	if replicas != nil {
		n = int(*replicas)
	}
	if partition == nil {
		return 0, nil
	}
	count := int(partition.IntVal)
	if partition.Type == intstr.String {
		share, ok := percentage(partition.StrVal)
		if !ok {
			return 0, fmt.Errorf("parse partition %q: not a number or a percentage", partition.StrVal)
		}
		count = ceil(share.Mul(share, big.NewRat(int64(n), 100)))
		if n > 1 && count == n && partition.StrVal != "100%" {
			count = n - 1
		}
	}
	return max(0, min(count, n)), nil
}

// percentage reads "12.5%" exactly: a float would round 0.29% of 10000 up to 30.
func percentage(s string) (*big.Rat, bool) {
	digits, ok := strings.CutSuffix(s, "%")
	if !ok || digits == "" || strings.Trim(digits, "-.0123456789") != "" {
		return nil, false
	}
	return new(big.Rat).SetString(digits)
}

func ceil(r *big.Rat) int {
	quotient, rest := new(big.Int).DivMod(r.Num(), r.Denom(), new(big.Int))
	if rest.Sign() != 0 {
		quotient.Add(quotient, big.NewInt(1))
	}
	if !quotient.IsInt64() {
		return Unlimited
	}
	return int(quotient.Int64())
}

// Scaled resolves a number or an integer percentage of total (0.4, ordinary parser).
func Scaled(v intstr.IntOrString, total int, roundUp bool) (int, error) {
	n, err := intstr.GetScaledValueFromIntOrPercent(&v, total, roundUp)
	if err != nil {
		return 0, fmt.Errorf("parse %q: %w", v.String(), err)
	}
	return n, nil
}

// Budgets resolves maxUnavailable and maxSurge (1.8). Surge is 0 while paused,
// and unavailability rounds up exactly when surge is 0: a small set could
// otherwise do neither. What does not parse counts as 0, the careful side.
func Budgets(replicas int, maxUnavailable, maxSurge *intstr.IntOrString, paused bool) (unavailable, surge int, err error) {
	if maxSurge != nil && !paused {
		if surge, err = Scaled(*maxSurge, replicas, true); err != nil {
			return 0, 0, fmt.Errorf("resolve maxSurge: %w", err)
		}
	}
	limit := intstr.FromString("20%")
	if maxUnavailable != nil {
		limit = *maxUnavailable
	}
	if unavailable, err = Scaled(limit, replicas, surge == 0); err != nil {
		return 0, surge, fmt.Errorf("resolve maxUnavailable: %w", err)
	}
	return unavailable, surge, nil
}

// ScaleBudget resolves scaleStrategy.maxUnavailable; absent means Unlimited.
func ScaleBudget(replicas int, maxUnavailable *intstr.IntOrString) (int, error) {
	if maxUnavailable == nil {
		return Unlimited, nil
	}
	n, err := Scaled(*maxUnavailable, replicas, true)
	if err != nil {
		return 0, fmt.Errorf("resolve scaleStrategy.maxUnavailable: %w", err)
	}
	return n, nil
}

// ParseCost reads a pod's deletion cost (1.9.1): an int32 without leading plus
// or zeros; anything else is 0.
func ParseCost(s string) int32 {
	digits := strings.TrimPrefix(s, "-")
	if strings.HasPrefix(digits, "+") || len(digits) > 1 && digits[0] == '0' {
		return 0
	}
	n, err := strconv.ParseInt(s, 10, 32)
	if err != nil {
		return 0
	}
	return int32(n)
}

// WeightPriority is the priority of a pod whose matching weight terms sum up
// to weight: the heavier goes first (1.11).
func WeightPriority(weight int) [2]int64 { return [2]int64{-int64(weight), 0} }

// OrderPriority is the priority of a pod by order terms: level is the index of
// the first term whose key the pod has, -1 when it has none (and so goes
// first); within a level the larger number at the value's end goes first (1.11).
func OrderPriority(level int, value string) [2]int64 {
	digits := value[len(strings.TrimRight(value, "0123456789")):]
	n, err := strconv.ParseInt(digits, 10, 64)
	if err != nil {
		n = 0
	}
	return [2]int64{int64(level), -n}
}

// Seed makes Spec.Seed from what was seen: the owner's UID and resourceVersion
// and the pods there are. The same view twice gives the same names; once
// anything was seen to change it gives others, so a pod that was deleted does
// not come back under its old name.
func Seed(owner, resourceVersion string, pods []Pod) uint64 {
	var all uint64
	for i := range pods {
		h := fnv.New64a()
		h.Write([]byte(pods[i].Name))
		all ^= h.Sum64() // order of a list is no fact
	}
	h := fnv.New64a()
	fmt.Fprintf(h, "%s/%s/%x", owner, resourceVersion, all)
	return h.Sum64()
}
