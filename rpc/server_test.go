package rpc_test

import (
	"context"
	"fmt"
	"log/slog"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/hocket-go/hocket/codec"
	"github.com/hocket-go/hocket/embedded"
	"github.com/hocket-go/hocket/embedded/embeddedtest"
	"github.com/hocket-go/hocket/rpc"
)

func TestInstancesShareTheLoad(t *testing.T) {
	t.Parallel()
	b := setup(t, rpc.ServerOptions{}, nil)
	var servers []*rpc.Server
	for i := range 3 {
		s, err := rpc.NewServer(b.broker.Connect(t), "echo", &rpc.ServerOptions{Instance: fmt.Sprint("i", i)})
		require.NoError(t, err)
		echo.Handle(s, func(ctx context.Context, _ ping) (ping, error) {
			call, _ := rpc.CallFrom(ctx)
			return ping{Text: call.Instance + "@" + s.Instance()}, nil
		})
		require.NoError(t, s.Start(t.Context()))
		t.Cleanup(func() { require.NoError(t, s.Close()) })
		servers = append(servers, s)
	}
	for range 400 {
		_, err := echo.Call(t.Context(), b.client, ping{})
		require.NoError(t, err)
	}
	sum := b.server.Stats().Calls
	for _, s := range servers {
		assert.Greater(t, s.Stats().Calls, uint64(40))
		sum += s.Stats().Calls
	}
	assert.EqualValues(t, 400, sum, "each call once")

	out, err := echo.Call(t.Context(), b.client, ping{}, rpc.ToInstance("i1"))
	require.NoError(t, err)
	assert.Equal(t, "i1@i1", out.Text)
	_, err = echo.Call(t.Context(), b.client, ping{}, rpc.ToInstance("i9"))
	assert.Equal(t, rpc.Unavailable, rpc.CodeOf(err))
}

// A reply subject is where the server publishes. Whoever names a caller gets no say in it beyond that caller's own.
func TestACallWhoseReplyIsNotItsCallersIsDropped(t *testing.T) {
	t.Parallel()
	b := setup(t, rpc.ServerOptions{Instance: "i"}, nil)
	tap, err := b.caller.SubscribeSync(">")
	require.NoError(t, err)
	require.NoError(t, b.caller.Flush())
	hostile := []string{
		"", "_INBOX.x", "rpc.other.Delete.echo", "r.echo.victim.c.1.0.1json", "r.other.tester.c.1.0.1json",
		"r.echo.tester.c.1.0", "r.echo.tester.c.1.0.1json.x", "r.echo.tester.c.1.x.1json", "r.echo.tester", "$JS.API.INFO",
		"r.echo.tester..1.0.1json", "r.*.tester.c.1.0.1json", "r.echo.>",
	}
	for _, reply := range hostile {
		// Without this client's library to check it.
		for _, to := range []string{"rpc.echo.Echo.tester", "rpc.echo.Echo.i.tester"} {
			require.NoError(t, b.caller.PublishMsg(&nats.Msg{Subject: to, Reply: reply, Data: []byte(`{}`)}), "%q", reply)
		}
	}
	require.NoError(t, b.caller.Publish("rpc.echo.Echo", []byte(`{}`)))
	_, err = echo.Call(t.Context(), b.client, ping{})
	require.NoError(t, err, "and it goes on")
	assert.EqualValues(t, 2*len(hostile)+1, b.server.Stats().Dropped)
	assert.EqualValues(t, 1, b.server.Stats().Calls)
	require.NoError(t, b.caller.Flush())
	var published []string
	for n, _, err := tap.Pending(); n > 0; n-- {
		require.NoError(t, err)
		msg, err := tap.NextMsg(time.Second)
		require.NoError(t, err)
		if msg.Subject != "rpc.echo.Echo.tester" && msg.Subject != "rpc.echo.Echo.i.tester" {
			published = append(published, msg.Subject)
		}
	}
	require.Len(t, published, 2)
	assert.Equal(t, "rpc.echo.Echo", published[0], "our own plain call")
	assert.Contains(t, published[1], "r.echo.tester.", "the reply to the real one")
	assert.Contains(t, b.log.String(), "its reply subject is not the caller's")
	assert.Less(t, strings.Count(b.log.String(), "dropped a call"), len(hostile), "whoever sends much does not fill the log")
}

func TestRequireCallerLeavesOutThePlainForm(t *testing.T) {
	t.Parallel()
	b := setup(t, rpc.ServerOptions{RequireCaller: true}, nil)
	_, err := b.caller.Request("rpc.echo.Echo", nil, time.Second)
	require.ErrorIs(t, err, nats.ErrNoResponders)
	_, err = echo.Call(t.Context(), b.client, ping{})
	require.NoError(t, err)
}

// What format version 1 looked like; it stays readable.
func TestFormatVersion1StaysReadable(t *testing.T) {
	t.Parallel()
	b := setup(t, rpc.ServerOptions{}, nil)
	ask := func(reply string) *nats.Msg {
		sub, err := b.caller.SubscribeSync(reply)
		require.NoError(t, err)
		require.NoError(t, b.caller.PublishRequest("rpc.echo.Echo.old", reply, []byte(`{"text":"a"}`)))
		msg, err := sub.NextMsg(5 * time.Second)
		require.NoError(t, err)
		return msg
	}
	msg := ask("r.echo.old.Abc123.z1.2500.1json")
	assert.JSONEq(t, `{"text":"a"}`, string(msg.Data))
	assert.Empty(t, msg.Header)
	msg = ask("r.echo.old.Abc123.z2.2500.2json")
	assert.Equal(t, "Unimplemented", msg.Header.Get("Nats-Service-Error-Code"))
	assert.Contains(t, msg.Header.Get("Nats-Service-Error"), `format version "2"`)
	msg = ask("r.echo.old.Abc123.z3.2500.1avro")
	assert.Equal(t, "Unimplemented", msg.Header.Get("Nats-Service-Error-Code"))
	assert.Contains(t, msg.Header.Get("Nats-Service-Error"), "avro")
	assert.Contains(t, msg.Header.Get("Nats-Service-Error"), "json")
}

func TestEveryCodecCarriesACall(t *testing.T) {
	t.Parallel()
	text := rpc.NewMethod[string, string]("echo.Text", rpc.Codec(codec.Text()))
	b := setup(t, rpc.ServerOptions{}, func(s *rpc.Server) {
		text.Handle(s, func(_ context.Context, in string) (string, error) { return in + in, nil })
	})
	for _, f := range []codec.Format{codec.JSON(), codec.MsgPack(), codec.CBOR()} {
		method := rpc.NewMethod[ping, ping]("echo.Echo", rpc.Codec(f))
		out, err := method.Call(t.Context(), b.client, ping{Text: "é", Count: 3})
		require.NoError(t, err, f.Name())
		assert.Equal(t, ping{Text: "é", Count: 3}, out)
	}
	s, err := text.Call(t.Context(), b.client, "ab")
	require.NoError(t, err)
	assert.Equal(t, "abab", s)

	ask := func(contentType, data string) *nats.Msg {
		msg, err := b.caller.RequestMsg(&nats.Msg{
			Subject: "rpc.echo.Text", Data: []byte(data), Header: nats.Header{"Content-Type": {contentType}},
		}, 5*time.Second)
		require.NoError(t, err)
		return msg
	}
	msg := ask("text/plain; charset=utf-8", "x")
	assert.Equal(t, "xx", string(msg.Data))
	assert.Contains(t, msg.Header.Get("Content-Type"), "text/plain")
	msg = ask("application/json", `"x"`)
	assert.Equal(t, `"xx"`, string(msg.Data))
	msg = ask("image/png", "x")
	assert.Equal(t, "Unimplemented", msg.Header.Get("Nats-Service-Error-Code"))
	assert.Contains(t, msg.Header.Get("Nats-Service-Error"), "image/png")
}

// Quick calls run on the goroutine that reads them. When one of them blocks, the others must not wait for it.
func TestAHandlerThatBlocksHoldsUpNobody(t *testing.T) {
	t.Parallel()
	blocked := newBlocking()
	moody := rpc.NewMethod[ping, ping]("echo.Moody")
	b := setup(t, rpc.ServerOptions{}, func(s *rpc.Server) {
		moody.Handle(s, func(_ context.Context, in ping) (ping, error) {
			if in.Text == "block" {
				blocked.begun <- struct{}{}
				<-blocked.release
			}
			return in, nil
		})
	})
	for range 200 { // until it is known as quick
		_, err := moody.Call(t.Context(), b.client, ping{})
		require.NoError(t, err)
	}
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() {
			_, err := moody.Call(t.Context(), b.client, ping{Text: "block"})
			assert.NoError(t, err)
		})
		wg.Go(func() {
			_, err := moody.Call(t.Context(), b.client, ping{})
			assert.NoError(t, err)
		})
	}
	for range 20 {
		within(t, blocked.begun)
	}
	_, err := moody.Call(t.Context(), b.client, ping{})
	require.NoError(t, err, "while twenty are blocked")
	assert.GreaterOrEqual(t, b.server.Stats().InFlight, 20)
	close(blocked.release)
	wg.Wait()
}

func TestBeyondItsLimitsAServerRefusesAndLosesNothing(t *testing.T) {
	t.Parallel()
	const running, queued, all = 2, 16, 40
	blocked := newBlocking()
	b := setup(t, rpc.ServerOptions{MaxInFlight: running, MaxQueue: queued}, blocked.register)
	results := make(chan error, all)
	for range all {
		go func() {
			_, err := block.Call(t.Context(), b.client, ping{})
			results <- err
		}()
		require.NoError(t, b.caller.Flush())
	}
	for range all - running - queued {
		err := within(t, results)
		assert.Equal(t, rpc.ResourceExhausted, rpc.CodeOf(err), "%v", err)
		assert.ErrorContains(t, err, "2 calls run and 16 wait")
	}
	assert.EqualValues(t, all-running-queued, b.server.Stats().Shed)
	close(blocked.release)
	for range running + queued {
		require.NoError(t, within(t, results))
	}
}

func TestDrainFinishesWhatWasAccepted(t *testing.T) {
	t.Parallel()
	const calls = 50
	blocked := newBlocking()
	b := setup(t, rpc.ServerOptions{MaxInFlight: 10}, blocked.register)
	results := make(chan error, calls)
	for range calls {
		go func() {
			_, err := block.Call(t.Context(), b.client, ping{})
			results <- err
		}()
	}
	require.Eventually(t, func() bool { return b.server.Stats().Queued == calls-10 }, 5*time.Second, time.Millisecond)

	drained := make(chan error, 1)
	go func() { drained <- b.server.Drain(t.Context()) }()
	require.Eventually(t, func() bool {
		// One that is accepted just before waits with the others.
		_, err := echo.Call(t.Context(), b.client, ping{}, rpc.Timeout(20*time.Millisecond))
		return rpc.CodeOf(err) == rpc.Unavailable
	}, 5*time.Second, time.Millisecond, "the intake has stopped")
	close(blocked.release)
	for range calls {
		require.NoError(t, within(t, results))
	}
	require.NoError(t, within(t, drained))
	require.NoError(t, b.server.Drain(t.Context()), "idempotent")
	require.NoError(t, b.server.Close())
}

func TestDrainIsBoundedByItsContextAndNamesWhatStillRuns(t *testing.T) {
	t.Parallel()
	blocked := newBlocking()
	b := setup(t, rpc.ServerOptions{}, blocked.register)
	go func() { _, _ = block.Call(t.Context(), b.client, ping{}) }()
	within(t, blocked.begun)
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	err := b.server.Drain(ctx)
	require.ErrorIs(t, err, context.DeadlineExceeded)
	assert.ErrorContains(t, err, "still running Block (1)")
	require.ErrorIs(t, within(t, blocked.ended), rpc.ErrClosed, "its context ends")
	require.NoError(t, b.server.Drain(t.Context()), "and drain can be called again")
}

func TestCloseCancelsHandlersAndAnswersWhatWaits(t *testing.T) {
	t.Parallel()
	blocked := newBlocking()
	b := setup(t, rpc.ServerOptions{MaxInFlight: 1}, blocked.register)
	results := make(chan error, 2)
	for range 2 {
		go func() {
			_, err := block.Call(t.Context(), b.client, ping{})
			results <- err
		}()
	}
	within(t, blocked.begun)
	require.Eventually(t, func() bool { return b.server.Stats().Queued == 1 }, 5*time.Second, time.Millisecond)
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() { assert.NoError(t, b.server.Close()) })
	}
	wg.Wait()
	require.ErrorIs(t, <-blocked.ended, rpc.ErrClosed)
	codes := []rpc.Code{rpc.CodeOf(within(t, results)), rpc.CodeOf(within(t, results))}
	assert.ElementsMatch(t, []rpc.Code{rpc.Canceled, rpc.Unavailable}, codes)
}

func TestCloseBeforeStartAndWithoutConnection(t *testing.T) {
	t.Parallel()
	broker := embeddedtest.New(t)
	nc := broker.Connect(t)
	s, err := rpc.NewServer(nc, "echo", nil)
	require.NoError(t, err)
	require.NoError(t, s.Close())
	require.Error(t, s.Start(t.Context()))
	s, err = rpc.NewServer(nc, "echo", nil)
	require.NoError(t, err)
	echo.Handle(s, func(_ context.Context, in ping) (ping, error) { return in, nil })
	require.NoError(t, s.Start(t.Context()))
	require.ErrorContains(t, s.Start(t.Context()), "started already")
	nc.Close()
	require.NoError(t, s.Drain(t.Context()))
	s, err = rpc.NewServer(nc, "echo", nil)
	require.NoError(t, err)
	require.ErrorIs(t, s.Start(t.Context()), nats.ErrConnectionClosed)
	require.NoError(t, s.Drain(t.Context()))
}

func TestWrongWiringPanicsAtOnce(t *testing.T) {
	t.Parallel()
	b := setup(t, rpc.ServerOptions{}, nil)
	handle := func(_ context.Context, in ping) (ping, error) { return in, nil }
	fresh, err := rpc.NewServer(b.nc, "echo", nil)
	require.NoError(t, err)
	echo.Handle(fresh, handle)
	for want, wire := range map[string]func(){
		"rpc: handle echo.Echo: the method has a handler already": func() { echo.Handle(fresh, handle) },
		"rpc: handle echo.Block: the server has started":          func() { block.Handle(b.server, handle) },
		`rpc: handle shop.Buy: the method is not one of service "echo"`: func() {
			rpc.NewMethod[ping, ping]("shop.Buy").Handle(fresh, handle)
		},
		`rpc: method name "Buy" has no dot; it is "<service>.<method>"`: func() { rpc.NewMethod[int, int]("Buy") },
		`rpc: method ".Buy": invalid name: service "" is empty`:         func() { rpc.NewMethod[int, int](".Buy") },
		`rpc: method "shop.": invalid name: method "" is empty`:         func() { rpc.NewMethod[int, int]("shop.") },
		`rpc: method "a.b": the codec has no name`: func() {
			rpc.NewMethod[int, int]("a.b", rpc.Codec(codec.Format{}))
		},
	} {
		assert.PanicsWithValue(t, want, wire)
	}
	_, err = rpc.NewServer(b.nc, "", &rpc.ServerOptions{MaxInFlight: -1, MaxQueue: -2, Namespace: "a.b"})
	for _, want := range []string{`service "" is empty`, "MaxInFlight is -1", "MaxQueue is -2", `namespace "a.b" must match`} {
		assert.ErrorContains(t, err, want)
	}
	_, err = rpc.NewClient(b.nc, "", nil)
	require.ErrorContains(t, err, `caller "" is empty`)
}

// permitted starts a broker on which user "limited" may only publish and subscribe as given.
func permitted(t *testing.T, publish, subscribe []string) *nats.Conn {
	t.Helper()
	broker := embeddedtest.New(t, func(o *embedded.Options) {
		o.Configure = func(so *server.Options) {
			so.Users = []*server.User{{Username: "limited", Password: "p", Permissions: &server.Permissions{
				Publish:   &server.SubjectPermission{Allow: publish},
				Subscribe: &server.SubjectPermission{Allow: subscribe},
			}}}
		}
	})
	return broker.Connect(t, nats.UserInfo("limited", "p"))
}

func TestStartNamesEverySubjectThatTheBrokerRefused(t *testing.T) {
	t.Parallel()
	nc := permitted(t, []string{">"}, []string{"rpc.echo.Echo.*"})
	log := &logBuffer{}
	s, err := rpc.NewServer(nc, "echo", &rpc.ServerOptions{Instance: "i", Logger: slog.New(slog.NewTextHandler(log, nil))})
	require.NoError(t, err)
	handled := make(chan bool, 100)
	nc.SetErrorHandler(func(_ *nats.Conn, sub *nats.Subscription, err error) { handled <- s.HandleError(sub, err) })
	echo.Handle(s, func(_ context.Context, in ping) (ping, error) { return in, nil })
	block.Handle(s, func(_ context.Context, in ping) (ping, error) { return in, nil })
	err = s.Start(t.Context())
	require.ErrorIs(t, err, nats.ErrPermissionViolation)
	for _, refused := range []string{
		`"rpc.echo.Echo.i.*"`, `"rpc.echo.Echo"`, `"rpc.echo.Block"`, `"rpc.echo.Block.*"`, `"rpc.echo.Block.i.*"`,
		`"cancel.echo.*.*.*"`,
	} {
		assert.ErrorContains(t, err, refused)
	}
	assert.NotContains(t, err.Error(), `"rpc.echo.Echo.*"`)
	within(t, handled)
	assert.Empty(t, log.String(), "returned, not logged too")
	require.NoError(t, s.Close())
}

func TestServiceSurvivesARestartOfTheBroker(t *testing.T) {
	t.Parallel()
	b := setup(t, rpc.ServerOptions{}, nil)
	for range 3 {
		b.broker.Restart()
		require.EventuallyWithT(t, func(c *assert.CollectT) {
			_, err := echo.Call(t.Context(), b.client, ping{}, rpc.Timeout(time.Second))
			assert.NoError(c, err)
		}, 10*time.Second, 5*time.Millisecond)
	}
}

func TestNoGoroutineIsLeftPerCall(t *testing.T) {
	t.Parallel()
	slow := rpc.NewMethod[int, string]("echo.Slow")
	b := setup(t, rpc.ServerOptions{}, func(s *rpc.Server) {
		slow.Handle(s, func(_ context.Context, n int) (string, error) {
			for range 50 {
				runtime.Gosched()
			}
			return strconv.Itoa(n), nil
		})
	})
	var wg sync.WaitGroup
	for range 64 {
		wg.Go(func() {
			for i := range 50 {
				s, err := slow.Call(t.Context(), b.client, i)
				if !assert.NoError(t, err) || !assert.Equal(t, strconv.Itoa(i), s) {
					return
				}
			}
		})
	}
	wg.Wait()
	assert.Zero(t, b.server.Stats().InFlight)
}

// A service and a caller that may do nothing but serve and call: what they need is what the layout says.
func TestACallUnderAccessRules(t *testing.T) {
	t.Parallel()
	broker := embeddedtest.New(t, func(o *embedded.Options) {
		o.Configure = func(so *server.Options) {
			for name, allow := range map[string][2][]string{
				"echo":   {{"r.echo.>"}, {"rpc.echo.*.*", "rpc.echo.*.*.*", "cancel.echo.>"}},
				"tester": {{"rpc.echo.Echo.tester", "rpc.echo.Echo.*.tester", "cancel.echo.tester.>"}, {"r.*.tester.>"}},
			} {
				so.Users = append(so.Users, &server.User{Username: name, Password: "p", Permissions: &server.Permissions{
					Publish:   &server.SubjectPermission{Allow: allow[0]},
					Subscribe: &server.SubjectPermission{Allow: allow[1]},
				}})
			}
		}
	})
	s, err := rpc.NewServer(broker.Connect(t, nats.UserInfo("echo", "p")), "echo",
		&rpc.ServerOptions{Instance: "i", RequireCaller: true})
	require.NoError(t, err)
	echo.Handle(s, func(_ context.Context, in ping) (ping, error) { return in, nil })
	require.NoError(t, s.Start(t.Context()))
	t.Cleanup(func() { require.NoError(t, s.Close()) })
	nc := broker.Connect(t, nats.UserInfo("tester", "p"))
	client := newClient(t, nc, "tester", nil)
	_, err = echo.Call(t.Context(), client, ping{})
	require.NoError(t, err)
	_, err = echo.Call(t.Context(), client, ping{}, rpc.ToInstance("i"))
	require.NoError(t, err)

	// In another's name, it gets nowhere.
	forger := newClient(t, nc, "billing", nil)
	nc.SetErrorHandler(func(_ *nats.Conn, sub *nats.Subscription, err error) { forger.HandleError(sub, err) })
	_, err = echo.Call(t.Context(), forger, ping{})
	assert.Equal(t, rpc.PermissionDenied, rpc.CodeOf(err))
	assert.EqualValues(t, 2, s.Stats().Calls)
}
