package binding_test

import (
	"bytes"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/hocket-go/hocket/events/internal/binding"
)

func typical() binding.Event {
	return binding.Event{
		ID: "0198f0aa-1b2c-7def-8123-456789abcdef", Source: "orders", Type: "shop.order.placed",
		DataContentType: "application/json", Time: time.Date(2025, 8, 28, 12, 30, 15, 123456789, time.UTC),
		Data: []byte(`{"order_id":"o-1","region":"eu","total":4200}`),
	}
}

// BenchmarkEncode makes the headers of a typical event, message id included.
func BenchmarkEncode(b *testing.B) {
	e := typical()
	b.ReportAllocs()
	for b.Loop() {
		if err := e.Validate(); err != nil {
			b.Fatal(err)
		}
		_ = e.Header("orders/0198f0aa-1b2c-7def-8123-456789abcdef")
	}
}

// BenchmarkDecode reads the headers of a typical event, which the client has parsed already.
func BenchmarkDecode(b *testing.B) {
	in := typical()
	h := in.Header("orders/" + in.ID)
	b.ReportAllocs()
	for b.Loop() {
		var e binding.Event
		if err := binding.Decode(&e, h, in.Data); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkDecodeHeaders is what the client does before, for scale.
func BenchmarkDecodeHeaders(b *testing.B) {
	in := typical()
	var buf bytes.Buffer
	buf.WriteString("NATS/1.0\r\n")
	for name, values := range in.Header("orders/" + in.ID) {
		buf.WriteString(name + ": " + values[0] + "\r\n")
	}
	buf.WriteString("\r\n")
	b.ReportAllocs()
	for b.Loop() {
		if _, err := nats.DecodeHeadersMsg(buf.Bytes()); err != nil {
			b.Fatal(err)
		}
	}
}
