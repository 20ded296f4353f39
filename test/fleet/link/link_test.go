package link

import (
	"bufio"
	"errors"
	"net"
	"os"
	"testing"
	"time"
)

// echo answers every line with itself.
func echo(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer func() { _ = c.Close() }()
				for lines := bufio.NewScanner(c); lines.Scan(); {
					_, _ = c.Write(append(lines.Bytes(), '\n'))
				}
			}()
		}
	}()
	return l.Addr().String()
}

// ask sends a line and reads one, within the time.
func ask(t *testing.T, c net.Conn, line string, within time.Duration) (string, error) {
	t.Helper()
	if err := c.SetDeadline(time.Now().Add(within)); err != nil {
		t.Fatal(err)
	}
	if line != "" {
		if _, err := c.Write([]byte(line + "\n")); err != nil {
			return "", err
		}
	}
	return bufio.NewReader(c).ReadString('\n')
}

func TestALinkThatIsCutTellsNobodyAndGoesOnWhenMended(t *testing.T) {
	l, err := New(echo(t))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	})
	c, err := net.Dial("tcp", l.Address())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	if got, err := ask(t, c, "one", 10*time.Second); got != "one\n" {
		t.Fatalf("%q, %v", got, err)
	}
	if n := l.Passed(); n != 8 {
		t.Errorf("%d bytes passed, want four each way", n)
	}
	l.Cut()
	l.Cut() // twice is once
	if got, err := ask(t, c, "two", 100*time.Millisecond); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatalf("a cut link said %q, %v; want silence", got, err)
	}
	fresh, err := net.Dial("tcp", l.Address())
	if err != nil {
		t.Fatalf("a cut network refuses nobody: %v", err)
	}
	defer func() { _ = fresh.Close() }()
	if got, err := ask(t, fresh, "three", 100*time.Millisecond); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatalf("a new connection through a cut link said %q, %v; want silence", got, err)
	}
	l.Mend()
	if got, err := ask(t, c, "", 10*time.Second); got != "two\n" {
		t.Errorf("what was on its way: %q, %v", got, err)
	}
	if got, err := ask(t, fresh, "", 10*time.Second); got != "three\n" {
		t.Errorf("the new connection: %q, %v", got, err)
	}
}

func TestClosingEndsConnectionsOfACutLink(t *testing.T) {
	l, err := New(echo(t))
	if err != nil {
		t.Fatal(err)
	}
	c, err := net.Dial("tcp", l.Address())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	l.Cut()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := ask(t, c, "", 10*time.Second); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("the connection is still open: %v", err)
	}
}

func TestWhatWasOnItsWayIsLostWithItsConnection(t *testing.T) {
	l, err := New(echo(t))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	})
	c, err := net.Dial("tcp", l.Address())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	if got, err := ask(t, c, "one", 10*time.Second); got != "one\n" {
		t.Fatalf("%q, %v", got, err)
	}
	l.Cut()
	if got, err := ask(t, c, "two", 100*time.Millisecond); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatalf("a cut link said %q, %v; want silence", got, err)
	}
	l.Drop()
	l.Mend()
	if got, err := ask(t, c, "", 10*time.Second); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("a dropped connection said %q, %v", got, err)
	}
	fresh, err := net.Dial("tcp", l.Address())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = fresh.Close() }()
	if got, err := ask(t, fresh, "three", 10*time.Second); got != "three\n" {
		t.Errorf("a new connection said %q, %v", got, err)
	}
}
