package events

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"sync"
	"sync/atomic"

	"github.com/nats-io/nats.go"

	"github.com/hocket-go/hocket/internal/identity"
	"github.com/hocket-go/hocket/internal/violation"
)

const (
	defaultBuffer    = 4096
	listenBufferSize = 64 << 20
)

// Signal sends an event to whoever listens right now ([Type.Listen]) and stores it nowhere. It returns when the event is in
// the client's buffer: a broken connection, a listener that is slow or away, and a broker that denies it lose the event, and
// the sender does not learn of it. It costs a fraction of a Publish. The options are those of [Type.Publish].
//
// The error matches [ErrInvalid], [ErrTooLarge] or [ErrClosed], or is the connection's.
func (t *Type[T]) Signal(ctx context.Context, p Provider, data T, opts ...PublishOption) error {
	b, err := busOf(p)
	if err != nil {
		return err
	}
	key := ""
	if t.key != nil {
		key = t.key(data)
	}
	return b.signal(ctx, &t.spec, data, key, opts)
}

func (b *Bus) signal(ctx context.Context, s *spec, data any, key string, opts []PublishOption) error {
	fail := func(err error) error { return fmt.Errorf("events: signal %s: %w", s.name, err) }
	if ctx.Err() != nil {
		return fail(ended(ctx))
	}
	if b.closed.Load() {
		return fail(fmt.Errorf("bus %s: %w", b.source, ErrClosed))
	}
	r, err := b.route(s)
	if err != nil {
		return err
	}
	var c publishConfig
	if _, err := b.prepare(&c, r, data, key, opts); err != nil {
		return fail(err)
	}
	subj, err := b.names.Signal(b.source, s.name)
	if err != nil {
		return invalidName(err)
	}
	msg := &nats.Msg{Subject: subj, Header: c.event.Header(""), Data: c.event.Data}
	if err := b.checkSize(nil, msg); err != nil {
		return fail(err)
	}
	if err := b.nc.PublishMsg(msg); err != nil {
		return fail(err)
	}
	return nil
}

// ListenOption is an option of [Type.Listen].
type ListenOption func(*listenConfig)

type listenConfig struct {
	queue  string
	buffer int
}

// Group makes listeners with the same name share the signals: each goes to one of them. Defaults to every listener getting
// all.
func Group(name string) ListenOption { return func(c *listenConfig) { c.queue = name } }

// Buffer is how many signals wait for the handler; what comes when it is full is lost and counted. Defaults to 4096, and 64
// MiB together in any case.
func Buffer(n int) ListenOption { return func(c *listenConfig) { c.buffer = n } }

// Listener gets signals. It is safe for concurrent use.
type Listener struct {
	bus     *Bus
	route   *route
	handle  func(context.Context, *arrival) error
	log     *slog.Logger
	filter  string
	sub     *nats.Subscription
	invalid atomic.Uint64

	ctx    context.Context //nolint:containedctx // the life of the handler, which no call bounds
	cancel context.CancelCauseFunc
	done   chan struct{}
	once   sync.Once

	mu  sync.Mutex // guards what follows
	err error
}

// Listen has a handler called for every signal of the type that is sent from now on, one at a time and, from one source, in
// order. It returns when the broker knows of the listener. A signal that cannot be decoded, or whose handler fails or
// panics, is logged and gone.
//
// The context bounds this call only; the [Listener] ends with its Drain or Close, or with that of the bus. The error
// matches [ErrDenied], [ErrInvalid] or [ErrClosed], or is the connection's.
func (t *Type[T]) Listen(ctx context.Context, p Provider, handler Handler[T], opts ...ListenOption) (*Listener, error) {
	b, err := busOf(p)
	if err != nil {
		return nil, err
	}
	if handler == nil {
		return nil, fmt.Errorf("events: %w: no handler", ErrInvalid)
	}
	handle := func(ctx context.Context, a *arrival) error {
		e, err := typed[T](a)
		if err != nil {
			return err
		}
		return handler(ctx, e)
	}
	return b.listen(ctx, &t.spec, handle, opts)
}

func (b *Bus) listen(
	ctx context.Context, s *spec, handle func(context.Context, *arrival) error, opts []ListenOption,
) (*Listener, error) {
	cfg := listenConfig{buffer: defaultBuffer}
	for _, opt := range opts {
		opt(&cfg)
	}
	if cfg.buffer < 1 {
		return nil, fmt.Errorf("events: %w: a buffer of %d signals; it must be at least 1", ErrInvalid, cfg.buffer)
	}
	if cfg.queue != "" {
		if err := checkPlainName("group", cfg.queue); err != nil {
			return nil, err
		}
		cfg.queue = b.names.Stream(cfg.queue)
	}
	r, err := b.route(s)
	if err != nil {
		return nil, err
	}
	l := &Listener{bus: b, route: r, handle: handle, done: make(chan struct{}), log: b.log.With(slog.String("type", s.name))}
	if l.filter, err = b.names.SignalFilter(s.name); err != nil {
		return nil, invalidName(err)
	}
	l.ctx, l.cancel = context.WithCancelCause(context.Background())
	if err := l.open(ctx, cfg); err != nil {
		l.cancel(err)
		return nil, fmt.Errorf("events: listen to %s: %w", s.name, err)
	}
	return l, nil
}

func (l *Listener) open(ctx context.Context, cfg listenConfig) error {
	ctx, cancel := l.bus.bounded(ctx)
	defer cancel()
	nc := l.bus.nc
	before := nc.LastError()
	sub, err := nc.QueueSubscribe(l.filter, cfg.queue, l.receive)
	if err != nil {
		return fmt.Errorf("%s: %w", l.filter, err)
	}
	l.sub = sub
	_ = sub.SetPendingLimits(cfg.buffer, listenBufferSize)
	sub.SetClosedHandler(func(string) {
		l.cancel(ErrClosed)
		l.bus.remove(l)
		close(l.done)
	})
	if !sub.IsValid() { // closed before the handler was set
		return nats.ErrConnectionClosed
	}
	if err := l.bus.add(l); err != nil {
		_ = l.Close() // never an error
		return err
	}
	// The answer to a ping comes after the broker's complaint about the subscription, if it has one.
	err = nc.FlushWithContext(ctx)
	if last := nc.LastError(); err == nil && last != nil && last != before { //nolint:errorlint // the same one again is old
		if kind, subj := violation.Of(last); kind == violation.Subscription && subj == l.filter {
			err = denied(last)
		}
	}
	if err == nil {
		err = l.Err() // HandleError may have been quicker
	}
	if err != nil {
		_ = l.Close()
		return err
	}
	return nil
}

// receive is called by the client's goroutine, one message at a time.
func (l *Listener) receive(msg *nats.Msg) {
	a := arrival{tries: 1, payload: decoder{own: l.route.format, codecs: l.bus.opts.Codecs}}
	from, ok := l.bus.names.ParseSignal(msg.Subject)
	err := a.open(l.route.spec, from.Source, from.Type, ok, msg)
	if err == nil {
		err = l.run(&a)
		if err != nil && !errors.Is(err, errUndecodable) {
			l.log.Warn("events: the handler of a signal failed", slog.String("id", a.ce.ID),
				slog.String("subject", msg.Subject), slog.Any("error", err))
			return
		}
	}
	if err != nil {
		l.invalid.Add(1)
		l.log.Warn("events: a signal cannot be decoded", slog.String("subject", msg.Subject), slog.Any("error", err))
	}
}

func (l *Listener) run(a *arrival) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("panic: %v\n%s", r, debug.Stack())
		}
	}()
	return l.handle(identity.WithCaller(l.ctx, a.ce.Source), a)
}

// Dropped returns how many signals were lost because the handler was slow.
func (l *Listener) Dropped() int {
	n, err := l.sub.Dropped()
	if err != nil {
		return 0 // it has ended
	}
	return n
}

// Undecodable returns how many signals could not be given to the handler.
func (l *Listener) Undecodable() uint64 { return l.invalid.Load() }

// Drain ends the listener: it takes no more signals and returns when the handler has had those that came. If the context
// ends first, it returns its error; Drain or Close may be called again. It must not be called from the handler.
func (l *Listener) Drain(ctx context.Context) error {
	l.once.Do(func() {
		if err := l.sub.Drain(); err != nil {
			l.log.Debug("events: drain", slog.Any("error", err)) // the connection is closed, and so is the subscription
		}
	})
	select {
	case <-l.done:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("events: drain the listener to %s: %w", l.route.spec.name, ended(ctx))
	}
}

// Close ends the listener now: the context of a running handler is cancelled, Close waits for it to return, and signals
// that wait are lost. It must not be called from the handler.
func (l *Listener) Close() error {
	l.cancel(ErrClosed)
	l.once.Do(func() {})
	if err := l.sub.Unsubscribe(); err != nil {
		l.log.Debug("events: close", slog.Any("error", err))
	}
	<-l.done
	return nil
}

// Done is closed when the listener has ended.
func (l *Listener) Done() <-chan struct{} { return l.done }

// Err says that the broker denies the subscription ([ErrDenied]); it is nil otherwise.
func (l *Listener) Err() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.err
}

// disturbed implements part.
func (l *Listener) disturbed(sub *nats.Subscription, err error) bool {
	if kind, subj := violation.Of(err); kind != violation.None {
		if kind != violation.Subscription || subj != l.filter {
			return false
		}
		l.mu.Lock()
		l.err = fmt.Errorf("events: listen to %s: %w", l.route.spec.name, denied(err))
		l.mu.Unlock()
		_ = l.sub.Unsubscribe() // done follows
		return true
	}
	own := sub == l.sub
	if own && errors.Is(err, nats.ErrSlowConsumer) {
		l.log.Warn("events: signals are lost because the handler is slow", slog.Int("dropped", l.Dropped()))
	}
	return own
}
