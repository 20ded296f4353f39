package webhook

import (
	"encoding/json"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestLaid(t *testing.T) {
	for name, tc := range map[string]struct{ sent, before, after, want string }{
		"nothing changed, and an unknown field":        {`{"a":1,"new":2}`, `{"a":1}`, `{"a":1}`, `{"a":1,"new":2}`},
		"a zero that nobody sent is not written":       {`{"a":1}`, `{"a":1,"zero":0}`, `{"a":2,"zero":0}`, `{"a":2}`},
		"a field that is taken away":                   {`{"a":1,"b":2}`, `{"a":1,"b":2}`, `{"a":1}`, `{"a":1}`},
		"a null becomes a value":                       {`{"a":null}`, `{}`, `{"a":{"b":1}}`, `{"a":{"b":1}}`},
		"an element of a list, and what it has else":   {`[{"a":1,"new":2},{"b":1}]`, `[{"a":1},{"b":1}]`, `[{"a":3},{"b":1}]`, `[{"a":3,"new":2},{"b":1}]`},
		"a list that grows is the new one":             {`[{"a":1,"new":2}]`, `[{"a":1}]`, `[{"a":1},{"b":1}]`, `[{"a":1},{"b":1}]`},
		"another spelling of the same value stays":     {`{"cpu":"1000m","a":1}`, `{"cpu":"1","a":1}`, `{"cpu":"1","a":2}`, `{"cpu":"1000m","a":2}`},
		"an object that becomes another kind of thing": {`{"a":{"b":1}}`, `{"a":{"b":1}}`, `{"a":"c"}`, `{"a":"c"}`},
	} {
		t.Run(name, func(t *testing.T) {
			got := laid(read(t, tc.sent), read(t, tc.before), read(t, tc.after))
			if d := cmp.Diff(read(t, tc.want), got); d != "" {
				t.Error(d)
			}
		})
	}
}

func read(t *testing.T, raw string) (out any) {
	t.Helper()
	if err := json.Unmarshal([]byte(raw), &out); err != nil {
		t.Fatal(err)
	}
	return out
}
