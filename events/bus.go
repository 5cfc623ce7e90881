package events

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/hocket-go/hocket/events/internal/binding"
	"github.com/hocket-go/hocket/internal/subject"
	"github.com/hocket-go/hocket/internal/violation"
)

// Bus is one process's part in the exchange of events: a connection, the name under which this process publishes, and the
// subscriptions made through it. It is safe for concurrent use.
type Bus struct {
	nc     *nats.Conn
	js     jetstream.JetStream
	source string
	names  subject.Names
	opts   Options
	log    *slog.Logger
	calls  callList

	streams []*stream
	routes  sync.Map // of *spec to *route

	closed atomic.Bool // publishing is refused

	mu       sync.Mutex // guards what follows
	draining bool       // subscribing is refused
	parts    map[part]struct{}
}

// part is what a bus opened and so drains and closes: a subscription or a listener.
type part interface {
	Drain(ctx context.Context) error
	Close() error
	// disturbed offers an error of the connection and reports whether it concerned the part.
	disturbed(sub *nats.Subscription, err error) bool
}

// Provider is what contracts accept: a [Bus], or whatever has one, such as the service of the root package.
type Provider interface {
	EventBus() *Bus
}

// New returns a bus on a connection. It asks the broker nothing. The source is the name under which this process publishes:
// a token of every subject and the ce-source of every event. It must be an identity: lower-case letters, digits and dashes.
// The error matches [ErrInvalid].
//
// The bus closes what it opens but never the connection. Pass errors of the connection to [Bus.HandleError].
func New(nc *nats.Conn, source string, opts *Options) (*Bus, error) {
	if nc == nil {
		return nil, fmt.Errorf("events: %w: no connection", ErrInvalid)
	}
	if err := subject.CheckIdentity("event source", source); err != nil {
		return nil, invalidName(err)
	}
	o := opts.withDefaults()
	if err := o.validate(); err != nil {
		return nil, err
	}
	names, err := subject.New(o.Namespace)
	if err != nil {
		return nil, invalidName(err)
	}
	js, err := jetstream.New(nc)
	if err != nil {
		return nil, fmt.Errorf("events: %w", err)
	}
	b := &Bus{
		nc: nc, js: js, source: source, names: names, opts: o, parts: make(map[part]struct{}),
		log: o.Logger.With(slog.String("bus", source)),
	}
	for _, s := range o.Streams {
		st, err := newStream(b, s)
		if err != nil {
			return nil, err
		}
		b.streams = append(b.streams, st)
	}
	return b, nil
}

// EventBus returns b, so that a Bus is a [Provider].
func (b *Bus) EventBus() *Bus { return b }

// Source returns the name under which the bus publishes.
func (b *Bus) Source() string { return b.source }

// Drain ends every subscription and listener and waits until their handlers have finished and their acknowledgements are
// with the broker. Handlers may publish meanwhile; new subscriptions are refused at once, and publishing when Drain returns.
// It returns the context's error if that ends first; the rest goes on, and Drain or Close may be called again. It must
// not be called from a handler.
func (b *Bus) Drain(ctx context.Context) error {
	parts := b.refuse(false)
	errs := make(chan error, len(parts))
	for _, p := range parts {
		go func() { errs <- p.Drain(ctx) }()
	}
	var err error
	for range parts {
		err = errors.Join(err, <-errs)
	}
	if err != nil {
		return err
	}
	b.refuse(true)
	return nil
}

// Close ends every subscription and listener now: the contexts of their handlers are cancelled, and Close waits for them
// to return. Their events are delivered again, here or elsewhere. It must not be called from a handler.
func (b *Bus) Close() error {
	parts := b.refuse(true)
	var wg sync.WaitGroup
	errs := make([]error, len(parts))
	for i, p := range parts {
		wg.Go(func() { errs[i] = p.Close() })
	}
	wg.Wait()
	return errors.Join(errs...)
}

// refuse takes no more subscriptions, and no more events if closed; it returns the parts that are open.
func (b *Bus) refuse(closed bool) []part {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.draining = true
	if closed {
		b.closed.Store(true)
	}
	parts := make([]part, 0, len(b.parts))
	for p := range b.parts {
		parts = append(parts, p)
	}
	return parts
}

func (b *Bus) add(p part) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.draining {
		return fmt.Errorf("events: bus %s: %w", b.source, ErrClosed)
	}
	b.parts[p] = struct{}{}
	return nil
}

func (b *Bus) remove(p part) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.parts, p)
}

// HandleError takes an error that the connection reported asynchronously, by the callback that nats.ErrorHandler sets, and
// surfaces it to whoever it affects: a permission violation ends the Publish, Subscribe or subscription that it is about
// with [ErrDenied] at once, instead of by a timeout, and a slow consumer is logged with what was lost. It reports whether
// the error concerned this bus. It does not block.
func (b *Bus) HandleError(sub *nats.Subscription, err error) bool {
	if err == nil {
		return false
	}
	found := false
	if kind, subj := violation.Of(err); kind == violation.Publish {
		found = b.calls.deny(subj, err)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	for p := range b.parts {
		found = p.disturbed(sub, err) || found
	}
	return found
}

// bounded gives a context a deadline if it has none.
func (b *Bus) bounded(ctx context.Context) (context.Context, context.CancelFunc) {
	if _, ok := ctx.Deadline(); ok {
		return ctx, func() {}
	}
	return context.WithTimeout(ctx, b.opts.PublishTimeout)
}

func busOf(p Provider) (*Bus, error) {
	if p == nil {
		return nil, fmt.Errorf("events: %w: no bus", ErrInvalid)
	}
	b := p.EventBus()
	if b == nil {
		return nil, fmt.Errorf("events: %w: no bus", ErrInvalid)
	}
	return b, nil
}

// invalidName gives an error of the subject package the prefix and the sentinel of this one.
func invalidName(err error) error { return fmt.Errorf("events: %w: %w", ErrInvalid, err) }

// invalidEvent does the same for an error of the binding.
func invalidEvent(err error) error { return fmt.Errorf("%w: %w", ErrInvalid, err) }

// checkPlainName checks a name of a stream or a durable. It goes into subjects that administrators grant and type, so it
// is what needs no escape.
func checkPlainName(kind, name string) error {
	if err := subject.CheckName(kind, name); err != nil {
		return invalidName(err)
	}
	if subject.Escape(name) != name {
		return fmt.Errorf("events: %w: %s %q must consist of letters, digits, dashes and underscores", ErrInvalid, kind, name)
	}
	return nil
}

// checkType checks the name of an event type: one that a subject and the attribute ce-type can carry.
func checkType(typ string) error {
	if err := subject.CheckPath("event type", typ); err != nil {
		return invalidName(err)
	}
	e := binding.Event{ID: "-", Source: "-", Type: typ}
	if err := e.Validate(); err != nil {
		return fmt.Errorf("events: event type %q: %w", typ, invalidEvent(err))
	}
	return nil
}
