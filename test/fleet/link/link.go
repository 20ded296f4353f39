// Package link is a wire that can be cut: a TCP relay between a member and its hub. Cut, it does what a broken network
// does: nothing passes, nothing is refused, and neither end is told.
package link

import (
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"sync/atomic"
)

// Link relays connections to one address until it is cut.
type Link struct {
	listener net.Listener
	to       string
	done     chan struct{}
	relays   sync.WaitGroup
	passed   atomic.Int64

	mu     sync.Mutex
	passes chan struct{} // closed while bytes may pass
	ends   map[net.Conn]bool
}

// New starts a link to an address of the form host:port.
func New(to string) (*Link, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("listen for the link to %s: %w", to, err)
	}
	l := &Link{listener: listener, to: to, done: make(chan struct{}), passes: make(chan struct{}), ends: map[net.Conn]bool{}}
	close(l.passes)
	l.relays.Go(l.serve)
	return l, nil
}

// Address is where the near end connects to.
func (l *Link) Address() string { return l.listener.Addr().String() }

// Passed is how many bytes have passed so far, in both directions: whether the two ends talk.
func (l *Link) Passed() int64 { return l.passed.Load() }

// Cut lets nothing pass any more, in either direction. Connections stay open; new ones are taken and lead nowhere.
func (l *Link) Cut() {
	l.mu.Lock()
	defer l.mu.Unlock()
	select {
	case <-l.passes:
		l.passes = make(chan struct{})
	default:
	}
}

// Mend lets everything pass again, what was on its way too.
func (l *Link) Mend() {
	l.mu.Lock()
	defer l.mu.Unlock()
	select {
	case <-l.passes:
	default:
		close(l.passes)
	}
}

// Drop ends all connections, and with them what was on its way. New ones are taken as before: cut or not.
func (l *Link) Drop() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for c := range l.ends {
		_ = c.Close()
	}
}

// Close ends the link and all its connections.
func (l *Link) Close() error {
	close(l.done)
	err := l.listener.Close()
	l.mu.Lock()
	for c := range l.ends {
		err = errors.Join(err, ignoreClosed(c.Close()))
	}
	l.mu.Unlock()
	l.relays.Wait()
	return err
}

func (l *Link) serve() {
	for {
		near, err := l.listener.Accept()
		if err != nil {
			return
		}
		l.relays.Go(func() { l.relay(near) })
	}
}

func (l *Link) relay(near net.Conn) {
	defer l.forget(near)
	if !l.keep(near) || !l.wait() {
		return
	}
	far, err := net.Dial("tcp", l.to)
	if err != nil {
		return
	}
	defer l.forget(far)
	if !l.keep(far) {
		return
	}
	var both sync.WaitGroup
	for from, to := range map[net.Conn]net.Conn{near: far, far: near} {
		both.Go(func() {
			defer func() { _, _ = from.Close(), to.Close() }()
			_, _ = io.Copy(gated{to, l}, from)
		})
	}
	both.Wait()
}

// keep remembers a connection for Close; it is false when the link is already closed.
func (l *Link) keep(c net.Conn) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.ends[c] = true
	select {
	case <-l.done:
		return false
	default:
		return true
	}
}

func (l *Link) forget(c net.Conn) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.ends, c)
	_ = c.Close()
}

// wait returns once bytes may pass; it is false when the link is closed first.
func (l *Link) wait() bool {
	l.mu.Lock()
	passes := l.passes
	l.mu.Unlock()
	select {
	case <-passes:
		return true
	case <-l.done:
		return false
	}
}

// gated writes when the link lets it.
type gated struct {
	io.Writer
	link *Link
}

func (g gated) Write(p []byte) (int, error) {
	if !g.link.wait() {
		return 0, net.ErrClosed
	}
	n, err := g.Writer.Write(p)
	g.link.passed.Add(int64(n))
	return n, err
}

func ignoreClosed(err error) error {
	if errors.Is(err, net.ErrClosed) {
		return nil
	}
	return err
}
