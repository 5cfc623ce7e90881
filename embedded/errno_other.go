//go:build !windows

package embedded

import (
	"errors"
	"syscall"
)

func isPortInUse(err error) bool { return errors.Is(err, syscall.EADDRINUSE) }
