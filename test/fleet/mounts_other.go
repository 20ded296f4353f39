//go:build !linux

package fleet

// Real nodes exist on Linux only, so there is nothing to find elsewhere.

func snapshotter(string) string   { return "native" }
func unmountBelow(string) error   { return nil }
func shimSockets(string) []string { return nil }
