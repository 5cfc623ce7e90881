package embedded

import (
	"errors"
	"io"
	"log/slog"
	"net"
	"path/filepath"
	"testing"
	"testing/iotest"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/stretchr/testify/require"
)

// newerOwner serves dir as a program of a later version would.
func newerOwner(t *testing.T, dir string) *Broker {
	t.Helper()
	o, err := resolve(&Options{Dir: dir, Logger: slog.New(slog.DiscardHandler)})
	require.NoError(t, err)
	self := newOwnerInfo()
	self.Broker = "99.0.0"
	d, err := lockDir(dir, self)
	require.NoError(t, err)
	m := &member{Shared: &Shared{opts: o, dir: dir, log: o.Logger}}
	b, err := m.startOwned(t.Context(), d)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, b.Close()) })
	return b
}

func TestMemberThatIsTooOldFollowsButNeverTakesOver(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "data")
	dir, err := prepareDir(dir)
	require.NoError(t, err)
	newer := newerOwner(t, dir)

	s, err := Join(t.Context(), &Options{Dir: dir, Logger: slog.New(slog.DiscardHandler), StartTimeout: 10 * time.Second})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, s.Close()) })
	require.Equal(t, StateMember, s.Status().State)
	nc, err := s.Connect()
	require.NoError(t, err)
	t.Cleanup(nc.Close)

	for range 2 {
		require.NoError(t, newer.Close())
		for st := range s.Watch(t.Context()) {
			require.NotEqual(t, StateOwner, st.State)
			if errors.Is(st.Err, ErrNewerStore) {
				require.ErrorContains(t, st.Err, "99.0.0")
				require.ErrorContains(t, st.Err, server.VERSION)
				require.ErrorContains(t, st.Err, dir)
				break
			}
		}
		_, err = s.InProcessConn()
		require.ErrorIs(t, err, ErrNewerStore)
		connected := make(chan error, 1)
		go func() { // waits for the next owner
			waiting, err := s.Connect()
			if err == nil {
				waiting.Close()
			}
			connected <- err
		}()
		newer = newerOwner(t, dir)
		require.NoError(t, <-connected)
		require.Equal(t, StateMember, s.Status().State)
		require.Eventually(t, nc.IsConnected, 10*time.Second, time.Millisecond)
	}
}

func TestConnectionGivesBackWhatWasPeekedInAnyPortions(t *testing.T) {
	t.Parallel()
	near, far := net.Pipe()
	t.Cleanup(func() { require.NoError(t, near.Close()) })
	go func() {
		_, _ = far.Write([]byte("rest"))
		_ = far.Close()
	}()
	conn := &peekedConn{Conn: near, peeked: []byte("INFO {}\r\n")}
	b, err := io.ReadAll(iotest.OneByteReader(conn))
	require.NoError(t, err)
	require.Equal(t, "INFO {}\r\nrest", string(b))
}
