package benchmarks

import (
	"context"
	"errors"
	"time"

	"github.com/nats-io/nats.go"
	"go-micro.dev/v5/broker"
	"go-micro.dev/v5/client"
	"go-micro.dev/v5/logger"
	"go-micro.dev/v5/registry"
	"go-micro.dev/v5/selector"
	"go-micro.dev/v5/server"
	"go-micro.dev/v5/transport"
	microtransport "go-micro.dev/v5/transport/nats"
)

// GoMicroEcho is the handler: Go Micro finds its methods by reflection, if it is exported.
type GoMicroEcho struct{}

// Echo returns what it got.
func (GoMicroEcho) Echo(_ context.Context, in, out *Message) error {
	*out = *in
	return nil
}

// openGoMicroHTTP is Go Micro on its default transport, with JSON.
func openGoMicroHTTP(ctx context.Context, _ *Site) (*Echoer, error) {
	return openGoMicro(ctx, "127.0.0.1:0", transport.NewHTTPTransport(), transport.NewHTTPTransport())
}

// openGoMicroNATS is Go Micro on its NATS transport, which has TCP only: in-process connections are out of its reach.
func openGoMicroNATS(ctx context.Context, site *Site) (*Echoer, error) {
	// Its client cannot be closed. Without this, connections that it left behind would dial a broker that is gone while
	// others are measured.
	options := nats.GetDefaultOptions()
	options.Servers, options.AllowReconnect = []string{site.url}, false
	dial := microtransport.Options(options)
	return openGoMicro(ctx, "", microtransport.NewTransport(dial), microtransport.NewTransport(dial))
}

// openGoMicro leaves out what would cost more than the call: discovery is in memory and cached, and the pool has a
// connection for every caller. In runs here a call over its HTTP transport now and then stayed without a reply, for a reason
// that was not looked into; with the default timeout of an attempt, five seconds, that alone would decide the result, so
// attempts are given up and repeated much earlier.
func openGoMicro(
	ctx context.Context, address string, serverTransport, clientTransport transport.Transport,
) (*Echoer, error) {
	quiet := logger.NewLogger(logger.WithLevel(logger.FatalLevel))
	instances := registry.NewMemoryRegistry()
	service := server.NewServer(
		server.Name("echo"), server.Address(address), server.Transport(serverTransport),
		server.Registry(instances), server.Broker(broker.NewMemoryBroker()), server.WithLogger(quiet),
	)
	if err := service.Handle(service.NewHandler(GoMicroEcho{}, server.InternalHandler(false))); err != nil {
		return nil, err
	}
	if err := service.Start(); err != nil {
		return nil, err
	}
	caller := client.NewClient(
		client.Transport(clientTransport), client.Registry(instances), client.Broker(broker.NewMemoryBroker()),
		client.Selector(selector.NewSelector(selector.Registry(instances))), client.ContentType("application/json"),
		client.PoolSize(1024), client.ConnectionTimeout(250*time.Millisecond), client.RequestTimeout(5*time.Second),
		client.WithLogger(quiet),
	)
	e := &Echoer{closers: closers{service.Stop}, echo: func(ctx context.Context, m Message) (Message, error) {
		var out Message
		err := caller.Call(ctx, caller.NewRequest("echo", "GoMicroEcho.Echo", &m), &out)
		return out, err
	}}
	if err := firstAnswer(ctx, e); err != nil {
		return nil, errors.Join(err, e.Close())
	}
	return e, nil
}

// firstAnswer waits for a service to answer: Go Micro's says that it has started before it listens.
func firstAnswer(ctx context.Context, e *Echoer) error {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	for {
		_, err := e.Echo(ctx, Message{})
		if err == nil {
			return nil
		}
		select {
		case <-time.After(10 * time.Millisecond):
		case <-ctx.Done():
			return err
		}
	}
}
