//go:build tools

// Package tools names the programs of this module, so that go mod tidy keeps
// what they need.
package tools

import (
	_ "go.etcd.io/etcd/server/v3"
)
