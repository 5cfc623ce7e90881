package benchmarks

import (
	"context"
	"errors"
	"time"

	"github.com/hocket-go/hocket/rpc"
)

// openHocket is a typed call with the defaults.
func openHocket(ctx context.Context, site *Site) (*Echoer, error) {
	echo := rpc.NewMethod[Message, Message]("hocket.Echo")
	return openHocketMethod(ctx, site, echo, echo.Call)
}

// openHocketDeadline is the same with a deadline for each call.
func openHocketDeadline(ctx context.Context, site *Site) (*Echoer, error) {
	echo := rpc.NewMethod[Message, Message]("hocket-deadline.Echo")
	return openHocketMethod(ctx, site, echo,
		func(ctx context.Context, c rpc.Caller, m Message, opts ...rpc.CallOption) (Message, error) {
			ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
			defer cancel()
			return echo.Call(ctx, c, m, opts...)
		})
}

func openHocketMethod(
	ctx context.Context, site *Site, echo *rpc.Method[Message, Message],
	call func(context.Context, rpc.Caller, Message, ...rpc.CallOption) (Message, error),
) (*Echoer, error) {
	service, client, done, err := connectPair(site)
	if err != nil {
		return nil, err
	}
	name := echo.Name()[:len(echo.Name())-len(".Echo")]
	server, err := rpc.NewServer(service, name, nil)
	if err != nil {
		return nil, errors.Join(err, done.Close())
	}
	done = append(done, server.Close)
	echo.Handle(server, func(_ context.Context, m Message) (Message, error) { return m, nil })
	if err := server.Start(ctx); err != nil {
		return nil, errors.Join(err, done.Close())
	}
	caller, err := rpc.NewClient(client, "bench", nil)
	if err != nil {
		return nil, errors.Join(err, done.Close())
	}
	return &Echoer{closers: append(done, caller.Close), echo: func(ctx context.Context, m Message) (Message, error) {
		return call(ctx, caller, m)
	}}, nil
}
