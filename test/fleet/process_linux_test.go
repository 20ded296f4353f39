package fleet

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"runtime"
	"syscall"
	"testing"
	"time"
)

const headlessEnv = "FLOTILLA_TEST_HEADLESS"

// init makes this binary, when asked, a process whose first thread has ended while another one serves a port: what an API
// server is for a moment when it is killed. Only here is the code sure to run on the first thread.
func init() {
	if os.Getenv(headlessEnv) == "" {
		return
	}
	runtime.LockOSThread()
	serving := make(chan bool)
	go func() {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			os.Exit(1)
		}
		_, _ = fmt.Fprintln(os.Stdout, l.Addr())
		serving <- true
		select {}
	}()
	<-serving
	_, _, _ = syscall.RawSyscall(syscall.SYS_EXIT, 0, 0, 0)
}

// An API server was started again on a port that the one before it still held: its first thread was gone already.
func TestAProcessLingersUntilItsLastThreadEnds(t *testing.T) {
	c := exec.Command(os.Args[0])
	c.Env = append(os.Environ(), headlessEnv+"=1")
	out, err := c.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	p := process{PID: c.Process.Pid}
	_, p.Birth = stat(p.PID)
	address, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if err := poll(ctx, time.Millisecond, func() error {
		if state, _ := stat(p.PID); state != zombie {
			return fmt.Errorf("its first thread is in state %s", state)
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	if conn, err := net.Dial("tcp", address[:len(address)-1]); err != nil {
		t.Fatalf("the port is not served: %v", err)
	} else if err := conn.Close(); err != nil {
		t.Fatal(err)
	}
	if !p.lingers() {
		t.Error("it holds a port and counts as gone")
	}
	if err := syscall.Kill(p.PID, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	_ = c.Wait()
	if p.lingers() {
		t.Error("it is gone and counts as lingering")
	}
}
