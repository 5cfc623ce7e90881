package events_test

import (
	"context"
	"encoding/json"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"

	"github.com/hocket-go/hocket/events"
)

// BenchmarkPublish publishes one event and waits, in turn with what a hand-written client does for the same message, so
// that both see the same machine. It reports both times and the rate as a multiple of the raw one.
func BenchmarkPublish(b *testing.B) {
	r := setup(b)
	bus := busOn(b, r.nc, "orders", nil)
	r.publish(bus, "first")
	in := order{ID: "o-1", Total: 4200}
	raw := func() {
		data, err := json.Marshal(in)
		require.NoError(b, err)
		id := "0198f0aa-1b2c-7def-8123-456789abcdef"
		msg := &nats.Msg{Subject: "events.orders._.shop.order.placed", Data: data, Header: nats.Header{
			"ce-specversion": {"1.0"}, "ce-id": {id}, "ce-source": {"orders"}, "ce-type": {"shop.order.placed"},
			"ce-time": {time.Now().UTC().Format(time.RFC3339Nano)}, "ce-datacontenttype": {"application/json"},
			"Nats-Msg-Id": {"orders/" + nats.NewInbox()},
		}}
		_, err = r.js.PublishMsg(b.Context(), msg)
		require.NoError(b, err)
	}
	own := func() {
		_, err := placed.Publish(b.Context(), bus, in)
		require.NoError(b, err)
	}
	interleave(b, own, raw)
}

// interleave runs two ways of doing the same in rounds and reports both.
func interleave(b *testing.B, own, raw func()) {
	b.Helper()
	const round = 50
	var ownTime, rawTime time.Duration
	n := 0
	for b.Loop() {
		start := time.Now()
		for range round {
			own()
		}
		ownTime += time.Since(start)
		start = time.Now()
		for range round {
			raw()
		}
		rawTime += time.Since(start)
		n += round
	}
	b.ReportMetric(float64(ownTime.Nanoseconds())/float64(n), "own-ns")
	b.ReportMetric(float64(rawTime.Nanoseconds())/float64(n), "raw-ns")
	b.ReportMetric(float64(rawTime)/float64(ownTime), "x-raw")
	b.ReportMetric(0, "ns/op")
}

// BenchmarkPublishAllocs is the same without the raw client, for the allocations.
func BenchmarkPublishAllocs(b *testing.B) {
	r := setup(b)
	bus := busOn(b, r.nc, "orders", nil)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := placed.Publish(b.Context(), bus, order{ID: "o-1", Total: 4200}); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkConsume handles stored events with a handler that does nothing, acknowledgements included, beside Consume of
// nats.go with the JSON decoded by hand.
func BenchmarkConsume(b *testing.B) {
	const n = 5000
	r := setup(b)
	bus := busOn(b, r.nc, "orders", nil)
	for range n {
		r.publish(bus, "o-1")
	}
	done := make(chan struct{}, n)
	own := func(name string) {
		sub, err := placed.Subscribe(b.Context(), bus, name, func(context.Context, events.Event[order]) error {
			done <- struct{}{}
			return nil
		}, events.MaxInFlight(500))
		require.NoError(b, err)
		for range n {
			<-done
		}
		require.NoError(b, sub.Drain(b.Context()))
	}
	raw := func(name string) {
		c, err := r.js.CreateConsumer(b.Context(), "events", jetstream.ConsumerConfig{
			Durable: name, FilterSubject: "events.*.*.shop.order.placed", AckPolicy: jetstream.AckExplicitPolicy,
		})
		require.NoError(b, err)
		cc, err := c.Consume(func(msg jetstream.Msg) {
			var o order
			if err := json.Unmarshal(msg.Data(), &o); err != nil {
				b.Error(err)
			}
			if err := msg.Ack(); err != nil {
				b.Error(err)
			}
			done <- struct{}{}
		})
		require.NoError(b, err)
		for range n {
			<-done
		}
		cc.Drain()
		<-cc.Closed()
	}
	var ownTime, rawTime time.Duration
	rounds := 0
	for b.Loop() {
		name := nats.NewInbox()[len("_INBOX."):]
		start := time.Now()
		own("own-" + name)
		ownTime += time.Since(start)
		start = time.Now()
		raw("raw-" + name)
		rawTime += time.Since(start)
		rounds += n
	}
	b.ReportMetric(float64(ownTime.Nanoseconds())/float64(rounds), "own-ns")
	b.ReportMetric(float64(rawTime.Nanoseconds())/float64(rounds), "raw-ns")
	b.ReportMetric(float64(rawTime)/float64(ownTime), "x-raw")
	b.ReportMetric(0, "ns/op")
}
