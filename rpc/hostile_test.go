package rpc_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/hocket-go/hocket/codec"
	"github.com/hocket-go/hocket/rpc"
)

// Number 0 is no call's. A reply to it must neither wait for the next call in a place that is free, nor, the second time,
// stop the goroutine that reads all replies.
func TestAReplyToNumberZeroWaitsForNoCall(t *testing.T) {
	t.Parallel()
	b := setup(t, rpc.ServerOptions{}, nil)
	rogue := rpc.NewMethod[ping, ping]("rogue.Do")
	prefixes := make(chan string, 10)
	_, err := b.nc.Subscribe("rpc.rogue.Do.*", func(m *nats.Msg) {
		parts := strings.Split(m.Reply, ".")
		prefixes <- strings.Join(parts[:4], ".")
		_ = m.Respond([]byte(`{"text":"right"}`))
	})
	require.NoError(t, err)
	require.NoError(t, b.nc.Flush())
	for range 3 {
		out, err := rogue.Call(t.Context(), b.client, ping{}, rpc.Timeout(5*time.Second))
		require.NoError(t, err)
		require.Equal(t, "right", out.Text)
		prefix := within(t, prefixes)
		for range 3 {
			require.NoError(t, b.nc.Publish(prefix+".0.0.1json", []byte(`{"text":"forged"}`)))
		}
		require.NoError(t, b.nc.Flush())
		require.NoError(t, b.caller.Flush())
	}
}

// broken is an error whose method panics, as one on a nil pointer does.
type broken struct{ text *string }

func (b *broken) Error() string { return *b.text }

func TestAnErrorThatIsNilInDisguiseIsInternal(t *testing.T) {
	t.Parallel()
	fail := rpc.NewMethod[string, ping]("echo.Fail")
	b := setup(t, rpc.ServerOptions{}, func(s *rpc.Server) {
		fail.Handle(s, func(_ context.Context, which string) (ping, error) {
			if which == "ours" {
				var e *rpc.Error
				return ping{}, e
			}
			var e *broken
			return ping{}, e
		})
	})
	for _, which := range []string{"ours", "theirs"} {
		_, err := fail.Call(t.Context(), b.client, which)
		assert.Equal(t, rpc.Internal, rpc.CodeOf(err), "%s: %v", which, err)
	}
	var e *rpc.Error
	assert.Equal(t, rpc.Unknown, rpc.CodeOf(e))
}

func TestADeadlineTooFarForTheWireIsNone(t *testing.T) {
	t.Parallel()
	bounded := rpc.NewMethod[ping, bool]("echo.Bounded")
	b := setup(t, rpc.ServerOptions{}, func(s *rpc.Server) {
		bounded.Handle(s, func(ctx context.Context, _ ping) (bool, error) {
			_, ok := ctx.Deadline()
			return ok, ctx.Err()
		})
	})
	ctx, cancel := context.WithDeadline(t.Context(), time.Date(9999, 1, 1, 0, 0, 0, 0, time.UTC))
	defer cancel()
	done := make(chan error, 2)
	go func() {
		ok, err := bounded.Call(ctx, b.client, ping{})
		assert.False(t, ok)
		done <- err
	}()
	go func() {
		_, err := bounded.Call(context.Background(), b.client, ping{}, rpc.Timeout(math.MaxInt64))
		done <- err
	}()
	require.NoError(t, within(t, done))
	require.NoError(t, within(t, done))

	// Whatever another library writes there.
	for _, left := range []string{"9223372036854", "9223372036855", "9007199254740991"} {
		reply := "r.echo.far.c.1." + left + ".1json"
		sub, err := b.caller.SubscribeSync(reply)
		require.NoError(t, err)
		require.NoError(t, b.caller.PublishRequest("rpc.echo.Bounded.far", reply, []byte("{}")))
		msg, err := sub.NextMsg(5 * time.Second)
		require.NoError(t, err)
		assert.Empty(t, msg.Header, "%s is not in the past", left)
	}
}

// A subject of several kilobytes makes the broker close the connection, and with it everything else on it.
func TestAnInstanceThatCannotBeASubjectIsRefusedHere(t *testing.T) {
	t.Parallel()
	b := setup(t, rpc.ServerOptions{}, nil)
	for _, instance := range []string{"", strings.Repeat("x", 129), strings.Repeat("é", 5000)} {
		_, err := echo.Call(t.Context(), b.client, ping{}, rpc.ToInstance(instance))
		assert.Equal(t, rpc.InvalidArgument, rpc.CodeOf(err), "%v", err)
		require.ErrorContains(t, err, "instance")
		require.NotErrorIs(t, err, rpc.ErrUnknown)
	}
	_, err := echo.Call(t.Context(), b.client, ping{})
	require.NoError(t, err)
	assert.True(t, b.caller.IsConnected())
	assert.Zero(t, b.caller.Stats().Reconnects)
}

// lateTimer is a context whose time is up but whose timer has not run yet, as it happens on a busy machine.
type lateTimer struct{ context.Context } //nolint:containedctx // it is one itself

func (lateTimer) Deadline() (time.Time, bool) { return time.Now().Add(-time.Second), true }

func TestACallWithNoTimeLeftIsNotSent(t *testing.T) {
	t.Parallel()
	b := setup(t, rpc.ServerOptions{}, nil)
	for name, call := range map[string]func() error{
		"context": func() error {
			_, err := echo.Call(lateTimer{t.Context()}, b.client, ping{})
			return err
		},
		"zero": func() error {
			_, err := echo.Call(t.Context(), b.client, ping{}, rpc.Timeout(0))
			return err
		},
		"negative": func() error {
			_, err := echo.Call(t.Context(), b.client, ping{}, rpc.Timeout(-time.Minute))
			return err
		},
	} {
		err := call()
		assert.Equal(t, rpc.DeadlineExceeded, rpc.CodeOf(err), "%s: %v", name, err)
		assert.ErrorIs(t, err, context.DeadlineExceeded, name)
		assert.NotErrorIs(t, err, rpc.ErrUnknown, name)
	}
	assert.Zero(t, b.server.Stats().Calls)
}

// A caller that the subject names but that has no name must not pass for a plain call.
func TestACallerThatIsNoNameIsDropped(t *testing.T) {
	t.Parallel()
	b := setup(t, rpc.ServerOptions{RequireCaller: true}, nil)
	for _, caller := range []string{"=", "=ZZ", "a=2", "=61", "*", ">", "a:b"} {
		require.NoError(t, b.caller.PublishRequest("rpc.echo.Echo."+caller, "r.echo."+caller+".c.1.0.1json", []byte(`{}`)))
	}
	_, err := echo.Call(t.Context(), b.client, ping{})
	require.NoError(t, err)
	assert.EqualValues(t, 7, b.server.Stats().Dropped)
	assert.EqualValues(t, 1, b.server.Stats().Calls)
}

// What a method's contract limits, no header lifts.
func TestALimitOfTheContractHoldsForPlainCallsToo(t *testing.T) {
	t.Parallel()
	small := rpc.NewMethod[string, string]("echo.Small", rpc.Codec(codec.JSON().WithLimits(codec.Limits{MaxBytes: 10})))
	cborOnly, err := codec.NewSet(codec.CBOR())
	require.NoError(t, err)
	b := setup(t, rpc.ServerOptions{Codecs: cborOnly}, func(s *rpc.Server) {
		small.Handle(s, func(_ context.Context, in string) (string, error) { return in, nil })
	})
	ask := func(contentType, data string) *nats.Msg {
		request := &nats.Msg{Subject: "rpc.echo.Small", Data: []byte(data), Header: nats.Header{}}
		if contentType != "" {
			request.Header.Set("Content-Type", contentType)
		}
		msg, err := b.caller.RequestMsg(request, 5*time.Second)
		require.NoError(t, err)
		return msg
	}
	for _, contentType := range []string{"", "application/json"} {
		msg := ask(contentType, `"a"`)
		assert.Equal(t, `"a"`, string(msg.Data), "the method's own codec is always understood")
		msg = ask(contentType, `"aaaaaaaaaaaaaaaa"`)
		assert.Equal(t, "InvalidArgument", msg.Header.Get("Nats-Service-Error-Code"), "%q", contentType)
	}
	withJSON := setup(t, rpc.ServerOptions{}, func(s *rpc.Server) {
		small.Handle(s, func(_ context.Context, in string) (string, error) { return in, nil })
	})
	b = withJSON
	for _, contentType := range []string{"", "application/json", "application/json; charset=utf-8"} {
		msg := ask(contentType, `"aaaaaaaaaaaaaaaa"`)
		assert.Equal(t, "InvalidArgument", msg.Header.Get("Nats-Service-Error-Code"), "%q", contentType)
	}
}

func TestADetailIsAddedToACopy(t *testing.T) {
	t.Parallel()
	errShared := rpc.Errorf(rpc.NotFound, "no such thing")
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			err := errShared.WithDetail("a", 1).WithDetail("b", 2)
			assert.Len(t, err.Details, 2)
			assert.Equal(t, rpc.NotFound, err.Code)
			assert.ErrorIs(t, err, errShared)
		})
	}
	wg.Wait()
	assert.Empty(t, errShared.Details)
	three := errShared.WithDetail("a", 1).WithDetail("b", 2).WithDetail("c", 3)
	x, y := three.WithDetail("x", 4), three.WithDetail("y", 5)
	assert.Equal(t, "x", x.Details[3].Type)
	assert.Equal(t, "y", y.Details[3].Type)
}

func TestWhyTheCallerGaveUpIsInTheError(t *testing.T) {
	t.Parallel()
	blocked := newBlocking()
	b := setup(t, rpc.ServerOptions{}, blocked.register)
	errSlow, errGone := errors.New("the page was closed"), errors.New("gone")
	ctx, cancel := context.WithTimeoutCause(t.Context(), 20*time.Millisecond, errSlow)
	defer cancel()
	_, err := block.Call(ctx, b.client, ping{})
	if e, ok := errors.AsType[*rpc.Error](err); ok && !e.Remote() {
		require.ErrorIs(t, err, errSlow)
		require.ErrorIs(t, err, context.DeadlineExceeded)
	}
	early, stop := context.WithCancelCause(t.Context())
	stop(errGone)
	_, err = block.Call(early, b.client, ping{})
	require.ErrorIs(t, err, errGone)
	require.ErrorIs(t, err, context.Canceled)
	require.NotErrorIs(t, err, rpc.ErrUnknown)
}

func TestInterceptorsMayLeaveNothing(t *testing.T) {
	t.Parallel()
	anything := rpc.NewMethod[any, any]("echo.Anything")
	pass := func(ctx context.Context, _ rpc.Call, req any, next rpc.Next) (any, error) { return next(ctx, req) }
	b := setup(t, rpc.ServerOptions{Interceptors: []rpc.Interceptor{pass}}, func(s *rpc.Server) {
		anything.Handle(s, func(_ context.Context, in any) (any, error) { return in, nil })
	})
	opts := &rpc.ClientOptions{Interceptors: []rpc.Interceptor{pass}}
	kept := newClient(t, b.caller, "kept", opts)
	opts.Interceptors[0] = nil // the client has a copy
	_, err := echo.Call(t.Context(), kept, ping{})
	require.NoError(t, err)

	errLimited := errors.New("limited")
	limit := func(ctx context.Context, call rpc.Call, req any, next rpc.Next) (any, error) {
		if call.Method == "Echo" {
			return nil, errLimited
		}
		return next(ctx, req)
	}
	client := newClient(t, b.caller, "wrapped", &rpc.ClientOptions{Interceptors: []rpc.Interceptor{limit}})
	out, err := anything.Call(t.Context(), client, nil)
	require.NoError(t, err)
	assert.Nil(t, out)
	_, err = echo.Call(t.Context(), client, ping{})
	require.ErrorIs(t, err, errLimited)
	var e *rpc.Error
	require.ErrorAs(t, err, &e, "every error is one")
	assert.Equal(t, rpc.Unknown, e.Code)
	assert.False(t, e.Remote())
}

func TestASecondReplyReachesNobody(t *testing.T) {
	t.Parallel()
	b := setup(t, rpc.ServerOptions{}, nil)
	eager := rpc.NewMethod[ping, ping]("eager.Do")
	_, err := b.nc.Subscribe("rpc.eager.Do.*", func(m *nats.Msg) {
		_ = m.Respond(m.Data)
		_ = m.Respond([]byte(`{"text":"again"}`))
		_ = m.Respond([]byte(`{"text":"and again"}`))
	})
	require.NoError(t, err)
	require.NoError(t, b.nc.Flush())
	for i := range 20 {
		out, err := eager.Call(t.Context(), b.client, ping{Count: i}, rpc.Timeout(5*time.Second))
		require.NoError(t, err)
		require.Equal(t, ping{Count: i}, out)
		require.NoError(t, b.nc.Flush())
		require.NoError(t, b.caller.Flush())
	}
}

func TestWhoeverGivesUpSaysSo(t *testing.T) {
	t.Parallel()
	b := setup(t, rpc.ServerOptions{}, nil)
	silent := rpc.NewMethod[ping, ping]("silent.Do")
	requests, cancels := make(chan *nats.Msg, 10), make(chan *nats.Msg, 10)
	_, err := b.nc.ChanSubscribe("rpc.silent.Do.*", requests)
	require.NoError(t, err)
	_, err = b.nc.ChanSubscribe("cancel.silent.*.*.*", cancels)
	require.NoError(t, err)
	require.NoError(t, b.nc.Flush())
	told := func() {
		key := strings.TrimPrefix(within(t, cancels).Subject, "cancel.silent.")
		assert.True(t, strings.HasPrefix(within(t, requests).Reply, "r.silent."+key+"."), key)
	}
	_, err = silent.Call(t.Context(), b.client, ping{}, rpc.Timeout(10*time.Millisecond))
	require.ErrorIs(t, err, rpc.ErrUnknown)
	assert.Equal(t, rpc.DeadlineExceeded, rpc.CodeOf(err))
	told()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	_, err = silent.Call(ctx, b.client, ping{})
	require.ErrorIs(t, err, rpc.ErrUnknown)
	told()
}

// A handler may start goroutines that go on when it has returned. Its context has ended for them, whether they had looked
// at it before or not.
func TestAContextEndsWithItsHandler(t *testing.T) {
	t.Parallel()
	lend := rpc.NewMethod[string, ping]("echo.Lend")
	contexts := make(chan context.Context, 1)
	b := setup(t, rpc.ServerOptions{}, func(s *rpc.Server) {
		lend.Handle(s, func(ctx context.Context, how string) (ping, error) {
			contexts <- ctx
			if how == "looked" {
				assert.NoError(t, ctx.Err())
			}
			if how == "exit" {
				runtime.Goexit()
			}
			return ping{}, nil
		})
	})
	for _, how := range []string{"new", "looked", "exit"} {
		_, _ = lend.Call(t.Context(), b.client, how)
		ctx := within(t, contexts)
		ended := make(chan struct{})
		context.AfterFunc(ctx, func() { close(ended) })
		within(t, ended)
		child, cancel := context.WithTimeout(ctx, time.Hour)
		assert.ErrorIs(t, child.Err(), context.Canceled, how)
		assert.ErrorContains(t, context.Cause(child), "the call is over", how)
		assert.Equal(t, "rpc call echo.Lend", fmt.Sprint(ctx))
		_, ok := rpc.CallFrom(child)
		assert.True(t, ok)
		cancel()
	}
}

// What is refused for lack of room is refused to those alone who may be answered.
func TestACallThatIsShedIsCheckedFirst(t *testing.T) {
	t.Parallel()
	blocked := newBlocking()
	b := setup(t, rpc.ServerOptions{MaxInFlight: 1, MaxQueue: 1}, blocked.register)
	tap, err := b.caller.SubscribeSync("r.echo.victim.>")
	require.NoError(t, err)
	require.NoError(t, b.caller.Flush())
	go func() { _, _ = block.Call(t.Context(), b.client, ping{}) }()
	within(t, blocked.begun)
	for range 10 {
		require.NoError(t, b.caller.PublishRequest("rpc.echo.Block.tester", "r.echo.victim.c.1.0.1json", nil))
	}
	require.Eventually(t, func() bool { return b.server.Stats().Dropped >= 9 }, 10*time.Second, time.Millisecond)
	require.NoError(t, b.nc.Flush())
	require.NoError(t, b.caller.Flush())
	n, _, err := tap.Pending()
	require.NoError(t, err)
	assert.Zero(t, n)
	close(blocked.release)
}

func TestACallThatCouldNotBeSentWaitsForNothing(t *testing.T) {
	t.Parallel()
	b := setup(t, rpc.ServerOptions{}, nil)
	for range 3 {
		_, err := echo.Call(t.Context(), b.client, ping{Text: strings.Repeat("x", 2<<20)})
		require.ErrorIs(t, err, nats.ErrMaxPayload)
		refused := fmt.Errorf(`%w: "rpc.echo.Echo.tester"`, nats.ErrPermissionViolation)
		require.False(t, b.client.HandleError(nil, refused), "no call is left to end")
		_, err = echo.Call(t.Context(), b.client, ping{})
		require.NoError(t, err)
	}
	require.False(t, b.client.HandleError(nil, nats.ErrPermissionViolation), "it names no subject")
	require.False(t, b.client.HandleError(nil, fmt.Errorf(`%w: "rpc.echo.Echo.tester`, nats.ErrPermissionViolation)))
}
