//go:build unix

package embedded

import (
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

func TestLockIsFreeAtOnceThoughAChildProcessIsJustBeingStarted(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	d, err := lockDir(dir, newOwnerInfo())
	require.NoError(t, err)
	child, err := unix.Dup(int(d.lock.Fd())) // what fork does, until exec
	require.NoError(t, err)
	t.Cleanup(func() { _ = unix.Close(child) })
	require.NoError(t, d.close())
	d, err = lockDir(dir, newOwnerInfo())
	require.NoError(t, err)
	require.NoError(t, d.close())
}
