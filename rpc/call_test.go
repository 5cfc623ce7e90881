package rpc_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/hocket-go/hocket/rpc"
)

func TestCallReturnsTheReplyOfItsOwnRequest(t *testing.T) {
	t.Parallel()
	b := setup(t, rpc.ServerOptions{}, nil)
	var wg sync.WaitGroup
	for caller := range 32 {
		wg.Go(func() {
			for i := range 100 {
				in := ping{Text: strings.Repeat("x", i), Count: caller*1000 + i}
				out, err := echo.Call(t.Context(), b.client, in)
				if !assert.NoError(t, err) || !assert.Equal(t, in, out) {
					return
				}
			}
		})
	}
	wg.Wait()
	assert.EqualValues(t, 3200, b.server.Stats().Calls)
	assert.Zero(t, b.server.Stats().Errors)
}

func TestAnyNATSClientCallsWithNoHeader(t *testing.T) {
	t.Parallel()
	b := setup(t, rpc.ServerOptions{}, nil)
	msg, err := b.caller.Request("rpc.echo.Echo", []byte(`{"text":"a"}`), time.Second)
	require.NoError(t, err)
	assert.JSONEq(t, `{"text":"a"}`, string(msg.Data))
	assert.Empty(t, msg.Header)

	msg, err = b.caller.Request("rpc.echo.Echo", []byte(`{"text":`), time.Second)
	require.NoError(t, err)
	assert.Equal(t, "InvalidArgument", msg.Header.Get("Nats-Service-Error-Code"))
	assert.Contains(t, msg.Header.Get("Nats-Service-Error"), "unexpected end of JSON")
}

func TestNobodyServesIsUnavailableLongBeforeTheDeadline(t *testing.T) {
	t.Parallel()
	b := setup(t, rpc.ServerOptions{}, nil)
	began := time.Now()
	_, err := rpc.NewMethod[ping, ping]("nobody.Home").Call(t.Context(), b.client, ping{}, rpc.Timeout(time.Minute))
	assert.Equal(t, rpc.Unavailable, rpc.CodeOf(err))
	require.ErrorIs(t, err, nats.ErrNoResponders)
	require.NotErrorIs(t, err, rpc.ErrUnknown, "it certainly was not handled")
	assert.ErrorContains(t, err, "call nobody.Home: Unavailable: nobody serves it")
	assert.Less(t, time.Since(began), 5*time.Second)
}

func TestAHandlersErrorIsTheSameOnBothSides(t *testing.T) {
	t.Parallel()
	errBoom := errors.New("boom")
	long := strings.Repeat("é", 5000)
	fail := rpc.NewMethod[string, ping]("echo.Fail")
	returned := map[string]error{
		"details":   rpc.Errorf(rpc.NotFound, "no order %q", "o-1").WithDetail("shop.hint", map[string]int{"near": 2}),
		"wrapped":   fmt.Errorf("load: %w", rpc.Errorf(rpc.Aborted, "conflict")),
		"plain":     errBoom,
		"lines":     rpc.Errorf(rpc.Internal, "one\r\nX-Injected: yes\n\n two "),
		"long":      rpc.Errorf(rpc.DataLoss, "%s", long),
		"empty":     &rpc.Error{Code: rpc.Unauthenticated},
		"deadline":  context.DeadlineExceeded,
		"canceled":  fmt.Errorf("stop: %w", context.Canceled),
		"no code":   &rpc.Error{Message: "m"},
		"bad code":  &rpc.Error{Code: 77, Message: "m"},
		"bad utf-8": rpc.Errorf(rpc.OutOfRange, "a\xffb"),
		"huge": rpc.Errorf(rpc.OutOfRange, "m").
			WithDetail("big", strings.Repeat("x", 2<<20)),
		"both": rpc.Errorf(rpc.OutOfRange, "%s", long).
			WithDetail("big", strings.Repeat("x", 2<<20)),
	}
	b := setup(t, rpc.ServerOptions{}, func(s *rpc.Server) {
		fail.Handle(s, func(_ context.Context, which string) (ping, error) { return ping{Count: 1}, returned[which] })
	})
	call := func(which string) *rpc.Error {
		out, err := fail.Call(t.Context(), b.client, which)
		require.Zero(t, out, "no half a reply beside an error")
		var e *rpc.Error
		require.ErrorAs(t, err, &e, which)
		assert.True(t, e.Remote(), which)
		assert.NotErrorIs(t, err, rpc.ErrUnknown, "it was answered: %s", which)
		return e
	}

	e := call("details")
	assert.Equal(t, rpc.NotFound, e.Code)
	assert.Equal(t, `no order "o-1"`, e.Message)
	var hint struct{ Near int }
	found, err := e.Detail("shop.hint", &hint)
	require.NoError(t, err)
	assert.True(t, found)
	assert.Equal(t, 2, hint.Near)

	for which, want := range map[string]rpc.Error{
		"wrapped":   {Code: rpc.Aborted, Message: "conflict"},
		"plain":     {Code: rpc.Unknown, Message: "boom"},
		"lines":     {Code: rpc.Internal, Message: "one\r\nX-Injected: yes\n\n two "},
		"long":      {Code: rpc.DataLoss, Message: long},
		"empty":     {Code: rpc.Unauthenticated, Message: "Unauthenticated"},
		"deadline":  {Code: rpc.DeadlineExceeded, Message: "context deadline exceeded"},
		"canceled":  {Code: rpc.Canceled, Message: "stop: context canceled"},
		"no code":   {Code: rpc.Internal, Message: "handler returned an error with OK: m"},
		"bad code":  {Code: rpc.Internal, Message: "handler returned an error with Code(77): m"},
		"bad utf-8": {Code: rpc.OutOfRange, Message: "a�b"},
		"huge":      {Code: rpc.OutOfRange, Message: "m"},
		"both":      {Code: rpc.OutOfRange, Message: long},
	} {
		e := call(which)
		assert.Equal(t, want.Code, e.Code, which)
		assert.Equal(t, want.Message, e.Message, which)
		assert.Empty(t, e.Details, which)
	}
}

func TestAPanicAnswersInternalAtOnceAndServiceGoesOn(t *testing.T) {
	t.Parallel()
	crash := rpc.NewMethod[string, ping]("echo.Crash")
	b := setup(t, rpc.ServerOptions{MaxInFlight: 2}, func(s *rpc.Server) {
		crash.Handle(s, func(_ context.Context, how string) (ping, error) {
			switch how {
			case "panic":
				panic("the secret")
			case "nil":
				var e *broken
				_ = e.Error()
			case "exit":
				runtime.Goexit()
			}
			return ping{}, nil
		})
	})
	for range 40 { // more often than there may be readers
		for _, how := range []string{"panic", "nil", "exit"} {
			_, err := crash.Call(t.Context(), b.client, how)
			require.Equal(t, rpc.Internal, rpc.CodeOf(err), "%s: %v", how, err)
			require.NotContains(t, err.Error(), "secret", "the caller learns nothing")
		}
	}
	assert.Contains(t, b.log.String(), "the secret")
	assert.Contains(t, b.log.String(), "call_test.go", "the stack is logged")
	assert.EqualValues(t, 120, b.server.Stats().Panics)
	_, err := echo.Call(t.Context(), b.client, ping{})
	require.NoError(t, err)
}

func TestDeadlineReachesTheHandler(t *testing.T) {
	t.Parallel()
	left := rpc.NewMethod[ping, time.Duration]("echo.Left")
	b := setup(t, rpc.ServerOptions{}, func(s *rpc.Server) {
		left.Handle(s, func(ctx context.Context, _ ping) (time.Duration, error) {
			deadline, ok := ctx.Deadline()
			if !ok {
				return 0, nil
			}
			return time.Until(deadline), nil
		})
	})
	ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
	defer cancel()
	d, err := left.Call(ctx, b.client, ping{})
	require.NoError(t, err)
	assert.InDelta(t, time.Hour, d, float64(time.Minute))
	d, err = left.Call(ctx, b.client, ping{}, rpc.Timeout(2*time.Hour))
	require.NoError(t, err)
	assert.InDelta(t, time.Hour, d, float64(time.Minute), "the earlier of both")
	d, err = left.Call(ctx, b.client, ping{}, rpc.Timeout(time.Minute))
	require.NoError(t, err)
	assert.InDelta(t, time.Minute, d, float64(10*time.Second))
	d, err = left.Call(context.Background(), b.client, ping{})
	require.NoError(t, err)
	assert.InDelta(t, rpc.DefaultTimeout, d, float64(time.Second), "the default")
	forever := newClient(t, b.caller, "patient", &rpc.ClientOptions{Timeout: -1})
	d, err = left.Call(context.Background(), forever, ping{})
	require.NoError(t, err)
	assert.Zero(t, d, "no deadline")
}

func TestAHandlersContextEndsWithTheCallersTime(t *testing.T) {
	t.Parallel()
	blocked := newBlocking()
	b := setup(t, rpc.ServerOptions{}, blocked.register)
	_, err := block.Call(t.Context(), b.client, ping{}, rpc.Timeout(50*time.Millisecond))
	assert.Equal(t, rpc.DeadlineExceeded, rpc.CodeOf(err))
	// Both ends of the call run out of time at the same moment: either the handler's answer or our own clock is first.
	var e *rpc.Error
	require.ErrorAs(t, err, &e)
	if !e.Remote() {
		require.ErrorIs(t, err, rpc.ErrUnknown)
		require.ErrorIs(t, err, context.DeadlineExceeded)
	}
	if cause := within(t, blocked.ended); !errors.Is(cause, rpc.ErrCallerGone) {
		assert.ErrorIs(t, cause, context.DeadlineExceeded)
	}
}

func TestADeadlineEndsAContextWithoutTheCallersHelp(t *testing.T) {
	t.Parallel()
	blocked := newBlocking()
	b := setup(t, rpc.ServerOptions{}, blocked.register)
	require.NoError(t, b.caller.PublishRequest("rpc.echo.Block.mute", "r.echo.mute.c.1.30.1json", []byte("{}")))
	assert.ErrorIs(t, within(t, blocked.ended), context.DeadlineExceeded)
}

func TestAnAbandonedCallIsUnknownAndItsHandlerIsCanceled(t *testing.T) {
	t.Parallel()
	blocked := newBlocking()
	b := setup(t, rpc.ServerOptions{}, blocked.register)
	errBored := errors.New("bored")
	ctx, cancel := context.WithCancelCause(t.Context())
	go func() {
		<-blocked.begun
		cancel(errBored)
	}()
	_, err := block.Call(ctx, b.client, ping{})
	assert.Equal(t, rpc.Canceled, rpc.CodeOf(err))
	require.ErrorIs(t, err, rpc.ErrUnknown)
	require.ErrorIs(t, err, context.Canceled)
	require.ErrorIs(t, err, errBored)
	assert.ErrorIs(t, within(t, blocked.ended), rpc.ErrCallerGone)
}

func TestACallCanceledInTheQueueGetsNoHandler(t *testing.T) {
	t.Parallel()
	blocked := newBlocking()
	b := setup(t, rpc.ServerOptions{MaxInFlight: 1}, blocked.register)
	first, cancelFirst := context.WithCancel(t.Context())
	go func() { _, _ = block.Call(first, b.client, ping{}) }()
	within(t, blocked.begun)

	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		_, err := block.Call(ctx, b.client, ping{})
		done <- err
	}()
	require.Eventually(t, func() bool { return b.server.Stats().Queued == 1 }, 5*time.Second, time.Millisecond)
	cancel()
	require.ErrorIs(t, within(t, done), context.Canceled)
	cancelFirst() // cancellations keep their order, so the server has heard of both once this one arrives
	require.ErrorIs(t, within(t, blocked.ended), rpc.ErrCallerGone)
	close(blocked.release)
	_, err := block.Call(t.Context(), b.client, ping{})
	require.NoError(t, err)
	assert.EqualValues(t, 1, b.server.Stats().Canceled)
	assert.EqualValues(t, 2, b.server.Stats().Calls)
}

func TestWhatEndedBeforeItWasSentIsNotUnknown(t *testing.T) {
	t.Parallel()
	b := setup(t, rpc.ServerOptions{}, nil)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := echo.Call(ctx, b.client, ping{})
	assert.Equal(t, rpc.Canceled, rpc.CodeOf(err))
	require.NotErrorIs(t, err, rpc.ErrUnknown)
	ctx, cancel = context.WithDeadline(t.Context(), time.Now().Add(-time.Second))
	defer cancel()
	_, err = echo.Call(ctx, b.client, ping{})
	assert.Equal(t, rpc.DeadlineExceeded, rpc.CodeOf(err))
	require.NotErrorIs(t, err, rpc.ErrUnknown)
	assert.Zero(t, b.server.Stats().Calls)
}

func TestMessagesTooLargeAreResourceExhausted(t *testing.T) {
	t.Parallel()
	grow := rpc.NewMethod[int, string]("echo.Grow")
	b := setup(t, rpc.ServerOptions{}, func(s *rpc.Server) {
		grow.Handle(s, func(_ context.Context, n int) (string, error) { return strings.Repeat("x", n), nil })
	})
	_, err := echo.Call(t.Context(), b.client, ping{Text: strings.Repeat("x", 2<<20)})
	assert.Equal(t, rpc.ResourceExhausted, rpc.CodeOf(err))
	require.ErrorIs(t, err, nats.ErrMaxPayload)
	assert.ErrorContains(t, err, "request of 2097163 bytes, the broker takes at most 1048576")
	_, err = grow.Call(t.Context(), b.client, 2<<20)
	assert.Equal(t, rpc.ResourceExhausted, rpc.CodeOf(err))
	assert.ErrorContains(t, err, "reply of 2097154 bytes, the broker takes at most 1048576")
	_, err = echo.Call(t.Context(), b.client, ping{})
	assert.NoError(t, err, "both connections are still there")
}

func TestWhatDoesNotDecodeSaysSo(t *testing.T) {
	t.Parallel()
	wrong := rpc.NewMethod[[]int, ping]("echo.Echo")
	odd := rpc.NewMethod[ping, ping]("odd.Odd")
	unsendable := rpc.NewMethod[func(), ping]("echo.Echo")
	b := setup(t, rpc.ServerOptions{}, nil)
	_, err := wrong.Call(t.Context(), b.client, []int{1})
	assert.Equal(t, rpc.InvalidArgument, rpc.CodeOf(err))
	assert.ErrorContains(t, err, "rpc_test.ping")
	_, err = b.nc.Subscribe("rpc.odd.Odd.*", func(m *nats.Msg) { _ = m.Respond([]byte("}")) })
	require.NoError(t, err)
	require.NoError(t, b.nc.Flush())
	_, err = odd.Call(t.Context(), b.client, ping{})
	assert.Equal(t, rpc.Internal, rpc.CodeOf(err))
	var syntax *json.SyntaxError
	require.ErrorAs(t, err, &syntax)
	_, err = unsendable.Call(t.Context(), b.client, nil)
	assert.Equal(t, rpc.InvalidArgument, rpc.CodeOf(err))
}

func TestOddNamesAreServed(t *testing.T) {
	t.Parallel()
	b := setup(t, rpc.ServerOptions{}, nil)
	who := rpc.NewMethod[ping, rpc.Call]("my.odd service *.Grüße > all")
	server, err := rpc.NewServer(b.nc, "my.odd service *", &rpc.ServerOptions{Instance: "host.example:80"})
	require.NoError(t, err)
	who.Handle(server, func(ctx context.Context, _ ping) (rpc.Call, error) {
		call, _ := rpc.CallFrom(ctx)
		return call, nil
	})
	require.NoError(t, server.Start(t.Context()))
	t.Cleanup(func() { require.NoError(t, server.Close()) })
	client := newClient(t, b.caller, "* > caller.", nil)
	call, err := who.Call(t.Context(), client, ping{})
	require.NoError(t, err)
	want := rpc.Call{Service: "my.odd service *", Method: "Grüße > all", Caller: "* > caller."}
	assert.Equal(t, want, call)
	call, err = who.Call(t.Context(), client, ping{}, rpc.ToInstance("host.example:80"))
	require.NoError(t, err)
	want.Instance = "host.example:80"
	assert.Equal(t, want, call)
	_, err = who.Call(t.Context(), client, ping{}, rpc.ToInstance("*"))
	assert.Equal(t, rpc.Unavailable, rpc.CodeOf(err), "no wildcard gets through")
}
