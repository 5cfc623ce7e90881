package hocket_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/hocket-go/hocket"
	"github.com/hocket-go/hocket/embedded"
	"github.com/hocket-go/hocket/events"
	"github.com/hocket-go/hocket/hockettest"
	"github.com/hocket-go/hocket/rpc"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

type (
	order  struct{ ID string }
	placed struct{ ID string }
)

var (
	create = rpc.NewMethod[order, order]("orders.Create")
	slow   = rpc.NewMethod[order, order]("orders.Slow")
	event  = events.NewType[placed]("shop.order.placed")
)

func serve(svc *hocket.Service) {
	create.Handle(svc, func(ctx context.Context, in order) (order, error) {
		_, err := event.Publish(ctx, svc, placed(in), events.ID(in.ID))
		return in, err
	})
}

// logs is a logger that can be read.
type logs struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *logs) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

func (l *logs) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}

func (l *logs) logger() *slog.Logger { return slog.New(slog.NewTextHandler(l, nil)) }

func open(t *testing.T, name string, opts *hocket.Options) *hocket.Service {
	t.Helper()
	svc, err := hocket.Open(t.Context(), name, opts)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, svc.Close()) })
	return svc
}

func quiet() *slog.Logger { return slog.New(slog.DiscardHandler) }

func within[T any](t *testing.T, ch <-chan T) T {
	t.Helper()
	select {
	case v := <-ch:
		return v
	case <-time.After(10 * time.Second):
		require.FailNow(t, "nothing came in ten seconds")
		panic("unreachable")
	}
}

func TestATestThatNamesNoBrokerIsToldAboutHockettest(t *testing.T) {
	for _, name := range []string{"NATS_URL", "NATS_CONTEXT", "HOCKET_DATA"} {
		t.Setenv(name, "")
	}
	_, err := hocket.Open(t.Context(), "orders", nil)
	require.ErrorIs(t, err, hocket.ErrTest)
	assert.ErrorContains(t, err, "hockettest.New")
}

func TestOptionsThatCannotWorkAreRefusedBeforeAnythingStarts(t *testing.T) {
	t.Parallel()
	for want, c := range map[string]struct {
		name string
		opts hocket.Options
	}{
		`service "Orders" must match ^[a-z0-9][a-z0-9-]{0,62}$`:        {"Orders", hocket.Options{}},
		`service "" must match`:                                        {"", hocket.Options{}},
		`service "*" must match`:                                       {"*", hocket.Options{}},
		`namespace "a.b" must match`:                                   {"orders", hocket.Options{Namespace: "a.b"}},
		`namespace "rpc" is reserved`:                                  {"orders", hocket.Options{Namespace: "rpc"}},
		`at most one of URL, Context, Broker and Embedded can name`:    {"orders", hocket.Options{URL: "x", Context: "y"}},
		`a timeout is negative`:                                        {"orders", hocket.Options{DrainTimeout: -1}},
		`instance "` + string(bytes.Repeat([]byte("x"), 80)) + `…" is`: {"orders", hocket.Options{Instance: string(bytes.Repeat([]byte("x"), 200))}},
	} {
		_, err := hocket.Open(t.Context(), c.name, &c.opts)
		require.ErrorIs(t, err, hocket.ErrOptions, want)
		assert.ErrorContains(t, err, want)
	}
}

// Two programs of one module share a broker, and when the one that runs it ends, the other has everything that was stored.
func TestServicesOfOneDirectoryShareABrokerThatOutlivesItsOwner(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "data")
	opts := func() *hocket.Options {
		return &hocket.Options{Embedded: &embedded.Options{Dir: dir}, Logger: quiet()}
	}
	first := open(t, "orders", opts())
	serve(first)
	require.NoError(t, first.Start(t.Context()))
	second := open(t, "orders", opts())
	serve(second)
	require.NoError(t, second.Start(t.Context()))
	caller := open(t, "caller", opts())
	assert.Equal(t, hocket.Synced, first.Durability())
	assert.Equal(t, hocket.Synced, caller.Durability())
	_, err := create.Call(t.Context(), caller, order{"o-1"})
	require.NoError(t, err)

	require.NoError(t, first.Drain(t.Context()))
	require.EventuallyWithT(t, func(c *assert.CollectT) {
		_, err := create.Call(t.Context(), caller, order{"o-2"}, rpc.Timeout(time.Second))
		assert.NoError(c, err)
	}, 20*time.Second, 10*time.Millisecond)
	heard := make(chan string, 10)
	_, err = event.Subscribe(t.Context(), caller, "caller", func(_ context.Context, e events.Event[placed]) error {
		heard <- e.Data.ID
		return nil
	})
	require.NoError(t, err)
	assert.ElementsMatch(t, []string{"o-1", "o-2"}, []string{within(t, heard), within(t, heard)})
}

func TestRunDrainsWhatWasAcceptedAndRunsTheHooksInOrder(t *testing.T) {
	t.Parallel()
	broker := hockettest.NewBroker(t)
	svc := open(t, "orders", &hocket.Options{Broker: connector{broker, t}, Logger: quiet(), Signals: []os.Signal{}})
	begun, release := make(chan struct{}), make(chan struct{})
	slow.Handle(svc, func(_ context.Context, in order) (order, error) {
		close(begun)
		<-release
		return in, nil
	})
	var hooks []string
	hook := func(what string) hocket.Hook {
		return func(context.Context) error {
			hooks = append(hooks, what)
			return nil
		}
	}
	for _, n := range []string{"1", "2"} {
		svc.BeforeStart(hook("before start " + n))
		svc.AfterStart(hook("after start " + n))
		svc.BeforeStop(hook("before stop " + n))
		svc.AfterStop(hook("after stop " + n))
	}
	stopping := make(chan struct{})
	svc.BeforeStop(func(context.Context) error { close(stopping); return nil })
	caller := hockettest.Open(t, broker, "caller", nil)
	require.ErrorContains(t, svc.Ready(), "has not started")

	ctx, cancel := context.WithCancel(t.Context())
	ran := make(chan error, 1)
	go func() { ran <- svc.Run(ctx) }()
	called := make(chan error, 1)
	go func() {
		for {
			_, err := slow.Call(t.Context(), caller, order{"o-1"})
			if rpc.CodeOf(err) != rpc.Unavailable { // it may not run yet
				called <- err
				return
			}
		}
	}()
	within(t, begun)
	require.NoError(t, svc.Ready())
	cancel()
	within(t, stopping)
	require.ErrorIs(t, svc.Ready(), hocket.ErrClosed)
	close(release)
	require.NoError(t, within(t, called), "the call was accepted")
	require.NoError(t, within(t, ran), "nil is a clean end")
	assert.Equal(t, []string{
		"before start 1", "before start 2", "after start 1", "after start 2",
		"before stop 2", "before stop 1", "after stop 2", "after stop 1",
	}, hooks)
	require.ErrorIs(t, svc.Start(t.Context()), hocket.ErrClosed)
	require.ErrorIs(t, svc.Run(t.Context()), hocket.ErrClosed)
}

// connector gives a test's broker to hocket.Open.
type connector struct {
	broker *hockettest.Broker
	tb     testing.TB
}

func (c connector) Connect(opts ...nats.Option) (*nats.Conn, error) {
	return c.broker.Connect(c.tb, opts...), nil
}

func TestRunEndsWithWhatFailedToStart(t *testing.T) {
	t.Parallel()
	errNo := errors.New("no")
	for name, add := range map[string]func(*hocket.Service, hocket.Hook){
		"before start": (*hocket.Service).BeforeStart,
		"after start":  (*hocket.Service).AfterStart,
		"before stop":  (*hocket.Service).BeforeStop,
		"after stop":   (*hocket.Service).AfterStop,
	} {
		svc, err := hocket.Open(t.Context(), "orders", &hocket.Options{
			Broker: connector{hockettest.NewBroker(t), t}, Logger: quiet(), Signals: []os.Signal{},
		})
		require.NoError(t, err)
		add(svc, func(context.Context) error { return errNo })
		ctx, cancel := context.WithCancel(t.Context())
		svc.AfterStart(func(context.Context) error { cancel(); return nil })
		err = svc.Run(ctx)
		require.ErrorIs(t, err, errNo, name)
		require.ErrorContains(t, err, name+" of orders")
		require.True(t, svc.Conn().IsClosed())
		if strings.Contains(name, "stop") {
			require.ErrorIs(t, svc.Close(), errNo, "the first end decides")
		}
		cancel()
	}
}

func TestADirectoryThatCannotBeUsedNamesTheWayOut(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	require.NoError(t, os.WriteFile(file, nil, 0o600))
	for _, name := range []string{"NATS_URL", "NATS_CONTEXT"} {
		t.Setenv(name, "")
	}
	for dir, want := range map[string]error{filepath.Join(file, "below"): embedded.ErrUnwritable, "relative": embedded.ErrNoDir} {
		t.Setenv("HOCKET_DATA", dir)
		_, err := hocket.Open(t.Context(), "orders", &hocket.Options{Logger: quiet()})
		require.ErrorIs(t, err, want, dir)
		require.ErrorContains(t, err, "HOCKET_DATA")
		require.ErrorContains(t, err, dir)
	}
}

func TestTheServicesNamesAreThoseOfItsParts(t *testing.T) {
	t.Parallel()
	svc := hockettest.New(t, "orders", serve, func(o *hocket.Options) {
		o.Namespace, o.Instance, o.Version, o.Metadata = "staging", "i1", "1.2.3", map[string]string{"zone": "eu"}
	})
	_, err := svc.Conn().Request("rpc.orders.Create", []byte(`{"ID":"o-1"}`), time.Second)
	require.ErrorIs(t, err, nats.ErrNoResponders)
	msg, err := svc.Conn().Request("staging.rpc.orders.Create", []byte(`{"ID":"o-1"}`), 5*time.Second)
	require.NoError(t, err)
	assert.JSONEq(t, `{"ID":"o-1"}`, string(msg.Data))
	_, err = create.Call(t.Context(), svc, order{"o-2"}, rpc.ToInstance("i1"))
	require.NoError(t, err)
	info, err := svc.Conn().Request("$JS.API.STREAM.INFO.staging-events", nil, 5*time.Second)
	require.NoError(t, err)
	assert.Contains(t, string(info.Data), `"messages":2`)
	assert.Equal(t, "orders", svc.Name())
	assert.Equal(t, "i1", svc.Instance())
	assert.Equal(t, "1.2.3", svc.Version())
	assert.Equal(t, map[string]string{"zone": "eu"}, svc.Metadata())
}
