package events_test

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/hocket-go/hocket/embedded"
	"github.com/hocket-go/hocket/embedded/embeddedtest"
	"github.com/hocket-go/hocket/events"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

type order struct {
	ID    string `json:"id"`
	Total int    `json:"total,omitempty"`
}

var placed = events.NewType[order]("shop.order.placed")

// unsynced is for tests in which no broker crashes: syncing each write only makes them slow.
func unsynced(o *embedded.Options) { o.SyncInterval = time.Minute }

// rig is a broker with a connection and a way to make buses.
type rig struct {
	tb     testing.TB
	broker *embeddedtest.Broker
	nc     *nats.Conn
	js     jetstream.JetStream
}

func setup(tb testing.TB, modify ...func(*embedded.Options)) *rig {
	tb.Helper()
	if len(modify) == 0 {
		modify = append(modify, unsynced)
	}
	r := &rig{tb: tb, broker: setupBroker(tb, modify...)}
	r.nc = r.broker.Connect(tb)
	r.open()
	return r
}

func setupBroker(tb testing.TB, modify ...func(*embedded.Options)) *embeddedtest.Broker {
	tb.Helper()
	return embeddedtest.New(tb, modify...)
}

func (r *rig) open() {
	r.tb.Helper()
	var err error
	r.js, err = jetstream.New(r.nc)
	require.NoError(r.tb, err)
}

// bus returns a bus on a connection of its own, closed before the connection is.
func (r *rig) bus(source string, opts *events.Options) *events.Bus {
	r.tb.Helper()
	return busOn(r.tb, r.broker.Connect(r.tb), source, opts)
}

func busOn(tb testing.TB, nc *nats.Conn, source string, opts *events.Options) *events.Bus {
	tb.Helper()
	var o events.Options
	if opts != nil {
		o = *opts
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	b, err := events.New(nc, source, &o)
	require.NoError(tb, err)
	tb.Cleanup(func() { require.NoError(tb, b.Close()) })
	return b
}

func (r *rig) publish(b *events.Bus, id string, opts ...events.PublishOption) events.Receipt {
	r.tb.Helper()
	receipt, err := placed.Publish(r.tb.Context(), b, order{ID: id}, opts...)
	require.NoError(r.tb, err)
	return receipt
}

func (r *rig) stored() uint64 {
	r.tb.Helper()
	s, err := r.js.Stream(r.tb.Context(), "events")
	require.NoError(r.tb, err)
	return s.CachedInfo().State.Msgs
}

// recorder collects what handlers get.
type recorder struct {
	mu   sync.Mutex
	seen map[string]int
	all  chan events.Event[order]
}

func newRecorder() *recorder {
	return &recorder{seen: make(map[string]int), all: make(chan events.Event[order], 100_000)}
}

func (r *recorder) handle(_ context.Context, e events.Event[order]) error {
	r.mu.Lock()
	r.seen[e.Data.ID]++
	r.mu.Unlock()
	r.all <- e
	return nil
}

func (r *recorder) counts() map[string]int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return maps.Clone(r.seen)
}

const patience = 20 * time.Second

func receive[T any](tb testing.TB, ch <-chan T) T {
	tb.Helper()
	select {
	case v := <-ch:
		return v
	case <-time.After(patience):
		require.FailNow(tb, "nothing came")
		panic("unreachable")
	}
}

func eventually(tb testing.TB, condition func() bool) {
	tb.Helper()
	require.Eventually(tb, condition, patience, 5*time.Millisecond)
}

var errHandler = errors.New("the handler is not ready")
