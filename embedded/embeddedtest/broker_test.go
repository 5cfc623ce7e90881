package embeddedtest_test

import (
	"context"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/hocket-go/hocket/embedded"
	"github.com/hocket-go/hocket/embedded/embeddedtest"
)

const patience = 20 * time.Second

func stream(t *testing.T, nc *nats.Conn) jetstream.JetStream {
	t.Helper()
	js, err := jetstream.New(nc)
	require.NoError(t, err)
	_, err = js.CreateStream(t.Context(), jetstream.StreamConfig{Name: "S", Subjects: []string{"s.>"}})
	require.NoError(t, err)
	return js
}

// stored is the number of messages in the stream. It asks until the connection is back.
func stored(t *testing.T, js jetstream.JetStream) uint64 {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for {
		attempt, done := context.WithTimeout(ctx, time.Second)
		s, err := js.Stream(attempt, "S")
		done()
		if err == nil {
			return s.CachedInfo().State.Msgs
		}
		require.NotErrorIs(t, ctx.Err(), err)
	}
}

func TestABrokerIsReadyInUnder20Milliseconds(t *testing.T) {
	if testing.Short() || raceEnabled {
		t.Skip("measures time")
	}
	var took []time.Duration
	for range 15 {
		t.Run("one", func(t *testing.T) {
			began := time.Now()
			require.NoError(t, embeddedtest.New(t).Connect(t).Flush())
			took = append(took, time.Since(began))
		})
	}
	// The quickest, since other work on the machine only ever adds.
	assert.Less(t, slices.Min(took), 20*time.Millisecond, "%v", took)
}

func TestClientsReconnectAcrossARestartAndFindTheirData(t *testing.T) {
	t.Parallel()
	b := embeddedtest.New(t)
	js := stream(t, b.Connect(t))
	_, err := js.Publish(t.Context(), "s.a", nil)
	require.NoError(t, err)
	id := b.Broker().ID()
	b.Restart()
	require.NotEqual(t, id, b.Broker().ID())
	require.EqualValues(t, 1, stored(t, js))
}

func TestAfterAKillAllThatWasAcknowledgedIsThere(t *testing.T) {
	t.Parallel()
	b := embeddedtest.New(t)
	nc := b.Connect(t)
	js := stream(t, nc)
	var wg sync.WaitGroup
	var mu sync.Mutex
	var acknowledged uint64
	enough := make(chan struct{})
	for range 4 {
		wg.Go(func() {
			for {
				ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
				_, err := js.Publish(ctx, "s.a", []byte("x"))
				cancel()
				if err != nil {
					return // killed
				}
				mu.Lock()
				if acknowledged++; acknowledged == 200 {
					close(enough)
				}
				mu.Unlock()
			}
		})
	}
	<-enough
	b.Kill()
	wg.Wait()
	_, err := b.InProcessConn()
	require.Error(t, err, "it is dead")
	b.Start()
	assert.GreaterOrEqual(t, stored(t, js), acknowledged)
}

func TestALinkCanBeCutAndHealed(t *testing.T) {
	t.Parallel()
	b := embeddedtest.New(t)
	link := b.Link()
	lost, back := make(chan struct{}, 1), make(chan struct{}, 1)
	cut := link.Connect(t,
		nats.DisconnectErrHandler(func(*nats.Conn, error) { lost <- struct{}{} }),
		nats.ReconnectHandler(func(*nats.Conn) { back <- struct{}{} }))
	other := b.Connect(t)
	link.Cut()
	<-lost
	require.NoError(t, other.Flush(), "another link was cut too")
	require.Error(t, cut.FlushTimeout(50*time.Millisecond))
	link.Heal()
	<-back
	require.NoError(t, cut.Flush())
}

func TestAMutedLinkLosesAcknowledgementsOnly(t *testing.T) {
	t.Parallel()
	b := embeddedtest.New(t)
	link := b.Link()
	js := stream(t, link.Connect(t))
	link.Mute()
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	_, err := js.Publish(ctx, "s.a", nil)
	require.ErrorIs(t, err, context.DeadlineExceeded)
	link.Heal()
	require.EqualValues(t, 1, stored(t, js))
}

func TestOptionsCanBeModified(t *testing.T) {
	t.Parallel()
	b := embeddedtest.New(t, func(o *embedded.Options) { o.SyncInterval = time.Minute })
	assert.False(t, b.Broker().Durability().Synced())
	assert.True(t, embeddedtest.New(t).Broker().Durability().Synced())
}

func TestANodeOfAClusterCanBeStoppedAndStarted(t *testing.T) {
	t.Parallel()
	c := embeddedtest.NewCluster(t, 3)
	nc := c.Connect(t)
	js, err := jetstream.New(nc)
	require.NoError(t, err)
	_, err = js.CreateStream(t.Context(), jetstream.StreamConfig{Name: "S", Subjects: []string{"s.>"}, Replicas: 3})
	require.NoError(t, err)
	_, err = js.Publish(t.Context(), "s.a", nil)
	require.NoError(t, err)
	for _, node := range c.Nodes {
		node.Restart()
		c.WaitLeader()
	}
	require.EqualValues(t, 1, stored(t, js))
}
