package benchmarks

import (
	"context"

	"github.com/hocket-go/hocket/events"
)

// openHocketEvents is a typed event with the defaults.
func openHocketEvents(_ context.Context, site *Site) (PublishFunc, func() error, error) {
	nc, err := site.Connect()
	if err != nil {
		return nil, nil, err
	}
	bus, err := events.New(nc, eventSource, nil)
	if err != nil {
		nc.Close()
		return nil, nil, err
	}
	sent := events.NewType[Message](eventType)
	publish := func(ctx context.Context, m Message) error {
		_, err := sent.Publish(ctx, bus, m)
		return err
	}
	return publish, closers{closing(nc), bus.Close}.Close, nil
}
