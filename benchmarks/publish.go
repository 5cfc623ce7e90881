package benchmarks

import (
	"context"
	"encoding/json"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nuid"
)

// A PublishFunc publishes an event and returns once it is stored. It is safe for concurrent use.
type PublishFunc func(ctx context.Context, m Message) error

// A Publisher is one way to publish an event and wait for its acknowledgement, on the site's broker.
type Publisher struct {
	Name string
	Open func(ctx context.Context, site *Site) (PublishFunc, func() error, error)
}

// Publishers returns all of them, the baseline first.
func Publishers() []Publisher {
	return []Publisher{
		{Name: "jetstream", Open: openJetStream},
		{Name: "hocket", Open: openHocketEvents},
	}
}

const (
	eventType   = "bench.message.sent"
	eventSource = "bench"
)

// openJetStream is jetstream.PublishMsg with the headers of a CloudEvent written by hand, into a stream of the kind that
// Hocket makes.
func openJetStream(ctx context.Context, site *Site) (PublishFunc, func() error, error) {
	nc, err := site.Connect()
	if err != nil {
		return nil, nil, err
	}
	js, err := jetstream.New(nc)
	if err != nil {
		nc.Close()
		return nil, nil, err
	}
	if _, err := js.CreateStream(ctx, jetstream.StreamConfig{
		Name: "raw", Subjects: []string{"raw.events.>"}, Discard: jetstream.DiscardNew,
		AllowDirect: true, AllowMsgTTL: true, AllowAtomicPublish: true,
	}); err != nil {
		nc.Close()
		return nil, nil, err
	}
	publish := func(ctx context.Context, m Message) error {
		data, err := json.Marshal(m)
		if err != nil {
			return err
		}
		id := nuid.Next()
		_, err = js.PublishMsg(ctx, &nats.Msg{
			Subject: "raw.events." + eventSource + "._." + eventType,
			Header: nats.Header{
				"ce-specversion":      {"1.0"},
				"ce-id":               {id},
				"ce-source":           {eventSource},
				"ce-type":             {eventType},
				"ce-time":             {time.Now().UTC().Format(time.RFC3339Nano)},
				"ce-datacontenttype":  {"application/json"},
				jetstream.MsgIDHeader: {eventSource + "/" + id},
			},
			Data: data,
		})
		return err
	}
	return publish, closing(nc), nil
}
