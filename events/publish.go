package events

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/cloudevents/sdk-go/v2/event"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/hocket-go/hocket/events/internal/binding"
	"github.com/hocket-go/hocket/internal/subject"
)

// Receipt says where an event is stored.
type Receipt struct {
	// ID is the event's id, generated or given. It is set even when publishing failed, so that it can be tried again.
	ID string
	// Stream is the name of the stream.
	Stream string
	// Sequence is the event's place in the stream.
	Sequence uint64
	// Duplicate says that an event with this id was stored before, at Sequence, and this one was not stored again.
	Duplicate bool
}

// PublishOption is an option of [Type.Publish] and [Type.Signal].
type PublishOption func(*publishConfig)

type publishConfig struct {
	event binding.Event
	err   error
}

// ID is the event's id. Together with the source it identifies the event for ever, so it must not be used for another one.
// Publishing twice with the same id inside the duplicate window of the stream stores the event once. Whoever knows or
// guesses an id before it is used could make the broker take the real event for a copy ([ErrIDTaken]), so derive it from
// something secret or random where publishers do not trust each other. Defaults to a new UUID of version 7.
func ID(id string) PublishOption {
	return func(c *publishConfig) {
		c.event.ID = id
		if id == "" {
			c.fail(&binding.AttributeError{Attribute: "id", Reason: "must not be empty"})
		}
	}
}

// Time is when what the event tells happened. Defaults to now.
func Time(t time.Time) PublishOption { return func(c *publishConfig) { c.event.Time = t } }

// Subject is what the event is about in the context of its source, such as a file's name. Defaults to none.
func Subject(s string) PublishOption { return func(c *publishConfig) { c.event.Subject = s } }

// Extension adds an extension attribute. The name consists of lower-case letters and digits; the value is a string, bool,
// integer of 32 bits, []byte, time.Time or *url.URL. A subscriber sees it as a string. The attribute partitionkey is the
// event's key and comes before that of [Type.KeyedBy]. Defaults to none.
func Extension(name string, value any) PublishOption {
	return func(c *publishConfig) {
		a, err := binding.FormatValue(name, value)
		if err == nil && name == versionAttribute {
			err = &binding.AttributeError{Attribute: name, Reason: "is set by the contract"}
		}
		if err != nil {
			c.fail(err)
			return
		}
		c.event.SetExtension(a)
	}
}

func (c *publishConfig) fail(err error) {
	if c.err == nil {
		c.err = err
	}
}

// Publish stores an event and returns when the broker has acknowledged it: it survives a crash of any process, and a loss
// of power too if the broker syncs every write.
//
// The event is sent again with the same id until it is acknowledged or the context ends; a context without a deadline gets
// [Options].PublishTimeout. What is certain is said: the error, a [*PublishError], matches [ErrStreamFull], [ErrTooLarge],
// [ErrNoStream], [ErrDenied], [ErrMismatch], [ErrIDTaken], [ErrInvalid] or [ErrClosed]. What is not matches [ErrUnknown]:
// the event may be stored, and publishing it again with the same id is safe until [PublishError].SafeUntil.
func (t *Type[T]) Publish(ctx context.Context, p Provider, data T, opts ...PublishOption) (Receipt, error) {
	b, err := busOf(p)
	if err != nil {
		return Receipt{}, err
	}
	key := ""
	if t.key != nil {
		key = t.key(data)
	}
	return b.publishData(ctx, &t.spec, data, key, opts)
}

func (b *Bus) publishData(ctx context.Context, s *spec, data any, key string, opts []PublishOption) (Receipt, error) {
	r, err := b.route(s)
	if err != nil {
		return Receipt{}, err
	}
	var c publishConfig
	messageID, err := b.prepare(&c, r, data, key, opts)
	if err == nil {
		err = r.missing
	}
	if err != nil {
		return Receipt{ID: c.event.ID}, &PublishError{ID: c.event.ID, Type: s.name, Err: err}
	}
	if key == "" || len(opts) > 0 {
		key, _ = c.event.Extension(keyAttribute)
	}
	return b.publish(ctx, r.stream, r.subject(key), &c.event, messageID)
}

// prepare makes the event of a call.
func (b *Bus) prepare(c *publishConfig, r *route, data any, key string, opts []PublishOption) (messageID string, err error) {
	for _, opt := range opts {
		opt(c)
	}
	e := &c.event
	e.Source = b.source
	now := time.Now()
	if e.Time.IsZero() {
		e.Time = now
	}
	messageID = b.identify(e, now)
	if c.err != nil {
		return messageID, invalidEvent(c.err)
	}
	if given, ok := e.Extension(keyAttribute); ok {
		key = given
	}
	return messageID, r.encode(e, data, key)
}

// identify gives the event an id if it has none and returns the message id, by which the broker recognises a copy. The
// event is identified by its source and its id together, and so is the message: two sources may use the same id.
func (b *Bus) identify(e *binding.Event, now time.Time) string {
	if e.ID != "" {
		return b.source + "/" + binding.Escape(e.ID)
	}
	buf := make([]byte, 0, len(b.source)+1+uuidLength)
	buf = append(append(buf, b.source...), '/')
	messageID := string(appendID(buf, now))
	e.ID = messageID[len(b.source)+1:]
	return messageID
}

// Publish stores an event whose type is known only at run time, as [Type.Publish] does. The event's source must be empty or
// that of the bus; an empty id and a zero time are filled in; an extension partitionkey is the event's key.
func (b *Bus) Publish(ctx context.Context, e event.Event) (Receipt, error) {
	if e.Context == nil {
		return Receipt{}, fmt.Errorf("events: %w: the event is empty; make it with event.New", ErrInvalid)
	}
	e = e.Clone()
	if e.Source() == "" {
		e.SetSource(b.source)
	}
	now := time.Now()
	if e.ID() == "" {
		e.SetID(string(appendID(nil, now)))
	}
	if e.Time().IsZero() {
		e.SetTime(now)
	}
	fail := func(err error) (Receipt, error) {
		return Receipt{ID: e.ID()}, &PublishError{ID: e.ID(), Type: e.Type(), Err: err}
	}
	lean, err := binding.FromSDK(e)
	if err != nil {
		return fail(invalidEvent(err))
	}
	if lean.Source != b.source {
		return fail(fmt.Errorf("%w: the event's source is %q, but this bus publishes as %s", ErrInvalid, lean.Source, b.source))
	}
	key, _ := lean.Extension(keyAttribute)
	subj, err := b.names.Event(b.source, subject.Partition(key), lean.Type)
	if err != nil {
		return fail(fmt.Errorf("%w: %w", ErrInvalid, err))
	}
	s, err := b.streamFor(lean.Type)
	if err != nil {
		return fail(err)
	}
	return b.publish(ctx, s, subj, &lean, b.identify(&lean, now))
}

// publish stores an event that is valid and complete.
func (b *Bus) publish(ctx context.Context, s *stream, subj string, e *binding.Event, messageID string) (Receipt, error) {
	receipt := Receipt{ID: e.ID}
	pub := publication{bus: b, stream: s, event: e}
	fail := func(err error) (Receipt, error) {
		return receipt, &PublishError{ID: e.ID, Type: e.Type, Attempts: pub.attempts, SafeUntil: pub.safeUntil(), Err: err}
	}
	if b.closed.Load() {
		return fail(fmt.Errorf("bus %s: %w", b.source, ErrClosed))
	}
	p := s.ready.Load()
	if p == nil {
		var err error
		if p, err = b.ensure(ctx, s); err != nil {
			return fail(err)
		}
	}
	pub.at = p
	pub.msg = &nats.Msg{Subject: subj, Header: e.Header(messageID), Data: e.Data}
	if err := b.checkSize(p, pub.msg); err != nil {
		return fail(err)
	}
	ack, err := pub.run(ctx)
	if err != nil {
		return fail(err)
	}
	receipt.Stream, receipt.Sequence, receipt.Duplicate = ack.Stream, ack.Sequence, ack.Duplicate
	if ack.Duplicate {
		if err := b.verify(ctx, pub.at, ack.Sequence, e); err != nil {
			return fail(err)
		}
	}
	return receipt, nil
}

func (b *Bus) ensure(ctx context.Context, s *stream) (*provisioned, error) {
	ctx, cancel := b.bounded(ctx)
	defer cancel()
	return s.ensure(ctx)
}

// checkSize refuses what the broker would: a message that is too large for it makes it close the connection.
func (b *Bus) checkSize(p *provisioned, msg *nats.Msg) error {
	size := int64(len("NATS/1.0\r\n\r\n") + len(msg.Data))
	for name, values := range msg.Header {
		for _, v := range values {
			size += int64(len(name) + len(": \r\n") + len(v))
		}
	}
	if most := b.nc.MaxPayload(); most > 0 && size > most {
		return fmt.Errorf("%w: %d bytes with headers, the broker accepts %d", ErrTooLarge, size, most)
	}
	if p != nil && p.most > 0 && size > int64(p.most) {
		return fmt.Errorf("%w: %d bytes with headers, the stream accepts %d", ErrTooLarge, size, p.most)
	}
	return nil
}

// publication is one publish: attempts until an acknowledgement, a refusal or the end of the context.
type publication struct {
	bus      *Bus
	stream   *stream
	at       *provisioned
	msg      *nats.Msg
	event    *binding.Event
	start    time.Time // of the first attempt
	attempts int
	maybe    bool // an attempt ended without an answer, so that the event may be stored
	silent   bool // the last attempt found nobody to answer
}

type pubAck struct {
	jetstream.PubAck

	Error *jetstream.APIError `json:"error"`
}

func (p *publication) run(ctx context.Context) (jetstream.PubAck, error) {
	p.start = time.Now()
	if ctx.Err() == nil && p.bus.nc.IsConnected() {
		ack, err := p.attempt(ctx, p.start)
		if err == nil || !p.again(ctx, err) {
			return ack, p.outcome(err)
		}
	}
	return p.retry(ctx)
}

// retry goes on after a first attempt that could not be made or had no clear end. Nothing is sent while the connection is
// broken: it would only fill the client's buffer with copies, and leave open what became of them.
func (p *publication) retry(ctx context.Context) (jetstream.PubAck, error) {
	if _, ok := ctx.Deadline(); !ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithDeadline(ctx, p.start.Add(p.bus.opts.PublishTimeout))
		defer cancel()
	}
	lookedAgain := false
	var last error
	for n := 1; ; n++ {
		if p.silent && !lookedAgain {
			lookedAgain = true // the stream may have been deleted
			p.stream.forget(p.at)
			at, err := p.stream.ensure(ctx)
			if err != nil {
				return jetstream.PubAck{}, p.outcome(err)
			}
			p.at = at
		}
		if !backoff(ctx, n) {
			return jetstream.PubAck{}, p.outcome(p.gaveUp(ctx, last))
		}
		if p.maybe && !time.Now().Before(p.safeUntil()) {
			return jetstream.PubAck{}, p.outcome(fmt.Errorf("the broker remembers ids for %v only, trying longer could store twice",
				p.at.window))
		}
		if p.bus.nc.IsClosed() {
			return jetstream.PubAck{}, p.outcome(nats.ErrConnectionClosed)
		}
		if !p.bus.nc.IsConnected() {
			last = nats.ErrDisconnected
			continue
		}
		ack, err := p.attempt(ctx, time.Now())
		if err == nil || !p.again(ctx, err) {
			return ack, p.outcome(err)
		}
		last = err
	}
}

// safeUntil is until when sending the event again cannot store it twice, less the time that an attempt may take.
func (p *publication) safeUntil() time.Time {
	if p.attempts == 0 {
		return time.Time{}
	}
	return p.start.Add(p.at.window - p.bus.opts.AttemptTimeout)
}

// attempt sends the event once.
func (p *publication) attempt(ctx context.Context, now time.Time) (jetstream.PubAck, error) {
	p.attempts++
	var resp *nats.Msg
	err := p.bus.request(ctx, now.Add(p.bus.opts.AttemptTimeout), &call{subject: p.msg.Subject},
		func(ctx context.Context) (err error) {
			resp, err = p.bus.nc.RequestMsgWithContext(ctx, p.msg)
			return err //nolint:wrapcheck // a PublishError wraps it
		})
	if err != nil {
		return jetstream.PubAck{}, err
	}
	return p.parse(resp.Data)
}

var errNoAck = errors.New("the answer is no acknowledgement of the stream")

// parse reads an acknowledgement. The usual one is read without a JSON parser, which would cost as much as sending.
func (p *publication) parse(data []byte) (jetstream.PubAck, error) {
	if rest, ok := bytes.CutPrefix(data, []byte(p.at.ack)); ok {
		if digits, ok := bytes.CutSuffix(bytes.TrimLeft(rest, " "), []byte{'}'}); ok {
			if seq, err := strconv.ParseUint(string(digits), 10, 64); err == nil {
				return jetstream.PubAck{Stream: p.stream.name, Sequence: seq}, nil
			}
		}
	}
	var ack pubAck
	if err := json.Unmarshal(data, &ack); err != nil {
		return jetstream.PubAck{}, errNoAck
	}
	if ack.Error != nil {
		return jetstream.PubAck{}, refusal(ack.Error)
	}
	if ack.Stream != p.stream.name || ack.Sequence == 0 {
		return jetstream.PubAck{}, errNoAck
	}
	return ack.PubAck, nil
}

// again notes what an attempt's error means and reports whether to try another.
func (p *publication) again(ctx context.Context, err error) bool {
	p.silent = false
	if api, ok := errors.AsType[*jetstream.APIError](err); ok {
		return api.ErrorCode == codeDuplicateInProcess || api.ErrorCode == codeClusterNotAvailable
	}
	switch {
	case errors.Is(err, nats.ErrNoResponders): // not stored
		p.silent = true
		return true
	case errors.Is(err, nats.ErrReconnectBufExceeded): // not sent
		return true
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, nats.ErrDisconnected):
		p.maybe = true
		return ctx.Err() == nil
	case errors.Is(err, context.Canceled), errors.Is(err, nats.ErrConnectionClosed), errors.Is(err, errNoAck):
		p.maybe = true
		return false
	default:
		return false
	}
}

// gaveUp is the error of a publication whose context ended between attempts.
func (p *publication) gaveUp(ctx context.Context, last error) error {
	switch {
	case p.silent:
		return fmt.Errorf("%w: nobody answers at %s: %w", ErrNoStream, p.msg.Subject, ended(ctx))
	case last != nil:
		return fmt.Errorf("%w (%w)", ended(ctx), last)
	default:
		return ended(ctx)
	}
}

// outcome adds to an error that the event may be stored all the same, unless no attempt left that open.
func (p *publication) outcome(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, nats.ErrMaxPayload):
		err = fmt.Errorf("%w: %w", ErrTooLarge, err)
	case errors.Is(err, nats.ErrNoResponders) && !errors.Is(err, ErrNoStream):
		err = fmt.Errorf("%w: %w", ErrNoStream, err)
	}
	if p.maybe {
		return fmt.Errorf("%w: %w", ErrUnknown, err)
	}
	return err
}

// verify looks whether the event that the broker took this one for a copy of is the same. Where it cannot be read, the
// broker's word stands.
func (b *Bus) verify(ctx context.Context, at *provisioned, sequence uint64, e *binding.Event) error {
	var stored *jetstream.RawStreamMsg
	err := b.request(ctx, time.Now().Add(b.opts.AttemptTimeout), &call{api: at.handle.CachedInfo().Config.Name},
		func(ctx context.Context) (err error) {
			stored, err = at.handle.GetMsg(ctx, sequence)
			return err //nolint:wrapcheck // it is only looked at
		})
	if err != nil {
		return nil //nolint:nilerr // a duplicate is a success; it is only not looked at
	}
	var was binding.Event
	if err := binding.Decode(&was, stored.Header, stored.Data); err != nil {
		return fmt.Errorf("%w: sequence %d, which is no event: %w", ErrIDTaken, sequence, err)
	}
	if from, ok := b.names.ParseEvent(stored.Subject); !ok || from.Source != e.Source || was.Type != e.Type || was.ID != e.ID {
		return fmt.Errorf("%w: sequence %d, type %q from %q", ErrIDTaken, sequence, was.Type, from.Source)
	}
	return nil
}
