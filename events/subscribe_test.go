package events_test

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"runtime"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"

	"github.com/hocket-go/hocket/embedded/embeddedtest"
	"github.com/hocket-go/hocket/events"
	"github.com/hocket-go/hocket/internal/identity"
)

var quickly = events.Retry(time.Millisecond, 5*time.Millisecond)

func TestAHandlerGetsTheWholeEvent(t *testing.T) {
	t.Parallel()
	r := setup(t)
	keyed := placed.KeyedBy(func(o order) string { return o.ID })
	when := time.Date(2025, 8, 28, 12, 30, 15, 5, time.UTC)
	receipt, err := keyed.Publish(t.Context(), r.bus("orders", nil), order{ID: "o-1", Total: 5}, events.ID("e-1"),
		events.Subject("ü"), events.Time(when), events.Extension("flag", true))
	require.NoError(t, err)
	type got struct {
		events.Event[order]

		caller string
	}
	ch := make(chan got, 1)
	_, err = placed.Subscribe(t.Context(), r.bus("billing", nil), "billing", func(ctx context.Context, e events.Event[order]) error {
		caller, _ := identity.Caller(ctx)
		ch <- got{e, caller}
		return nil
	})
	require.NoError(t, err)
	e := receive(t, ch)
	require.Equal(t, "orders", e.caller)
	require.Equal(t, "e-1", e.ID)
	require.Equal(t, "orders", e.Source)
	require.Equal(t, "shop.order.placed", e.Type)
	require.Equal(t, "ü", e.Subject)
	require.Equal(t, when, e.Time)
	require.Equal(t, "o-1", e.Key)
	require.Equal(t, order{ID: "o-1", Total: 5}, e.Data)
	require.Equal(t, receipt.Sequence, e.Sequence)
	require.Equal(t, receipt.Stream, e.Stream)
	require.Equal(t, 1, e.Attempt)
	require.Equal(t, 1, e.Version)
	require.WithinDuration(t, time.Now(), e.Stored, time.Minute)
	require.Equal(t, map[string]string{"flag": "true", "partitionkey": "o-1"}, e.Extensions())
	flag, ok := e.Extension("flag")
	require.True(t, ok)
	require.Equal(t, "true", flag)
	ce, err := e.CloudEvent()
	require.NoError(t, err)
	require.NoError(t, ce.Validate())
	require.Equal(t, "e-1", ce.ID())
	require.JSONEq(t, `{"id":"o-1","total":5}`, string(ce.Data()))
	_, err = events.Event[order]{}.CloudEvent()
	require.ErrorIs(t, err, events.ErrInvalid)
}

func TestInstancesShareTheWork(t *testing.T) {
	t.Parallel()
	r := setup(t)
	const n = 200
	one, two := newRecorder(), newRecorder()
	turn := make(chan struct{})
	for _, rec := range []*recorder{one, two} {
		_, err := placed.Subscribe(t.Context(), r.bus("billing", nil), "billing",
			func(ctx context.Context, e events.Event[order]) error {
				<-turn
				return rec.handle(ctx, e)
			}, events.Workers(1), events.MaxInFlight(2))
		require.NoError(t, err)
	}
	b := r.bus("orders", nil)
	for i := range n {
		r.publish(b, strconv.Itoa(i))
	}
	close(turn)
	eventually(t, func() bool { return len(one.counts())+len(two.counts()) == n })
	require.NotEmpty(t, one.counts())
	require.NotEmpty(t, two.counts())
	for id := range one.counts() {
		require.NotContains(t, two.counts(), id)
	}
}

func TestDurablesAreApart(t *testing.T) {
	t.Parallel()
	r := setup(t)
	b := r.bus("orders", nil)
	r.publish(b, "before")
	all, fresh := newRecorder(), newRecorder()
	_, err := placed.Subscribe(t.Context(), b, "all", all.handle)
	require.NoError(t, err)
	_, err = placed.Subscribe(t.Context(), b, "fresh", fresh.handle, events.FromNow())
	require.NoError(t, err)
	r.publish(b, "after")
	require.Equal(t, "after", receive(t, fresh.all).Data.ID)
	eventually(t, func() bool { return len(all.counts()) == 2 })
	require.Len(t, fresh.counts(), 1)
}

func TestAnotherInstanceGoesOnWhereTheLastOneStopped(t *testing.T) {
	t.Parallel()
	r := setup(t)
	b := r.bus("orders", nil)
	r.publish(b, "1")
	first := newRecorder()
	sub, err := placed.Subscribe(t.Context(), b, "billing", first.handle)
	require.NoError(t, err)
	receive(t, first.all)
	require.NoError(t, sub.Drain(t.Context()))
	require.NoError(t, sub.Drain(t.Context()))
	require.NoError(t, sub.Close())
	require.NoError(t, sub.Err())
	r.publish(b, "2")
	second := newRecorder()
	_, err = placed.Subscribe(t.Context(), b, "billing", second.handle)
	require.NoError(t, err)
	require.Equal(t, "2", receive(t, second.all).Data.ID)
}

func TestAFailedEventComesAgain(t *testing.T) {
	t.Parallel()
	for name, fail := range map[string]func(){
		"error": func() {}, "panic": func() { panic("boom") }, "exit": runtime.Goexit,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := setup(t)
			b := r.bus("orders", nil)
			attempts := make(chan int, 10)
			sub, err := placed.Subscribe(t.Context(), b, "billing", func(_ context.Context, e events.Event[order]) error {
				attempts <- e.Attempt
				if e.Attempt < 4 {
					fail()
					return errHandler
				}
				return nil
			}, quickly, events.Workers(1))
			require.NoError(t, err)
			r.publish(b, "o-1")
			for want := 1; want <= 4; want++ {
				require.Equal(t, want, receive(t, attempts))
			}
			eventually(t, func() bool { return sub.Stats() == events.Stats{Delivered: 4, Acknowledged: 1, Failed: 3} })
		})
	}
}

func TestAPanicIsLoggedWithItsStack(t *testing.T) {
	t.Parallel()
	r := setup(t)
	var log lockedBuffer
	b := r.bus("orders", &events.Options{Logger: slog.New(slog.NewTextHandler(&log, nil))})
	sub, err := placed.Subscribe(t.Context(), b, "billing", func(_ context.Context, e events.Event[order]) error {
		if e.Attempt == 1 {
			panic("boom")
		}
		return nil
	}, quickly)
	require.NoError(t, err)
	r.publish(b, "o-1")
	eventually(t, func() bool { return sub.Stats().Acknowledged == 1 })
	require.Contains(t, log.String(), "boom")
	require.Contains(t, log.String(), "subscribe_test.go")
	require.Contains(t, log.String(), "attempt=1")
}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func TestASlowHandlerIsNotOverrun(t *testing.T) {
	t.Parallel()
	r := setup(t)
	b := r.bus("orders", nil)
	var calls atomic.Int32
	waiting := make(chan struct{})
	release := sync.OnceFunc(func() { close(waiting) })
	t.Cleanup(release)
	handle := func(context.Context, events.Event[order]) error {
		calls.Add(1)
		<-waiting
		return nil
	}
	// One event is being handled, one waits for the worker; both stay with this instance for longer than the broker waits.
	sub, err := placed.Subscribe(t.Context(), b, "billing", handle, events.AckWait(time.Second), events.Workers(1))
	require.NoError(t, err)
	other := newRecorder()
	r.publish(b, "1")
	r.publish(b, "2")
	eventually(t, func() bool { return sub.Stats().InFlight == 2 })
	_, err = placed.Subscribe(t.Context(), r.bus("orders", nil), "billing", other.handle)
	require.NoError(t, err)
	select {
	case <-other.all:
		require.Fail(t, "an event in hand was delivered to another instance")
	case <-time.After(3 * time.Second):
	}
	release()
	eventually(t, func() bool { return sub.Stats().Acknowledged == 2 })
	require.EqualValues(t, 2, calls.Load())
	require.EqualValues(t, 2, sub.Stats().Delivered)
}

func TestEventsOfADeadInstanceGoToAnother(t *testing.T) {
	t.Parallel()
	r := setup(t)
	link := r.broker.Link()
	dying := busOn(t, link.Connect(t), "orders", nil)
	taken := make(chan struct{}, 1)
	release := make(chan struct{})
	t.Cleanup(func() { link.Heal() })
	t.Cleanup(func() { close(release) })
	_, err := placed.Subscribe(t.Context(), dying, "billing", func(context.Context, events.Event[order]) error {
		taken <- struct{}{}
		<-release
		return nil
	}, events.AckWait(time.Second))
	require.NoError(t, err)
	r.publish(r.bus("orders", nil), "o-1")
	receive(t, taken)
	link.Cut()
	other := newRecorder()
	_, err = placed.Subscribe(t.Context(), r.bus("orders", nil), "billing", other.handle)
	require.NoError(t, err)
	e := receive(t, other.all)
	require.Equal(t, "o-1", e.Data.ID)
	require.Equal(t, 2, e.Attempt)
}

func TestInFlightIsBounded(t *testing.T) {
	t.Parallel()
	r := setup(t)
	b := r.bus("orders", nil)
	for i := range 100 {
		r.publish(b, strconv.Itoa(i))
	}
	waiting := make(chan struct{})
	release := sync.OnceFunc(func() { close(waiting) })
	t.Cleanup(release)
	var running, most atomic.Int32
	sub, err := placed.Subscribe(t.Context(), b, "billing", func(context.Context, events.Event[order]) error {
		n := running.Add(1)
		defer running.Add(-1)
		for m := most.Load(); n > m && !most.CompareAndSwap(m, n); {
			m = most.Load()
		}
		<-waiting
		return nil
	}, events.Workers(3), events.MaxInFlight(10))
	require.NoError(t, err)
	eventually(t, func() bool { return sub.Stats().InFlight == 10 })
	info, err := r.js.Consumer(t.Context(), "events", "billing")
	require.NoError(t, err)
	require.Equal(t, 10, info.CachedInfo().NumAckPending)
	release()
	eventually(t, func() bool { return sub.Stats().Acknowledged == 100 })
	require.EqualValues(t, 3, most.Load())
	require.EqualValues(t, 100, sub.Stats().Delivered)
}

func TestARestartOfTheBrokerLosesNothing(t *testing.T) {
	t.Parallel()
	for name, restart := range map[string]func(*rig){
		"restart": func(r *rig) { r.broker.Restart() },
		"kill":    func(r *rig) { r.broker.Kill(); r.broker.Start() },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := setup(t)
			b := r.bus("orders", nil)
			got := newRecorder()
			// An acknowledgement that the crash took brings its event back after the wait, so a short one.
			_, err := placed.Subscribe(t.Context(), b, "billing", got.handle, events.AckWait(time.Second))
			require.NoError(t, err)
			const n = 300
			published := make(chan struct{})
			go func() {
				defer close(published)
				for i := range n {
					r.publish(b, strconv.Itoa(i))
				}
			}()
			for range n / 3 {
				receive(t, got.all)
			}
			restart(r)
			receive(t, published)
			eventually(t, func() bool { return len(got.counts()) == n })
			require.EqualValues(t, n, r.stored())
		})
	}
}

// The time from the moment that the broker can be reached again to the first event is logged.
func TestConsumptionResumesInUnderASecond(t *testing.T) {
	t.Parallel()
	for name, disturb := range map[string]func(*rig, *embeddedtest.Link){
		"restart": func(r *rig, _ *embeddedtest.Link) { r.broker.Restart() },
		"kill":    func(r *rig, _ *embeddedtest.Link) { r.broker.Kill(); r.broker.Start() },
		"cut":     func(_ *rig, link *embeddedtest.Link) { link.Cut(); link.Heal() },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := setup(t)
			link := r.broker.Link()
			b := busOn(t, link.Connect(t), "orders", nil)
			got := newRecorder()
			_, err := placed.Subscribe(t.Context(), b, "billing", got.handle)
			require.NoError(t, err)
			r.publish(r.bus("orders", nil), "before")
			receive(t, got.all)
			disturb(r, link)
			start := time.Now()
			// On a new connection: a publish that was under way when the broker went would first wait for its answer.
			r.publish(r.bus("orders", nil), "after")
			require.Equal(t, "after", receive(t, got.all).Data.ID)
			took := time.Since(start)
			t.Logf("resumed after %v", took)
			require.Less(t, took, time.Second)
		})
	}
}

func TestADeletedDurableEndsTheSubscription(t *testing.T) {
	t.Parallel()
	for name, remove := range map[string]func(*rig) error{
		"durable": func(r *rig) error { return r.js.DeleteConsumer(r.tb.Context(), "events", "billing") },
		"stream":  func(r *rig) error { return r.js.DeleteStream(r.tb.Context(), "events") },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := setup(t)
			b := r.bus("orders", nil)
			got := newRecorder()
			sub, err := placed.Subscribe(t.Context(), b, "billing", got.handle)
			require.NoError(t, err)
			r.publish(b, "1")
			receive(t, got.all)
			require.NoError(t, remove(r))
			receive(t, sub.Done())
			require.ErrorIs(t, sub.Err(), events.ErrDeleted)
			_, err = placed.Subscribe(t.Context(), b, "billing", got.handle)
			require.NoError(t, err)
		})
	}
}

func TestADurableThatDiffersIsAnErrorAndIsNotChanged(t *testing.T) {
	t.Parallel()
	r := setup(t)
	b := r.bus("orders", nil)
	sub, err := placed.Subscribe(t.Context(), b, "billing", newRecorder().handle)
	require.NoError(t, err)
	require.Equal(t, "billing", sub.Durable())
	info, err := r.js.Consumer(t.Context(), "events", "billing")
	require.NoError(t, err)
	before := info.CachedInfo().Config
	require.Equal(t, "1", before.Metadata["hocket-format"])
	require.Equal(t, -1, before.MaxDeliver)
	paid := events.NewType[order]("shop.order.paid")
	for says, subscribe := range map[string]func() (*events.Subscription, error){
		"filter_subject is events.*.*.shop.order.placed, asked for events.*.*.shop.order.paid": func() (*events.Subscription, error) {
			return paid.Subscribe(t.Context(), b, "billing", newRecorder().handle)
		},
		"ack_wait is 15s, asked for 20s": func() (*events.Subscription, error) {
			return placed.Subscribe(t.Context(), b, "billing", newRecorder().handle, events.AckWait(20*time.Second))
		},
		"max_ack_pending is 100000, asked for 5": func() (*events.Subscription, error) {
			return placed.Subscribe(t.Context(), b, "billing", newRecorder().handle, events.MaxPending(5))
		},
		"deliver_policy is all, asked for new": func() (*events.Subscription, error) {
			return placed.Subscribe(t.Context(), b, "billing", newRecorder().handle, events.FromNow())
		},
	} {
		_, err := subscribe()
		require.ErrorIs(t, err, events.ErrMismatch)
		require.ErrorContains(t, err, says)
	}
	_, err = r.js.CreateConsumer(t.Context(), "events", jetstream.ConsumerConfig{
		Durable: "forgetful", FilterSubject: "events.*.*.shop.order.placed", AckPolicy: jetstream.AckExplicitPolicy, MaxDeliver: 3,
	})
	require.NoError(t, err)
	_, err = placed.Subscribe(t.Context(), b, "forgetful", newRecorder().handle)
	require.ErrorContains(t, err, "max_deliver is 3")
	info, err = r.js.Consumer(t.Context(), "events", "billing")
	require.NoError(t, err)
	require.Equal(t, before, info.CachedInfo().Config)
}

func TestInvalidSubscriptionsAreRefused(t *testing.T) {
	t.Parallel()
	r := setup(t)
	b := r.bus("orders", nil)
	for _, durable := range []string{"", "a.b", "a b", "*", ">", "a/b"} {
		_, err := placed.Subscribe(t.Context(), b, durable, newRecorder().handle)
		require.ErrorIs(t, err, events.ErrInvalid, "%q", durable)
	}
	for _, opt := range []events.SubscribeOption{
		events.Workers(0), events.MaxInFlight(0), events.MaxPending(-1), events.AckWait(time.Millisecond), events.Retry(0, 0),
		events.Retry(time.Minute, time.Second),
	} {
		_, err := placed.Subscribe(t.Context(), b, "billing", newRecorder().handle, opt)
		require.ErrorIs(t, err, events.ErrInvalid)
	}
	_, err := placed.Subscribe(t.Context(), b, "billing", nil)
	require.ErrorIs(t, err, events.ErrInvalid)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = placed.Subscribe(ctx, b, "billing", newRecorder().handle)
	require.ErrorIs(t, err, context.Canceled)
}

func TestDrainFinishesWhatRunsAndGivesBackTheRest(t *testing.T) {
	t.Parallel()
	r := setup(t)
	b := r.bus("orders", nil)
	for i := range 10 {
		r.publish(b, strconv.Itoa(i))
	}
	started, release := make(chan string, 10), make(chan struct{})
	sub, err := placed.Subscribe(t.Context(), b, "billing", func(ctx context.Context, e events.Event[order]) error {
		started <- e.Data.ID
		<-release
		return ctx.Err()
	}, events.Workers(2))
	require.NoError(t, err)
	finished := map[string]bool{receive(t, started): true, receive(t, started): true}
	eventually(t, func() bool { return sub.Stats().InFlight == 10 })
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	require.ErrorIs(t, sub.Drain(ctx), context.DeadlineExceeded)
	_, err = placed.Subscribe(t.Context(), r.bus("orders", nil), "billing", func(_ context.Context, e events.Event[order]) error {
		require.False(t, finished[e.Data.ID])
		return nil
	}, quickly)
	require.NoError(t, err)
	close(release)
	require.NoError(t, sub.Drain(t.Context()))
	require.Equal(t, uint64(2), sub.Stats().Acknowledged)
	require.Zero(t, sub.Stats().InFlight)
	eventually(t, func() bool {
		c, err := r.js.Consumer(t.Context(), "events", "billing")
		require.NoError(t, err)
		return c.CachedInfo().AckFloor.Stream == 10
	})
}

func TestCloseCancelsHandlersAndTheirEventsComeAgain(t *testing.T) {
	t.Parallel()
	r := setup(t)
	b := r.bus("orders", nil)
	started := make(chan struct{})
	sub, err := placed.Subscribe(t.Context(), b, "billing", func(ctx context.Context, _ events.Event[order]) error {
		close(started)
		<-ctx.Done()
		require.ErrorIs(t, context.Cause(ctx), events.ErrClosed)
		return ctx.Err()
	})
	require.NoError(t, err)
	r.publish(b, "o-1")
	receive(t, started)
	require.NoError(t, sub.Close())
	got := newRecorder()
	_, err = placed.Subscribe(t.Context(), b, "billing", got.handle)
	require.NoError(t, err)
	require.Equal(t, "o-1", receive(t, got.all).Data.ID)
}

func TestDrainOfTheBusEndsEverythingInOrder(t *testing.T) {
	t.Parallel()
	r := setup(t)
	b := r.bus("orders", nil)
	started, release := make(chan struct{}), make(chan struct{})
	reply := events.NewType[order]("shop.order.confirmed")
	sub, err := placed.Subscribe(t.Context(), b, "billing", func(ctx context.Context, e events.Event[order]) error {
		close(started)
		<-release
		_, err := reply.Publish(ctx, b, e.Data) // a handler may still publish
		return err
	})
	require.NoError(t, err)
	listener, err := placed.Listen(t.Context(), b, newRecorder().handle)
	require.NoError(t, err)
	r.publish(b, "o-1")
	receive(t, started)
	drained := make(chan error, 1)
	go func() { drained <- b.Drain(t.Context()) }()
	receive(t, listener.Done())
	_, err = placed.Subscribe(t.Context(), b, "other", newRecorder().handle)
	require.ErrorIs(t, err, events.ErrClosed)
	close(release)
	require.NoError(t, receive(t, drained))
	require.EqualValues(t, 1, sub.Stats().Acknowledged)
	require.EqualValues(t, 2, r.stored())
	require.NoError(t, b.Drain(t.Context()))
	require.NoError(t, b.Close())
	_, err = placed.Publish(t.Context(), b, order{})
	require.ErrorIs(t, err, events.ErrClosed)
	require.ErrorIs(t, placed.Signal(t.Context(), b, order{}), events.ErrClosed)
	_, err = placed.Listen(t.Context(), b, newRecorder().handle)
	require.ErrorIs(t, err, events.ErrClosed)
}

func TestAClosedConnectionEndsTheSubscription(t *testing.T) {
	t.Parallel()
	r := setup(t)
	nc := r.broker.Connect(t)
	b := busOn(t, nc, "orders", nil)
	got := newRecorder()
	sub, err := placed.Subscribe(t.Context(), b, "billing", got.handle)
	require.NoError(t, err)
	r.publish(b, "o-1")
	receive(t, got.all)
	nc.Close()
	receive(t, sub.Done())
	require.ErrorIs(t, sub.Err(), nats.ErrConnectionClosed)
	_, err = placed.Publish(t.Context(), b, order{})
	require.ErrorIs(t, err, nats.ErrConnectionClosed)
	require.NotErrorIs(t, err, events.ErrUnknown)
}

func TestStartAndStopManyTimes(t *testing.T) {
	t.Parallel()
	r := setup(t)
	b := r.bus("orders", nil)
	var wg sync.WaitGroup
	got := newRecorder()
	for i := range 4 {
		wg.Go(func() {
			for j := range 10 {
				sub, err := placed.Subscribe(t.Context(), b, "billing", got.handle)
				require.NoError(t, err)
				r.publish(b, fmt.Sprint(i, "-", j))
				if j%2 == 0 {
					require.NoError(t, sub.Close())
				} else {
					require.NoError(t, sub.Drain(t.Context()))
				}
			}
		})
	}
	wg.Wait()
	_, err := placed.Subscribe(t.Context(), b, "billing", got.handle)
	require.NoError(t, err)
	eventually(t, func() bool { return len(got.counts()) == 40 })
}
