package schedule

import (
	"syscall"
	"time"
)

// rusageThread is RUSAGE_THREAD of getrusage(2).
const rusageThread = 1

// threadCPU is the time that this thread has had a CPU: on a busy machine the clock on the wall measures the neighbours.
// The kernel may count in ticks of 4 ms.
func threadCPU() time.Duration {
	var used syscall.Rusage
	if err := syscall.Getrusage(rusageThread, &used); err != nil {
		return 0
	}
	return time.Duration(used.Utime.Nano() + used.Stime.Nano())
}
