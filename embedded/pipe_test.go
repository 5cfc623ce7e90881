package embedded_test

import (
	"fmt"
	"net"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/hocket-go/hocket/embedded"
)

func TestAConnectionThatIsClosedRightAfterPublishingLosesNothing(t *testing.T) {
	t.Parallel()
	b := start(t, options(t))
	const messages = 5000
	var got atomic.Int64
	sub, err := connect(t, b).Subscribe("s", func(*nats.Msg) { got.Add(1) })
	require.NoError(t, err)
	require.NoError(t, sub.SetPendingLimits(-1, -1))
	require.Eventually(t, func() bool { return b.Server().NumSubscriptions() > 0 }, patience, tick)

	nc := connect(t, b)
	for range messages {
		require.NoError(t, nc.Publish("s", make([]byte, 1<<10)))
	}
	nc.Close() // no Flush
	require.Eventually(t, func() bool { return got.Load() == messages }, patience, tick)
}

// With a bare net.Pipe the server and the client wait for each other until the server's write times out after 10 s.
func TestAConnectionThatIsRefusedKnowsAtOnce(t *testing.T) {
	t.Parallel()
	o := options(t)
	o.Listen = &embedded.Listen{Port: embedded.RandomPort, Token: "secret"}
	b := start(t, o)
	began := time.Now()
	_, err := b.Connect(nats.Token("wrong"))
	require.ErrorIs(t, err, nats.ErrAuthorization)
	assert.Less(t, time.Since(began), 5*time.Second)
}

// connProvider is a function as a [nats.InProcessConnProvider].
type connProvider func() (net.Conn, error)

func (p connProvider) InProcessConn() (net.Conn, error) { return p() }

// BenchmarkTransport compares the ways to a broker in this process. Each round measures all of them one after the other,
// so that what else the machine does weighs on all alike; reported is the median of each round's rate as a share of
// loopback TCP's in the same round, with the lowest and highest. Run it with a number of rounds:
//
//	go test -run '^$' -bench Transport -benchtime 15x ./embedded
func BenchmarkTransport(b *testing.B) {
	o := options(b)
	o.Listen = &embedded.Listen{Port: embedded.RandomPort}
	broker := start(b, o)
	transports := []struct {
		name string
		opts []nats.Option
	}{
		{"tcp", nil},
		{"pipe", []nats.Option{nats.InProcessServer(connProvider(broker.Server().InProcessConn))}},
		{"ours", []nats.Option{nats.InProcessServer(broker)}},
	}
	for _, work := range []struct {
		name string
		run  func(b *testing.B, dial func() *nats.Conn) time.Duration
	}{
		{"request-128B", func(b *testing.B, dial func() *nats.Conn) time.Duration { return requests(b, dial, 5_000, 128) }},
		{"request-1KiB", func(b *testing.B, dial func() *nats.Conn) time.Duration { return requests(b, dial, 5_000, 1<<10) }},
		{"request-16KiB", func(b *testing.B, dial func() *nats.Conn) time.Duration { return requests(b, dial, 2_000, 16<<10) }},
		{"publish-128B", func(b *testing.B, dial func() *nats.Conn) time.Duration { return publishes(b, dial, 500_000, 128) }},
		{"publish-1KiB", func(b *testing.B, dial func() *nats.Conn) time.Duration { return publishes(b, dial, 200_000, 1<<10) }},
		{"receive-128B", func(b *testing.B, dial func() *nats.Conn) time.Duration { return receives(b, dial, 200_000, 128) }},
		{"receive-1KiB", func(b *testing.B, dial func() *nats.Conn) time.Duration { return receives(b, dial, 100_000, 1<<10) }},
		{"replay-128B", func(b *testing.B, dial func() *nats.Conn) time.Duration { return replays(b, dial, 100_000, 128) }},
		{"replay-1KiB", func(b *testing.B, dial func() *nats.Conn) time.Duration { return replays(b, dial, 50_000, 1<<10) }},
	} {
		b.Run(work.name, func(b *testing.B) {
			ratios := make([][]float64, len(transports))
			for b.Loop() {
				var tcp time.Duration
				for i, transport := range transports {
					took := work.run(b, func() *nats.Conn {
						nc, err := nats.Connect(broker.URL(), transport.opts...)
						require.NoError(b, err)
						return nc
					})
					if i == 0 {
						tcp = took
					}
					ratios[i] = append(ratios[i], float64(tcp)/float64(took))
				}
			}
			for i, transport := range transports[1:] {
				r := ratios[i+1]
				slices.Sort(r)
				b.ReportMetric(r[len(r)/2], transport.name+"/tcp")
				b.Logf("%s: %s/tcp %.2f (%.2f to %.2f)", work.name, transport.name, r[len(r)/2], r[0], r[len(r)-1])
			}
		})
	}
}

// requests is one caller's calls in turn, answered through a connection of its own.
func requests(b *testing.B, dial func() *nats.Conn, n, size int) time.Duration {
	b.Helper()
	caller, responder := dial(), dial()
	defer caller.Close()
	defer responder.Close()
	_, err := responder.Subscribe("q", func(m *nats.Msg) { _ = m.Respond(m.Data) }) // a lost one fails the request
	require.NoError(b, err)
	require.NoError(b, responder.Flush())
	data := make([]byte, size)
	call := func() {
		if _, err = caller.Request("q", data, patience); err != nil {
			b.Fatal(err)
		}
	}
	for range n / 10 {
		call()
	}
	began := time.Now()
	for range n {
		call()
	}
	return time.Since(began)
}

func publishes(b *testing.B, dial func() *nats.Conn, n, size int) time.Duration {
	b.Helper()
	nc := dial()
	defer nc.Close()
	data := make([]byte, size)
	send := func(n int) {
		for range n {
			if err := nc.Publish("p", data); err != nil {
				b.Fatal(err)
			}
		}
		require.NoError(b, nc.FlushTimeout(patience))
	}
	send(n / 10)
	began := time.Now()
	send(n)
	return time.Since(began)
}

func receives(b *testing.B, dial func() *nats.Conn, n, size int) time.Duration {
	b.Helper()
	publisher, subscriber := dial(), dial()
	defer publisher.Close()
	defer subscriber.Close()
	got, done := 0, make(chan struct{})
	sub, err := subscriber.Subscribe("s", func(*nats.Msg) {
		if got++; got == n {
			close(done)
		}
	})
	require.NoError(b, err)
	require.NoError(b, sub.SetPendingLimits(-1, -1))
	require.NoError(b, subscriber.Flush())
	data := make([]byte, size)
	began := time.Now()
	for range n {
		if err = publisher.Publish("s", data); err != nil {
			b.Fatal(err)
		}
	}
	select {
	case <-done:
	case <-time.After(patience):
		b.Fatal("messages got lost")
	}
	return time.Since(began)
}

// replays is an ordered consumer that reads a stream in memory from its beginning.
func replays(b *testing.B, dial func() *nats.Conn, n, size int) time.Duration {
	b.Helper()
	nc := dial()
	defer nc.Close()
	name := fmt.Sprintf("R%d", size)
	s := stream(b, nc, jetstream.StreamConfig{Name: name, Subjects: []string{name}, Storage: jetstream.MemoryStorage})
	if s.CachedInfo().State.Msgs == 0 { // the first round
		for range n {
			require.NoError(b, nc.Publish(name, make([]byte, size)))
		}
		require.Eventually(b, func() bool {
			info, err := s.Info(b.Context())
			return err == nil && info.State.Msgs == uint64(n)
		}, patience, tick)
	}
	got, done := 0, make(chan struct{})
	began := time.Now()
	js, err := nc.JetStream()
	require.NoError(b, err)
	sub, err := js.Subscribe(name, func(*nats.Msg) {
		if got++; got == n {
			close(done)
		}
	}, nats.OrderedConsumer())
	require.NoError(b, err)
	<-done
	took := time.Since(began)
	require.NoError(b, sub.Unsubscribe())
	return took
}
