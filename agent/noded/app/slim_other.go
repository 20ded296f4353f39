//go:build !linux

package app

import (
	"context"

	"sigs.k8s.io/controller-runtime/pkg/manager"
)

// slim has nothing to do where there are no nodes.
func slim() manager.Runnable {
	return manager.RunnableFunc(func(context.Context) error { return nil })
}
