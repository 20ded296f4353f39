package fleet

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// A slot is a fleet's share of the host: a hundred ports below the ephemeral range
// and a /16 for its nodes and pods. Claims are files in a folder per user; a slot
// whose ports or addresses are in use by anyone else is passed over.
const (
	slots        = 100
	firstPort    = 20000
	portsPerSlot = 100
	firstSubnet  = 100
	portEtcd     = 0
	portPeer     = 1
	portRegistry = 2
	portClusters = 10
	perCluster   = 4
)

// The ports of one cluster.
const (
	portAPIServer = iota
	portControllers
	portScheduler
	portKwok
)

type slot int

func (s slot) port(n int) int              { return firstPort + int(s)*portsPerSlot + n }
func (s slot) clusterPort(i, what int) int { return s.port(portClusters + i*perCluster + what) }
func (s slot) gateway() string             { return fmt.Sprintf("10.%d.0.1", firstSubnet+int(s)) }
func (s slot) nodeIP(i int) string         { return fmt.Sprintf("10.%d.0.%d", firstSubnet+int(s), i+1) }
func (s slot) podCIDR(i int) string        { return fmt.Sprintf("10.%d.%d.0/24", firstSubnet+int(s), i) }
func (s slot) subnet() string              { return fmt.Sprintf("10.%d.0.0/16", firstSubnet+int(s)) }

func slotDir() string {
	return filepath.Join(os.TempDir(), fmt.Sprintf("flotilla-slots-%d", os.Getuid()))
}

// claimSlot finds a free slot and calls save with it before anyone else may look,
// so that a claim always points to a state file that confirms it.
func claimSlot(ctx context.Context, claims, dir string, save func(slot) error) error {
	if err := os.MkdirAll(claims, 0o700); err != nil {
		return fmt.Errorf("claim a slot: %w", err)
	}
	unlock, err := lockFile(ctx, filepath.Join(claims, ".lock"))
	if err != nil {
		return fmt.Errorf("claim a slot: %w", err)
	}
	defer unlock()
	// Starting at a place of its own keeps fleets of different users apart.
	start, err := strconv.ParseUint(fleetID(dir), 16, 32)
	if err != nil {
		return fmt.Errorf("claim a slot: %w", err)
	}
	for i := range slots {
		s := slot((int(start%slots) + i) % slots)
		claim := filepath.Join(claims, strconv.Itoa(int(s)))
		if claimed(claim, s) || !s.free() {
			continue
		}
		if err := writeFile(claim, []byte(dir), 0o600); err != nil {
			return fmt.Errorf("claim slot %d: %w", s, err)
		}
		return save(s)
	}
	return fmt.Errorf("claim a slot: all %d are taken, see %s", slots, claims)
}

// claimed reports whether the fleet that a claim names still says it is its own.
func claimed(claim string, s slot) bool {
	raw, err := os.ReadFile(claim)
	if err != nil {
		return false
	}
	st, err := loadState(strings.TrimSpace(string(raw)))
	return err == nil && st.Slot == int(s)
}

// free probes a few ports and looks for the subnet among the host's addresses.
func (s slot) free() bool {
	for n := range portsPerSlot {
		l, err := net.Listen("tcp4", fmt.Sprintf("0.0.0.0:%d", s.port(n)))
		if err != nil {
			return false
		}
		_ = l.Close()
	}
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		return true
	}
	_, own, err := net.ParseCIDR(s.subnet())
	if err != nil {
		return false
	}
	for _, a := range addrs {
		if n, ok := a.(*net.IPNet); ok && (own.Contains(n.IP) || n.Contains(own.IP)) {
			return false
		}
	}
	return true
}

// lockFile takes an exclusive lock that the kernel frees when its holder dies.
func lockFile(ctx context.Context, path string) (unlock func(), err error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if err == nil {
			return func() { _ = f.Close() }, nil
		}
		if !errors.Is(err, syscall.EWOULDBLOCK) {
			_ = f.Close()
			return nil, fmt.Errorf("lock %s: %w", path, err)
		}
		select {
		case <-ctx.Done():
			_ = f.Close()
			return nil, fmt.Errorf("lock %s: %w", path, context.Cause(ctx))
		case <-tick.C:
		}
	}
}
