package embedded_test

import (
	"context"
	"fmt"
	"os"

	"github.com/nats-io/nats.go"

	"github.com/hocket-go/hocket/embedded"
)

// Two programs on one machine (here in one process) open the same directory. The first one serves it; when it ends, the
// second one does, and connections go on.
func ExampleJoin() {
	dir, err := os.MkdirTemp("", "shared")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	ctx := context.Background()

	first, err := embedded.Join(ctx, &embedded.Options{Dir: dir})
	if err != nil {
		panic(err)
	}
	defer first.Close()
	second, err := embedded.Join(ctx, &embedded.Options{Dir: dir})
	if err != nil {
		panic(err)
	}
	defer second.Close()
	fmt.Println("first:", first.Status().State, "second:", second.Status().State)

	back := make(chan struct{})
	nc, err := second.Connect(nats.ReconnectHandler(func(*nats.Conn) { close(back) }))
	if err != nil {
		panic(err)
	}
	defer nc.Close()
	if err = first.Close(); err != nil {
		panic(err)
	}
	<-back
	fmt.Println("first:", first.Status().State, "second:", second.Status().State)

	// Output:
	// first: owner second: member
	// first: closed second: owner
}
