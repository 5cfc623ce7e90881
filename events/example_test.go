package events_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"log/slog"
	"os"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/hocket-go/hocket/embedded"
	"github.com/hocket-go/hocket/events"
)

// OrderPlaced is the data of the examples' event.
type OrderPlaced struct {
	OrderID string `json:"order_id"`
	Total   int    `json:"total"`
}

// Placed is the contract that both sides import.
var Placed = events.NewType[OrderPlaced]("shop.order.placed")

// A publisher and a subscriber on one connection: the event is stored, handled and acknowledged.
func Example() {
	nc, stop := connect()
	defer stop()
	ctx := context.Background()

	bus, err := events.New(nc, "orders", nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer bus.Close()

	handled := make(chan events.Event[OrderPlaced])
	sub, err := Placed.Subscribe(ctx, bus, "billing", func(_ context.Context, e events.Event[OrderPlaced]) error {
		handled <- e
		return nil
	})
	if err != nil {
		fmt.Println(err)
		return
	}

	receipt, err := Placed.Publish(ctx, bus, OrderPlaced{OrderID: "o-1", Total: 4200}, events.ID("request-7"))
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println("stored as", receipt.Stream, receipt.Sequence)

	e := <-handled
	fmt.Println("handled", e.ID, "from", e.Source, e.Data.OrderID, e.Data.Total)

	if err := sub.Drain(ctx); err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println("acknowledged", sub.Stats().Acknowledged)
	// Output:
	// stored as events 1
	// handled request-7 from orders o-1 4200
	// acknowledged 1
}

// Publishing again with the same id is safe, whatever became of the first attempt.
func ExampleID() {
	nc, stop := connect()
	defer stop()
	bus, err := events.New(nc, "orders", nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer bus.Close()

	for range 2 {
		receipt, err := Placed.Publish(context.Background(), bus, OrderPlaced{OrderID: "o-1"}, events.ID("request-7"))
		if err != nil {
			fmt.Println(err)
			return
		}
		fmt.Println(receipt.Sequence, receipt.Duplicate)
	}
	// Output:
	// 1 false
	// 1 true
}

// A failed handler gets the event again; everyone who shares the durable can be the next to get it.
func ExampleType_Subscribe() {
	nc, stop := connect()
	defer stop()
	ctx := context.Background()
	bus, err := events.New(nc, "orders", &events.Options{Logger: quiet()})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer bus.Close()

	done := make(chan struct{})
	_, err = Placed.Subscribe(ctx, bus, "billing", func(_ context.Context, e events.Event[OrderPlaced]) error {
		fmt.Println("attempt", e.Attempt)
		if e.Attempt < 3 {
			return errors.New("the bank does not answer")
		}
		close(done)
		return nil
	}, events.Retry(10*time.Millisecond, time.Second))
	if err != nil {
		fmt.Println(err)
		return
	}
	if _, err := Placed.Publish(ctx, bus, OrderPlaced{OrderID: "o-1"}); err != nil {
		fmt.Println(err)
		return
	}
	<-done
	// Output:
	// attempt 1
	// attempt 2
	// attempt 3
}

// What may be lost need not be stored.
func ExampleType_Signal() {
	nc, stop := connect()
	defer stop()
	ctx := context.Background()
	bus, err := events.New(nc, "orders", nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer bus.Close()

	progress := events.NewType[int]("import.progress")
	heard := make(chan int)
	_, err = progress.Listen(ctx, bus, func(_ context.Context, e events.Event[int]) error {
		heard <- e.Data
		return nil
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	if err := progress.Signal(ctx, bus, 42); err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(<-heard, "percent")
	// Output: 42 percent
}

// connect starts a broker in the process and returns a connection to it.
func connect() (nc *nats.Conn, stop func()) {
	dir, err := os.MkdirTemp("", "events-example")
	if err != nil {
		log.Fatal(err)
	}
	broker, err := embedded.Start(context.Background(), &embedded.Options{Dir: dir, Logger: quiet()})
	if err != nil {
		log.Fatal(err)
	}
	nc, err = broker.Connect()
	if err != nil {
		log.Fatal(err)
	}
	return nc, func() {
		nc.Close()
		_ = broker.Close()
		_ = os.RemoveAll(dir)
	}
}

func quiet() *slog.Logger { return slog.New(slog.DiscardHandler) }
