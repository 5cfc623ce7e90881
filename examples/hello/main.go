// Hello is the program of the README: a service with a typed call and a stored event, which calls itself once and ends.
package main

import (
	"context"
	"fmt"
	"log"

	"github.com/hocket-go/hocket"
	"github.com/hocket-go/hocket/events"
	"github.com/hocket-go/hocket/rpc"
)

// The contracts: in a package that both sides import, once there are two sides.
var (
	Greet   = rpc.NewMethod[string, string]("greeter.Greet")
	Greeted = events.NewType[string]("greeter.greeted")
)

func main() {
	if err := run(context.Background()); err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context) error {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	svc, err := hocket.Open(ctx, "greeter", nil) // a broker inside, unless NATS_URL names one
	if err != nil {
		return err
	}
	defer svc.Close()

	Greet.Handle(svc, func(ctx context.Context, name string) (string, error) {
		if name == "" {
			return "", rpc.Errorf(rpc.InvalidArgument, "who is it?")
		}
		_, err := Greeted.Publish(ctx, svc, name) // returns when it is stored and synced
		return "hello " + name, err
	})
	heard, hear := context.WithCancel(ctx)
	_, err = Greeted.Subscribe(ctx, svc, "log", func(_ context.Context, e events.Event[string]) error {
		fmt.Println(e.Source, "greeted", e.Data)
		hear()
		return nil // acknowledges; an error brings the event again
	})
	if err != nil {
		return err
	}
	svc.AfterStart(func(ctx context.Context) error {
		greeting, err := Greet.Call(ctx, svc, "Ada")
		fmt.Println(greeting)
		<-heard.Done()
		stop()
		return err
	})
	return svc.Run(ctx) // until SIGTERM, or stop as here; then it drains
}
