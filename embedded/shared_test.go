package embedded_test

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nkeys"
	"github.com/stretchr/testify/require"

	"github.com/hocket-go/hocket/embedded"
)

func TestTwoInOneProcessShareADirectory(t *testing.T) {
	t.Parallel()
	dir := dataDir(t)
	first, second := join(t, dir), join(t, dir)
	require.Equal(t, embedded.StateOwner, first.Status().State)
	require.Equal(t, embedded.StateMember, second.Status().State)
	require.Equal(t, first.Owner(), second.Owner())
	require.Equal(t, os.Getpid(), second.Owner().PID)

	_, js := connectShared(t, first)
	stream := loadStream(t, js)
	nc, js2 := connectShared(t, second)
	_, err := js2.Publish(t.Context(), "load.a", []byte("1"))
	require.NoError(t, err)

	require.NoError(t, first.Close())
	awaitStatus(t, second, isState(embedded.StateOwner))
	require.Eventually(t, nc.IsConnected, patient, time.Millisecond)
	stream, err = js2.Stream(t.Context(), stream.CachedInfo().Config.Name)
	require.NoError(t, err)
	require.Equal(t, uint64(1), stream.CachedInfo().State.Msgs)

	third := join(t, dir) // and back to a member of the one that was one
	require.Equal(t, embedded.StateMember, third.Status().State)
}

func TestOwnersClientIsInsideTheProcessAndOthersAreOnLoopback(t *testing.T) {
	t.Parallel()
	dir := dataDir(t)
	owner, member := join(t, dir), join(t, dir)
	inside, err := owner.InProcessConn()
	require.NoError(t, err)
	require.NotEqual(t, "tcp", inside.RemoteAddr().Network())
	require.NoError(t, inside.Close())
	outside, err := member.InProcessConn()
	require.NoError(t, err)
	require.Equal(t, owner.Owner().Address, outside.RemoteAddr().String())
	require.NoError(t, outside.Close())
	require.Regexp(t, `^127\.0\.0\.1:\d+$`, owner.Owner().Address)
}

func TestNobodyConnectsWithoutTheSecret(t *testing.T) {
	t.Parallel()
	s := join(t, dataDir(t))
	for name, opts := range map[string][]nats.Option{
		"none":       nil,
		"in process": {nats.InProcessServer(s)},
		"other":      {otherKey(t)},
	} {
		nc, err := nats.Connect("nats://"+s.Owner().Address, opts...)
		require.ErrorIs(t, err, nats.ErrAuthorization, name)
		require.Nil(t, nc)
	}
}

func otherKey(t *testing.T) nats.Option {
	t.Helper()
	pair, err := nkeys.CreateUser()
	require.NoError(t, err)
	public, err := pair.PublicKey()
	require.NoError(t, err)
	return nats.Nkey(public, pair.Sign)
}

func TestWrongOrUnreadableSecretIsRefused(t *testing.T) {
	t.Parallel()
	dir := dataDir(t)
	join(t, dir)
	name := filepath.Join(dir, "hocket.secret")
	good, err := os.ReadFile(name)
	require.NoError(t, err)
	pair, err := nkeys.CreateUser()
	require.NoError(t, err)
	other, err := pair.Seed()
	require.NoError(t, err)
	for _, bad := range []struct {
		content []byte
		match   error
	}{
		{other, nats.ErrAuthorization},
		{nil, embedded.ErrCorruptDir},
		{[]byte("garbage"), embedded.ErrCorruptDir},
		{good[:20], embedded.ErrCorruptDir},
		{bytes.Repeat(good, 1000), embedded.ErrCorruptDir},
	} {
		require.NoError(t, os.WriteFile(name, bad.content, 0o600))
		_, err = embedded.Join(t.Context(), &embedded.Options{Dir: dir, Logger: quiet()})
		require.ErrorIs(t, err, bad.match)
		require.ErrorContains(t, err, name)
		require.NotContains(t, err.Error(), "SU", "errors do not show secrets")
	}
	require.NoError(t, os.Remove(name))
	_, err = embedded.Join(t.Context(), &embedded.Options{Dir: dir, Logger: quiet()})
	require.ErrorIs(t, err, os.ErrNotExist)
	require.ErrorContains(t, err, name)
}

func TestSecretThatVanishedIsPutBackByTheNextOwner(t *testing.T) {
	t.Parallel()
	dir := dataDir(t)
	first, second := join(t, dir), join(t, dir)
	nc, _ := connectShared(t, second)
	before, err := os.ReadFile(filepath.Join(dir, "hocket.secret"))
	require.NoError(t, err)
	require.NoError(t, os.Remove(filepath.Join(dir, "hocket.secret")))
	require.NoError(t, first.Close())
	awaitStatus(t, second, isState(embedded.StateOwner))
	require.Eventually(t, nc.IsConnected, patient, time.Millisecond)
	after, err := os.ReadFile(filepath.Join(dir, "hocket.secret"))
	require.NoError(t, err)
	require.Equal(t, before, after)
}

func TestStartAndJoinKeepOutOfEachOthersDirectory(t *testing.T) {
	t.Parallel()
	t.Run("start first", func(t *testing.T) {
		t.Parallel()
		opts := &embedded.Options{Dir: dataDir(t), Logger: quiet()}
		b, err := embedded.Start(t.Context(), opts)
		require.NoError(t, err)
		_, err = embedded.Join(t.Context(), opts)
		requireOwned(t, err, opts.Dir)
		_, err = embedded.Start(t.Context(), opts)
		requireOwned(t, err, opts.Dir)
		require.NoError(t, b.Close())
		join(t, opts.Dir)
	})
	t.Run("join first", func(t *testing.T) {
		t.Parallel()
		opts := &embedded.Options{Dir: dataDir(t), Logger: quiet()}
		s := join(t, opts.Dir)
		_, err := embedded.Start(t.Context(), opts)
		requireOwned(t, err, opts.Dir)
		require.NoError(t, s.Close())
		b, err := embedded.Start(t.Context(), opts)
		require.NoError(t, err)
		require.NoError(t, b.Close())
	})
}

func requireOwned(t *testing.T, err error, dir string) {
	t.Helper()
	require.ErrorIs(t, err, embedded.ErrOwned)
	exe, exeErr := os.Executable()
	require.NoError(t, exeErr)
	require.ErrorContains(t, err, filepath.Base(exe))
	require.ErrorContains(t, err, dir)
}

func TestRecordOfADeadOwnerIsIgnoredEvenIfItsPidLives(t *testing.T) {
	t.Parallel()
	for name, content := range map[string]string{
		"pid in use": `{"id":"x","pid":` + "1" + `,"program":"init","address":"127.0.0.1:1","server_id":"NX"}`,
		"exclusive":  `{"id":"x","pid":1,"program":"init","exclusive":true}`,
		"garbage":    "\x00\xff",
		"empty":      "",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := dataDir(t)
			require.NoError(t, os.WriteFile(filepath.Join(dir, "owner.json"), []byte(content), 0o600))
			require.Equal(t, embedded.StateOwner, join(t, dir).Status().State)
		})
	}
}

func TestStoreOfANewerVersionIsRefused(t *testing.T) {
	t.Parallel()
	for content, match := range map[string]error{
		`{"broker":"99.0.0","format":1}`:      embedded.ErrNewerStore,
		`{"broker":"2.1000.0-RC","format":1}`: embedded.ErrNewerStore,
		`{"broker":"2.0.0","format":99}`:      embedded.ErrNewerStore,
		`{"broker":"two","format":1}`:         embedded.ErrCorruptDir,
		`{"broker":"2.0.0"}`:                  embedded.ErrCorruptDir,
		`nonsense`:                            embedded.ErrCorruptDir,
	} {
		t.Run(content, func(t *testing.T) {
			t.Parallel()
			opts := &embedded.Options{Dir: dataDir(t), Logger: quiet()}
			require.NoError(t, os.WriteFile(filepath.Join(opts.Dir, "store.json"), []byte(content), 0o600))
			_, err := embedded.Join(t.Context(), opts)
			require.ErrorIs(t, err, match)
			require.ErrorContains(t, err, opts.Dir)
			_, err = embedded.Start(t.Context(), opts)
			require.ErrorIs(t, err, match)
			after, err := os.ReadFile(filepath.Join(opts.Dir, "store.json"))
			require.NoError(t, err)
			require.Equal(t, content, string(after))
		})
	}
}

func TestOlderStoreIsServedAndMarkedWithTheNewVersion(t *testing.T) {
	t.Parallel()
	dir := dataDir(t)
	name := filepath.Join(dir, "store.json")
	require.NoError(t, os.WriteFile(name, []byte(`{"broker":"2.9.25","format":1}`), 0o600))
	join(t, dir)
	after, err := os.ReadFile(name)
	require.NoError(t, err)
	require.JSONEq(t, `{"broker":"`+server.VERSION+`","format":1}`, string(after))
}

func TestTakeoverBringsTheNewOwnersOwnDurability(t *testing.T) {
	t.Parallel()
	dir := dataDir(t)
	fast, err := embedded.Join(t.Context(), &embedded.Options{Dir: dir, SyncInterval: time.Minute, Logger: quiet()})
	require.NoError(t, err)
	var log syncBuffer
	safe, err := embedded.Join(t.Context(), &embedded.Options{Dir: dir, Logger: log.logger()})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, safe.Close()) })
	d, ok := safe.Durability()
	require.True(t, ok)
	require.Equal(t, time.Minute, d.SyncInterval)
	require.Contains(t, log.String(), "syncs otherwise")

	require.NoError(t, fast.Close())
	awaitStatus(t, safe, isState(embedded.StateOwner))
	d, ok = safe.Durability()
	require.True(t, ok)
	require.True(t, d.Synced())
	_, ok = fast.Durability()
	require.False(t, ok)
}

func TestOptionsThatCannotBeSharedAreRefused(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "never")
	for _, opts := range []embedded.Options{
		{Listen: &embedded.Listen{}}, {Hub: &embedded.Hub{}},
	} {
		opts.Dir = dir
		_, err := embedded.Join(t.Context(), &opts)
		require.ErrorIs(t, err, embedded.ErrOptions)
	}
	require.NoDirExists(t, dir)
}

func TestCloseIsIdempotentConcurrentAndSafeDuringATakeover(t *testing.T) {
	t.Parallel()
	dir := dataDir(t)
	for range 10 {
		var all []*embedded.Shared
		for range 4 {
			s, err := embedded.Join(t.Context(), &embedded.Options{Dir: dir, Logger: quiet()})
			require.NoError(t, err)
			all = append(all, s)
		}
		var work sync.WaitGroup
		for _, s := range all {
			for range 2 {
				work.Go(func() { _ = s.Close() })
			}
		}
		work.Wait()
		for _, s := range all {
			require.NoError(t, s.Close())
			require.Equal(t, embedded.StateClosed, s.Status().State)
			<-s.Done()
			_, err := s.InProcessConn()
			require.ErrorIs(t, err, embedded.ErrClosed)
			_, err = s.Connect()
			require.ErrorIs(t, err, embedded.ErrClosed)
		}
		require.NoFileExists(t, filepath.Join(dir, "owner.json"))
	}
}

func TestShutdownIsBoundedAndMayBeCalledAgain(t *testing.T) {
	t.Parallel()
	s := join(t, dataDir(t))
	over, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.Shutdown(over); err != nil {
		require.ErrorIs(t, err, context.Canceled)
	}
	require.NoError(t, s.Shutdown(t.Context()))
}

func TestJoinThatItsContextEndsLeavesNothingBehind(t *testing.T) {
	t.Parallel()
	opts := &embedded.Options{Dir: dataDir(t), Logger: quiet()}
	for i := range 20 { // the broker takes some milliseconds to start: end before, during and after
		ctx, cancel := context.WithTimeout(t.Context(), time.Duration(i)*500*time.Microsecond)
		s, err := embedded.Join(ctx, opts)
		cancel()
		if err == nil {
			require.NoError(t, s.Close())
		} else {
			require.ErrorIs(t, err, context.DeadlineExceeded)
		}
		b, err := embedded.Start(t.Context(), opts)
		require.NoError(t, err, "the directory is free")
		require.NoError(t, b.Close())
	}
}

func TestWatchTellsOfEachTakeoverUntilClosed(t *testing.T) {
	t.Parallel()
	dir := dataDir(t)
	first, second := join(t, dir), join(t, dir)
	seen := make(chan []embedded.State, 1)
	started := make(chan struct{})
	go func() {
		var states []embedded.State
		for st := range second.Watch(t.Context()) {
			if len(states) == 0 {
				close(started)
			}
			states = append(states, st.State)
		}
		seen <- states
	}()
	<-started
	require.NoError(t, first.Close())
	awaitStatus(t, second, isState(embedded.StateOwner))
	require.NoError(t, second.Close())
	states := <-seen
	require.Equal(t, embedded.StateMember, states[0])
	require.Equal(t, embedded.StateClosed, states[len(states)-1])
}

func TestUserOptionsOfConnectComeLast(t *testing.T) {
	t.Parallel()
	s := join(t, dataDir(t))
	nc, _ := connectShared(t, s, nats.Name("mine"), nats.PingInterval(time.Hour))
	require.Equal(t, "mine", nc.Opts.Name)
	require.Equal(t, time.Hour, nc.Opts.PingInterval)
	require.Equal(t, -1, nc.Opts.MaxReconnect)
}

// replaceOnce replaces what must be there.
func replaceOnce(t *testing.T, b []byte, before, after string) []byte {
	t.Helper()
	require.Equal(t, 1, bytes.Count(b, []byte(before)))
	return bytes.Replace(b, []byte(before), []byte(after), 1)
}
