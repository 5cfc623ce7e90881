package benchmarks

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// Message is what an echo carries. Every contender encodes it as JSON, but for the one that says otherwise.
type Message struct {
	Text string `json:"text"`
}

// NewMessage returns a message with a text of size bytes.
func NewMessage(size int) Message {
	const alphabet = "the quick brown fox jumps over the lazy dog "
	return Message{Text: strings.Repeat(alphabet, size/len(alphabet)+1)[:size]}
}

// An Echoer is a client and the service that it talks to. It is safe for concurrent use.
type Echoer struct {
	closers

	echo func(ctx context.Context, m Message) (Message, error)
}

// Echo sends a message to the service and returns what came back.
func (e *Echoer) Echo(ctx context.Context, m Message) (Message, error) {
	return e.echo(ctx, m)
}

// A Contender is one way to do a typed echo.
type Contender struct {
	Name string
	// Only lists the topologies that the contender makes sense in. Defaults to all.
	Only []Topology
	// Open starts the service and connects a client to it, on the broker of the site if it needs one.
	Open func(ctx context.Context, site *Site) (*Echoer, error)
}

// On tells whether the contender takes part in the topology.
func (c Contender) On(t Topology) bool {
	return len(c.Only) == 0 || slices.Contains(c.Only, t)
}

// Contenders returns all of them, the baseline first.
func Contenders() []Contender {
	return []Contender{
		{Name: "raw", Open: openRaw},
		{Name: "raw-deadline", Open: openRawDeadline},
		{Name: "hocket", Open: openHocket},
		{Name: "hocket-deadline", Open: openHocketDeadline},
		{Name: "micro", Open: openMicro},
		{Name: "grpc", Open: openGRPC},
		{Name: "grpc-proto", Open: openGRPCProto},
		{Name: "grpc-mem", Only: []Topology{InProcess, Embedded}, Open: openGRPCMem},
		{Name: "connect", Open: openConnect},
		{Name: "connect-h2c", Open: openConnectH2C},
		{Name: "gomicro-http", Open: openGoMicroHTTP},
		{Name: "gomicro-nats", Only: []Topology{InProcess, Loopback, External}, Open: openGoMicroNATS},
	}
}

// check returns an error unless the echo is what was sent.
func check(sent, got Message) error {
	if len(sent.Text) != len(got.Text) {
		return fmt.Errorf("sent %d bytes, got %d back", len(sent.Text), len(got.Text))
	}
	return nil
}

// closers closes in reverse order, as defer does.
type closers []func() error

// Close runs all of them and returns what went wrong.
func (c closers) Close() error {
	var errs []error
	for _, f := range slices.Backward(c) {
		errs = append(errs, f())
	}
	return errors.Join(errs...)
}
