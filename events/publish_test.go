package events_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/cloudevents/sdk-go/v2/event"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/hocket-go/hocket/embedded"
	"github.com/hocket-go/hocket/events"
	"github.com/hocket-go/hocket/internal/outcome"
)

func TestPublishReturnsOnceStored(t *testing.T) {
	t.Parallel()
	r := setup(t, func(*embedded.Options) {})
	b := r.bus("orders", nil)
	for i := range uint64(3) {
		receipt := r.publish(b, "o-1")
		require.Equal(t, i+1, receipt.Sequence)
		require.Equal(t, "events", receipt.Stream)
		require.False(t, receipt.Duplicate)
		require.Regexp(t, `^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$`, receipt.ID)
	}
	r.broker.Kill()
	r.broker.Start()
	require.EqualValues(t, 3, r.stored())
}

// The message of format version 1, byte for byte. It must stay readable for ever.
func TestFormatVersion1IsWritten(t *testing.T) {
	t.Parallel()
	r := setup(t)
	b := r.bus("orders", nil)
	keyed := events.NewType[order]("shop.order.placed", events.Version(2)).KeyedBy(func(o order) string { return o.ID })
	_, err := keyed.Publish(t.Context(), b, order{ID: "o-1", Total: 5}, events.ID("e 1"), events.Subject("ä"),
		events.Time(time.Date(2025, 8, 28, 12, 30, 15, 5, time.UTC)), events.Extension("traceparent", "00-1"))
	require.NoError(t, err)
	s, err := r.js.Stream(t.Context(), "events")
	require.NoError(t, err)
	msg, err := s.GetMsg(t.Context(), 1)
	require.NoError(t, err)
	require.Equal(t, "events.orders.40.shop.order.placed", msg.Subject)
	require.JSONEq(t, `{"id":"o-1","total":5}`, string(msg.Data))
	for _, added := range []string{"Nats-Stream", "Nats-Subject", "Nats-Sequence", "Nats-Time-Stamp"} {
		delete(msg.Header, added) // by the way of reading
	}
	require.Equal(t, nats.Header{
		"Nats-Msg-Id": {"orders/e%201"}, "ce-specversion": {"1.0"}, "ce-id": {"e%201"}, "ce-source": {"orders"},
		"ce-type": {"shop.order.placed"}, "ce-subject": {"%C3%A4"}, "ce-time": {"2025-08-28T12:30:15.000000005Z"},
		"ce-datacontenttype": {"application/json"}, "ce-traceparent": {"00-1"}, "ce-dataversion": {"2"}, "ce-partitionkey": {"o-1"},
	}, msg.Header)
}

func TestTheStreamIsMadeOnFirstUse(t *testing.T) {
	t.Parallel()
	r := setup(t)
	r.publish(r.bus("orders", nil), "o-1")
	s, err := r.js.Stream(t.Context(), "events")
	require.NoError(t, err)
	cfg := s.CachedInfo().Config
	require.Equal(t, []string{"events.>"}, cfg.Subjects)
	require.Equal(t, jetstream.FileStorage, cfg.Storage)
	require.Equal(t, jetstream.DiscardNew, cfg.Discard)
	require.Equal(t, 1, cfg.Replicas)
	require.Equal(t, 2*time.Minute, cfg.Duplicates)
	require.Equal(t, "1", cfg.Metadata["hocket-format"])
	require.False(t, cfg.AllowRollup)
	require.False(t, cfg.AllowMsgSchedules)
	require.True(t, cfg.AllowDirect)
	require.True(t, cfg.AllowAtomicPublish)
}

func TestAnIDIsStoredOnce(t *testing.T) {
	t.Parallel()
	r := setup(t)
	b := r.bus("orders", nil)
	first := r.publish(b, "o-1", events.ID("request-1"))
	second := r.publish(b, "o-1", events.ID("request-1"))
	require.Equal(t, "request-1", second.ID)
	require.Equal(t, first.Sequence, second.Sequence)
	require.True(t, second.Duplicate)
	require.False(t, r.publish(r.bus("invoices", nil), "o-1", events.ID("request-1")).Duplicate, "another source's id is another")
	require.EqualValues(t, 2, r.stored())
}

// Without this the second event would be lost without a word.
func TestAnIDTakenByAnotherEventIsAnError(t *testing.T) {
	t.Parallel()
	r := setup(t)
	b := r.bus("orders", nil)
	r.publish(b, "o-1", events.ID("request-1"))
	paid := events.NewType[order]("shop.order.paid")
	receipt, err := paid.Publish(t.Context(), b, order{}, events.ID("request-1"))
	require.ErrorIs(t, err, events.ErrIDTaken)
	require.Equal(t, "request-1", receipt.ID)

	// Nor may a foreign client take an id in advance.
	msg := &nats.Msg{Subject: "events.intruder._.shop.order.placed", Header: nats.Header{"Nats-Msg-Id": {"orders/request-2"}}}
	_, err = r.js.PublishMsg(t.Context(), msg)
	require.NoError(t, err)
	_, err = placed.Publish(t.Context(), b, order{}, events.ID("request-2"))
	require.ErrorIs(t, err, events.ErrIDTaken)
}

func TestALostAcknowledgementMakesNoDuplicate(t *testing.T) {
	t.Parallel()
	r := setup(t)
	link := r.broker.Link()
	b := busOn(t, link.Connect(t), "orders", &events.Options{AttemptTimeout: 200 * time.Millisecond})
	r.publish(b, "first")
	link.Mute() // the event is stored, its acknowledgement is lost
	published := make(chan events.Receipt, 1)
	go func() {
		receipt, err := placed.Publish(t.Context(), b, order{ID: "second"})
		assert.NoError(t, err)
		published <- receipt
	}()
	eventually(t, func() bool { return r.stored() == 2 })
	link.Heal()
	receipt := receive(t, published)
	require.True(t, receipt.Duplicate)
	require.EqualValues(t, 2, receipt.Sequence)
	require.EqualValues(t, 2, r.stored())
}

func TestATimeoutIsUnknownAndCanBeRepeated(t *testing.T) {
	t.Parallel()
	r := setup(t)
	link := r.broker.Link()
	b := busOn(t, link.Connect(t), "orders", &events.Options{AttemptTimeout: 50 * time.Millisecond})
	r.publish(b, "first")
	link.Mute()
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	_, err := placed.Publish(ctx, b, order{ID: "o-1"})
	require.ErrorIs(t, err, events.ErrUnknown)
	require.ErrorIs(t, err, outcome.ErrUnknown)
	require.ErrorIs(t, err, context.DeadlineExceeded)
	require.ErrorContains(t, err, "publishing again with the same id is safe")
	var failed *events.PublishError
	require.ErrorAs(t, err, &failed)
	require.NotEmpty(t, failed.ID)
	require.Greater(t, failed.Attempts, 1)
	require.WithinDuration(t, time.Now().Add(2*time.Minute), failed.SafeUntil, 5*time.Second)
	link.Heal()
	require.True(t, r.publish(b, "o-1", events.ID(failed.ID)).Duplicate)
	require.EqualValues(t, 2, r.stored())
}

// After that, a copy of an event that was stored would be stored again.
func TestTryingEndsBeforeTheBrokerForgetsTheID(t *testing.T) {
	t.Parallel()
	r := setup(t)
	link := r.broker.Link()
	b := busOn(t, link.Connect(t), "orders", &events.Options{
		AttemptTimeout: 50 * time.Millisecond, Streams: []events.Stream{{DuplicateWindow: time.Second}},
	})
	r.publish(b, "first")
	link.Mute()
	start := time.Now()
	_, err := placed.Publish(t.Context(), b, order{ID: "second"})
	require.ErrorIs(t, err, events.ErrUnknown)
	require.ErrorContains(t, err, "the broker remembers ids for 1s only")
	require.Less(t, time.Since(start), 2*time.Second)
	link.Heal()
	require.EqualValues(t, 2, r.stored())
}

func TestABrokerThatIsAwayIsNotUnknown(t *testing.T) {
	t.Parallel()
	r := setup(t)
	b := r.bus("orders", nil)
	r.publish(b, "first")
	r.broker.Stop()
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	// The first attempt may race with the client's notice that the connection broke; from the second on nothing is sent.
	_, _ = placed.Publish(ctx, b, order{})
	ctx, cancel = context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	_, err := placed.Publish(ctx, b, order{})
	require.ErrorIs(t, err, context.DeadlineExceeded)
	require.NotErrorIs(t, err, events.ErrUnknown)
	r.broker.Start()
}

func TestPublishOutlivesARestart(t *testing.T) {
	t.Parallel()
	r := setup(t)
	b := r.bus("orders", nil)
	r.publish(b, "first")
	done := make(chan error, 1)
	stopped := make(chan struct{})
	go func() {
		<-stopped
		_, err := placed.Publish(t.Context(), b, order{ID: "second"})
		done <- err
	}()
	r.broker.Stop()
	close(stopped)
	r.broker.Start()
	require.NoError(t, receive(t, done))
	require.EqualValues(t, 2, r.stored())
}

func TestADeletedStreamIsMadeAgain(t *testing.T) {
	t.Parallel()
	r := setup(t)
	b := r.bus("orders", nil)
	r.publish(b, "first")
	require.NoError(t, r.js.DeleteStream(t.Context(), "events"))
	require.EqualValues(t, 1, r.publish(b, "second").Sequence)
}

func TestAFullStreamRefusesAndKeepsWhatItHas(t *testing.T) {
	t.Parallel()
	for name, limit := range map[string]events.Stream{"events": {MaxEvents: 2}, "bytes": {MaxBytes: 1000}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := setup(t)
			b := r.bus("orders", &events.Options{Streams: []events.Stream{limit}})
			var err error
			stored := 0
			for range 10 {
				if _, err = placed.Publish(t.Context(), b, order{ID: "o-1"}); err != nil {
					break
				}
				stored++
			}
			require.ErrorIs(t, err, events.ErrStreamFull)
			require.NotErrorIs(t, err, events.ErrUnknown)
			var api *jetstream.APIError
			require.ErrorAs(t, err, &api)
			s, err := r.js.Stream(t.Context(), "events")
			require.NoError(t, err)
			require.EqualValues(t, stored, s.CachedInfo().State.Msgs)
			require.EqualValues(t, 1, s.CachedInfo().State.FirstSeq)
		})
	}
}

func TestAFullBrokerRefuses(t *testing.T) {
	t.Parallel()
	r := setup(t, unsynced, func(o *embedded.Options) { o.Limits.MaxStore = 20_000 })
	b := r.bus("orders", nil)
	var err error
	for range 100 {
		if _, err = placed.Publish(t.Context(), b, order{ID: strings.Repeat("x", 1000)}); err != nil {
			break
		}
	}
	require.ErrorIs(t, err, events.ErrStreamFull)
}

func TestTooLargeIsRefusedBeforeItIsSent(t *testing.T) {
	t.Parallel()
	r := setup(t)
	b := r.bus("orders", nil)
	_, err := placed.Publish(t.Context(), b, order{ID: strings.Repeat("x", 1<<20)})
	require.ErrorIs(t, err, events.ErrTooLarge)
	_, err = placed.Publish(t.Context(), b, order{}, events.Extension("ext", strings.Repeat("x", 1<<20)))
	require.ErrorIs(t, err, events.ErrTooLarge)
	require.ErrorIs(t, placed.Signal(t.Context(), b, order{ID: strings.Repeat("x", 1<<20)}), events.ErrTooLarge)
	r.publish(b, "the connection lives")

	small := setup(t)
	b = small.bus("orders", &events.Options{Streams: []events.Stream{{MaxEventBytes: 500}}})
	_, err = placed.Publish(t.Context(), b, order{ID: strings.Repeat("x", 500)})
	require.ErrorIs(t, err, events.ErrTooLarge)
	require.NotErrorIs(t, err, events.ErrUnknown)

	// A limit that was set since then is the broker's to tell.
	s, err := small.js.Stream(t.Context(), "events")
	require.NoError(t, err)
	cfg := s.CachedInfo().Config
	cfg.MaxMsgSize = 100
	_, err = small.js.UpdateStream(t.Context(), cfg)
	require.NoError(t, err)
	_, err = placed.Publish(t.Context(), b, order{})
	require.ErrorIs(t, err, events.ErrTooLarge)
	var api *jetstream.APIError
	require.ErrorAs(t, err, &api)
}

func TestATypeThatNoStreamCapturesIsNamed(t *testing.T) {
	t.Parallel()
	r := setup(t)
	b := r.bus("orders", &events.Options{Streams: []events.Stream{
		{Name: "shop", Types: []string{"shop", "stock.item"}}, {Name: "mail", Types: []string{"mail"}},
	}})
	r.publish(b, "o-1")
	for _, name := range []string{"stock", "stock.items", "shopping.cart"} {
		other := events.NewType[order](name)
		_, err := other.Publish(t.Context(), b, order{})
		require.ErrorIs(t, err, events.ErrNoStream)
		require.ErrorContains(t, err, "shop, stock.item (stream shop); mail (stream mail)")
		_, err = other.Subscribe(t.Context(), b, "d", func(context.Context, events.Event[order]) error { return nil })
		require.ErrorIs(t, err, events.ErrNoStream)
	}
	receipt, err := events.NewType[order]("stock.item").Publish(t.Context(), b, order{})
	require.NoError(t, err)
	require.Equal(t, "shop", receipt.Stream)
	receipt, err = events.NewType[order]("mail.sent").Publish(t.Context(), b, order{})
	require.NoError(t, err)
	require.Equal(t, "mail", receipt.Stream)
}

func TestInvalidEventsAreRefused(t *testing.T) {
	t.Parallel()
	r := setup(t)
	b := r.bus("orders", nil)
	_, err := placed.Publish(t.Context(), b, order{}, events.ID("\x00"))
	require.ErrorContains(t, err, "attribute id")
	for name, opt := range map[string]events.PublishOption{
		"id": events.ID(""), "subject": events.Subject("a\nb"), "time": events.Time(time.Date(12025, 1, 1, 0, 0, 0, 0, time.UTC)),
		"data": events.Extension("data", "x"), "my-ext": events.Extension("my-ext", "x"), "float": events.Extension("float", 1.5),
		"dataversion": events.Extension("dataversion", 3), "source": events.Extension("source", "x"),
	} {
		_, err := placed.Publish(t.Context(), b, order{}, opt)
		require.ErrorIs(t, err, events.ErrInvalid)
		require.ErrorContains(t, err, strings.TrimSpace(name))
	}
	_, err = events.NewType[chan int]("channel").Publish(t.Context(), b, nil)
	require.ErrorContains(t, err, "chan int")
	_, err = placed.Publish(t.Context(), nil, order{})
	require.ErrorIs(t, err, events.ErrInvalid)
	var none *events.Bus
	_, err = placed.Publish(t.Context(), none, order{})
	require.ErrorIs(t, err, events.ErrInvalid)
}

func TestACancelledContextIsAnError(t *testing.T) {
	t.Parallel()
	r := setup(t)
	b := r.bus("orders", nil)
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(errors.New("no longer wanted"))
	_, err := placed.Publish(ctx, b, order{})
	require.Error(t, err)
	r.publish(b, "first")
	_, err = placed.Publish(ctx, b, order{})
	require.ErrorIs(t, err, context.Canceled)
	require.ErrorIs(t, placed.Signal(ctx, b, order{}), context.Cause(ctx))
	require.EqualValues(t, 1, r.stored())
}

func TestEventsOfTheSDKCanBePublished(t *testing.T) {
	t.Parallel()
	r := setup(t)
	b := r.bus("orders", nil)
	e := event.New()
	e.SetType("shop.order.placed")
	e.SetExtension("partitionkey", "o-1")
	require.NoError(t, e.SetData("application/json", order{ID: "o-1"}))
	receipt, err := b.Publish(t.Context(), e)
	require.NoError(t, err)
	require.NotEmpty(t, receipt.ID)
	require.Empty(t, e.ID(), "the caller's event is not changed")
	got := newRecorder()
	_, err = placed.Subscribe(t.Context(), b, "d", got.handle)
	require.NoError(t, err)
	in := receive(t, got.all)
	require.Equal(t, "o-1", in.Data.ID)
	require.Equal(t, "o-1", in.Key)

	e.SetSource("someone-else")
	_, err = b.Publish(t.Context(), e)
	require.ErrorIs(t, err, events.ErrInvalid)
	_, err = b.Publish(t.Context(), event.Event{})
	require.ErrorIs(t, err, events.ErrInvalid)
	e = event.New()
	_, err = b.Publish(t.Context(), e)
	require.ErrorContains(t, err, "type")
	e.SetType("a..b")
	_, err = b.Publish(t.Context(), e)
	require.ErrorIs(t, err, events.ErrInvalid)
}

func TestNamesThatCannotBe(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"", ".", "a..b", "a.", ".a", "a\x00b", "\xff", strings.Repeat("a", 2000)} {
		require.Panics(t, func() { events.NewType[order](name) }, "%q", name)
	}
	require.Panics(t, func() { events.NewType[order]("a", events.Version(0)) })
	r := setup(t)
	for _, source := range []string{"", "Orders", "a.b", "a b", "*", strings.Repeat("a", 64)} {
		_, err := events.New(r.nc, source, nil)
		require.ErrorIs(t, err, events.ErrInvalid, "%q", source)
	}
	_, err := events.New(nil, "orders", nil)
	require.ErrorIs(t, err, events.ErrInvalid)
	for _, o := range []events.Options{
		{Namespace: "a.b"}, {Streams: []events.Stream{{Name: "a b"}}}, {Streams: []events.Stream{{Types: []string{"a..b"}}}},
		{Streams: []events.Stream{{Name: "a"}, {Name: "b"}}}, {PublishTimeout: -1}, {Streams: []events.Stream{{MaxBytes: -1}}},
		{Streams: []events.Stream{{Name: "a", Types: []string{"x"}}, {Name: "a", Types: []string{"y"}}}},
		{Streams: []events.Stream{{Name: "a", Types: []string{"x.y"}}, {Name: "b", Types: []string{"x"}}}},
		{Streams: []events.Stream{{Replicas: 2}}}, {Streams: []events.Stream{{MaxAge: time.Second, DuplicateWindow: time.Minute}}},
	} {
		_, err := events.New(r.nc, "orders", &o)
		require.ErrorIs(t, err, events.ErrInvalid, "%+v", o)
	}
	// Odd names that can be: what a token cannot carry is escaped.
	b := r.bus("orders", nil)
	odd := events.NewType[order]("sh op.*.>.ä")
	got := newRecorder()
	_, err = odd.Subscribe(t.Context(), b, "d", got.handle)
	require.NoError(t, err)
	_, err = odd.Publish(t.Context(), b, order{ID: "o-1"})
	require.NoError(t, err)
	require.Equal(t, "sh op.*.>.ä", receive(t, got.all).Type)
}
