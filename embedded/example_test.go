package embedded_test

import (
	"context"
	"fmt"
	"os"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/hocket-go/hocket/embedded"
)

func Example() {
	ctx := context.Background()
	dir, err := os.MkdirTemp("", "hocket")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer func() { _ = os.RemoveAll(dir) }()

	for range 2 { // the second broker finds what the first one stored
		if err = visit(ctx, dir); err != nil {
			fmt.Println(err)
			return
		}
	}
	// Output:
	// stored: 1
	// stored: 2
}

func visit(ctx context.Context, dir string) error {
	broker, err := embedded.Start(ctx, &embedded.Options{Dir: dir})
	if err != nil {
		return err
	}
	defer broker.Close()
	nc, err := broker.Connect()
	if err != nil {
		return err
	}
	defer nc.Close()
	js, err := jetstream.New(nc)
	if err != nil {
		return err
	}
	_, err = js.CreateOrUpdateStream(ctx, jetstream.StreamConfig{Name: "VISITS", Subjects: []string{"visits"}})
	if err != nil {
		return err
	}
	ack, err := js.Publish(ctx, "visits", []byte("hello")) // synced once it returns
	if err != nil {
		return err
	}
	fmt.Println("stored:", ack.Sequence)
	return nil
}
