package embedded

import (
	"errors"

	"golang.org/x/sys/windows"
)

func isPortInUse(err error) bool { return errors.Is(err, windows.WSAEADDRINUSE) }
