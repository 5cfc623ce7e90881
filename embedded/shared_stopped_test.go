//go:build unix

package embedded_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/hocket-go/hocket/embedded"
)

func TestStoppedOwnerIsReportedAndAllGoesOnWhenItContinues(t *testing.T) {
	t.Parallel()
	dir := dataDir(t)
	owner := startProgram(t, dir)
	owner.hear(t, "owner")
	member := join(t, dir)
	nc, js := connectShared(t, member)
	loadStream(t, js)

	begin := time.Now()
	require.NoError(t, owner.cmd.Process.Signal(syscall.SIGSTOP))
	st := awaitStatus(t, member, isState(embedded.StateUnresponsive))
	t.Logf("noticed after %v: %v", time.Since(begin), st.Err)
	requireNamed(t, st.Err, owner, dir)

	_, err := member.InProcessConn()
	requireNamed(t, err, owner, dir)
	_, err = member.Connect()
	requireNamed(t, err, owner, dir)
	_, err = embedded.Join(t.Context(), &embedded.Options{Dir: dir, Logger: quiet()})
	requireNamed(t, err, owner, dir)
	_, err = embedded.Start(t.Context(), &embedded.Options{Dir: dir, Logger: quiet()})
	require.ErrorIs(t, err, embedded.ErrOwned)
	require.ErrorContains(t, err, fmt.Sprintf("pid %d", owner.pid()))

	require.NoError(t, owner.cmd.Process.Signal(syscall.SIGCONT))
	st = awaitStatus(t, member, isState(embedded.StateMember))
	require.Equal(t, owner.pid(), st.Owner.PID)
	require.Eventually(t, func() bool {
		attempt, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err := js.Publish(attempt, "load.after", nil)
		return err == nil
	}, patient, time.Millisecond)
	require.True(t, nc.IsConnected())
}

func TestStoppedOwnerThatIsKilledIsSucceeded(t *testing.T) {
	t.Parallel()
	dir := dataDir(t)
	owner := startProgram(t, dir)
	owner.hear(t, "owner")
	member := join(t, dir)
	require.NoError(t, owner.cmd.Process.Signal(syscall.SIGSTOP))
	awaitStatus(t, member, isState(embedded.StateUnresponsive))
	owner.kill(t)
	awaitStatus(t, member, isState(embedded.StateOwner))
}

func requireNamed(t *testing.T, err error, owner *program, dir string) {
	t.Helper()
	require.ErrorIs(t, err, embedded.ErrOwnerUnresponsive)
	require.ErrorContains(t, err, fmt.Sprintf("pid %d (%s", owner.pid(), filepath.Base(owner.cmd.Path)))
	require.ErrorContains(t, err, dir)
	if runtime.GOOS == "linux" {
		require.ErrorContains(t, err, "stopped")
	}
}

func TestLockWithoutAReadableRecordIsWaitedForThenNamed(t *testing.T) {
	t.Parallel()
	for name, content := range map[string]string{"missing": "", "unreadable": "{garbage", "nobody": "{}"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := dataDir(t)
			record := filepath.Join(dir, "owner.json")
			if content != "" {
				require.NoError(t, os.WriteFile(record, []byte(content), 0o600))
			}
			lock := holdLock(t, dir)

			ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
			defer cancel()
			_, err := embedded.Join(ctx, &embedded.Options{Dir: dir, Logger: quiet()})
			require.ErrorIs(t, err, embedded.ErrOwnerUnresponsive)
			require.ErrorIs(t, err, context.DeadlineExceeded)
			require.ErrorContains(t, err, record)
			_, err = embedded.Start(ctx, &embedded.Options{Dir: dir, Logger: quiet()})
			require.ErrorIs(t, err, embedded.ErrOwned)
			require.ErrorContains(t, err, record)

			// A program that waits gets the directory as soon as the lock is free, whatever the record says.
			joined := make(chan error, 1)
			go func() {
				s, err := embedded.Join(t.Context(), &embedded.Options{Dir: dir, Logger: quiet()})
				if err == nil {
					if s.Status().State != embedded.StateOwner {
						err = errors.New("not the owner")
					}
					err = errors.Join(err, s.Close())
				}
				joined <- err
			}()
			require.NoError(t, lock.Close())
			require.NoError(t, <-joined)
		})
	}
}

// holdLock locks a directory as a program does that has come no further.
func holdLock(t *testing.T, dir string) *os.File {
	t.Helper()
	f, err := os.OpenFile(filepath.Join(dir, "hocket.lock"), os.O_RDWR|os.O_CREATE, 0o600)
	require.NoError(t, err)
	t.Cleanup(func() { _ = f.Close() })
	require.NoError(t, unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB))
	return f
}

func TestPortOfADeadOwnerThatSomebodyElseHasIsNoOwner(t *testing.T) {
	t.Parallel()
	// The record that a killed owner left, while its successor has the lock and has not written its own; and by chance
	// another broker has got the port.
	other := dataDir(t)
	stranger := join(t, other)
	b, err := os.ReadFile(filepath.Join(other, "owner.json"))
	require.NoError(t, err)

	dir := dataDir(t)
	stale := replaceOnce(t, b, stranger.Owner().ServerID, "NOTHIM")
	require.NoError(t, os.WriteFile(filepath.Join(dir, "owner.json"), stale, 0o600))
	secret, err := os.ReadFile(filepath.Join(other, "hocket.secret"))
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(filepath.Join(dir, "hocket.secret"), secret, 0o600))
	holdLock(t, dir)

	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	_, err = embedded.Join(ctx, &embedded.Options{Dir: dir, Logger: quiet()})
	require.ErrorContains(t, err, "another server answers")
	require.ErrorContains(t, err, stranger.Owner().Address)
}

func TestSecretThatOthersCanReadIsRefused(t *testing.T) {
	t.Parallel()
	dir := dataDir(t)
	s := join(t, dir)
	info, err := os.Stat(filepath.Join(dir, "hocket.secret"))
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o600), info.Mode().Perm())

	require.NoError(t, os.Chmod(filepath.Join(dir, "hocket.secret"), 0o640))
	_, err = embedded.Join(t.Context(), &embedded.Options{Dir: dir, Logger: quiet()})
	require.ErrorIs(t, err, embedded.ErrInsecureDir)
	require.ErrorContains(t, err, "0640")
	require.NoError(t, s.Close())
	_, err = embedded.Join(t.Context(), &embedded.Options{Dir: dir, Logger: quiet()})
	require.ErrorIs(t, err, embedded.ErrInsecureDir, "nor does it serve with it")
	require.NoError(t, os.Chmod(filepath.Join(dir, "hocket.secret"), 0o600))
	join(t, dir)
}

func TestDirectoryThatOthersCanWriteIsRefused(t *testing.T) {
	t.Parallel()
	dir := dataDir(t)
	require.NoError(t, os.Chmod(dir, 0o770))
	_, err := embedded.Join(t.Context(), &embedded.Options{Dir: dir, Logger: quiet()})
	require.ErrorIs(t, err, embedded.ErrInsecureDir)
	require.ErrorContains(t, err, dir)

	fresh := filepath.Join(dir, "below", "fresh")
	join(t, fresh)
	info, err := os.Stat(fresh)
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o700), info.Mode().Perm())
}
