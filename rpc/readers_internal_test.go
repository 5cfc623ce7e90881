package rpc

import (
	"context"
	"math"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/hocket-go/hocket/embedded/embeddedtest"
)

// gate serves a method whose handlers wait where the request says so.
type gate struct {
	server *Server
	client *Client
	method *Method[bool, bool]
	begun  chan struct{}
	open   chan struct{}
}

func newGate(t *testing.T) *gate {
	t.Helper()
	nc := embeddedtest.New(t).Connect(t)
	g := &gate{method: NewMethod[bool, bool]("gate.Pass"), begun: make(chan struct{}, 100), open: make(chan struct{})}
	var err error
	g.server, err = NewServer(nc, "gate", nil)
	require.NoError(t, err)
	g.method.Handle(g.server, func(_ context.Context, wait bool) (bool, error) {
		if wait {
			g.begun <- struct{}{}
			<-g.open
		}
		return wait, nil
	})
	g.client, err = NewClient(nc, "tester", nil)
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, g.client.Close()) })
	return g
}

func (g *gate) start(t *testing.T) {
	t.Helper()
	require.NoError(t, g.server.Start(t.Context()))
	t.Cleanup(func() { assert.NoError(t, g.server.Close()) })
}

// wait makes calls that wait, n more than before, and returns when all of them are in their handlers.
func (g *gate) wait(t *testing.T, calls *sync.WaitGroup, n int) {
	t.Helper()
	for range n {
		calls.Go(func() {
			_, err := g.method.Call(t.Context(), g.client, true)
			assert.NoError(t, err)
		})
	}
	for range n {
		select {
		case <-g.begun:
		case <-time.After(5 * time.Second):
			require.FailNow(t, "a call waits behind another")
		}
	}
}

func TestKnownSlowCallsRunSideBySideWithoutTheWatchman(t *testing.T) {
	t.Parallel()
	g := newGate(t)
	g.server.readers.pushed.Store(math.MaxInt64 / 2) // so that nobody sets it
	g.start(t)
	var calls sync.WaitGroup
	g.wait(t, &calls, 5)
	close(g.open)
	calls.Wait()
}

func TestTheWatchmanWakesEachTime(t *testing.T) {
	t.Parallel()
	g := newGate(t)
	g.start(t)
	var calls sync.WaitGroup
	g.server.cancellations.note("old")
	g.server.cancellations.keys["old"] = time.Now().Add(-2 * cancellationKept)
	for range 3 {
		for range 20 * paceMost { // until it is known as quick
			_, err := g.method.Call(t.Context(), g.client, false)
			require.NoError(t, err)
		}
		for _, h := range g.server.methods {
			h.pace.score.Store(0)
		}
		g.wait(t, &calls, 2)
	}
	close(g.open)
	calls.Wait()
	assert.Zero(t, g.server.cancellations.n.Load(), "it has forgotten the old cancellation meanwhile")
}

func TestACancellationThatReachedItsHandlerIsNotKept(t *testing.T) {
	t.Parallel()
	g := newGate(t)
	g.start(t)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		_, err := g.method.Call(ctx, g.client, true)
		done <- err
	}()
	<-g.begun
	cancel()
	require.ErrorIs(t, <-done, ErrUnknown)
	// The watchman, who forgets old ones, has nothing to forget yet.
	require.Eventually(t, func() bool {
		s := g.server
		delivered := false
		s.readers.mu.Lock()
		for reader := range s.readers.all {
			if c := reader.current.Load(); c != nil && c.Err() != nil {
				delivered = true
			}
		}
		s.readers.mu.Unlock()
		return delivered && s.cancellations.n.Load() == 0
	}, cancellationKept/2, time.Millisecond)
	close(g.open)
}

func TestRepliesAreNeverDroppedForTheirNumber(t *testing.T) {
	t.Parallel()
	g := newGate(t)
	messages, bytes, err := g.client.replies.PendingLimits()
	require.NoError(t, err)
	assert.Equal(t, []int{-1, -1}, []int{messages, bytes})
}

func TestOneCallerNeedsOnePlace(t *testing.T) {
	t.Parallel()
	g := newGate(t)
	g.start(t)
	for range 100 {
		_, err := g.method.Call(t.Context(), g.client, false)
		require.NoError(t, err)
	}
	assert.Len(t, *g.client.pending.all.Load(), 1)
}

func TestTheFirstCauseStaysThoughNobodyLooked(t *testing.T) {
	t.Parallel()
	g := newGate(t)
	c := &callContext{server: g.server}
	c.end(ErrCallerGone)
	c.end(errOver)
	require.ErrorIs(t, context.Cause(c), ErrCallerGone)
	assert.NoError(t, g.server.Close())
}

func TestOnlyAnEmptyMessageSaysThatNobodyIsThere(t *testing.T) {
	t.Parallel()
	header := nats.Header{statusHeader: {noResponders}}
	e, failed := readError(&nats.Msg{Header: header})
	require.True(t, failed)
	assert.Equal(t, Unavailable, e.Code)
	_, failed = readError(&nats.Msg{Header: header, Data: []byte("1")})
	assert.False(t, failed)
}

func TestPaceFollowsWhatIsMeasured(t *testing.T) {
	t.Parallel()
	var p pace
	assert.False(t, p.slow())
	p.measured(slowHandler)
	assert.False(t, p.slow(), "one slow call proves nothing")
	for range paceSlow / paceStep {
		p.measured(slowHandler)
	}
	assert.True(t, p.slow())
	for range 100 {
		p.measured(slowHandler)
	}
	for range paceMost {
		p.measured(0)
	}
	assert.Zero(t, p.score.Load(), "and quick ones in a row make it quick")
	p.measured(0)
	p.set()
	assert.True(t, p.slow())

	r := &readers{began: time.Now().Add(-time.Hour)}
	self := &reader{}
	var q pace
	r.unstuck(self, &q)
	assert.False(t, q.slow(), "nobody noticed it")
	self.stuck.Store(int64(time.Since(r.began) - 10*watchTick))
	r.unstuck(self, &q)
	assert.True(t, q.slow())
	assert.Zero(t, self.stuck.Load())
}

func TestACallThatIsShedIsAnsweredEvenIfItIsWrong(t *testing.T) {
	t.Parallel()
	g := newGate(t)
	g.start(t)
	for codec, want := range map[string]Code{"1json": ResourceExhausted, "1avro": Unimplemented, "9json": Unimplemented} {
		reply := "r.gate.old.c.1.0." + codec
		sub, err := g.server.nc.SubscribeSync(reply)
		require.NoError(t, err)
		g.server.reject(&nats.Msg{Subject: "rpc.gate.Pass.old", Reply: reply}, Errorf(ResourceExhausted, "full"))
		msg, err := sub.NextMsg(5 * time.Second)
		require.NoError(t, err, codec)
		assert.Equal(t, want.String(), msg.Header.Get(errorCodeHeader), codec)
	}
}
