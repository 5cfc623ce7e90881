package hocket

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"sync"

	"github.com/nats-io/nats.go"

	"github.com/hocket-go/hocket/events"
	"github.com/hocket-go/hocket/internal/outcome"
	"github.com/hocket-go/hocket/internal/subject"
	"github.com/hocket-go/hocket/rpc"
)

// ErrUnknown matches the error of everything that may or may not have taken effect, in every package of Hocket.
var ErrUnknown = outcome.ErrUnknown

// ErrClosed is returned for what a closed or draining [Service] no longer does.
var ErrClosed = errors.New("hocket: service is closed")

// Service is one instance of a service: a connection and the parts wired to it. [Open] makes one. It is safe for concurrent
// use.
type Service struct {
	name   string
	opts   Options
	log    *slog.Logger
	nc     *nats.Conn
	broker owned // the broker inside, if this service opened it

	durability Durability

	server *rpc.Server
	client *rpc.Client
	bus    *events.Bus

	ended chan struct{} // closed when the connection has closed, for whatever reason

	mu    sync.Mutex // guards what follows
	phase phase
	hooks hooks
	stop  sync.Once
	done  chan struct{} // closed when everything is closed
	err   error         // of closing
}

type phase int

const (
	opened phase = iota
	running
	stopping
)

// Open connects to the broker that the options name, starting one inside the process if need be, and wires the parts to it.
// The name is the service's: others call it and hear its events by that name, so it has the form ^[a-z0-9][a-z0-9-]{0,62}$.
// Nothing is served before [Service.Run] or [Service.Start].
//
// Without a deadline in ctx it gives up after [Options].OpenTimeout; ctx has no part in the life of the service after that.
// Errors: [ErrOptions], [ErrNotSynced], those of embedded.Join and embedded.Start, and what nats.go says of a broker that
// cannot be reached.
func Open(ctx context.Context, name string, opts *Options) (*Service, error) {
	o, err := opts.resolve(name)
	if err != nil {
		return nil, err
	}
	ctx, cancel := bounded(ctx, o.OpenTimeout)
	defer cancel()
	s := &Service{
		name: name, opts: o, log: o.Logger.With("service", name, "instance", o.Instance),
		ended: make(chan struct{}), done: make(chan struct{}),
	}
	if err := s.open(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("open %s: %w", name, err), s.Close())
	}
	return s, nil
}

func (s *Service) open(ctx context.Context) error {
	if err := s.connect(ctx); err != nil {
		return err
	}
	if err := s.checkDurability(ctx); err != nil {
		return err
	}
	return s.wire()
}

// wire makes the parts.
func (s *Service) wire() error {
	var server rpc.ServerOptions
	if s.opts.Server != nil {
		server = *s.opts.Server
	}
	server.Namespace, server.Instance, server.Logger = s.opts.Namespace, s.opts.Instance, s.log
	var client rpc.ClientOptions
	if s.opts.Client != nil {
		client = *s.opts.Client
	}
	client.Namespace, client.Logger = s.opts.Namespace, s.log
	var bus events.Options
	if s.opts.Events != nil {
		bus = *s.opts.Events
	}
	bus.Namespace, bus.Logger = s.opts.Namespace, s.log

	s.mu.Lock() // the connection's error handler reads the parts
	defer s.mu.Unlock()
	var err error
	if s.server, err = rpc.NewServer(s.nc, s.name, &server); err != nil {
		return err
	}
	if s.client, err = rpc.NewClient(s.nc, s.name, &client); err != nil {
		return err
	}
	s.bus, err = events.New(s.nc, s.name, &bus)
	return err
}

// Name returns the service's name.
func (s *Service) Name() string { return s.name }

// Version returns the program's version.
func (s *Service) Version() string { return s.opts.Version }

// Instance returns the name of this instance.
func (s *Service) Instance() string { return s.opts.Instance }

// Metadata returns what else is known about the instance.
func (s *Service) Metadata() map[string]string { return maps.Clone(s.opts.Metadata) }

// Logger returns the service's logger, which says which service and instance it is.
func (s *Service) Logger() *slog.Logger { return s.log }

// Conn returns the connection, for what Hocket has no word for. It is the service's to close.
func (s *Service) Conn() *nats.Conn { return s.nc }

// RPCServer returns the part that serves calls, so that a service can stand where a method is handled.
func (s *Service) RPCServer() *rpc.Server { return s.server }

// RPCClient returns the part that makes calls, so that a service can stand where a method is called.
func (s *Service) RPCClient() *rpc.Client { return s.client }

// EventBus returns the part that publishes and subscribes, so that a service can stand where an event type is used.
func (s *Service) EventBus() *events.Bus { return s.bus }

// HandleError gives the parts an error that the connection reported asynchronously, so that what it is about ends with it
// instead of a timeout. The service does so by itself, unless [Options].NATS replaced the connection's error handler.
func (s *Service) HandleError(_ *nats.Conn, sub *nats.Subscription, err error) {
	s.mu.Lock()
	server, client, bus := s.server, s.client, s.bus
	s.mu.Unlock()
	handled := false
	if server != nil {
		handled = server.HandleError(sub, err)
	}
	if client != nil {
		handled = client.HandleError(sub, err) || handled
	}
	if bus != nil {
		handled = bus.HandleError(sub, err) || handled
	}
	if handled || isProbe(err) {
		return
	}
	where := ""
	if sub != nil {
		where = sub.Subject
	}
	s.log.Error("connection", "error", err, "subscription", where)
}

// inboxPrefix is where the broker answers this service: below its own name, so that a rule can say who may listen there.
func inboxPrefix(name string) string { return "_INBOX." + subject.Escape(name) }
