package allocate

import (
	"cmp"
	"math"
	"slices"
)

// Unlimited is the High of a share without a limit.
const Unlimited int32 = unlimited

// steadiness is how far, in percent of its ideal, a share may be off before it is moved.
const steadiness = 10

// Share is a part of a total in proportion to its weight.
type Share struct {
	Name string
	// Weight is its proportion. Shares without any get something only while there are no others, or when those are full.
	Weight int64
	// Low and High are the least and the most that it gets.
	Low, High int32
	// Current is what it has.
	Current int32
}

// Weighted splits a total among shares and says how much is left because all of them are full. What is split already
// well enough stays as it is: weights are scores that change all the time, and replicas should not follow each change.
func Weighted(total int32, shares []Share) (give []int32, left int32) {
	shares = affordable(total, shares)
	ideal := proportions(total, shares)
	if steady(total, shares, ideal) {
		for _, s := range shares {
			give = append(give, s.Current)
		}
		return give, 0
	}
	return rounded(total, shares, ideal)
}

// affordable lowers minima, the last ones first, until the total covers them.
func affordable(total int32, shares []Share) []Share {
	shares, left := slices.Clone(shares), max(total, 0)
	for i := range shares {
		shares[i].Low = min(shares[i].Low, shares[i].High, left)
		left -= shares[i].Low
	}
	return shares
}

// proportions are what the shares would get if replicas could be cut: so much for each unit of weight, but never beyond a
// bound.
func proportions(total int32, shares []Share) []float64 {
	weigh := weights(shares, func(s Share) bool { return s.Weight > 0 })
	if filled(math.MaxFloat64, shares, weigh, nil) < float64(total) { // those of no weight take what is left
		weigh = weights(shares, func(s Share) bool { return s.Weight <= 0 })
		for i, s := range shares {
			if s.Weight > 0 {
				weigh[i] = math.MaxFloat64
			}
		}
	}
	low, high := 0.0, float64(max(total, 0))+1
	for _, w := range weigh {
		if w > 0 {
			high = max(high, (float64(total)+1)/w)
		}
	}
	for range 200 { // halving: the sum grows with the level
		level := (low + high) / 2
		if filled(level, shares, weigh, nil) < float64(total) {
			low = level
		} else {
			high = level
		}
	}
	ideal := make([]float64, len(shares))
	filled(high, shares, weigh, ideal)
	return ideal
}

// filled is the sum of all shares at a level, and what each one gets.
func filled(level float64, shares []Share, weigh, into []float64) (sum float64) {
	for i, s := range shares {
		part := 0.0
		if weigh[i] > 0 {
			part = level * weigh[i]
		}
		part = min(max(part, float64(s.Low)), float64(s.High))
		sum += part
		if into != nil {
			into[i] = part
		}
	}
	return sum
}

// weights of those that count, the largest being 1. If there are none, all weigh the same.
func weights(shares []Share, counts func(Share) bool) []float64 {
	weigh, largest := make([]float64, len(shares)), 0.0
	for i, s := range shares {
		if counts(s) {
			weigh[i] = float64(max(s.Weight, 1))
			largest = max(largest, weigh[i])
		}
	}
	for i := range weigh {
		if largest == 0 {
			weigh[i] = 1
		} else {
			weigh[i] /= largest
		}
	}
	return weigh
}

// steady says that what there is, is the whole total, within the bounds, and close to the ideal.
func steady(total int32, shares []Share, ideal []float64) bool {
	var sum int32
	for i, s := range shares {
		sum += s.Current
		off := max(ideal[i]-float64(s.Current), float64(s.Current)-ideal[i])
		if s.Current < s.Low || s.Current > s.High || s.Current == 0 && ideal[i] >= 1 || off >= max(1, ideal[i]*steadiness/100) {
			return false
		}
	}
	return sum == total
}

// rounded gives whole replicas: the rest goes to the largest remainders, then to the biggest, then to the last by name.
func rounded(total int32, shares []Share, ideal []float64) ([]int32, int32) {
	const almost = 1e-9 // of sums that are not exact
	give, left := make([]int32, len(shares)), max(total, 0)
	order := make([]int, len(shares))
	for i := range shares {
		give[i] = int32(ideal[i] + almost)
		left -= give[i]
		order[i] = i
	}
	slices.SortFunc(order, func(a, b int) int {
		remainder := func(i int) int64 { return int64((ideal[i] - float64(give[i])) / almost / 10) }
		return cmp.Or(cmp.Compare(remainder(b), remainder(a)), cmp.Compare(shares[b].Current, shares[a].Current),
			cmp.Compare(shares[b].Name, shares[a].Name))
	})
	for progress := true; left > 0 && progress; {
		progress = false
		for _, i := range order {
			if left > 0 && give[i] < shares[i].High {
				give[i]++
				left--
				progress = true
			}
		}
	}
	return give, left
}
