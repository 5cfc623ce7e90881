// Quickstart is Hocket's main job in one program: a broker inside the process, a service that answers typed calls and
// publishes an event for each, another service that hears them, and a caller that makes a mistake. It needs no setup and
// leaves nothing behind.
//
//	go run ./examples/quickstart
package main

import (
	"context"
	"errors"
	"fmt"
	"log"
	"log/slog"
	"os"
	"time"

	"github.com/hocket-go/hocket"
	"github.com/hocket-go/hocket/embedded"
	"github.com/hocket-go/hocket/events"
	"github.com/hocket-go/hocket/examples/quickstart/shop"
	"github.com/hocket-go/hocket/rpc"
)

func main() {
	slog.SetLogLoggerLevel(slog.LevelWarn) // the story is on standard output
	if err := run(context.Background()); err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context) (err error) {
	// A program of yours says nil instead of options: its data then stays where it belongs.
	dir, err := os.MkdirTemp("", "hocket-quickstart-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	options := &hocket.Options{Embedded: &embedded.Options{Dir: dir}}

	// The service that takes orders.
	orders, err := hocket.Open(ctx, "orders", options)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, orders.Close()) }()
	fmt.Printf("orders   is open; an acknowledged write is %v\n", orders.Durability())

	shop.Create.Handle(orders, func(ctx context.Context, in shop.CreateOrder) (shop.Order, error) {
		if in.Quantity <= 0 {
			return shop.Order{}, rpc.Errorf(rpc.InvalidArgument, "quantity %d is not positive", in.Quantity)
		}
		order := shop.Order{ID: "o-" + in.RequestID, SKU: in.SKU, Total: 7 * in.Quantity}
		placed := shop.OrderPlaced{OrderID: order.ID, Total: order.Total}
		_, err := shop.Placed.Publish(ctx, orders, placed, events.ID(in.RequestID))
		return order, err // published means stored and synced
	})
	if err := orders.Start(ctx); err != nil {
		return err
	}

	// The service that sends bills. It would be another program; it finds the broker by itself.
	billing, err := hocket.Open(ctx, "billing", options)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, billing.Close()) }()
	billed := make(chan string)
	_, err = shop.Placed.Subscribe(ctx, billing, "billing", func(ctx context.Context, e events.Event[shop.OrderPlaced]) error {
		select {
		case billed <- fmt.Sprintf("billing  heard %s from %s: order %s, %d to pay", e.Type, e.Source, e.Data.OrderID, e.Data.Total):
			return nil // nil acknowledges; an error would bring the event again
		case <-ctx.Done():
			return ctx.Err()
		}
	})
	if err != nil {
		return err
	}

	// The caller. The second request repeats the first, as after a lost reply: its event is stored once.
	for _, in := range []shop.CreateOrder{
		{RequestID: "1", SKU: "tea", Quantity: 2},
		{RequestID: "1", SKU: "tea", Quantity: 2},
		{RequestID: "2", SKU: "milk", Quantity: 3},
		{RequestID: "3", SKU: "sugar", Quantity: 0},
	} {
		began := time.Now()
		order, err := shop.Create.Call(ctx, billing, in)
		took := time.Since(began).Round(time.Microsecond)
		switch rpc.CodeOf(err) {
		case rpc.OK:
			fmt.Printf("caller   ordered %d %s: %s, total %d (%v)\n", in.Quantity, in.SKU, order.ID, order.Total, took)
		case rpc.InvalidArgument:
			fmt.Printf("caller   ordered %d %s: refused, %v (%v)\n", in.Quantity, in.SKU, err, took)
		default:
			return err
		}
	}
	for range 2 {
		select {
		case line := <-billed:
			fmt.Println(line)
		case <-time.After(10 * time.Second):
			return errors.New("an event is missing")
		}
	}

	// Run would do this at SIGTERM: what was accepted is finished, then everything closes.
	if err := errors.Join(billing.Drain(ctx), orders.Drain(ctx)); err != nil {
		return err
	}
	fmt.Println("both     drained; nothing is left behind")
	return nil
}
