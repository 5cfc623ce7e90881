package hockettest

import (
	"context"
	"log/slog"
	"os"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/hocket-go/hocket"
	"github.com/hocket-go/hocket/embedded"
	"github.com/hocket-go/hocket/embedded/embeddedtest"
)

// Broker is a broker for one test, which can be stopped, killed and started again on the same data.
type Broker = embeddedtest.Broker

// Cluster is several brokers that are one NATS cluster.
type Cluster = embeddedtest.Cluster

// Link is a way to a broker that can be cut.
type Link = embeddedtest.Link

// stopTime bounds the draining of a service at the end of its test.
const stopTime = 10 * time.Second

// Service is a service that runs until its test ends.
type Service struct {
	*hocket.Service

	// Broker is the broker that it is connected to.
	Broker *Broker
	// Link is the service's own way to the broker: cut it, and the service has lost the broker, and the other services
	// have lost this one.
	Link *Link
}

// New starts a broker and a service on it. Serve registers the service's handlers, and may be nil. Each modify may change
// the service's options; which broker it uses is not theirs to say. The service runs when New returns, and drains when the
// test ends.
func New(tb testing.TB, name string, serve func(*hocket.Service), modify ...func(*hocket.Options)) *Service {
	tb.Helper()
	return Open(tb, NewBroker(tb), name, serve, modify...)
}

// NewBroker starts a broker without a service. Each modify may change its options.
func NewBroker(tb testing.TB, modify ...func(*embedded.Options)) *Broker {
	tb.Helper()
	return embeddedtest.New(tb, modify...)
}

// NewCluster starts a cluster of three nodes, which takes a second or two. Open services on its Nodes.
func NewCluster(tb testing.TB) *Cluster {
	tb.Helper()
	return embeddedtest.NewCluster(tb, 3)
}

// Open starts a service on a broker that runs already, as New does: another service, or another instance of one.
func Open(
	tb testing.TB, broker *Broker, name string, serve func(*hocket.Service), modify ...func(*hocket.Options),
) *Service {
	tb.Helper()
	link := broker.Link()
	opts := &hocket.Options{
		Logger:  slog.New(slog.NewTextHandler(tb.Output(), nil)),
		Signals: []os.Signal{},
	}
	for _, m := range modify {
		m(opts)
	}
	opts.Broker = linked{broker: broker, link: link, tb: tb}
	ctx, cancel := context.WithTimeout(context.Background(), stopTime)
	defer cancel()
	svc, err := hocket.Open(ctx, name, opts)
	if err != nil {
		tb.Fatalf("hockettest: %v", err)
	}
	tb.Cleanup(func() {
		link.Heal()
		ctx, cancel := context.WithTimeout(context.Background(), stopTime)
		defer cancel()
		if err := svc.Drain(ctx); err != nil {
			tb.Errorf("hockettest: %v", err)
		}
	})
	if serve != nil {
		serve(svc)
	}
	if err := svc.Start(ctx); err != nil {
		tb.Fatalf("hockettest: %v", err)
	}
	return &Service{Service: svc, Broker: broker, Link: link}
}

// linked is what a service connects through.
type linked struct {
	broker *Broker
	link   *Link
	tb     testing.TB
}

// Connect implements hocket.Broker.
func (l linked) Connect(opts ...nats.Option) (*nats.Conn, error) {
	return l.link.Connect(l.tb, opts...), nil
}

// Durability tells what the broker does with a write.
func (l linked) Durability() embedded.Durability { return l.broker.Broker().Durability() }
