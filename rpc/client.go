package rpc

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nuid"

	"github.com/hocket-go/hocket/internal/subject"
)

// DefaultTimeout bounds a call whose context has no deadline.
const DefaultTimeout = 10 * time.Second

// ClientOptions are the options of a [Client]; nil is all defaults.
type ClientOptions struct {
	// Namespace prefixes every subject, so that several systems share a broker. Defaults to none.
	Namespace string
	// Timeout bounds calls whose context has no deadline and that set none. Defaults to [DefaultTimeout]; -1 is none.
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

	refusal atomic.Pointer[Error] // why no call can be made any more
}

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
	c := &Client{nc: nc, caller: caller, token: nuid.Next()[nuidUnique:]}
	if opts != nil {
		c.opts = *opts
	}
	if c.opts.Timeout == 0 {
		c.opts.Timeout = DefaultTimeout
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
	c.replies.SetClosedHandler(func(string) { c.refuse(errClientClosed()) })
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
	c.refuse(errClientClosed())
	err := c.replies.Unsubscribe()
	if errors.Is(err, nats.ErrConnectionClosed) || errors.Is(err, nats.ErrBadSubscription) {
		return nil // gone already
	}
	return err
}

// HandleError takes an error that the connection reported asynchronously, by the callback that nats.ErrorHandler sets, and
// ends the calls that it is about: those that the broker refused end at once with [PermissionDenied], instead of waiting for
// a reply that cannot come. It tells whether the error concerned this client. A hocket.Service calls it by itself.
func (c *Client) HandleError(_ *nats.Subscription, err error) bool {
	if !errors.Is(err, nats.ErrPermissionViolation) {
		return false
	}
	// The server names the subject only in the text of the error, and nats.go has no other way either.
	_, quoted, found := strings.Cut(err.Error(), `"`)
	refused, _, closed := strings.Cut(quoted, `"`)
	if !found || !closed {
		return false
	}
	denied := &Error{Code: PermissionDenied, Message: "the broker refused: " + err.Error(), cause: err}
	if refused == c.replies.Subject {
		c.refuse(denied) // without replies there are no calls
		return true
	}
	return c.pending.fail(denied, func(r *route) bool { return r.subject == refused }) > 0
}

// refuse ends all calls: those to come, which are not sent, and those that wait, which may have been handled. The first
// reason stays.
func (c *Client) refuse(err *Error) {
	c.refusal.CompareAndSwap(nil, err)
	waiting := *err
	waiting.cause = fmt.Errorf("%w: %w", ErrUnknown, err.cause)
	c.pending.fail(&waiting, func(*route) bool { return true })
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
	switch err := ctx.Err(); {
	case err == nil:
	case errors.Is(err, context.DeadlineExceeded):
		return nil, &Error{Code: DeadlineExceeded, Message: "the time was up before the call was sent", cause: err}
	default:
		return nil, &Error{Code: Canceled, Message: "canceled before the call was sent", cause: err}
	}
	// A context keeps its own deadline; only one that is not the context's needs a timer.
	var expired <-chan time.Time
	timeout := c.opts.Timeout
	deadline, bounded := ctx.Deadline()
	if bounded {
		timeout = time.Until(deadline)
	}
	if o.timeout > 0 && (!bounded || o.timeout < timeout) {
		timeout, bounded = o.timeout, false
	}
	if !bounded && timeout > 0 {
		w.timer.Reset(timeout)
		defer w.timer.Stop()
		expired = w.timer.C
	}

	r := c.route(s, o.instance)
	seq := w.arm(r)
	w.subject = subject.AppendReply(append(w.subject[:0], r.reply...), seq, milliseconds(timeout), r.codec)
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
			return nil, abandoned(ctx)
		}
		msg = <-w.reply // it came at the same moment
	case <-expired:
		if w.disarm(seq) {
			c.cancel(s, seq)
			return nil, abandoned(ctx)
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
	var err error
	if refusal := c.refusal.Load(); refusal != nil {
		err = refusal
	} else if err = c.nc.PublishRequest(r.subject, reply, w.payload); err == nil {
		return nil
	}
	if !w.disarm(seq) {
		<-w.reply
	}
	switch {
	case errors.As(err, new(*Error)):
		return err
	case errors.Is(err, nats.ErrMaxPayload):
		return Errorf(ResourceExhausted, "request of %d bytes, the broker takes at most %d: %w", len(w.payload), c.nc.MaxPayload(), err)
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

func (c *Client) route(s *spec, instance string) *route {
	if instance != "" {
		return &route{
			subject: c.names.InstanceCall(s.service, s.method, instance, c.caller),
			reply:   c.names.ReplyPrefix(s.service, c.caller, c.token),
			codec:   string(formatVersion) + s.format.Name(),
		}
	}
	if r, ok := c.routes.Load(s); ok {
		return r.(*route) //nolint:forcetypeassert // it holds nothing else
	}
	r, _ := c.routes.LoadOrStore(s, &route{
		subject: c.names.Call(s.service, s.method, c.caller),
		reply:   c.names.ReplyPrefix(s.service, c.caller, c.token),
		codec:   string(formatVersion) + s.format.Name(),
	})
	return r.(*route) //nolint:forcetypeassert // it holds nothing else
}

// milliseconds rounds up, so that a short time is not taken for none.
func milliseconds(d time.Duration) int64 {
	if d <= 0 {
		return 0
	}
	return int64((d + time.Millisecond - 1) / time.Millisecond)
}
