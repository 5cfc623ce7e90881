package events

import (
	"context"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

const (
	defaultWorkers     = 16
	defaultMaxInFlight = 128
	defaultMaxPending  = 100_000
	defaultAckWait     = 15 * time.Second
	defaultRetryFirst  = 500 * time.Millisecond
	defaultRetryMost   = time.Minute

	minAckWait = time.Second
)

// Handler handles events. A nil error acknowledges the event; an error, or a panic, has it delivered again after a while.
// The context carries the caller's identity and is cancelled by [Subscription.Close].
type Handler[T any] func(ctx context.Context, e Event[T]) error

// SubscribeOption is an option of [Type.Subscribe].
type SubscribeOption func(*subscribeConfig)

type subscribeConfig struct {
	workers     int
	maxInFlight int
	maxPending  int           // 0: not asked for
	ackWait     time.Duration // 0: not asked for
	retryFirst  time.Duration
	retryMost   time.Duration
	fromNow     bool
}

// Workers is how many handlers run at once in this instance. Defaults to 16.
func Workers(n int) SubscribeOption { return func(c *subscribeConfig) { c.workers = n } }

// MaxInFlight is how many events this instance holds, being handled or waiting for a worker, and so bounds its memory. More
// of them hide the way to the broker; fewer leave more for other instances when handlers are slow. It is raised to the
// number of workers. Defaults to 128.
func MaxInFlight(n int) SubscribeOption { return func(c *subscribeConfig) { c.maxInFlight = n } }

// MaxPending is how many events of the durable may be delivered and not acknowledged, over all instances, those that wait
// for a retry included. At that number nothing more is delivered until one is acknowledged. Defaults to 100,000 for a new
// durable, and to what an existing one has.
func MaxPending(n int) SubscribeOption { return func(c *subscribeConfig) { c.maxPending = n } }

// AckWait is how long the broker waits for a sign of life before it delivers an event to another instance, at least a
// second. A running handler gives that sign by itself, so this is how long a crash goes unnoticed and not how long a
// handler may take. Defaults to 15 seconds for a new durable, and to what an existing one has.
func AckWait(d time.Duration) SubscribeOption { return func(c *subscribeConfig) { c.ackWait = d } }

// Retry is how long an event waits after a failed attempt: first after the first, twice as long after each further one, up
// to most, with up to half taken off at random. Defaults to 500 milliseconds and 1 minute.
func Retry(first, most time.Duration) SubscribeOption {
	return func(c *subscribeConfig) { c.retryFirst, c.retryMost = first, most }
}

// FromNow lets a new durable start with what is published from now on. Defaults to all that is stored.
func FromNow() SubscribeOption { return func(c *subscribeConfig) { c.fromNow = true } }

func (c *subscribeConfig) complete() error {
	if c.workers < 1 || c.maxInFlight < 1 {
		return fmt.Errorf("events: %w: workers and events in flight must be at least 1", ErrInvalid)
	}
	c.maxInFlight = max(c.maxInFlight, c.workers)
	if c.maxPending < 0 {
		return fmt.Errorf("events: %w: a maximum of %d pending events; it must be at least 1", ErrInvalid, c.maxPending)
	}
	if c.ackWait != 0 && c.ackWait < minAckWait {
		return fmt.Errorf("events: %w: an acknowledgement wait of %v; it must be at least %v", ErrInvalid, c.ackWait, minAckWait)
	}
	if c.retryFirst <= 0 || c.retryMost < c.retryFirst {
		return fmt.Errorf("events: %w: retries from %v to %v; they must be positive and ascending", ErrInvalid, c.retryFirst,
			c.retryMost)
	}
	return nil
}

// Subscribe has a handler called for every event of the type, from all sources, under a durable name that the broker keeps:
// instances that subscribe with the same name share the events, and the next one goes on where the last one stopped.
// A durable belongs to one event type and is made on first use, starting with all that is stored ([FromNow]).
//
// Delivery is at least once, in no promised order. The context bounds this call only; the [Subscription] ends with its
// Drain or Close, or with that of the bus. The error matches [ErrMismatch] if the durable exists for another type or with
// other settings than were asked for, or the stream does; [ErrNoStream], [ErrDenied], [ErrInvalid] or [ErrClosed].
func (t *Type[T]) Subscribe(
	ctx context.Context, p Provider, durable string, handler Handler[T], opts ...SubscribeOption,
) (*Subscription, error) {
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
	return b.subscribe(ctx, &t.spec, durable, handle, opts)
}

func (b *Bus) subscribe(
	ctx context.Context, s *spec, durable string, handle func(context.Context, *arrival) error, opts []SubscribeOption,
) (*Subscription, error) {
	cfg := subscribeConfig{
		workers: defaultWorkers, maxInFlight: defaultMaxInFlight, retryFirst: defaultRetryFirst, retryMost: defaultRetryMost,
	}
	for _, opt := range opts {
		opt(&cfg)
	}
	if err := cfg.complete(); err != nil {
		return nil, err
	}
	if err := checkPlainName("durable", durable); err != nil {
		return nil, err
	}
	fail := func(err error) (*Subscription, error) {
		return nil, fmt.Errorf("events: subscribe %s to %s: %w", durable, s.name, err)
	}
	r, err := b.route(s)
	if err != nil {
		return nil, err
	}
	if r.missing != nil {
		return fail(r.missing)
	}
	ctx, cancel := b.bounded(ctx)
	defer cancel()
	at, err := r.stream.ensure(ctx)
	if err != nil {
		return fail(err)
	}
	d := durableConsumer{bus: b, stream: r.stream, name: b.names.Stream(durable), cfg: cfg}
	if d.filter, err = b.names.EventFilter(s.name); err != nil {
		return nil, invalidName(err)
	}
	info, err := d.ensure(ctx, at)
	if err != nil {
		return fail(err)
	}
	sub, err := newSubscription(d, r, handle, info.Config) //nolint:contextcheck // it outlives the call
	if err != nil {
		return fail(err)
	}
	return sub, nil
}

// durableConsumer is the broker's side of a subscription.
type durableConsumer struct {
	bus    *Bus
	stream *stream
	name   string // with the namespace
	filter string
	cfg    subscribeConfig
}

// ensure finds the consumer or makes it; processes race for it as they do for a stream.
func (d *durableConsumer) ensure(ctx context.Context, at *provisioned) (*jetstream.ConsumerInfo, error) {
	const rounds = 3
	var err error
	for range rounds {
		var info *jetstream.ConsumerInfo
		if info, err = d.info(ctx); err == nil {
			return info, d.compare(info.Config)
		}
		if isGone(err, jetstream.ErrStreamNotFound) { // deleted since it was made sure of
			d.stream.forget(at)
			if at, err = d.stream.ensure(ctx); err != nil {
				return nil, err
			}
			continue
		}
		if !isGone(err, jetstream.ErrConsumerNotFound) {
			return nil, err
		}
		var made jetstream.Consumer
		err = d.bus.api(ctx, d.stream.name, func(ctx context.Context) (err error) {
			made, err = d.bus.js.CreateConsumer(ctx, d.stream.name, d.config())
			return err //nolint:wrapcheck // Subscribe wraps it
		})
		if err == nil {
			return made.CachedInfo(), nil
		}
		if !isGone(err, jetstream.ErrConsumerExists) {
			return nil, err
		}
	}
	return nil, err
}

func (d *durableConsumer) info(ctx context.Context) (*jetstream.ConsumerInfo, error) {
	var info *jetstream.ConsumerInfo
	err := d.bus.api(ctx, d.stream.name, func(ctx context.Context) error {
		c, err := d.bus.js.Consumer(ctx, d.stream.name, d.name)
		if err == nil {
			info = c.CachedInfo()
		}
		return err //nolint:wrapcheck // Subscribe wraps it
	})
	return info, err
}

// isGone compares an error with one of nats.go by its code: what the API answers is not always the sentinel itself.
func isGone(err error, sentinel jetstream.JetStreamError) bool {
	return hasCode(err, sentinel.APIError().ErrorCode)
}

func (d *durableConsumer) config() jetstream.ConsumerConfig {
	cfg := jetstream.ConsumerConfig{
		Durable:       d.name,
		Description:   "Events for " + d.name,
		FilterSubject: d.filter,
		DeliverPolicy: jetstream.DeliverAllPolicy,
		AckPolicy:     jetstream.AckExplicitPolicy,
		AckWait:       d.cfg.ackWait,
		MaxDeliver:    -1, // whatever is given up on would be dropped
		MaxAckPending: d.cfg.maxPending,
		Metadata:      map[string]string{formatKey: formatVersion},
	}
	if d.cfg.fromNow {
		cfg.DeliverPolicy = jetstream.DeliverNewPolicy
	}
	if cfg.AckWait == 0 {
		cfg.AckWait = defaultAckWait
	}
	if cfg.MaxAckPending == 0 {
		cfg.MaxAckPending = defaultMaxPending
	}
	return cfg
}

func (d *durableConsumer) compare(is jetstream.ConsumerConfig) error {
	var diff differences
	want := d.config()
	filter := is.FilterSubject
	if len(is.FilterSubjects) > 0 {
		filter = fmt.Sprint(is.FilterSubjects)
	}
	diff.unless("filter_subject", filter, d.filter)
	diff.unless("deliver_policy", is.DeliverPolicy, want.DeliverPolicy)
	diff.unless("ack_policy", is.AckPolicy, want.AckPolicy)
	diff.unless("deliver_subject", is.DeliverSubject, "")
	diff.unless("headers_only", is.HeadersOnly, false)
	diff.unless("priority_policy", is.PriorityPolicy, want.PriorityPolicy)
	diff.unless("max_deliver", max(is.MaxDeliver, -1), want.MaxDeliver)
	if d.cfg.ackWait != 0 {
		diff.unless("ack_wait", is.AckWait, d.cfg.ackWait)
	}
	diff.asked("max_ack_pending", int64(is.MaxAckPending), int64(d.cfg.maxPending))
	if v, ok := is.Metadata[formatKey]; ok {
		diff.unless("metadata "+formatKey, v, formatVersion)
	}
	if err := diff.err(); err != nil {
		return fmt.Errorf("durable %s on stream %s: %w; a durable belongs to one event type", d.name, d.stream.name, err)
	}
	return nil
}
