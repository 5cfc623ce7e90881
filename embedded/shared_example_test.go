package embedded_test

import (
	"context"
	"fmt"
	"log"
	"os"

	"github.com/nats-io/nats.go"

	"github.com/hocket-go/hocket/embedded"
)

// Two programs on one machine (here in one process) open the same directory. The first one serves it; when it ends, the
// second one does, and connections go on.
func ExampleJoin() {
	dir, err := os.MkdirTemp("", "shared")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	ctx := context.Background()

	first, err := embedded.Join(ctx, &embedded.Options{Dir: dir})
	if err != nil {
		log.Fatal(err)
	}
	defer first.Close()
	second, err := embedded.Join(ctx, &embedded.Options{Dir: dir})
	if err != nil {
		log.Fatal(err)
	}
	defer second.Close()
	fmt.Println("first:", first.Status().State, "second:", second.Status().State)

	back := make(chan struct{})
	nc, err := second.Connect(nats.ReconnectHandler(func(*nats.Conn) { close(back) }))
	if err != nil {
		log.Fatal(err)
	}
	defer nc.Close()
	if err = first.Close(); err != nil {
		log.Fatal(err)
	}
	<-back
	fmt.Println("first:", first.Status().State, "second:", second.Status().State)

	// Output:
	// first: owner second: member
	// first: closed second: owner
}
