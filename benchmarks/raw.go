package benchmarks

import (
	"context"
	"encoding/json"
	"errors"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/micro"
)

// openRaw is nats.go with JSON written by hand, as someone who knows it would: one queue subscription, the reply on the
// spot, and the cheapest of its ways to call, Request with a timeout.
func openRaw(_ context.Context, site *Site) (*Echoer, error) {
	const subject = "raw.echo"
	return openNATS(site, rawService(subject), func(_ context.Context, nc *nats.Conn, data []byte) (*nats.Msg, error) {
		return nc.Request(subject, data, 5*time.Second)
	})
}

// openRawDeadline is the same with a context and a deadline for each call, as it stands in most programs.
func openRawDeadline(_ context.Context, site *Site) (*Echoer, error) {
	const subject = "raw-deadline.echo"
	return openNATS(site, rawService(subject), func(ctx context.Context, nc *nats.Conn, data []byte) (*nats.Msg, error) {
		ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
		defer cancel()
		return nc.RequestWithContext(ctx, subject, data)
	})
}

func rawService(subject string) func(*nats.Conn) error {
	return func(nc *nats.Conn) error {
		_, err := nc.QueueSubscribe(subject, "echo", func(msg *nats.Msg) {
			var in Message
			if err := json.Unmarshal(msg.Data, &in); err != nil {
				return // the caller's timeout shows it
			}
			out, err := json.Marshal(in)
			if err != nil {
				return
			}
			_ = msg.Respond(out) // as above
		})
		return err
	}
}

// openMicro is the service framework that nats.go comes with, called as raw is.
func openMicro(_ context.Context, site *Site) (*Echoer, error) {
	serve := func(nc *nats.Conn) error {
		service, err := micro.AddService(nc, micro.Config{Name: "echo", Version: "1.0.0"})
		if err != nil {
			return err
		}
		return service.AddEndpoint("echo", micro.HandlerFunc(func(req micro.Request) {
			var in Message
			if err := json.Unmarshal(req.Data(), &in); err != nil {
				_ = req.Error("400", err.Error(), nil)
				return
			}
			_ = req.RespondJSON(in)
		}), micro.WithEndpointSubject("micro.echo"))
	}
	return openNATS(site, serve, func(_ context.Context, nc *nats.Conn, data []byte) (*nats.Msg, error) {
		return nc.Request("micro.echo", data, 5*time.Second)
	})
}

func openNATS(
	site *Site, serve func(*nats.Conn) error, request func(context.Context, *nats.Conn, []byte) (*nats.Msg, error),
) (*Echoer, error) {
	service, client, done, err := connectPair(site)
	if err != nil {
		return nil, err
	}
	if err := errors.Join(serve(service), service.Flush()); err != nil {
		return nil, errors.Join(err, done.Close())
	}
	return &Echoer{closers: done, echo: func(ctx context.Context, m Message) (Message, error) {
		data, err := json.Marshal(m)
		if err != nil {
			return Message{}, err
		}
		reply, err := request(ctx, client, data)
		if err != nil {
			return Message{}, err
		}
		var out Message
		err = json.Unmarshal(reply.Data, &out)
		return out, err
	}}, nil
}

// connectPair returns the two connections of an echo.
func connectPair(site *Site) (service, client *nats.Conn, done closers, err error) {
	if service, err = site.Connect(); err != nil {
		return nil, nil, nil, err
	}
	if client, err = site.Connect(); err != nil {
		service.Close()
		return nil, nil, nil, err
	}
	return service, client, closers{closing(service), closing(client)}, nil
}

func closing(nc *nats.Conn) func() error {
	return func() error {
		nc.Close()
		return nil
	}
}
