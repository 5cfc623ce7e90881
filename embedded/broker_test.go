package embedded_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/hocket-go/hocket/embedded"
)

func TestNoOptionsIsABrokerInTheDefaultDirWithNoPort(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "mine")
	t.Setenv("HOCKET_DATA", dir)
	b := start(t, nil)
	want, err := filepath.EvalSymlinks(dir)
	require.NoError(t, err)
	assert.Equal(t, want, b.Dir())
	assert.Empty(t, b.URL())
	assert.Empty(t, b.HubURL())
	assert.Equal(t, server.VERSION, b.Version())
	assert.Equal(t, b.ID(), b.Name())

	v, err := b.Server().Varz(nil)
	require.NoError(t, err)
	assert.Nil(t, b.Server().Addr(), "a port is open")
	assert.Positive(t, v.JetStream.Config.MaxStore)
	nc := connect(t, b)
	stream(t, nc, jetstream.StreamConfig{Name: "S", Subjects: []string{"s"}})
	publish(t.Context(), t, nc, "s", 1)
}

func TestEachWriteIsSyncedUnlessAnIntervalIsNamed(t *testing.T) {
	t.Parallel()
	for _, interval := range []time.Duration{0, 3 * time.Second} {
		t.Run(interval.String(), func(t *testing.T) {
			t.Parallel()
			o := options(t)
			o.SyncInterval = interval
			b := start(t, o)
			v, err := b.Server().Varz(nil)
			require.NoError(t, err)
			assert.Equal(t, interval == 0, v.JetStream.Config.SyncAlways)
			if interval > 0 {
				assert.Equal(t, interval, v.JetStream.Config.SyncInterval)
			}
			assert.Equal(t, interval == 0, b.Durability().Synced())
			assert.Equal(t, interval, b.Durability().SyncInterval)
		})
	}
}

func TestARestartKeepsWhatWasStored(t *testing.T) {
	t.Parallel()
	o := options(t)
	b, err := embedded.Start(t.Context(), o)
	require.NoError(t, err)
	nc := connect(t, b)
	stream(t, nc, jetstream.StreamConfig{Name: "S", Subjects: []string{"s"}})
	publish(t.Context(), t, nc, "s", 10)
	require.NoError(t, b.Close())

	b = start(t, o)
	js, err := jetstream.New(connect(t, b))
	require.NoError(t, err)
	s, err := js.Stream(t.Context(), "S")
	require.NoError(t, err)
	assert.EqualValues(t, 10, s.CachedInfo().State.Msgs)
}

func TestShutdownIsIdempotentAndConcurrent(t *testing.T) {
	t.Parallel()
	b, err := embedded.Start(t.Context(), options(t))
	require.NoError(t, err)
	connect(t, b)
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	var wg sync.WaitGroup
	for i := range 20 {
		wg.Go(func() {
			if i%2 == 0 {
				if shutdownErr := b.Shutdown(ended); shutdownErr != nil {
					assert.ErrorIs(t, shutdownErr, context.Canceled)
				}
			}
			assert.NoError(t, b.Close())
		})
	}
	wg.Wait()
	<-b.Done()
	require.NoError(t, b.Shutdown(ended), "an ended context is no error once all has stopped")
	_, err = b.InProcessConn()
	require.ErrorIs(t, err, embedded.ErrClosed)
	_, err = b.Connect()
	require.ErrorIs(t, err, embedded.ErrClosed)
}

func TestADirectoryHasOneBrokerAndIsFreeOnceThatHasStopped(t *testing.T) {
	t.Parallel()
	o := options(t)
	b, err := embedded.Start(t.Context(), o)
	require.NoError(t, err)
	err = refuse(t, o)
	require.ErrorIs(t, err, embedded.ErrOwned)
	assert.ErrorContains(t, err, fmt.Sprintf("pid %d", os.Getpid()))
	require.NoError(t, b.Close())
	start(t, o)
}

func TestAStartThatFailsLeavesTheDirectoryFree(t *testing.T) {
	t.Parallel()
	busy := options(t)
	busy.Listen = &embedded.Listen{Port: embedded.RandomPort}
	first := start(t, busy)

	o := options(t)
	o.Listen = &embedded.Listen{Port: portOf(t, first.URL())}
	require.ErrorIs(t, refuse(t, o), embedded.ErrPortInUse)
	o.Listen = nil
	start(t, o)
}

func TestStartReturnsWhenItsContextEnds(t *testing.T) {
	t.Parallel()
	o := options(t)
	ctx, cancel := context.WithCancelCause(t.Context())
	gone := errors.New("the caller left")
	cancel(gone)
	b, err := embedded.Start(ctx, o)
	if err == nil { // it was quicker
		require.NoError(t, b.Close())
		return
	}
	require.ErrorIs(t, err, gone)
	require.ErrorIs(t, err, embedded.ErrStart)
	startSoon(t, o)
}

// startSoon starts a broker once another, which stops in the background, has left the directory.
func startSoon(t *testing.T, o *embedded.Options) {
	t.Helper()
	require.Eventually(t, func() bool {
		b, err := embedded.Start(t.Context(), o)
		if err != nil {
			return false
		}
		return assert.NoError(t, b.Close())
	}, 10*time.Second, 5*time.Millisecond)
}

func TestConnectShowsTheTokenOrUserOfThePort(t *testing.T) {
	t.Parallel()
	for name, listen := range map[string]embedded.Listen{
		"token": {Port: embedded.RandomPort, Token: "secret"},
		"user":  {Port: embedded.RandomPort, User: "ada", Password: "secret"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o := options(t)
			o.Listen = &listen
			b := start(t, o)
			require.NoError(t, connect(t, b).Flush())
			_, err := nats.Connect(b.URL())
			require.ErrorIs(t, err, nats.ErrAuthorization)
			_, err = nats.Connect("", nats.InProcessServer(b))
			require.ErrorIs(t, err, nats.ErrAuthorization, "connections in the process are no way around it")
		})
	}
}

func TestConfigureCanAddUsersWithPermissions(t *testing.T) {
	t.Parallel()
	o := options(t)
	o.Configure = func(so *server.Options) {
		so.Users = []*server.User{{Username: "ada", Password: "pw", Permissions: &server.Permissions{
			Publish:   &server.SubjectPermission{Allow: []string{"mine.>"}},
			Subscribe: &server.SubjectPermission{Deny: []string{">"}},
		}}}
	}
	b := start(t, o)
	_, err := b.Connect()
	require.ErrorIs(t, err, nats.ErrAuthorization)
	refused := make(chan error, 1)
	nc := connect(t, b, nats.UserInfo("ada", "pw"), nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) {
		refused <- err
	}))
	require.NoError(t, nc.Publish("mine.a", nil))
	require.NoError(t, nc.Flush())
	require.NoError(t, nc.Publish("yours.a", nil))
	require.ErrorIs(t, <-refused, nats.ErrPermissionViolation)
}

func TestConfigureCannotBreakWhatTheOptionsPromise(t *testing.T) {
	t.Parallel()
	for field, change := range map[string]func(*server.Options){
		"SyncAlways":   func(so *server.Options) { so.SyncAlways = false },
		"SyncInterval": func(so *server.Options) { so.SyncInterval = time.Hour },
		"StoreDir":     func(so *server.Options) { so.StoreDir = t.TempDir() },
		"JetStream":    func(so *server.Options) { so.JetStream = false },
		"NoSigs":       func(so *server.Options) { so.NoSigs = false },
		"DontListen":   func(so *server.Options) { so.DontListen = false },
	} {
		t.Run(field, func(t *testing.T) {
			t.Parallel()
			o := options(t)
			o.Configure = change
			err := refuse(t, o)
			require.ErrorIs(t, err, embedded.ErrOptions)
			assert.ErrorContains(t, err, field)
		})
	}
}

func TestOptionsCanBeReused(t *testing.T) {
	t.Parallel()
	o := options(t)
	o.Listen = &embedded.Listen{Port: embedded.RandomPort}
	before := *o.Listen
	for range 2 {
		b, err := embedded.Start(t.Context(), o)
		require.NoError(t, err)
		require.NoError(t, b.Close())
	}
	assert.Equal(t, before, *o.Listen)
}
