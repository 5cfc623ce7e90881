package hockettest_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/hocket-go/hocket"
	"github.com/hocket-go/hocket/events"
	"github.com/hocket-go/hocket/hockettest"
	"github.com/hocket-go/hocket/rpc"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

type greeting struct{ Text string }

var (
	greet   = rpc.NewMethod[string, greeting]("greeter.Greet")
	greeted = events.NewType[greeting]("greeter.greeted")
)

func serve(svc *hocket.Service) {
	greet.Handle(svc, func(ctx context.Context, name string) (greeting, error) {
		g := greeting{Text: "hello " + name}
		_, err := greeted.Publish(ctx, svc, g)
		return g, err
	})
}

func TestAServiceRunsUntilItsTestEnds(t *testing.T) {
	t.Parallel()
	var svc *hockettest.Service
	t.Run("while", func(t *testing.T) {
		svc = hockettest.New(t, "greeter", serve)
		g, err := greet.Call(t.Context(), svc, "ada")
		require.NoError(t, err)
		assert.Equal(t, "hello ada", g.Text)
		assert.Equal(t, hocket.Synced, svc.Durability())
	})
	require.ErrorIs(t, svc.Health(), hocket.ErrClosed)
}

func TestWhatWasStoredIsThereAfterAKill(t *testing.T) {
	t.Parallel()
	svc := hockettest.New(t, "greeter", serve)
	_, err := greet.Call(t.Context(), svc, "ada")
	require.NoError(t, err)
	svc.Broker.Kill()
	require.EventuallyWithT(t, func(c *assert.CollectT) { assert.Error(c, svc.Health()) }, 5*time.Second, time.Millisecond)
	svc.Broker.Start()
	heard := make(chan string, 1)
	_, err = greeted.Subscribe(t.Context(), svc, "test", func(_ context.Context, e events.Event[greeting]) error {
		heard <- e.Data.Text
		return nil
	})
	require.NoError(t, err)
	select {
	case text := <-heard:
		assert.Equal(t, "hello ada", text)
	case <-time.After(10 * time.Second):
		t.Fatal("the event is lost")
	}
}

func TestOnlyTheServiceOfACutLinkLosesTheBroker(t *testing.T) {
	t.Parallel()
	svc := hockettest.New(t, "greeter", serve)
	caller := hockettest.Open(t, svc.Broker, "caller", nil)
	svc.Link.Cut()
	require.Eventually(t, func() bool { return svc.Ready() != nil }, 5*time.Second, time.Millisecond)
	require.NoError(t, caller.Ready())
	_, err := greet.Call(t.Context(), caller, "ada", rpc.Timeout(time.Second))
	assert.Equal(t, rpc.Unavailable, rpc.CodeOf(err), "%v", err)
	svc.Link.Heal()
	require.EventuallyWithT(t, func(c *assert.CollectT) {
		_, err := greet.Call(t.Context(), caller, "ada", rpc.Timeout(time.Second))
		assert.NoError(c, err)
	}, 10*time.Second, 5*time.Millisecond)
}

func TestACluster(t *testing.T) {
	t.Parallel()
	cluster := hockettest.NewCluster(t)
	hockettest.Open(t, cluster.Nodes[0], "greeter", serve)
	caller := hockettest.Open(t, cluster.Nodes[1], "caller", nil)
	require.EventuallyWithT(t, func(c *assert.CollectT) {
		_, err := greet.Call(t.Context(), caller, "ada", rpc.Timeout(5*time.Second))
		assert.NoError(c, err)
	}, 20*time.Second, 10*time.Millisecond)
	info, err := caller.Conn().Request("$JS.API.STREAM.INFO.events", nil, 5*time.Second)
	require.NoError(t, err)
	assert.Contains(t, string(info.Data), `"num_replicas":3`)
}

// BenchmarkNew is what a test pays for a service on a broker of its own. They all live until the end.
func BenchmarkNew(b *testing.B) {
	for b.Loop() {
		hockettest.New(b, "greeter", serve)
	}
}
