package rpc

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nuid"

	"github.com/hocket-go/hocket/internal/subject"
	"github.com/hocket-go/hocket/internal/violation"
)

// DefaultTimeout bounds a call whose context has no deadline.
const DefaultTimeout = 10 * time.Second

// ClientOptions are the options of a [Client]; nil is all defaults.
type ClientOptions struct {
	// Namespace prefixes every subject, so that several systems share a broker. Defaults to none.
	Namespace string
	// Timeout bounds calls that do not set one by [Timeout] and whose context has no deadline. Defaults to
	// [DefaultTimeout]; -1 is none.
	Timeout time.Duration
	// Interceptors wrap every call, the first outermost. Defaults to none.
	Interceptors []Interceptor
	// Logger gets what no caller can be told. Defaults to slog.Default().
	Logger *slog.Logger
}

// Client makes calls on one connection. It is safe for concurrent use.
type Client struct {
	nc      *nats.Conn
	caller  string
	names   subject.Names
	opts    ClientOptions
	token   string // tells this client's replies from those of others of the same name
	pending pending
	routes  sync.Map // *spec to *route
	replies *nats.Subscription

	refusal atomic.Pointer[refusal] // why no call can be made
}

// refusal is why no call can be made: for good, or as long as a connection lasts.
type refusal struct {
	err        *Error
	final      bool
	reconnects uint64 // if not final, how often the client had reconnected by then
}

// forever is the time of a call that has no end.
const forever = time.Duration(math.MaxInt64)

// route is what all calls of a method have in common.
type route struct {
	subject string
	// reply begins the reply subjects, up to the sequence number.
	reply string
	// codec ends them.
	codec string
}

// NewClient makes a client that calls under a name, that of its own service as a rule. The connection stays the caller's
// to close.
func NewClient(nc *nats.Conn, caller string, opts *ClientOptions) (*Client, error) {
	if nc == nil {
		return nil, fmt.Errorf("rpc: new client: %w", nats.ErrInvalidConnection)
	}
	c := &Client{nc: nc, caller: caller, token: nuid.Next()[nuidUnique:]}
	if opts != nil {
		c.opts = *opts
		c.opts.Interceptors = slices.Clone(opts.Interceptors)
	}
	switch {
	case c.opts.Timeout == 0:
		c.opts.Timeout = DefaultTimeout
	case c.opts.Timeout < 0:
		c.opts.Timeout = forever
	}
	if c.opts.Logger == nil {
		c.opts.Logger = slog.Default()
	}
	if err := subject.CheckName("caller", caller); err != nil {
		return nil, fmt.Errorf("rpc: new client: %w", err)
	}
	var err error
	if c.names, err = subject.New(c.opts.Namespace); err != nil {
		return nil, fmt.Errorf("rpc: new client: %w", err)
	}
	c.replies, err = nc.Subscribe(c.names.ReplyFilter(caller, c.token), c.receive)
	if err != nil {
		return nil, fmt.Errorf("rpc: new client: subscribe to replies: %w", err)
	}
	// A reply waits in the client's buffer only until its goroutine runs: bounded by the calls in flight.
	if err := c.replies.SetPendingLimits(-1, -1); err != nil {
		return nil, fmt.Errorf("rpc: new client: %w", err)
	}
	c.replies.SetClosedHandler(func(string) { c.refuse(errClientClosed(), true) })
	return c, nil
}

func errClientClosed() *Error {
	return &Error{Code: Unavailable, Message: "the client or its connection is closed", cause: ErrClosed}
}

// nuidUnique is where the part of a nuid begins that differs from one to the next within a process, kept together with
// some of its random prefix to tell processes apart.
const nuidUnique = 6

// RPCClient returns the client itself, so that it can stand where a [Caller] is wanted.
func (c *Client) RPCClient() *Client { return c }

// Close ends every call that waits, with [Unavailable], and takes no more. It is idempotent and does not close the
// connection.
func (c *Client) Close() error {
	c.refuse(errClientClosed(), true)
	err := c.replies.Unsubscribe()
	if err == nil || errors.Is(err, nats.ErrConnectionClosed) || errors.Is(err, nats.ErrBadSubscription) {
		return nil // the latter two: gone already
	}
	return fmt.Errorf("rpc: close client: %w", err)
}

// HandleError takes an error that the connection reported asynchronously, by the callback that nats.ErrorHandler sets, and
// ends the calls that it is about: those that the broker refused end at once with [PermissionDenied], instead of waiting for
// a reply that cannot come. It tells whether the error concerned this client. A hocket.Service calls it by itself.
func (c *Client) HandleError(_ *nats.Subscription, err error) bool {
	kind, refused := violation.Of(err)
	if kind == violation.None {
		return false
	}
	denied := &Error{Code: PermissionDenied, Message: "the broker refused: " + err.Error(), cause: err}
	switch {
	case kind == violation.Publish:
		return c.pending.fail(denied, func(r *route) bool { return r.subject == refused }) > 0
	case kind == violation.Subscription && refused == c.replies.Subject:
		c.refuse(denied, false) // without replies there are no calls
		return true
	}
	return false
}

// refuse ends all calls: those to come, which are not sent, and those that wait, which may have been handled.
func (c *Client) refuse(err *Error, final bool) {
	r := &refusal{err: err, final: final, reconnects: c.nc.Stats().Reconnects}
	if final {
		c.refusal.Store(r)
	} else {
		c.refusal.CompareAndSwap(nil, r)
	}
	waiting := *err
	waiting.cause = fmt.Errorf("%w: %w", ErrUnknown, err.cause)
	c.pending.fail(&waiting, func(*route) bool { return true })
}

// refused returns why no call can be made, nil if one can. When rules change, the broker makes those reconnect whom it
// concerns; what it refused before, it is then asked again.
func (c *Client) refused() *Error {
	r := c.refusal.Load()
	switch {
	case r == nil:
		return nil
	case !r.final && r.reconnects != c.nc.Stats().Reconnects:
		c.refusal.CompareAndSwap(r, nil)
		return nil
	}
	return r.err
}

// receive runs for every reply, on one goroutine.
func (c *Client) receive(msg *nats.Msg) {
	// <prefix>.<connection>.<sequence>.<time left>.<codec>, of which the sequence is enough.
	s := msg.Subject
	s = s[:max(strings.LastIndexByte(s, '.'), 0)]
	s = s[:max(strings.LastIndexByte(s, '.'), 0)]
	seq, err := strconv.ParseUint(s[strings.LastIndexByte(s, '.')+1:], 36, 64)
	if err != nil {
		c.opts.Logger.Warn("rpc: a reply to no call", "subject", msg.Subject)
		return
	}
	c.pending.deliver(seq, msg)
}

// roundTrip sends w.payload and waits for the reply.
func (c *Client) roundTrip(ctx context.Context, s *spec, w *waiter, o callOptions) (*nats.Msg, error) {
	if ctx.Err() != nil {
		return nil, ended(ctx, "the call was not sent")
	}
	limit, byContext := c.opts.Timeout, false
	if o.timed {
		limit = o.timeout
	}
	if deadline, ok := ctx.Deadline(); ok {
		if left := time.Until(deadline); left <= limit || !o.timed {
			limit, byContext = left, true
		}
	}
	if limit <= 0 {
		return nil, errTimeUp("the call was not sent, its time was up")
	}
	r, err := c.route(s, o)
	if err != nil {
		return nil, err
	}
	var expired <-chan time.Time
	if !byContext && limit < forever { // a context keeps its own deadline
		w.timer.Reset(limit)
		defer w.timer.Stop()
		expired = w.timer.C
	}

	seq := w.arm(r)
	w.subject = subject.AppendReply(append(w.subject[:0], r.reply...), seq, milliseconds(limit), r.codec)
	reply := string(w.subject)
	if err := c.send(r, reply, w, seq); err != nil {
		return nil, err
	}
	var msg *nats.Msg
	select {
	case msg = <-w.reply:
	case <-ctx.Done():
		if w.disarm(seq) {
			c.cancel(s, seq)
			return nil, ended(ctx, "no reply", ErrUnknown)
		}
		msg = <-w.reply // it came at the same moment
	case <-expired:
		if w.disarm(seq) {
			c.cancel(s, seq)
			return nil, errTimeUp("no reply in time", ErrUnknown)
		}
		msg = <-w.reply
	}
	if msg == nil {
		return nil, w.err
	}
	if len(msg.Header) > 0 {
		if e, failed := readError(msg); failed {
			return nil, e
		}
	}
	return msg, nil
}

// send publishes the request. An error means that nothing was sent. The waiter is armed already, so that whoever refuses
// all calls from now on either is seen here or sees the waiter.
func (c *Client) send(r *route, reply string, w *waiter, seq uint64) error {
	refused := c.refused()
	var err error
	if refused == nil {
		if err = c.nc.PublishRequest(r.subject, reply, w.payload); err == nil {
			return nil
		}
	}
	if !w.disarm(seq) {
		<-w.reply
	}
	switch {
	case refused != nil:
		return refused
	case errors.Is(err, nats.ErrMaxPayload):
		return Errorf(ResourceExhausted, "request of %d bytes, the broker takes at most %d: %w",
			len(w.payload), c.nc.MaxPayload(), err)
	default:
		return Errorf(Unavailable, "send: %w", err)
	}
}

// cancel tells whoever handles the call that nobody waits any more.
func (c *Client) cancel(s *spec, seq uint64) {
	if err := c.nc.Publish(c.names.Cancel(s.service, c.caller, c.token, seq), nil); err != nil {
		c.opts.Logger.Debug("rpc: cancel", "method", s.name(), "error", err)
	}
}

func (c *Client) route(s *spec, o callOptions) (*route, error) {
	if o.addressed {
		// It comes from whoever calls, and a subject that is too long costs the connection.
		if err := subject.CheckName("instance", o.instance); err != nil {
			return nil, Errorf(InvalidArgument, "%w", err)
		}
		return c.newRoute(s, c.names.InstanceCall(s.service, s.method, o.instance, c.caller)), nil
	}
	r, ok := c.routes.Load(s)
	if !ok {
		r, _ = c.routes.LoadOrStore(s, c.newRoute(s, c.names.Call(s.service, s.method, c.caller)))
	}
	known, _ := r.(*route) // it holds nothing else
	return known, nil
}

func (c *Client) newRoute(s *spec, to string) *route {
	return &route{
		subject: to,
		reply:   c.names.ReplyPrefix(s.service, c.caller, c.token),
		codec:   string(formatVersion) + s.format.Name(),
	}
}

// milliseconds is how a call's time goes over the wire: rounded up, since 0 is for as long as it likes.
func milliseconds(d time.Duration) int64 {
	if d == forever {
		return 0
	}
	ms := int64(d / time.Millisecond)
	if d%time.Millisecond > 0 {
		ms++
	}
	return ms
}
