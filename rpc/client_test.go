package rpc_test

import (
	"context"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/hocket-go/hocket/rpc"
)

func TestALateReplyReachesNobody(t *testing.T) {
	t.Parallel()
	b := setup(t, rpc.ServerOptions{}, nil)
	lazy := rpc.NewMethod[ping, ping]("lazy.Do")
	requests := make(chan *nats.Msg, 10)
	_, err := b.nc.ChanSubscribe("rpc.lazy.Do.*", requests)
	require.NoError(t, err)
	require.NoError(t, b.nc.Flush())
	_, err = lazy.Call(t.Context(), b.client, ping{}, rpc.Timeout(20*time.Millisecond))
	require.ErrorIs(t, err, rpc.ErrUnknown)
	late := within(t, requests)

	go func() {
		next := <-requests
		_ = late.Respond([]byte(`{"text":"late"}`))
		_ = next.Respond([]byte(`{"text":"right"}`))
	}()
	out, err := lazy.Call(t.Context(), b.client, ping{})
	require.NoError(t, err)
	assert.Equal(t, "right", out.Text)
}

// A service may publish below r.<itself>; it must not be able to answer calls to others by guessing their numbers.
func TestAReplyFromAnotherServiceIsNotTaken(t *testing.T) {
	t.Parallel()
	b := setup(t, rpc.ServerOptions{}, nil)
	bank := rpc.NewMethod[ping, ping]("bank.Balance")
	_, err := b.nc.Subscribe("rpc.bank.Balance.*", func(m *nats.Msg) {
		forged := strings.Replace(m.Reply, "r.bank.", "r.thief.", 1)
		_ = b.nc.Publish(forged, []byte(`{"text":"forged"}`))
		_ = b.nc.Publish(m.Reply+".x", []byte(`{"text":"forged"}`))
		_ = m.Respond([]byte(`{"text":"real"}`))
	})
	require.NoError(t, err)
	require.NoError(t, b.nc.Flush())
	for range 20 {
		out, err := bank.Call(t.Context(), b.client, ping{})
		require.NoError(t, err)
		require.Equal(t, "real", out.Text)
	}
}

func TestAReplyToNoCallDoesNoHarm(t *testing.T) {
	t.Parallel()
	b := setup(t, rpc.ServerOptions{}, nil)
	sub, err := b.nc.SubscribeSync("rpc.spy.On.*")
	require.NoError(t, err)
	require.NoError(t, b.nc.Flush())
	go func() { _, _ = rpc.NewMethod[ping, ping]("spy.On").Call(t.Context(), b.client, ping{}) }()
	msg, err := sub.NextMsg(5 * time.Second)
	require.NoError(t, err)
	prefix := msg.Reply[:strings.Index(msg.Reply, ".tester.")+len(".tester.")]
	token, _, _ := strings.Cut(msg.Reply[len(prefix):], ".")
	for _, rest := range []string{"x", "zzzzzzzzzzzzzzzzzzzzzzzzz.1.1json", "-1.0.1json", "0.0.1json", "zzzzzzzz.0.1json", "é.0.1json"} {
		require.NoError(t, b.nc.Publish(prefix+token+"."+rest, []byte("{}")))
	}
	require.NoError(t, b.nc.Flush())
	_, err = echo.Call(t.Context(), b.client, ping{})
	require.NoError(t, err)
	require.NoError(t, msg.Respond([]byte("{}")))
}

func TestCloseEndsWhatWaits(t *testing.T) {
	t.Parallel()
	for name, end := range map[string]func(*bundle){
		"client":     func(b *bundle) { _ = b.client.Close() },
		"connection": func(b *bundle) { b.caller.Close() },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			blocked := newBlocking()
			b := setup(t, rpc.ServerOptions{}, blocked.register)
			done := make(chan error, 1)
			go func() {
				_, err := block.Call(t.Context(), b.client, ping{}, rpc.Timeout(time.Hour))
				done <- err
			}()
			within(t, blocked.begun)
			end(b)
			err := within(t, done)
			assert.Equal(t, rpc.Unavailable, rpc.CodeOf(err), "%v", err)
			require.ErrorIs(t, err, rpc.ErrClosed)
			require.ErrorIs(t, err, rpc.ErrUnknown, "the handler has it")
			_, err = echo.Call(t.Context(), b.client, ping{})
			assert.Equal(t, rpc.Unavailable, rpc.CodeOf(err))
			require.NotErrorIs(t, err, rpc.ErrUnknown, "this one was not sent")
			require.NoError(t, b.client.Close())
			close(blocked.release)
		})
	}
}

func TestWhatTheBrokerRefusesIsPermissionDeniedAtOnce(t *testing.T) {
	t.Parallel()
	for name, permissions := range map[string][2][]string{
		"publish": {{"rpc.echo.Other.>"}, {"r.*.tester.>"}},
		"replies": {{"rpc.>"}, {"r.*.somebody.>"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var mu sync.Mutex // the refusal of the replies may come before the client is known
			var client *rpc.Client
			nc := permitted(t, permissions[0], permissions[1])
			nc.SetErrorHandler(func(_ *nats.Conn, sub *nats.Subscription, err error) {
				mu.Lock()
				defer mu.Unlock()
				client.HandleError(sub, err)
			})
			mu.Lock()
			client = newClient(t, nc, "tester", nil)
			mu.Unlock()
			_, err := echo.Call(t.Context(), client, ping{}, rpc.Timeout(time.Minute))
			assert.Equal(t, rpc.PermissionDenied, rpc.CodeOf(err), "%v", err)
			require.ErrorIs(t, err, nats.ErrPermissionViolation)
			if name == "publish" { // else it depends on which of both came first
				require.NotErrorIs(t, err, rpc.ErrUnknown)
			}
			_, err = echo.Call(t.Context(), client, ping{})
			assert.Equal(t, rpc.PermissionDenied, rpc.CodeOf(err), "%v", err)
			require.NotErrorIs(t, err, rpc.ErrUnknown)
		})
	}
}

func TestInterceptorsWrapBothSides(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	var order []string
	note := func(what string) rpc.Interceptor {
		return func(ctx context.Context, call rpc.Call, req any, next rpc.Next) (any, error) {
			mu.Lock()
			order = append(order, what+" "+call.Name()+" "+call.Caller)
			mu.Unlock()
			in, ok := req.(ping)
			assert.True(t, ok)
			in.Text += what
			out, err := next(ctx, in)
			if resp, ok := out.(ping); ok && err == nil {
				resp.Text += strings.ToUpper(what)
				return resp, nil
			}
			return out, err
		}
	}
	refuse := func(ctx context.Context, _ rpc.Call, req any, next rpc.Next) (any, error) {
		switch in, _ := req.(ping); {
		case strings.HasPrefix(in.Text, "refuse"):
			return nil, rpc.Errorf(rpc.FailedPrecondition, "not now")
		case strings.HasPrefix(in.Text, "type"):
			return next(ctx, "a string")
		case strings.HasPrefix(in.Text, "reply"):
			return 7, nil
		}
		return next(ctx, req)
	}
	b := setup(t, rpc.ServerOptions{Interceptors: []rpc.Interceptor{note("c"), note("d"), refuse}}, nil)
	client := newClient(t, b.caller, "wrapped", &rpc.ClientOptions{Interceptors: []rpc.Interceptor{note("a"), note("b")}})
	out, err := echo.Call(t.Context(), client, ping{})
	require.NoError(t, err)
	assert.Equal(t, "abcdDCBA", out.Text)
	assert.Equal(t, []string{"a echo.Echo wrapped", "b echo.Echo wrapped", "c echo.Echo wrapped", "d echo.Echo wrapped"}, order)
	_, err = echo.Call(t.Context(), client, ping{Text: "refuse"})
	assert.Equal(t, rpc.FailedPrecondition, rpc.CodeOf(err))
	_, err = echo.Call(t.Context(), client, ping{Text: "type"})
	assert.Equal(t, rpc.Internal, rpc.CodeOf(err))
	assert.ErrorContains(t, err, "an interceptor made the request a string, not a rpc_test.ping")
	_, err = echo.Call(t.Context(), client, ping{Text: "reply"})
	assert.ErrorContains(t, err, "an interceptor made the reply a int, not a rpc_test.ping")
}

func TestNamespacesDoNotHearEachOther(t *testing.T) {
	t.Parallel()
	b := setup(t, rpc.ServerOptions{Namespace: "staging"}, nil)
	_, err := echo.Call(t.Context(), b.client, ping{})
	assert.Equal(t, rpc.Unavailable, rpc.CodeOf(err))
	client := newClient(t, b.caller, "tester", &rpc.ClientOptions{Namespace: "staging"})
	_, err = echo.Call(t.Context(), client, ping{})
	require.NoError(t, err)
}
