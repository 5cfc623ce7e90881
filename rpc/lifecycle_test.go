package rpc_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/hocket-go/hocket/embedded"
	"github.com/hocket-go/hocket/embedded/embeddedtest"
	"github.com/hocket-go/hocket/rpc"
)

// Both ways of stopping answer everything that the broker had routed here: no caller waits for its deadline.
func TestStoppingUnderLoadLeavesNoCallWithoutAnAnswer(t *testing.T) {
	t.Parallel()
	for name, stop := range map[string]func(*rpc.Server) error{
		"drain": func(s *rpc.Server) error { return s.Drain(context.Background()) },
		"close": (*rpc.Server).Close,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for range 5 {
				b := setup(t, rpc.ServerOptions{}, nil)
				var wg sync.WaitGroup
				var busy sync.WaitGroup
				for range 16 {
					busy.Add(1)
					wg.Go(func() {
						for i := range 100_000 {
							_, err := echo.Call(t.Context(), b.client, ping{}, rpc.Timeout(20*time.Second))
							if i == 20 || err != nil && i < 20 {
								busy.Done()
							}
							if err != nil {
								assert.Equal(t, rpc.Unavailable, rpc.CodeOf(err), "%v", err)
								assert.NotErrorIs(t, err, rpc.ErrUnknown)
								return
							}
						}
					})
				}
				busy.Wait()
				require.NoError(t, stop(b.server))
				wg.Wait()
			}
		})
	}
}

// While it drains, a service still hears that a caller has given up.
func TestCancellationReachesAHandlerWhileTheServerDrains(t *testing.T) {
	t.Parallel()
	blocked := newBlocking()
	b := setup(t, rpc.ServerOptions{}, blocked.register)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		_, err := block.Call(ctx, b.client, ping{})
		done <- err
	}()
	within(t, blocked.begun)
	drained := make(chan error, 1)
	go func() { drained <- b.server.Drain(t.Context()) }()
	require.Eventually(t, func() bool {
		_, err := echo.Call(t.Context(), b.client, ping{})
		return rpc.CodeOf(err) == rpc.Unavailable
	}, 10*time.Second, time.Millisecond, "the intake has stopped")
	cancel()
	require.ErrorIs(t, within(t, done), rpc.ErrUnknown)
	require.ErrorIs(t, within(t, blocked.ended), rpc.ErrCallerGone)
	require.NoError(t, within(t, drained))
}

// mute is a way to a broker that stops answering without breaking, as behind a firewall that forgot the connection.
type mute struct {
	broker *embeddedtest.Broker
	ours   chan net.Conn
}

func (m *mute) InProcessConn() (net.Conn, error) {
	theirs, err := m.broker.InProcessConn()
	if err != nil {
		return nil, err
	}
	conn := &mutable{Conn: theirs, open: make(chan struct{})}
	close(conn.open)
	m.ours <- conn
	return conn, nil
}

type mutable struct {
	net.Conn

	mu   sync.Mutex
	open chan struct{} // closed unless mute
}

func (m *mutable) mute() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.open = make(chan struct{})
}

// unmute lets through what was held back.
func (m *mutable) unmute() {
	m.mu.Lock()
	defer m.mu.Unlock()
	close(m.open)
}

func (m *mutable) Read(p []byte) (int, error) {
	n, err := m.Conn.Read(p)
	m.mu.Lock()
	open := m.open
	m.mu.Unlock()
	<-open
	return n, err
}

func connectMutable(t *testing.T) (*nats.Conn, *mutable) {
	t.Helper()
	way := &mute{broker: embeddedtest.New(t), ours: make(chan net.Conn, 1)}
	nc, err := nats.Connect("", nats.InProcessServer(way), nats.NoReconnect())
	require.NoError(t, err)
	t.Cleanup(nc.Close)
	conn, _ := (<-way.ours).(*mutable)
	return nc, conn
}

func TestStoppingDoesNotWaitForABrokerThatDoesNotAnswer(t *testing.T) {
	t.Parallel()
	for name, stop := range map[string]func(*rpc.Server) error{
		"close": (*rpc.Server).Close,
		"drain": func(s *rpc.Server) error {
			ctx, cancel := context.WithTimeout(context.Background(), 20*time.Millisecond)
			defer cancel()
			if err := s.Drain(ctx); !errors.Is(err, context.DeadlineExceeded) {
				return fmt.Errorf("drain: %w", err)
			}
			return s.Close()
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for _, during := range []string{"start", "run"} {
				nc, conn := connectMutable(t)
				s, err := rpc.NewServer(nc, "echo", nil)
				require.NoError(t, err)
				echo.Handle(s, func(_ context.Context, in ping) (ping, error) { return in, nil })
				started := make(chan error, 1)
				if during == "run" {
					require.NoError(t, s.Start(t.Context()))
				}
				conn.mute()
				if during == "start" {
					go func() { started <- s.Start(t.Context()) }()
					require.Eventually(t, func() bool { return nc.NumSubscriptions() >= 4 }, 10*time.Second, time.Millisecond)
				}
				began := time.Now()
				require.NoError(t, stop(s))
				assert.Less(t, time.Since(began), 4*time.Second)
				if during == "start" {
					require.ErrorIs(t, within(t, started), rpc.ErrClosed)
				}
				conn.unmute()
				require.NoError(t, nc.Flush())
				assert.Zero(t, nc.NumSubscriptions())
			}
		})
	}
}

func TestStartDrainAndCloseInAnyOrderAtOnce(t *testing.T) {
	t.Parallel()
	broker := embeddedtest.New(t)
	nc := broker.Connect(t)
	for i := range 30 {
		s, err := rpc.NewServer(nc, "echo", nil)
		require.NoError(t, err)
		echo.Handle(s, func(_ context.Context, in ping) (ping, error) { return in, nil })
		if i%2 == 0 {
			require.NoError(t, s.Start(t.Context()))
		}
		var wg sync.WaitGroup
		for range 2 {
			wg.Go(func() {
				if err := s.Start(t.Context()); err != nil && !errors.Is(err, rpc.ErrClosed) {
					assert.ErrorContains(t, err, "started already")
				}
			})
			wg.Go(func() { assert.NoError(t, s.Drain(t.Context())) })
			wg.Go(func() { assert.NoError(t, s.Close()) })
		}
		wg.Wait()
		require.ErrorIs(t, s.Start(t.Context()), rpc.ErrClosed)
		require.Zero(t, nc.NumSubscriptions())
	}
}

func TestNewWithoutAConnectionIsAnError(t *testing.T) {
	t.Parallel()
	_, err := rpc.NewServer(nil, "echo", nil)
	require.ErrorIs(t, err, nats.ErrInvalidConnection)
	_, err = rpc.NewClient(nil, "echo", nil)
	require.ErrorIs(t, err, nats.ErrInvalidConnection)
}

// changing is a broker with one user, "limited", whose permissions can change with a restart.
type changing struct {
	*embeddedtest.Broker

	mu          sync.Mutex
	permissions server.Permissions
}

func newChanging(t *testing.T, publish, subscribe []string) *changing {
	t.Helper()
	c := &changing{}
	c.allow(publish, subscribe)
	c.Broker = embeddedtest.New(t, func(o *embedded.Options) {
		o.Configure = func(so *server.Options) {
			c.mu.Lock()
			defer c.mu.Unlock()
			permissions := c.permissions
			so.Users = []*server.User{{Username: "limited", Password: "p", Permissions: &permissions}}
		}
	})
	return c
}

func (c *changing) allow(publish, subscribe []string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.permissions = server.Permissions{
		Publish:   &server.SubjectPermission{Allow: publish},
		Subscribe: &server.SubjectPermission{Allow: subscribe},
	}
}

func TestAClientRecoversWhenItsReplyGrantDoes(t *testing.T) {
	t.Parallel()
	broker := newChanging(t, []string{">"}, []string{"rpc.>", "cancel.>"})
	nc := broker.Connect(t, nats.UserInfo("limited", "p"))
	var mu sync.Mutex
	var client *rpc.Client
	nc.SetErrorHandler(func(_ *nats.Conn, sub *nats.Subscription, err error) {
		mu.Lock()
		defer mu.Unlock()
		client.HandleError(sub, err)
	})
	s, err := rpc.NewServer(nc, "echo", nil)
	require.NoError(t, err)
	echo.Handle(s, func(_ context.Context, in ping) (ping, error) { return in, nil })
	require.NoError(t, s.Start(t.Context()))
	t.Cleanup(func() { require.NoError(t, s.Close()) })
	mu.Lock()
	client = newClient(t, nc, "tester", nil)
	mu.Unlock()
	_, err = echo.Call(t.Context(), client, ping{})
	require.Equal(t, rpc.PermissionDenied, rpc.CodeOf(err), "%v", err)

	broker.allow([]string{">"}, []string{">"})
	broker.Restart()
	require.EventuallyWithT(t, func(c *assert.CollectT) {
		_, err := echo.Call(t.Context(), client, ping{}, rpc.Timeout(time.Second))
		assert.NoError(c, err)
	}, 10*time.Second, 5*time.Millisecond)

	broker.allow([]string{">"}, []string{"rpc.>", "cancel.>"})
	broker.Restart()
	require.EventuallyWithT(t, func(c *assert.CollectT) {
		_, err := echo.Call(t.Context(), client, ping{}, rpc.Timeout(time.Second))
		assert.Equal(c, rpc.PermissionDenied, rpc.CodeOf(err))
		assert.NotErrorIs(c, err, rpc.ErrUnknown)
	}, 10*time.Second, 5*time.Millisecond)
	require.NoError(t, client.Close(), "for good, this time")
	broker.allow([]string{">"}, []string{">"})
	broker.Restart()
	require.Eventually(t, nc.IsConnected, 10*time.Second, time.Millisecond)
	_, err = echo.Call(t.Context(), client, ping{})
	require.ErrorIs(t, err, rpc.ErrClosed, "closed stays closed")
}

// A grant that is taken away while a service runs shows when the connection comes back: it must not go unnoticed.
func TestASubscriptionRefusedLaterIsReported(t *testing.T) {
	t.Parallel()
	broker := newChanging(t, []string{">"}, []string{">"})
	nc := broker.Connect(t, nats.UserInfo("limited", "p"))
	b := &bundle{nc: nc, log: &logBuffer{}}
	b.serve(t, rpc.ServerOptions{}, nil)
	handled := make(chan bool, 100)
	nc.SetErrorHandler(func(_ *nats.Conn, sub *nats.Subscription, err error) {
		if errors.Is(err, nats.ErrPermissionViolation) {
			handled <- b.server.HandleError(sub, err)
		}
	})
	broker.allow([]string{">"}, []string{"rpc.>"})
	broker.Restart()
	assert.True(t, within(t, handled))
	assert.Contains(t, b.log.String(), "cancel.echo.*.*.*")
	assert.False(t, b.server.HandleError(nil, nats.ErrPermissionViolation))
	assert.False(t, b.server.HandleError(nil, nats.ErrSlowConsumer))
	publish := fmt.Errorf(`%w: Permissions Violation for Publish to "rpc.echo.Echo"`, nats.ErrPermissionViolation)
	assert.False(t, b.server.HandleError(nil, publish), "that is some caller's")
	other, err := nc.SubscribeSync("rpc.other.Do.*")
	require.NoError(t, err)
	assert.False(t, b.server.HandleError(other, nats.ErrSlowConsumer))
}

// A handler that ends its goroutine must not take with it the reader that is to empty the queue.
func TestDrainAnswersEverybodyThoughAHandlerExits(t *testing.T) {
	t.Parallel()
	const calls = 5
	begun, release := make(chan struct{}, calls), make(chan struct{})
	exit := rpc.NewMethod[ping, ping]("echo.Exit")
	b := setup(t, rpc.ServerOptions{MaxInFlight: 1}, func(s *rpc.Server) {
		exit.Handle(s, func(context.Context, ping) (ping, error) {
			begun <- struct{}{}
			<-release
			runtime.Goexit()
			return ping{}, nil
		})
	})
	results := make(chan error, calls)
	for range calls {
		go func() {
			_, err := exit.Call(t.Context(), b.client, ping{})
			results <- err
		}()
	}
	within(t, begun)
	require.Eventually(t, func() bool { return b.server.Stats().Queued == calls-1 }, 10*time.Second, time.Millisecond)
	drained := make(chan error, 1)
	go func() { drained <- b.server.Drain(t.Context()) }()
	require.Eventually(t, func() bool {
		_, err := echo.Call(t.Context(), b.client, ping{}, rpc.Timeout(20*time.Millisecond))
		return rpc.CodeOf(err) == rpc.Unavailable
	}, 10*time.Second, time.Millisecond, "the intake has stopped")
	close(release)
	for range calls {
		require.Equal(t, rpc.Internal, rpc.CodeOf(within(t, results)))
	}
	require.NoError(t, within(t, drained))
}

func TestDrainWaitsForNothingFromABrokerThatIsGone(t *testing.T) {
	t.Parallel()
	b := setup(t, rpc.ServerOptions{}, nil)
	b.broker.Stop()
	require.Eventually(t, b.nc.IsReconnecting, 10*time.Second, time.Millisecond)
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	require.ErrorIs(t, b.server.Drain(ctx), context.DeadlineExceeded, "the last replies are not known to be sent")
	// nats.go itself would wait ten seconds.
	require.Eventually(t, func() bool { return b.nc.NumSubscriptions() == 0 }, 5*time.Second, time.Millisecond)
}
