package podset

import (
	"testing"

	"k8s.io/apimachinery/pkg/util/intstr"
)

// WL-0.4
func TestPartitionCount(t *testing.T) {
	for _, tc := range []struct {
		partition string
		replicas  int32
		want      int
	}{
		{"10%", 5, 1}, // rounded up
		{"99%", 10, 9},
		{"99%", 1, 1},
		{"99%", 2, 1},
		{"100%", 10, 10},
		{"0.1%", 10, 1},
		{"15", 10, 10},
		{"-3", 10, 0},
		{"7", 10, 7},
		{"10", 10, 10}, // a number may keep all
		{"0%", 10, 0},
		{"0.5%", 1000, 5},
		{"0.29%", 10000, 29}, // a float would say 30
		{"33.4%", 3, 2},
		{"90%", 10, 9},
		{"150%", 4, 4},
		{"50%", 0, 0},
	} {
		p := intstr.Parse(tc.partition)
		got, err := PartitionCount(&p, &tc.replicas)
		if err != nil || got != tc.want {
			t.Errorf("%s of %d = %d, %v; want %d", tc.partition, tc.replicas, got, err, tc.want)
		}
	}
	if got, err := PartitionCount(nil, new(int32(5))); got != 0 || err != nil {
		t.Errorf("no partition = %d, %v; want 0", got, err)
	}
	all := intstr.FromInt32(3)
	if got, _ := PartitionCount(&all, nil); got != 1 {
		t.Errorf("3 of the default replicas = %d, want 1", got)
	}
	for _, bad := range []string{"", "%", "half", "5", "1/2%", "1e1%", "1.2.3%", "0x10%", "Inf%"} {
		p := intstr.FromString(bad)
		if got, err := PartitionCount(&p, new(int32(5))); err == nil {
			t.Errorf("partition %q parses as %d", bad, got)
		}
	}
}

// WL-0.4, WL-1.8
func TestBudgets(t *testing.T) {
	for name, tc := range map[string]struct {
		replicas           int
		unavailable, surge string
		paused             bool
		wantU, wantS       int
	}{
		"without surge, unavailability rounds up":   {9, "25%", "0", false, 3, 0},
		"with surge, it rounds down":                {9, "25%", "25%", false, 2, 3},
		"surge rounds up":                           {5, "20%", "30%", false, 1, 2},
		"0.6 with surge is none":                    {3, "20%", "1", false, 0, 1},
		"paused: no surge, so rounded up":           {9, "25%", "25%", true, 3, 0}, // WL-1.19 3
		"a surge of 0% is no surge":                 {9, "25%", "0%", false, 3, 0},
		"numbers stand as they are":                 {9, "4", "2", false, 4, 2},
		"unavailability over 100% is no one's loss": {4, "150%", "0", false, 6, 0},
	} {
		t.Run(name, func(t *testing.T) {
			u, s := intstr.Parse(tc.unavailable), intstr.Parse(tc.surge)
			gotU, gotS, err := Budgets(tc.replicas, &u, &s, tc.paused)
			if err != nil || gotU != tc.wantU || gotS != tc.wantS {
				t.Errorf("maxUnavailable %d, maxSurge %d, %v; want %d, %d", gotU, gotS, err, tc.wantU, tc.wantS)
			}
		})
	}
	if u, s, err := Budgets(10, nil, nil, false); u != 2 || s != 0 || err != nil {
		t.Errorf("defaults: %d, %d, %v; want 20%% of 10 and 0", u, s, err)
	}
	bad, fine := intstr.FromString("some"), intstr.FromInt32(2)
	if u, s, err := Budgets(10, &bad, &fine, false); err == nil || u != 0 || s != 2 {
		t.Errorf("bad maxUnavailable: %d, %d, %v; want 0, 2 and an error", u, s, err)
	}
	if u, s, err := Budgets(10, &fine, &bad, false); err == nil || u != 0 || s != 0 {
		t.Errorf("bad maxSurge: %d, %d, %v; want 0, 0 and an error", u, s, err)
	}
	if _, _, err := Budgets(10, &fine, &bad, true); err != nil {
		t.Errorf("paused, maxSurge is not looked at: %v", err)
	}
}

func TestScaleBudget(t *testing.T) {
	share, bad := intstr.FromString("25%"), intstr.FromString("0.5%")
	if got, err := ScaleBudget(9, &share); got != 3 || err != nil {
		t.Errorf("25%% of 9 = %d, %v; want 3, rounded up", got, err)
	}
	if got, _ := ScaleBudget(9, nil); got != Unlimited {
		t.Errorf("no limit = %d, want Unlimited", got)
	}
	if _, err := ScaleBudget(9, &bad); err == nil {
		t.Error("only the partition takes decimal percentages")
	}
}

// WL-1.9.1 rule 4
func TestParseCost(t *testing.T) {
	for s, want := range map[string]int32{
		"": 0, "7": 7, "-7": -7, "0": 0, "+7": 0, "07": 0, "-07": 0, "-+7": 0, "7.5": 0, "many": 0,
		"2147483647": 2147483647, "2147483648": 0, "-2147483648": -2147483648,
	} {
		if got := ParseCost(s); got != want {
			t.Errorf("cost %q = %d, want %d", s, got, want)
		}
	}
}

// WL-1.11 step 2
func TestOrderPriority(t *testing.T) {
	for value, want := range map[string]int64{"": 0, "shard-12": -12, "12x": 0, "9": -9, "v1-3": -3} {
		if got := OrderPriority(2, value); got != [2]int64{2, want} {
			t.Errorf("level 2, value %q = %v, want %d", value, got, want)
		}
	}
}

func TestSeed(t *testing.T) {
	a, b := ups(2, "a"), ups(2, "a")
	b[0], b[1] = b[1], b[0]
	if Seed("uid", "7", a) != Seed("uid", "7", b) {
		t.Error("the seed depends on the order of the list")
	}
	for name, other := range map[string]uint64{
		"another owner": Seed("uid2", "7", a), "another version": Seed("uid", "8", a), "another pod": Seed("uid", "7", ups(3, "a")),
	} {
		if other == Seed("uid", "7", a) {
			t.Errorf("%s has the same seed", name)
		}
	}
}
