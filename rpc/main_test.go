package rpc_test

import (
	"bytes"
	"context"
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/hocket-go/hocket/embedded/embeddedtest"
	"github.com/hocket-go/hocket/rpc"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

type ping struct {
	Text  string `json:"text"`
	Count int    `json:"count,omitempty"`
}

var (
	echo  = rpc.NewMethod[ping, ping]("echo.Echo")
	block = rpc.NewMethod[ping, ping]("echo.Block")
)

// bundle is a service and a caller on a broker of their own.
type bundle struct {
	broker *embeddedtest.Broker
	nc     *nats.Conn // the server's
	server *rpc.Server
	caller *nats.Conn
	client *rpc.Client
	log    *logBuffer // the server's
}

// setup serves what register registers, besides echo.
func setup(tb testing.TB, opts rpc.ServerOptions, register func(*rpc.Server)) *bundle {
	tb.Helper()
	b := &bundle{broker: embeddedtest.New(tb), log: &logBuffer{}}
	b.nc, b.caller = b.broker.Connect(tb), b.broker.Connect(tb)
	b.serve(tb, opts, register)
	b.client = newClient(tb, b.caller, "tester", nil)
	return b
}

// serve serves on b.nc, until the test ends.
func (b *bundle) serve(tb testing.TB, opts rpc.ServerOptions, register func(*rpc.Server)) {
	tb.Helper()
	opts.Logger = slog.New(slog.NewTextHandler(b.log, nil))
	var err error
	b.server, err = rpc.NewServer(b.nc, "echo", &opts)
	require.NoError(tb, err)
	echo.Handle(b.server, func(_ context.Context, in ping) (ping, error) { return in, nil })
	if register != nil {
		register(b.server)
	}
	require.NoError(tb, b.server.Start(tb.Context()))
	tb.Cleanup(func() { require.NoError(tb, b.server.Close()) })
}

func newClient(tb testing.TB, nc *nats.Conn, name string, opts *rpc.ClientOptions) *rpc.Client {
	tb.Helper()
	client, err := rpc.NewClient(nc, name, opts)
	require.NoError(tb, err)
	tb.Cleanup(func() { require.NoError(tb, client.Close()) })
	return client
}

// blocking registers block: each call says that it has begun and waits for release or the end of its context, which it
// then reports.
type blocking struct {
	begun, release chan struct{}
	ended          chan error
}

func newBlocking() *blocking {
	return &blocking{begun: make(chan struct{}, 10_000), release: make(chan struct{}), ended: make(chan error, 10_000)}
}

func (b *blocking) register(s *rpc.Server) {
	block.Handle(s, func(ctx context.Context, in ping) (ping, error) {
		b.begun <- struct{}{}
		select {
		case <-b.release:
			return in, nil
		case <-ctx.Done():
			b.ended <- context.Cause(ctx)
			return ping{}, ctx.Err()
		}
	})
}

// within receives from a channel, for at most ten seconds.
func within[T any](tb testing.TB, ch <-chan T) T {
	tb.Helper()
	select {
	case v := <-ch:
		return v
	case <-time.After(10 * time.Second):
		require.FailNow(tb, "nothing came in ten seconds")
		panic("unreachable")
	}
}

type logBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *logBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

func (l *logBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}
