package ordinal

import (
	"cmp"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/flotilla-project/flotilla/agent/podset"
)

// Range is a run of ordinals, both ends included.
type Range struct{ First, Last int }

var rangePattern = regexp.MustCompile(`^\d+-\d+$`)

// ParseReserved reads spec.reserveOrdinals: numbers, and ranges such as "3-5". // WL-2.3, WL-2.4
func ParseReserved(all []intstr.IntOrString) ([]Range, error) {
	var ranges []Range
	for _, v := range all {
		r, err := parseRange(v)
		if err != nil {
			return nil, err
		}
		ranges = append(ranges, r)
	}
	slices.SortFunc(ranges, func(a, b Range) int { return cmp.Compare(a.First, b.First) })
	return ranges, nil
}

func parseRange(v intstr.IntOrString) (Range, error) {
	if v.Type == intstr.Int {
		if v.IntVal < 0 {
			return Range{}, fmt.Errorf("%d is negative", v.IntVal)
		}
		return Range{int(v.IntVal), int(v.IntVal)}, nil
	}
	if !rangePattern.MatchString(v.StrVal) {
		return Range{}, fmt.Errorf(`%q is neither a number nor a range such as "3-5"`, v.StrVal)
	}
	first, last, _ := strings.Cut(v.StrVal, "-")
	a, errA := strconv.ParseInt(first, 10, 32)
	b, errB := strconv.ParseInt(last, 10, 32)
	switch {
	case errA != nil || errB != nil:
		return Range{}, fmt.Errorf("%q is too large", v.StrVal)
	case a > b:
		return Range{}, fmt.Errorf("%q ends before it starts", v.StrVal)
	}
	return Range{int(a), int(b)}, nil
}

// Window is the ordinals that want a pod, lowest first. // WL-2.4
func Window(start, replicas int, reserved []Range) []int {
	ordinals := make([]int, 0, max(replicas, 0))
	for next := start; len(ordinals) < replicas; {
		if past := skip(next, reserved); past > next {
			next = past
			continue
		}
		ordinals = append(ordinals, next)
		next++
	}
	return ordinals
}

// skip is the first ordinal past a range that holds this one, or this one.
func skip(ordinal int, reserved []Range) int {
	for _, r := range reserved {
		if r.First <= ordinal && ordinal <= r.Last {
			return r.Last + 1
		}
	}
	return ordinal
}

// AtLeastOne resolves a maxUnavailable: percentages are rounded down, and less than one is one. // WL-0.4
func AtLeastOne(v intstr.IntOrString, replicas int) (int, error) {
	n, err := podset.Scaled(v, replicas, false)
	return max(n, 1), err
}

// Parse splits the name of a pod into its set's and its ordinal. // WL-2.4
func Parse(pod string) (set string, ordinal int, ok bool) {
	i := strings.LastIndexByte(pod, '-')
	if i < 0 {
		return "", 0, false
	}
	n, err := strconv.ParseInt(pod[i+1:], 10, 32)
	// "web-01" and "web-+1" are no names that a set gives, and would claim the place of "web-1".
	if err != nil || strconv.FormatInt(n, 10) != pod[i+1:] || n < 0 {
		return "", 0, false
	}
	return pod[:i], int(n), true
}
