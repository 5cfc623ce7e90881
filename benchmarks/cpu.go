package benchmarks

import (
	"syscall"
	"time"
)

// processCPU returns the time that this process has spent computing, in user and in kernel mode.
func processCPU() (time.Duration, error) {
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		return 0, err
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano()), nil
}
