package rpc

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nuid"

	"github.com/hocket-go/hocket/codec"
	"github.com/hocket-go/hocket/internal/subject"
	"github.com/hocket-go/hocket/internal/violation"
)

// The defaults of [ServerOptions].
const (
	DefaultMaxInFlight = 4096
	DefaultMaxQueue    = 8192
)

// queueSlack is the room in the queue above MaxQueue. The watchman sheds what is there, once in a tick; what nats.go cannot
// put into the channel meanwhile would be lost.
const queueSlack = 8192

const (
	// closeGrace is how long Close waits for handlers whose contexts it has canceled.
	closeGrace = 5 * time.Second
	// brokerGrace is how much of it the broker has to send what it had routed here already.
	brokerGrace = time.Second
)

// ServerOptions are the options of a [Server]; nil is all defaults.
type ServerOptions struct {
	// Namespace prefixes every subject, so that several systems share a broker. Defaults to none.
	Namespace string
	// Instance names this instance among those of its service. Defaults to a random name.
	Instance string
	// MaxInFlight is how many handlers run at the same time. Defaults to [DefaultMaxInFlight].
	MaxInFlight int
	// MaxQueue is how many calls wait for one of those; calls beyond are refused with [ResourceExhausted], within a
	// millisecond and as long as those are no more than 8192. The memory that all of these take is bounded by their number
	// times the broker's payload limit. Defaults to [DefaultMaxQueue].
	MaxQueue int
	// RequireCaller refuses calls that do not name their caller, those of `nats req` among them: with access rules, who
	// calls is known only from the subject. Defaults to false.
	RequireCaller bool
	// Codecs are understood besides each method's own. Defaults to codec.Default().
	Codecs *codec.Set
	// Interceptors wrap every handler, the first outermost. Defaults to none.
	Interceptors []Interceptor
	// Logger gets what no caller is told: panics with their stacks, calls that were dropped. Defaults to slog.Default().
	Logger *slog.Logger
}

// Server serves the methods of one service on one connection: register them, then Start. It is safe for concurrent use.
type Server struct {
	nc       *nats.Conn
	names    subject.Names
	service  string
	token    string // the service's name, escaped
	instance string
	prefix   string // of every call's subject, up to the method
	opts     ServerOptions

	queue         chan *nats.Msg
	base          context.Context //nolint:containedctx // of every handler; ends when the server closes
	end           context.CancelCauseFunc
	readers       readers
	cancellations cancellations
	counters      counters

	mu      sync.Mutex // guards what follows; Start holds it while it waits for the broker
	state   state
	methods map[string]*handler // by escaped name; not changed once started
	intake  sync.WaitGroup      // counts subscriptions until nothing more can come from them
	done    chan struct{}       // closed when no goroutine of the server is left
	live    atomic.Bool         // Start has succeeded

	subsMu  sync.Mutex // guards what follows; taken after mu
	subs    []*nats.Subscription
	cancels *nats.Subscription
}

type state int

const (
	registering state = iota
	running
	stopping
)

// handler serves one method.
type handler struct {
	name   string
	format codec.Format
	handle func(c *callContext, f codec.Format, payload, buf []byte) ([]byte, error)
	pace   pace
}

// NewServer makes a server of a service on a connection, which stays the caller's to close. Nothing is sent before Start.
func NewServer(nc *nats.Conn, service string, opts *ServerOptions) (*Server, error) {
	if nc == nil {
		return nil, fmt.Errorf("rpc: new server: %w", nats.ErrInvalidConnection)
	}
	s := &Server{nc: nc, service: service, methods: map[string]*handler{}, done: make(chan struct{})}
	if opts != nil {
		s.opts = *opts
		s.opts.Interceptors = slices.Clone(opts.Interceptors)
	}
	s.opts.setDefaults()
	err := errors.Join(
		subject.CheckName("service", service),
		subject.CheckName("instance", s.opts.Instance),
		atLeastOne("MaxInFlight", s.opts.MaxInFlight),
		atLeastOne("MaxQueue", s.opts.MaxQueue),
	)
	names, namesErr := subject.New(s.opts.Namespace)
	if err = errors.Join(err, namesErr); err != nil {
		return nil, fmt.Errorf("rpc: new server: %w", err)
	}
	s.names, s.instance, s.token = names, s.opts.Instance, subject.Escape(service)
	s.prefix = strings.TrimSuffix(names.PlainCall(service, "x"), "x")
	s.queue = make(chan *nats.Msg, s.opts.MaxQueue+queueSlack)
	s.base, s.end = context.WithCancelCause(context.Background())
	s.readers.init(s)
	return s, nil
}

func (o *ServerOptions) setDefaults() {
	if o.Instance == "" {
		o.Instance = nuid.Next()
	}
	if o.MaxInFlight == 0 {
		o.MaxInFlight = DefaultMaxInFlight
	}
	if o.MaxQueue == 0 {
		o.MaxQueue = DefaultMaxQueue
	}
	if o.Codecs == nil {
		o.Codecs = codec.Default()
	}
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
}

func atLeastOne(name string, n int) error {
	if n < 1 {
		return fmt.Errorf("%s is %d, at least 1", name, n)
	}
	return nil
}

// RPCServer returns the server itself, so that it can stand where a [Registrar] is wanted.
func (s *Server) RPCServer() *Server { return s }

// Service returns the service's name.
func (s *Server) Service() string { return s.service }

// Instance returns the name of this instance.
func (s *Server) Instance() string { return s.instance }

func (s *Server) register(m *spec, handle func(*callContext, codec.Format, []byte, []byte) ([]byte, error)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	token := subject.Escape(m.method)
	switch {
	case m.service != s.service:
		panic(fmt.Sprintf("rpc: handle %s: the method is not one of service %q", m.name(), s.service))
	case s.state != registering:
		panic(fmt.Sprintf("rpc: handle %s: the server has started", m.name()))
	case s.methods[token] != nil:
		panic(fmt.Sprintf("rpc: handle %s: the method has a handler already", m.name()))
	}
	h := &handler{name: m.method, format: m.format, handle: handle}
	h.pace.set()
	s.methods[token] = h
}

// Start goes live: once it returns nil the broker routes calls here. An error names each subject that the broker refused;
// nothing is served then, and the server cannot be started again. The context bounds the start alone. After Drain or Close
// the error matches [ErrClosed].
func (s *Server) Start(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch s.state {
	case registering:
		s.state = running
	case running:
		return fmt.Errorf("rpc: start %s: started already", s.service)
	case stopping:
		return fmt.Errorf("rpc: start %s: %w", s.service, ErrClosed)
	}
	// Close, and a Drain whose time is up, need not wait for a broker that does not answer.
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	defer context.AfterFunc(s.base, func() { cancel(ErrClosed) })()

	err := s.subscribe(ctx, false)
	if errors.Is(err, nats.ErrPermissionViolation) {
		// The connection remembers only the last refusal. Ask again one by one, to name them all.
		s.unsubscribe()
		err = s.subscribe(ctx, true)
	}
	if err != nil {
		s.end(ErrClosed)
	}
	s.readers.start() // after a failure too: a call that came meanwhile is answered, if only with Unavailable
	if err != nil {
		s.stopLocked()
		return fmt.Errorf("rpc: start %s: %w", s.service, err)
	}
	s.live.Store(true)
	return nil
}

// interest is what a subscription is made of.
type interest struct{ subject, queue string }

// interests are the calls that the server subscribes to.
func (s *Server) interests() []interest {
	var all []interest
	for _, token := range slices.Sorted(maps.Keys(s.methods)) {
		method := s.methods[token].name
		all = append(all, interest{s.names.CallFilter(s.service, method), s.token},
			interest{s.names.InstanceCallFilter(s.service, method, s.instance), ""})
		if !s.opts.RequireCaller {
			all = append(all, interest{s.names.PlainCall(s.service, method), s.token})
		}
	}
	return all
}

// subscribe makes all subscriptions and waits until the broker has them.
func (s *Server) subscribe(ctx context.Context, oneByOne bool) error {
	var refused []error
	before := s.nc.LastError()
	confirm := func() error {
		if err := flush(ctx, s.nc); err != nil {
			return err
		}
		last := s.nc.LastError()
		if last == before || !errors.Is(last, nats.ErrPermissionViolation) { //nolint:errorlint // the very same value
			return nil
		}
		before = last
		if s.subscribed(nil, last) {
			refused = append(refused, last)
		}
		return nil
	}
	cancels, err := s.nc.Subscribe(s.names.CancelFilter(s.service), s.receiveCancel)
	if err != nil {
		return fmt.Errorf("subscribe: %w", err)
	}
	s.subsMu.Lock()
	s.cancels = cancels
	s.subsMu.Unlock()
	if oneByOne {
		if err := confirm(); err != nil {
			return err
		}
	}
	for _, w := range s.interests() {
		var sub *nats.Subscription
		if w.queue == "" {
			sub, err = s.nc.ChanSubscribe(w.subject, s.queue)
		} else {
			sub, err = s.nc.ChanQueueSubscribe(w.subject, w.queue, s.queue)
		}
		if err != nil {
			return fmt.Errorf("subscribe to %s: %w", w.subject, err)
		}
		s.track(sub)
		if oneByOne {
			if err := confirm(); err != nil {
				return err
			}
		}
	}
	if err := confirm(); err != nil {
		return err
	}
	return errors.Join(refused...)
}

func (s *Server) track(sub *nats.Subscription) {
	s.intake.Add(1)
	done := sync.OnceFunc(s.intake.Done) // nats.go calls the handler twice for one unsubscribed while it drains
	sub.SetClosedHandler(func(string) { done() })
	if !sub.IsValid() {
		done() // the connection was closed before there was a handler
	}
	s.subsMu.Lock()
	defer s.subsMu.Unlock()
	s.subs = append(s.subs, sub)
}

// unsubscribe drops the subscriptions, and what is on its way to them.
func (s *Server) unsubscribe() {
	s.subsMu.Lock()
	defer s.subsMu.Unlock()
	for _, sub := range s.subs {
		_ = sub.Unsubscribe() // it fails only where the connection, and the subscription with it, is gone
	}
	s.subs = nil
	if s.cancels != nil {
		_ = s.cancels.Unsubscribe()
	}
}

// subscribed tells whether an error that the connection reported is about a subscription of this server.
func (s *Server) subscribed(sub *nats.Subscription, err error) bool {
	s.subsMu.Lock()
	defer s.subsMu.Unlock()
	ours := func(match func(*nats.Subscription) bool) bool {
		return slices.ContainsFunc(s.subs, match) || s.cancels != nil && match(s.cancels)
	}
	if sub != nil {
		return ours(func(own *nats.Subscription) bool { return own == sub })
	}
	kind, refused := violation.Of(err)
	return kind == violation.Subscription && ours(func(own *nats.Subscription) bool { return own.Subject == refused })
}

// flush waits until the broker has taken everything that was sent.
func flush(ctx context.Context, nc *nats.Conn) error {
	if _, bounded := ctx.Deadline(); !bounded {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, DefaultTimeout)
		defer cancel()
	}
	if err := nc.FlushWithContext(ctx); err != nil {
		if ctx.Err() != nil {
			err = context.Cause(ctx)
		}
		return fmt.Errorf("wait for the broker: %w", err)
	}
	return nil
}

// HandleError takes an error that the connection reported asynchronously, by the callback that nats.ErrorHandler sets, and
// logs what no caller can be told: that calls were lost because they came faster than they could even be refused, or that
// the broker, after a reconnect, no longer lets this instance subscribe. It tells whether the error concerned this server.
// A hocket.Service calls it by itself.
func (s *Server) HandleError(sub *nats.Subscription, err error) bool {
	if !s.subscribed(sub, err) {
		return false
	}
	switch {
	case !s.live.Load(): // Start returns it
	case errors.Is(err, nats.ErrSlowConsumer):
		s.opts.Logger.Error("rpc: calls lost: they came faster than they could be refused", "subject", sub.Subject,
			"waiting", len(s.queue))
	default:
		s.opts.Logger.Error("rpc: subscription", "service", s.service, "error", err)
	}
	return true
}

// Drain stops the intake, finishes every call that was accepted, sends the replies, and returns when no goroutine of the
// server is left. If the context ends first, the handlers' contexts are canceled and the error names the methods that
// still run; Drain may then be called again. It is idempotent.
func (s *Server) Drain(ctx context.Context) error {
	started := context.AfterFunc(ctx, func() { s.end(ErrClosed) }) // which ends a Start that hangs
	s.stop()
	started()
	select {
	case <-s.done:
	case <-ctx.Done():
		err := fmt.Errorf("rpc: drain %s: still running %s: %w", s.service, s.readers.running(), context.Cause(ctx))
		s.end(ErrClosed)
		return err
	}
	if s.nc.IsClosed() {
		return nil // there is nobody to send the last replies to
	}
	if err := flush(ctx, s.nc); err != nil {
		return fmt.Errorf("rpc: drain %s: %w", s.service, err)
	}
	return nil
}

// Close stops the intake, cancels the handlers' contexts, answers what waits with [Unavailable], and waits up to five
// seconds for the handlers to return; the error names the methods of those that did not. It is idempotent.
func (s *Server) Close() error {
	s.end(ErrClosed)
	s.stop()
	for _, wait := range []time.Duration{brokerGrace, closeGrace - brokerGrace} {
		select {
		case <-s.done:
			return nil
		case <-time.After(wait):
			s.unsubscribe() // what the broker has not sent by now is not waited for
		}
	}
	return fmt.Errorf("rpc: close %s: still running %s", s.service, s.readers.running())
}

// stop ends the intake.
func (s *Server) stop() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.state != stopping {
		s.stopLocked()
	}
}

// stopLocked ends the subscriptions to calls. What the broker has sent before it knows still comes, and is answered. Then
// the queue is closed, the readers end, and last, when no handler is left to be told, the subscription to cancellations.
func (s *Server) stopLocked() {
	s.state = stopping
	s.subsMu.Lock()
	defer s.subsMu.Unlock()
	for _, sub := range s.subs {
		// Either fails only where the subscription, or the connection, has ended already.
		if s.nc.IsConnected() {
			_ = sub.Drain()
		} else {
			_ = sub.Unsubscribe() // nothing is on its way, and nobody there to say so
		}
	}
	go func() {
		defer close(s.done)
		s.intake.Wait()
		close(s.queue)
		s.readers.finish()
		s.unsubscribe()
	}()
}
