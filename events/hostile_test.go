package events_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/require"

	"github.com/hocket-go/hocket/codec"
	"github.com/hocket-go/hocket/events"
)

const placedSubject = "events.orders._.shop.order.placed"

func foreign(subject, data string, kv ...string) *nats.Msg {
	msg := &nats.Msg{Subject: subject, Data: []byte(data), Header: nats.Header{
		"ce-specversion": {"1.0"}, "ce-id": {"f-1"}, "ce-source": {"orders"}, "ce-type": {"shop.order.placed"},
	}}
	for i := 0; i < len(kv); i += 2 {
		if kv[i+1] == "" {
			delete(msg.Header, kv[i])
			continue
		}
		msg.Header[kv[i]] = []string{kv[i+1]}
	}
	return msg
}

// What a foreign publisher puts on the subjects of events is never given to a handler unless it is an event of its subject,
// never lost, and never in the way of others.
func TestHostileMessagesBlockNothing(t *testing.T) {
	t.Parallel()
	hostile := map[string]*nats.Msg{
		"no headers":       {Subject: placedSubject, Data: []byte("garbage")},
		"nothing":          {Subject: placedSubject},
		"spoofed source":   foreign("events.intruder._.shop.order.placed", `{}`),
		"other type":       foreign(placedSubject, `{}`, "ce-type", "shop.order.paid"),
		"newer version":    foreign(placedSubject, `{}`, "ce-dataversion", "9"),
		"no version":       foreign(placedSubject, `{}`, "ce-dataversion", "x"),
		"bad partition":    foreign("events.orders.99.shop.order.placed", `{}`),
		"bad escape":       foreign("events.or=ders._.shop.order.placed", `{}`),
		"bad data":         foreign(placedSubject, `{`),
		"wrong data":       foreign(placedSubject, `[1]`),
		"unknown codec":    foreign(placedSubject, `{}`, "ce-datacontenttype", "application/x-unknown"),
		"bad percent":      foreign(placedSubject, `{}`, "ce-id", "%"),
		"long value":       foreign(placedSubject, `{}`, "ce-source", strings.Repeat("x", 10_000)),
		"batch":            foreign(placedSubject, `[]`, "Content-Type", "application/cloudevents-batch+json"),
		"bad structured":   foreign(placedSubject, `{"specversion":`, "Content-Type", "application/cloudevents+json"),
		"consumer deleted": {Subject: placedSubject, Header: nats.Header{"Status": {"409"}, "Description": {"Consumer Deleted"}}},
		"request over":     {Subject: placedSubject, Header: nats.Header{"Status": {"408"}, "Nats-Pending-Messages": {"-5"}}},
	}
	r := setup(t)
	b := r.bus("orders", nil)
	r.publish(b, "first")
	for _, msg := range hostile {
		_, err := r.js.PublishMsg(t.Context(), msg)
		require.NoError(t, err)
	}
	r.publish(b, "last")
	got := newRecorder()
	sub, err := placed.Subscribe(t.Context(), b, "billing", got.handle, events.Workers(1), events.MaxInFlight(2))
	require.NoError(t, err)
	eventually(t, func() bool { return sub.Stats().Undecodable == uint64(len(hostile)) })
	eventually(t, func() bool { return len(got.counts()) == 2 })
	c, err := r.js.Consumer(t.Context(), "events", "billing")
	require.NoError(t, err)
	require.Equal(t, len(hostile), c.CachedInfo().NumAckPending, "they are kept")
	require.NoError(t, sub.Err())
}

func TestForeignEventsInEitherModeAreRead(t *testing.T) {
	t.Parallel()
	r := setup(t)
	b := r.bus("orders", nil)
	r.publish(b, "own")
	structured := &nats.Msg{
		Subject: "events.https=3A=2F=2Fexample=2Ecom=2Fa._.shop.order.placed",
		Header:  nats.Header{"content-type": {"application/cloudevents+json; charset=utf-8"}},
		Data: []byte(`{"specversion":"1.0","id":"1","source":"https://example.com/a","type":"shop.order.placed","number":5,` +
			`"data":{"id":"structured"}}`),
	}
	binary := foreign(placedSubject, `{"id":"binary"}`, "ce-datacontenttype", "text/json; charset=utf-8", "ce-subject", `"a \"b\""`)
	bare := foreign(placedSubject, `{"id":"bare"}`, "ce-id", "f-2", "CE-Flag", "true")
	cbor, err := codec.CBOR().Marshal(order{ID: "cbor"})
	require.NoError(t, err)
	other := foreign(placedSubject, string(cbor), "ce-id", "f-3", "ce-datacontenttype", "application/cbor")
	for _, msg := range []*nats.Msg{structured, binary, bare, other} {
		_, err := r.js.PublishMsg(t.Context(), msg)
		require.NoError(t, err)
	}
	got := newRecorder()
	_, err = placed.Subscribe(t.Context(), b, "billing", got.handle)
	require.NoError(t, err)
	for range 5 {
		e := receive(t, got.all)
		ce, err := e.CloudEvent()
		require.NoError(t, err)
		switch e.Data.ID {
		case "structured":
			require.Equal(t, "https://example.com/a", e.Source)
			require.Equal(t, int32(5), ce.Extensions()["number"])
		case "binary":
			require.Equal(t, `a "b"`, e.Subject)
		case "bare":
			require.Equal(t, map[string]string{"flag": "true"}, e.Extensions())
		}
	}
	require.Len(t, got.counts(), 5)
}

// The message of format version 1 as an earlier program stored it.
func TestFormatVersion1IsRead(t *testing.T) {
	t.Parallel()
	r := setup(t)
	b := r.bus("orders", nil)
	r.publish(b, "first")
	_, err := r.js.PublishMsg(t.Context(), &nats.Msg{
		Subject: "events.orders.40.shop.order.placed",
		Data:    []byte(`{"id":"o-1","total":5}`),
		Header: nats.Header{
			"Nats-Msg-Id": {"orders/e%201"}, "ce-specversion": {"1.0"}, "ce-id": {"e%201"}, "ce-source": {"orders"},
			"ce-type": {"shop.order.placed"}, "ce-subject": {"%C3%A4"}, "ce-time": {"2025-08-28T12:30:15.000000005Z"},
			"ce-datacontenttype": {"application/json"}, "ce-traceparent": {"00-1"}, "ce-dataversion": {"2"},
			"ce-partitionkey": {"o-1"},
		},
	})
	require.NoError(t, err)
	got := newRecorder()
	_, err = events.NewType[order]("shop.order.placed", events.Version(3)).
		Subscribe(t.Context(), b, "billing", got.handle, events.Workers(1))
	require.NoError(t, err)
	require.Equal(t, 1, receive(t, got.all).Version)
	e := receive(t, got.all)
	require.Equal(t, "e 1", e.ID)
	require.Equal(t, "ä", e.Subject)
	require.Equal(t, time.Date(2025, 8, 28, 12, 30, 15, 5, time.UTC), e.Time)
	require.Equal(t, "o-1", e.Key)
	require.Equal(t, 2, e.Version)
	require.Equal(t, order{ID: "o-1", Total: 5}, e.Data)
	require.Equal(t, map[string]string{"traceparent": "00-1", "dataversion": "2", "partitionkey": "o-1"}, e.Extensions())
}

func TestMessagesOfPlainClients(t *testing.T) {
	t.Parallel()
	e, err := events.FromMessage(foreign("any", `{"id":"1"}`))
	require.NoError(t, err)
	msg, err := events.ToMessage(e)
	require.NoError(t, err)
	require.Equal(t, foreign("", `{"id":"1"}`), msg)
	_, err = events.FromMessage(nil)
	require.ErrorIs(t, err, events.ErrInvalid)
	_, err = events.FromMessage(&nats.Msg{})
	require.ErrorIs(t, err, events.ErrInvalid)
	require.ErrorContains(t, err, "specversion")
	e.SetID("")
	_, err = events.ToMessage(e)
	require.ErrorIs(t, err, events.ErrInvalid)
	require.ErrorContains(t, err, "id")
}

func TestACodecOfTheContract(t *testing.T) {
	t.Parallel()
	r := setup(t)
	b := r.bus("orders", nil)
	packed := events.NewType[order]("shop.order.packed", events.Codec(codec.MsgPack()), events.Doc("An order was packed."))
	require.Equal(t, "An order was packed.", packed.Doc())
	require.Equal(t, "shop.order.packed", packed.Name())
	require.Equal(t, 1, packed.Version())
	_, err := packed.Publish(t.Context(), b, order{ID: "o-1"})
	require.NoError(t, err)
	got := make(chan events.Event[order], 1)
	_, err = packed.Subscribe(t.Context(), b, "billing", func(_ context.Context, e events.Event[order]) error {
		got <- e
		return nil
	})
	require.NoError(t, err)
	e := receive(t, got)
	require.Equal(t, "o-1", e.Data.ID)
	ce, err := e.CloudEvent()
	require.NoError(t, err)
	require.Equal(t, codec.MsgPack().ContentType(), ce.DataContentType())
}

func FuzzFromMessage(f *testing.F) {
	f.Add("ce-specversion\n1.0\nce-id\n1\nce-source\ns\nce-type\nt", []byte("x"))
	f.Add("Content-Type\napplication/cloudevents+json", []byte(`{"specversion":"1.0","id":"1","source":"s","type":"t"}`))
	f.Fuzz(func(t *testing.T, lines string, payload []byte) {
		msg := &nats.Msg{Header: nats.Header{}, Data: payload}
		fields := strings.Split(lines, "\n")
		for i := 0; i+1 < len(fields); i += 2 {
			msg.Header[fields[i]] = append(msg.Header[fields[i]], fields[i+1])
		}
		e, err := events.FromMessage(msg)
		if err != nil {
			return
		}
		back, err := events.ToMessage(e)
		require.NoError(t, err)
		again, err := events.FromMessage(back)
		require.NoError(t, err)
		require.Equal(t, e.ID(), again.ID())
		require.Equal(t, e.Type(), again.Type())
		require.Equal(t, e.Subject(), again.Subject())
		require.Len(t, again.Extensions(), len(e.Extensions()))
	})
}
