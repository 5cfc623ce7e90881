package rpc_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/hocket-go/hocket/embedded"
	"github.com/hocket-go/hocket/rpc"
)

// The contract, in a package that both sides import.
type (
	CreateOrder struct {
		SKU      string
		Quantity int
	}
	Order struct{ ID, SKU string }
)

var Create = rpc.NewMethod[CreateOrder, Order]("orders.Create")

func Example() {
	nc, stop := connect()
	defer stop()
	ctx := context.Background()

	server, err := rpc.NewServer(nc, "orders", nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	Create.Handle(server, func(_ context.Context, in CreateOrder) (Order, error) {
		if in.Quantity <= 0 {
			return Order{}, rpc.Errorf(rpc.InvalidArgument, "quantity %d is not positive", in.Quantity)
		}
		return Order{ID: "o-1", SKU: in.SKU}, nil
	})
	if err := server.Start(ctx); err != nil {
		fmt.Println(err)
		return
	}

	client, err := rpc.NewClient(nc, "storefront", nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	order, err := Create.Call(ctx, client, CreateOrder{SKU: "a", Quantity: 1})
	fmt.Println(order.ID, err)

	_, err = Create.Call(ctx, client, CreateOrder{SKU: "a"})
	fmt.Println(err)

	if err := errors.Join(server.Drain(ctx), client.Close()); err != nil {
		fmt.Println(err)
	}
	// Output:
	// o-1 <nil>
	// call orders.Create: InvalidArgument: quantity 0 is not positive
}

func ExampleInterceptor() {
	nc, stop := connect()
	defer stop()
	ctx := context.Background()

	logged := func(ctx context.Context, call rpc.Call, req any, next rpc.Next) (any, error) {
		reply, err := next(ctx, req)
		fmt.Println(call.Caller, "called", call.Name(), "and got", rpc.CodeOf(err))
		return reply, err
	}
	server, err := rpc.NewServer(nc, "orders", &rpc.ServerOptions{Interceptors: []rpc.Interceptor{logged}})
	if err != nil {
		fmt.Println(err)
		return
	}
	Create.Handle(server, func(context.Context, CreateOrder) (Order, error) {
		return Order{}, rpc.Errorf(rpc.NotFound, "no such thing")
	})
	if err := server.Start(ctx); err != nil {
		fmt.Println(err)
		return
	}
	client, err := rpc.NewClient(nc, "storefront", &rpc.ClientOptions{Timeout: time.Second})
	if err != nil {
		fmt.Println(err)
		return
	}
	_, err = Create.Call(ctx, client, CreateOrder{})
	fmt.Println(rpc.CodeOf(err) == rpc.NotFound)

	if err := errors.Join(server.Drain(ctx), client.Close()); err != nil {
		fmt.Println(err)
	}
	// Output:
	// storefront called orders.Create and got NotFound
	// true
}

// connect is a broker in the process and a connection to it.
func connect() (nc *nats.Conn, stop func()) {
	dir, err := os.MkdirTemp("", "hocket-rpc-example-")
	if err != nil {
		panic(err)
	}
	broker, err := embedded.Start(context.Background(), &embedded.Options{Dir: dir})
	if err != nil {
		panic(err)
	}
	nc, err = broker.Connect()
	if err != nil {
		panic(err)
	}
	return nc, func() {
		nc.Close()
		if err := errors.Join(broker.Close(), os.RemoveAll(dir)); err != nil {
			panic(err)
		}
	}
}
