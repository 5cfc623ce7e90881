//go:build unix

package hocket_test

import (
	"context"
	"os"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/hocket-go/hocket"
	"github.com/hocket-go/hocket/hockettest"
)

func TestASignalEndsRun(t *testing.T) {
	svc := open(t, "orders", &hocket.Options{
		Broker: connector{hockettest.NewBroker(t), t}, Logger: quiet(), Signals: []os.Signal{syscall.SIGUSR1},
	})
	svc.AfterStart(func(context.Context) error { return syscall.Kill(os.Getpid(), syscall.SIGUSR1) })
	require.NoError(t, svc.Run(t.Context()))
}
