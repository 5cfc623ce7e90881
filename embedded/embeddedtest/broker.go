package embeddedtest

import (
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/hocket-go/hocket/embedded"
)

// How long a broker may take to start, to stop, and a cluster to agree.
const patience = 30 * time.Second

// pollInterval is how often a condition is looked at that nobody announces.
const pollInterval = 2 * time.Millisecond

// errStopped is what connections meet while the broker is stopped.
var errStopped = errors.New("embeddedtest: broker is stopped")

// Broker is a broker for one test. It can be stopped and started again on the same data, and connections made through
// it then reconnect.
type Broker struct {
	tb   testing.TB
	opts embedded.Options
	link *Link // of Connect

	mu      sync.Mutex
	current *embedded.Broker // nil while stopped
	links   []*Link
}

// New starts a broker and stops it when the test ends. Each modify may change the options, which are those of
// [embedded.Start], durable ones included, with a store below tb.TempDir and a log that goes to the test's.
func New(tb testing.TB, modify ...func(*embedded.Options)) *Broker {
	tb.Helper()
	b := newBroker(tb, modify)
	b.Start()
	return b
}

func newBroker(tb testing.TB, modify []func(*embedded.Options)) *Broker {
	tb.Helper()
	b := &Broker{tb: tb, opts: embedded.Options{
		Dir:    filepath.Join(tb.TempDir(), "hocket"),
		Logger: slog.New(slog.NewTextHandler(tb.Output(), &slog.HandlerOptions{Level: slog.LevelInfo})),
	}}
	for _, m := range modify {
		m(&b.opts)
	}
	b.link = b.Link()
	tb.Cleanup(b.Stop)
	return b
}

// Broker is the one that runs now, until the next stop. It ends the test if there is none.
func (b *Broker) Broker() *embedded.Broker {
	b.tb.Helper()
	current := b.running()
	if current == nil {
		b.tb.Fatal(errStopped)
	}
	return current
}

func (b *Broker) running() *embedded.Broker {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.current
}

// InProcessConn makes a Broker an option for [nats.InProcessServer]. The connection can be made again after a restart.
func (b *Broker) InProcessConn() (net.Conn, error) { return b.link.InProcessConn() }

// Connect returns a connection that is closed when tb ends, which may be a subtest. It reconnects for ever, every few
// milliseconds; opts come last.
func (b *Broker) Connect(tb testing.TB, opts ...nats.Option) *nats.Conn {
	tb.Helper()
	return b.link.Connect(tb, opts...)
}

// Start starts the broker after a stop. It does nothing if it runs.
func (b *Broker) Start() {
	b.tb.Helper()
	if err := b.start(); err != nil {
		b.tb.Fatal(err)
	}
}

func (b *Broker) start() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.current != nil {
		return nil
	}
	// Not the test's context, which has ended when its cleanups run.
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	current, err := embedded.Start(ctx, &b.opts)
	if err != nil {
		return err
	}
	b.current = current
	return nil
}

// Stop stops the broker in good order. It does nothing if it is stopped.
func (b *Broker) Stop() {
	b.tb.Helper()
	current := b.detach()
	if current == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := current.Shutdown(ctx); err != nil {
		b.tb.Error(err)
	}
}

// detach makes the broker unreachable for new connections.
func (b *Broker) detach() *embedded.Broker {
	b.mu.Lock()
	defer b.mu.Unlock()
	current := b.current
	b.current = nil
	return current
}

// Restart stops the broker in good order and starts it on the same data.
func (b *Broker) Restart() {
	b.tb.Helper()
	b.Stop()
	b.Start()
}

// Kill stops the broker as nearly like a crash as a process can do to itself: connections break first, then the store
// is copied as it is at that moment, and the next Start finds the copy, without what the server writes when it stops in
// good order. What a client had an acknowledgement for is in the copy. It is for brokers without a port, since only
// connections inside the process can be broken before the copy is made.
func (b *Broker) Kill() {
	b.tb.Helper()
	if b.opts.Listen != nil {
		b.tb.Fatal("embeddedtest: Kill is for brokers that do not listen")
	}
	current := b.detach()
	if current == nil {
		return
	}
	for _, link := range b.allLinks() {
		link.closeAll()
	}
	b.wait("clients to be gone", func() bool { return current.Server().NumClients() == 0 })
	image := current.Dir() + ".image"
	if err := copyTree(current.Dir(), image); err != nil {
		b.tb.Fatal(err)
	}
	if err := current.Close(); err != nil {
		b.tb.Fatal(err)
	}
	if err := errors.Join(os.RemoveAll(current.Dir()), os.Rename(image, current.Dir())); err != nil {
		b.tb.Fatal(err)
	}
}

// Link returns a new way to the broker, which can be cut without touching the others.
func (b *Broker) Link() *Link {
	l := &Link{broker: b, conns: make(map[*conn]struct{})}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.links = append(b.links, l)
	return l
}

func (b *Broker) allLinks() []*Link {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Clone(b.links)
}

// wait ends the test if the condition does not come true.
func (b *Broker) wait(what string, condition func() bool) {
	b.tb.Helper()
	waitFor(b.tb, what, condition)
}

func waitFor(tb testing.TB, what string, condition func() bool) {
	tb.Helper()
	tick := time.NewTicker(pollInterval)
	defer tick.Stop()
	timeout := time.NewTimer(patience)
	defer timeout.Stop()
	for !condition() {
		select {
		case <-tick.C:
		case <-timeout.C:
			tb.Fatalf("embeddedtest: waited %v for %s", patience, what)
		}
	}
}

// copyTree copies files that a server may be writing, replacing and removing meanwhile.
func copyTree(from, to string) error {
	return filepath.WalkDir(from, func(path string, entry fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(from, path)
		if err != nil {
			return err
		}
		target := filepath.Join(to, rel)
		if entry.IsDir() {
			return os.MkdirAll(target, 0o700)
		}
		data, err := os.ReadFile(path) //nolint:gosec // the test's own directory
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil {
			return err
		}
		return os.WriteFile(target, data, 0o600)
	})
}
