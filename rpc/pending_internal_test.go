package rpc

import (
	"context"
	"strconv"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/hocket-go/hocket/embedded"
	"github.com/hocket-go/hocket/embedded/embeddedtest"
)

func TestABurstOfCallsDoesNotHoldItsMemory(t *testing.T) {
	t.Parallel()
	var p pending
	for range 3 {
		var waiting []*waiter
		for range 1000 {
			w, err := p.acquire()
			require.NoError(t, err)
			w.payload = append(w.payload[:0], make([]byte, keptPayload/2)...)
			waiting = append(waiting, w)
		}
		assert.Zero(t, p.kept)
		waiting[0].payload = make([]byte, keptPayload+1)
		for _, w := range waiting {
			p.release(w)
		}
		kept := 0
		for _, w := range p.free {
			kept += cap(w.payload)
		}
		assert.Equal(t, kept, p.kept)
		assert.LessOrEqual(t, kept, keptPayloads)
		assert.Greater(t, kept, keptPayloads-keptPayload, "as much is kept as may be")
		assert.Nil(t, waiting[0].payload)
		assert.Len(t, *p.all.Load(), 1000, "places are used again")
	}
}

func TestWaitingCallsAreLimited(t *testing.T) {
	t.Parallel()
	var p pending
	full := make([]*waiter, maxPending)
	p.all.Store(&full)
	_, err := p.acquire()
	assert.Equal(t, ResourceExhausted, CodeOf(err))
}

func TestTimeLeftIsRoundedUpAndForeverIsNone(t *testing.T) {
	t.Parallel()
	for d, want := range map[time.Duration]int64{
		1: 1, time.Millisecond: 1, time.Millisecond + 1: 2, forever - 1: 9223372036855, forever: 0,
	} {
		assert.Equal(t, want, milliseconds(d), "%d", d)
	}
}

func TestCancellationsAreBoundedAndForgotten(t *testing.T) {
	t.Parallel()
	var c cancellations
	for i := range 2 * maxCancellations {
		c.note(strconv.Itoa(i))
	}
	assert.Len(t, c.keys, maxCancellations)
	assert.True(t, c.take("1"))
	assert.False(t, c.take("1"))
	assert.False(t, c.take(strconv.Itoa(maxCancellations)))
	c.expire()
	assert.Len(t, c.keys, maxCancellations-1, "these are young")
	for key := range c.keys {
		c.keys[key] = time.Now().Add(-2 * cancellationKept)
	}
	c.swept = time.Time{}
	c.expire()
	assert.Empty(t, c.keys)
	assert.Zero(t, c.n.Load())
}

// A connection may close before the server could ask to be told of a subscription's end.
func TestASubscriptionThatHasEndedIsNotWaitedFor(t *testing.T) {
	t.Parallel()
	nc := embeddedtest.New(t).Connect(t)
	s, err := NewServer(nc, "echo", nil)
	require.NoError(t, err)
	sub, err := nc.ChanSubscribe("rpc.echo.Echo", s.queue)
	require.NoError(t, err)
	nc.Close()
	s.track(sub)
	require.NoError(t, s.Close())
}

// The broker routes calls from the first subscription on, though a later one may be refused.
func TestAStartThatFailsAnswersWhatCameMeanwhile(t *testing.T) {
	t.Parallel()
	broker := embeddedtest.New(t, func(o *embedded.Options) {
		o.Configure = func(so *server.Options) {
			so.Users = []*server.User{{Username: "limited", Password: "p", Permissions: &server.Permissions{
				Publish:   &server.SubjectPermission{Allow: []string{">"}},
				Subscribe: &server.SubjectPermission{Allow: []string{"rpc.echo.Echo", "inbox"}},
			}}}
		}
	})
	nc := broker.Connect(t, nats.UserInfo("limited", "p"))
	answers, err := nc.SubscribeSync("inbox")
	require.NoError(t, err)
	s, err := NewServer(nc, "echo", nil)
	require.NoError(t, err)
	served := false
	NewMethod[int, int]("echo.Echo").Handle(s, func(_ context.Context, in int) (int, error) {
		served = true
		return in, nil
	})
	s.queue <- &nats.Msg{Subject: "rpc.echo.Echo", Reply: "inbox", Data: []byte("1")}
	require.ErrorIs(t, s.Start(t.Context()), nats.ErrPermissionViolation)
	msg, err := answers.NextMsg(10 * time.Second)
	require.NoError(t, err)
	assert.Equal(t, "Unavailable", msg.Header.Get(errorCodeHeader))
	require.NoError(t, s.Close())
	assert.False(t, served)
}
