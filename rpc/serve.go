package rpc

import (
	"errors"
	"maps"
	"math"
	"runtime/debug"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/hocket-go/hocket/codec"
	"github.com/hocket-go/hocket/internal/subject"
)

// keptReply is how large a buffer a reader keeps for its next reply.
const keptReply = 64 << 10

// Stats counts what a [Server] did since it started.
type Stats struct {
	// Calls were given to a handler.
	Calls uint64
	// Errors were the answer to so many calls, with or without a handler; Panics were those of handlers among them, and Shed
	// calls those that were refused because the queue was full.
	Errors, Panics, Shed uint64
	// Canceled calls were given up by their callers while they waited in the queue. No handler got them.
	Canceled uint64
	// Dropped messages were no calls that can be answered: no reply subject, or one that is not the named caller's.
	Dropped uint64
	// InFlight is how many handlers run now, Queued how many calls wait.
	InFlight, Queued int
}

type counters struct {
	calls, errors, panics, shed, canceled, dropped atomic.Uint64

	lastWarning atomic.Int64 // as readers.now has it
}

// Stats returns the counters.
func (s *Server) Stats() Stats {
	return Stats{
		Calls: s.counters.calls.Load(), Errors: s.counters.errors.Load(), Panics: s.counters.panics.Load(),
		Shed: s.counters.shed.Load(), Canceled: s.counters.canceled.Load(), Dropped: s.counters.dropped.Load(),
		InFlight: s.readers.inFlight(), Queued: len(s.queue),
	}
}

// serve handles one call from the queue, taken now, on the reader's goroutine.
func (s *Server) serve(self *reader, msg *nats.Msg, now int64) {
	c, format, e := s.accept(msg, now)
	if c == nil && e == nil {
		return // dropped
	}
	if e != nil {
		s.refuse(msg, e)
		return
	}
	if s.base.Err() != nil {
		s.refuse(msg, &Error{Code: Unavailable, Message: "the instance is closing"})
		return
	}
	self.current.Store(c) // before the cancellations are looked at: see receiveCancel
	if s.cancellations.take(c.key) {
		self.current.Store(nil)
		s.counters.canceled.Add(1)
		return // nobody waits for an answer
	}
	calls := s.counters.calls.Add(1)
	slow := c.method.pace.slow()
	if slow {
		s.readers.successor()
	}

	reply, failure := s.handle(c, self, msg, format)

	if slow || calls%sampleEvery == 0 {
		c.method.pace.measured(time.Duration(s.readers.now() - now))
	}
	s.readers.unstuck(self, &c.method.pace)
	self.current.Store(nil)
	c.end(errOver)
	if failure != nil {
		s.refuse(msg, failure)
	} else {
		s.respond(c, msg, reply, format)
	}
	if cap(reply) <= keptReply {
		self.reply = reply[:0]
	}
}

// errOver is why the context of a call ends whose handler has returned.
var errOver = errors.New("rpc: the call is over")

// accept finds out what a message asks for. Without a context and an error the message is no call and was dropped.
func (s *Server) accept(msg *nats.Msg, now int64) (*callContext, codec.Format, *Error) {
	// The subject is below the prefix, since the server subscribes to nothing else.
	method, rest, named := strings.Cut(msg.Subject[len(s.prefix):], ".")
	h := s.methods[method]
	if h == nil {
		s.drop(msg, "it is for no method")
		return nil, codec.Format{}, nil
	}
	c := &callContext{server: s, method: h}
	if !named {
		if msg.Reply == "" {
			s.drop(msg, "it has no reply subject")
			return nil, codec.Format{}, nil
		}
		format, err := s.formatOf(h, msg.Header.Get(contentType))
		if err != nil {
			return nil, format, Errorf(Unimplemented, "%w", err)
		}
		return c, format, nil
	}

	instance, caller, addressed := strings.Cut(rest, ".")
	if !addressed {
		caller = instance
	}
	name, ok := callerName(caller)
	if !ok {
		s.drop(msg, "its caller is no name")
		return nil, codec.Format{}, nil
	}
	reply, ok := s.names.ParseReply(msg.Reply)
	if !ok || reply.Service != s.token || reply.Caller != caller {
		// The broker does not check reply subjects: this one would make us publish where the caller may not.
		s.drop(msg, "its reply subject is not the caller's")
		return nil, codec.Format{}, nil
	}
	c.caller, c.instance, c.key = name, addressed, reply.Key
	if reply.TimeLeft > 0 && reply.TimeLeft <= maxTimeLeft {
		c.deadline = s.readers.began.Add(time.Duration(now)).Add(time.Duration(reply.TimeLeft) * time.Millisecond)
	}
	if reply.Codec[0] != formatVersion {
		return nil, codec.Format{}, Errorf(Unimplemented, "format version %q; this instance knows %q",
			reply.Codec[:1], string(formatVersion))
	}
	format, err := s.formatByName(h, reply.Codec[1:])
	if err != nil {
		return nil, format, Errorf(Unimplemented, "%w", err)
	}
	return c, format, nil
}

// callerName reads the last token of a call's subject. Whoever is named there must have a name: without one, the call would
// pass for a plain one.
func callerName(token string) (string, bool) {
	name, err := subject.Unescape(token)
	return name, err == nil && name != ""
}

// maxTimeLeft is the most milliseconds that a duration can hold, 292 years.
const maxTimeLeft = int64(math.MaxInt64 / time.Millisecond)

// formatByName finds a format, the method's own first: it may have limits that the one in the set has not.
func (s *Server) formatByName(h *handler, name string) (codec.Format, error) {
	if name == h.format.Name() {
		return h.format, nil
	}
	return s.opts.Codecs.ByName(name)
}

// formatOf finds the format of a plain call: the method's own if its content type is named, else what the set knows, and
// JSON where nothing is named.
func (s *Server) formatOf(h *handler, contentType string) (codec.Format, error) {
	switch contentType {
	case "":
		return s.formatByName(h, plainFormat)
	case h.format.ContentType():
		return h.format, nil
	}
	f, err := s.opts.Codecs.ByContentType(contentType)
	if err != nil {
		return f, err
	}
	return s.formatByName(h, f.Name())
}

// plainFormat is what a call without any header is in.
const plainFormat = "json"

// drop counts a message that cannot be answered, and logs one in a second.
func (s *Server) drop(msg *nats.Msg, why string) {
	s.counters.dropped.Add(1)
	now, last := s.readers.now(), s.counters.lastWarning.Load()
	if (last == 0 || now-last > int64(time.Second)) && s.counters.lastWarning.CompareAndSwap(last, now) {
		s.opts.Logger.Warn("rpc: dropped a call", "why", why, "subject", msg.Subject, "reply", msg.Reply)
	}
}

// handle runs the handler. Whatever the handler does, the caller gets an answer.
func (s *Server) handle(c *callContext, self *reader, msg *nats.Msg, f codec.Format) (reply []byte, failure *Error) {
	returned := false
	defer func() {
		if returned {
			return
		}
		s.counters.panics.Add(1)
		value := recover() // nil: the handler ended its goroutine by runtime.Goexit
		s.opts.Logger.Error("rpc: handler panicked", "method", s.service+"."+c.method.name, "caller", c.caller,
			"panic", value, "stack", string(debug.Stack()))
		failure = &Error{Code: Internal, Message: "the handler panicked"}
		if value == nil {
			// The goroutine is about to end, and serve does not go on.
			self.current.Store(nil)
			c.end(errOver)
			s.refuse(msg, failure)
		}
	}()
	reply, err := c.method.handle(c, f, msg.Data, self.reply[:0])
	if err != nil {
		failure = asError(err) // here, since the methods of an error may panic too
	}
	returned = true
	return reply, failure
}

// respond sends a reply, or why it cannot be sent.
func (s *Server) respond(c *callContext, msg *nats.Msg, reply []byte, f codec.Format) {
	var err error
	if c.caller == "" && msg.Header.Get(contentType) != "" {
		// A caller that is not ours and said what it speaks is told what it gets.
		err = s.nc.PublishMsg(&nats.Msg{
			Subject: msg.Reply, Data: reply, Header: nats.Header{contentType: {f.ContentType()}},
		})
	} else {
		err = s.nc.Publish(msg.Reply, reply)
	}
	switch {
	case err == nil:
	case errors.Is(err, nats.ErrMaxPayload):
		s.refuse(msg, Errorf(ResourceExhausted, "reply of %d bytes, the broker takes at most %d", len(reply), s.nc.MaxPayload()))
	default:
		s.opts.Logger.Warn("rpc: reply not sent", "method", s.service+"."+c.method.name, "error", err)
	}
}

// reject answers a call that no handler gets.
func (s *Server) reject(msg *nats.Msg, e *Error) {
	switch c, _, own := s.accept(msg, s.readers.now()); {
	case own != nil:
		s.refuse(msg, own) // it would have been refused for that in any case
	case c != nil:
		s.refuse(msg, e)
	}
}

// refuse answers with an error.
func (s *Server) refuse(msg *nats.Msg, e *Error) {
	s.counters.errors.Add(1)
	if msg.Reply == "" {
		return
	}
	if err := s.nc.PublishMsg(errorMessage(msg.Reply, e, int(s.nc.MaxPayload()))); err != nil {
		s.opts.Logger.Warn("rpc: error not sent", "subject", msg.Subject, "code", e.Code, "error", err)
	}
}

// receiveCancel runs when a caller says that it no longer waits.
func (s *Server) receiveCancel(msg *nats.Msg) {
	key, ok := s.names.CancelKey(s.service, msg.Subject)
	if !ok {
		return
	}
	// The call may be in the queue still, or another instance's. It is noted first, so that a reader that takes it now
	// sees either the note or the cancellation.
	s.cancellations.note(key)
	if s.readers.cancel(key) {
		s.cancellations.take(key)
	}
}

// cancellations remembers which calls were canceled before they were taken from the queue.
type cancellations struct {
	n     atomic.Int64 // len(keys), so that without any nobody takes the lock
	mu    sync.Mutex
	keys  map[string]time.Time
	swept time.Time
}

const (
	// cancellationKept is how long a call is expected in the queue at most.
	cancellationKept = 10 * time.Second
	maxCancellations = 4096
)

func (c *cancellations) note(key string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.keys) >= maxCancellations {
		return // its handler runs in vain, as without a cancellation
	}
	if c.keys == nil {
		c.keys = map[string]time.Time{}
	}
	c.keys[key] = time.Now()
	c.n.Store(int64(len(c.keys)))
}

func (c *cancellations) take(key string) bool {
	if c.n.Load() == 0 {
		return false
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	_, ok := c.keys[key]
	delete(c.keys, key)
	c.n.Store(int64(len(c.keys)))
	return ok
}

// expire forgets what is too old to be in the queue: most cancellations come just after their call was over.
func (c *cancellations) expire() {
	if c.n.Load() == 0 {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	now := time.Now()
	if now.Sub(c.swept) < time.Second {
		return
	}
	c.swept = now
	maps.DeleteFunc(c.keys, func(_ string, noted time.Time) bool { return now.Sub(noted) > cancellationKept })
	c.n.Store(int64(len(c.keys)))
}
