package critest

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/flotilla-project/flotilla/agent/noded/cri"
)

func TestTheFakeRemembersWhatItWasAskedFor(t *testing.T) {
	r := &Runtime{}
	if _, err := r.Image(t.Context(), "nginx:1"); !errors.Is(err, cri.ErrNotFound) {
		t.Error(err)
	}
	if _, err := r.Pull(t.Context(), cri.Pull{Image: "nginx:1"}); err != nil {
		t.Error(err)
	}
	if i, err := r.Image(t.Context(), "nginx:1"); err != nil || i.ID == "" {
		t.Errorf("%+v, %v", i, err)
	}
	r.SetContainer(cri.Status{Container: cri.Container{ID: "a", PodUID: "p", State: cri.Running}})
	if err := r.Stop(t.Context(), "a", 2*time.Second); err != nil {
		t.Error(err)
	}
	if d := cmp.Diff([]string{"a 2s"}, r.Stops()); d != "" {
		t.Error(d)
	}
	if c, err := r.Container(t.Context(), "a"); err != nil || c.State != cri.Exited {
		t.Errorf("%+v, %v", c, err)
	}
}

func TestARuntimeThatIsGoneDoesNothing(t *testing.T) {
	r := &Runtime{OnPull: func(context.Context, cri.Pull) error { t.Error("pulled"); return nil }}
	r.Gone()
	if _, err := r.Pull(t.Context(), cri.Pull{Image: "nginx:1"}); !errors.Is(err, cri.ErrGone) || len(r.Pulls()) != 0 {
		t.Error(err)
	}
	if _, err := r.Containers(t.Context(), ""); !errors.Is(err, cri.ErrGone) {
		t.Error(err)
	}
	r.Back()
	if _, err := r.Images(t.Context()); err != nil {
		t.Error(err)
	}
}
