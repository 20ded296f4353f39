package fleet

import (
	"context"
	"errors"
)

var errReal = errors.New("real nodes are not there yet")

func (f *Fleet) prepareHost(context.Context) error               { return errReal }
func (r *Running) startRealNodes(context.Context) error          { return errReal }
func removeHost(ctx context.Context, s *state, dir string) error { return nil }
