package events_test

import (
	"context"
	"log/slog"
	"strconv"
	"testing"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"

	"github.com/hocket-go/hocket/events"
	"github.com/hocket-go/hocket/internal/identity"
)

func TestSignalsReachWhoListensAndAreNotStored(t *testing.T) {
	t.Parallel()
	r := setup(t)
	b := r.bus("orders", &events.Options{Namespace: "staging", Streams: []events.Stream{{Name: "x", Types: []string{"other"}}}})
	one, two := newRecorder(), newRecorder()
	caller := make(chan string, 10)
	_, err := placed.Listen(t.Context(), b, func(ctx context.Context, e events.Event[order]) error {
		name, _ := identity.Caller(ctx)
		caller <- name
		return one.handle(ctx, e)
	})
	require.NoError(t, err)
	_, err = placed.Listen(t.Context(), b, two.handle)
	require.NoError(t, err)
	require.NoError(t, placed.Signal(t.Context(), b, order{ID: "o-1"}, events.ID("s-1"), events.Extension("ext", "x")))
	for _, rec := range []*recorder{one, two} {
		e := receive(t, rec.all)
		require.Equal(t, "s-1", e.ID)
		require.Equal(t, "orders", e.Source)
		require.Equal(t, "o-1", e.Data.ID)
		require.Equal(t, 1, e.Attempt)
		require.Zero(t, e.Sequence)
		require.Empty(t, e.Stream)
	}
	require.Equal(t, "orders", receive(t, caller))
	_, err = r.js.Stream(t.Context(), "staging-events")
	require.ErrorIs(t, err, jetstream.ErrStreamNotFound)
	_, err = r.js.Stream(t.Context(), "staging-x")
	require.ErrorIs(t, err, jetstream.ErrStreamNotFound)
}

func TestAGroupSharesSignals(t *testing.T) {
	t.Parallel()
	r := setup(t)
	b := r.bus("orders", nil)
	got := newRecorder()
	for range 3 {
		_, err := placed.Listen(t.Context(), b, got.handle, events.Group("billing"))
		require.NoError(t, err)
	}
	for i := range 50 {
		require.NoError(t, placed.Signal(t.Context(), b, order{ID: strconv.Itoa(i)}))
	}
	for range 50 {
		receive(t, got.all)
	}
	for _, n := range got.counts() {
		require.Equal(t, 1, n)
	}
}

func TestWhatASlowListenerLosesIsCounted(t *testing.T) {
	t.Parallel()
	r := setup(t)
	var log lockedBuffer
	complaints := make(chan func(*events.Bus) bool, 100)
	b := busOn(t, r.broker.Connect(t, nats.ErrorHandler(func(_ *nats.Conn, sub *nats.Subscription, err error) {
		complaints <- func(b *events.Bus) bool { return b.HandleError(sub, err) }
	})), "orders", &events.Options{Logger: slog.New(slog.NewTextHandler(&log, nil))})
	release := make(chan struct{})
	listener, err := placed.Listen(t.Context(), b, func(context.Context, events.Event[order]) error {
		<-release
		return nil
	}, events.Buffer(5))
	require.NoError(t, err)
	for i := range 50 {
		require.NoError(t, placed.Signal(t.Context(), b, order{ID: strconv.Itoa(i)}))
	}
	eventually(t, func() bool { return listener.Dropped() >= 40 })
	require.True(t, receive(t, complaints)(b))
	require.Contains(t, log.String(), "signals are lost")
	close(release)
	require.NoError(t, listener.Drain(t.Context()))
	require.NoError(t, listener.Drain(t.Context()))
	require.NoError(t, listener.Close())
	require.NoError(t, listener.Err())
}

func TestBadSignalsAndHandlersDoNotEndAListener(t *testing.T) {
	t.Parallel()
	r := setup(t)
	b := r.bus("orders", nil)
	got := newRecorder()
	listener, err := placed.Listen(t.Context(), b, func(ctx context.Context, e events.Event[order]) error {
		if e.Data.ID == "panic" {
			panic("boom")
		}
		if e.Data.ID == "error" {
			return errHandler
		}
		return got.handle(ctx, e)
	})
	require.NoError(t, err)
	for _, msg := range []*nats.Msg{
		{Subject: "signal.orders.shop.order.placed", Data: []byte("x")},
		foreign("signal.intruder.shop.order.placed", "{}"),
		foreign("signal.orders.shop.order.placed", "{"),
	} {
		require.NoError(t, r.nc.PublishMsg(msg))
	}
	require.NoError(t, r.nc.Flush())
	for _, id := range []string{"panic", "error", "good"} {
		require.NoError(t, placed.Signal(t.Context(), b, order{ID: id}))
	}
	require.Equal(t, "good", receive(t, got.all).Data.ID)
	require.EqualValues(t, 3, listener.Undecodable())
}

func TestInvalidSignalsAreRefused(t *testing.T) {
	t.Parallel()
	r := setup(t)
	b := r.bus("orders", nil)
	require.ErrorIs(t, placed.Signal(t.Context(), b, order{}, events.ID("")), events.ErrInvalid)
	require.ErrorIs(t, placed.Signal(t.Context(), nil, order{}), events.ErrInvalid)
	_, err := placed.Listen(t.Context(), b, nil)
	require.ErrorIs(t, err, events.ErrInvalid)
	_, err = placed.Listen(t.Context(), b, newRecorder().handle, events.Buffer(0))
	require.ErrorIs(t, err, events.ErrInvalid)
	_, err = placed.Listen(t.Context(), b, newRecorder().handle, events.Group("a b"))
	require.ErrorIs(t, err, events.ErrInvalid)
}
