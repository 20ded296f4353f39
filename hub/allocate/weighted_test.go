package allocate

import (
	"math/rand/v2"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func parts(all ...Share) []Share {
	for i := range all {
		all[i].Name = string(rune('a' + i))
		if all[i].High == 0 {
			all[i].High = Unlimited
		}
	}
	return all
}

func TestWeighted(t *testing.T) {
	for name, tc := range map[string]struct {
		total  int32
		shares []Share
		want   []int32
		left   int32
	}{
		"nobody there":                             {total: 3, want: []int32{}, left: 3},
		"nothing to share":                         {shares: parts(Share{Weight: 1}, Share{Weight: 1}), want: []int32{0, 0}},
		"equal, the surplus to the last":           {total: 10, shares: parts(Share{Weight: 1}, Share{Weight: 1}, Share{Weight: 1}), want: []int32{3, 3, 4}},
		"equal, the surplus stays where it is":     {total: 10, shares: parts(Share{Weight: 1, Current: 4}, Share{Weight: 1, Current: 3}, Share{Weight: 1, Current: 3}), want: []int32{4, 3, 3}},
		"one more goes to a biggest":               {total: 11, shares: parts(Share{Weight: 1, Current: 4}, Share{Weight: 1, Current: 3}, Share{Weight: 1, Current: 3}), want: []int32{4, 3, 4}},
		"by weight":                                {total: 10, shares: parts(Share{Weight: 30}, Share{Weight: 70}), want: []int32{3, 7}},
		"the largest remainder first":              {total: 10, shares: parts(Share{Weight: 26}, Share{Weight: 74}), want: []int32{3, 7}},
		"no weight, nothing":                       {total: 10, shares: parts(Share{Weight: -5}, Share{Weight: 1}), want: []int32{0, 10}},
		"no weight anywhere is equal":              {total: 4, shares: parts(Share{Weight: -5}, Share{}), want: []int32{2, 2}},
		"a limit, the others take the rest":        {total: 10, shares: parts(Share{Weight: 1, High: 2}, Share{Weight: 1}, Share{Weight: 1}), want: []int32{2, 4, 4}},
		"all full, some left":                      {total: 10, shares: parts(Share{Weight: 1, High: 2}, Share{Weight: 1, High: 3}), want: []int32{2, 3}, left: 5},
		"those of no weight when others are full":  {total: 10, shares: parts(Share{Weight: 1, High: 4}, Share{Weight: 0}), want: []int32{4, 6}},
		"what runs stays":                          {total: 10, shares: parts(Share{Weight: 1, Low: 7, Current: 7}, Share{Weight: 1, Current: 3}), want: []int32{7, 3}},
		"a little change of weights moves nothing": {total: 100, shares: parts(Share{Weight: 52, Current: 50}, Share{Weight: 48, Current: 50}), want: []int32{50, 50}},
		"a large one does":                         {total: 100, shares: parts(Share{Weight: 70, Current: 50}, Share{Weight: 30, Current: 50}), want: []int32{70, 30}},
		"a newcomer gets its share":                {total: 10, shares: parts(Share{Weight: 1, Current: 5}, Share{Weight: 1, Current: 5}, Share{Weight: 1}), want: []int32{3, 4, 3}},
	} {
		t.Run(name, func(t *testing.T) {
			give, left := Weighted(tc.total, tc.shares)
			if give == nil {
				give = []int32{}
			}
			if d := cmp.Diff(tc.want, give); d != "" || left != tc.left {
				t.Errorf("%d left, want %d: %s", left, tc.left, d)
			}
		})
	}
}

// Nothing is lost, no limit is passed, and asking again moves nothing.
func TestWeightedKeepsItsPromises(t *testing.T) {
	for seed := range uint64(2000) {
		r := rand.New(rand.NewPCG(seed, 1))
		shares := make([]Share, 1+r.IntN(6))
		for i := range shares {
			shares[i] = Share{Weight: r.Int64N(120) - 20, Current: r.Int32N(20), High: 1 + r.Int32N(30)}
			shares[i].Low = r.Int32N(min(4, shares[i].High+1))
		}
		parts(shares...)
		total := r.Int32N(60)
		give, left := Weighted(total, shares)
		sum, room := left, false
		for i, n := range give {
			sum += n
			room = room || n < shares[i].High
			if n < 0 || n > shares[i].High {
				t.Fatalf("seed %d: share %d of %+v gets %d", seed, i, shares, n)
			}
			shares[i].Current = n
		}
		if sum != total || left < 0 || left > 0 && room {
			t.Fatalf("seed %d: %v and %d left of %d in %+v", seed, give, left, total, shares)
		}
		if again, _ := Weighted(total, shares); !cmp.Equal(again, give) {
			t.Fatalf("seed %d: %v became %v in %+v", seed, give, again, shares)
		}
	}
}
