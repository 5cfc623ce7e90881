package events

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"strconv"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/hocket-go/hocket/internal/identity"
	"github.com/hocket-go/hocket/internal/violation"
)

// Subscription is a durable subscription that runs in this process. It is safe for concurrent use.
//
// Its goroutines: the client's, which takes messages in; one that asks the broker for more and one that tells it what is
// still being worked on; the workers, which run handlers; and one that waits for all of them at the end.
type Subscription struct {
	bus      *Bus
	consumer durableConsumer
	route    *route
	handle   func(context.Context, *arrival) error
	log      *slog.Logger
	ackWait  time.Duration

	ctx    context.Context //nolint:containedctx // the life of the handlers, which no call bounds
	cancel context.CancelCauseFunc
	pull   puller
	work   chan *item
	done   chan struct{} // closed when nothing runs any more

	stopping chan struct{} // closed by the first stop
	stopOnce sync.Once
	workers  sync.WaitGroup

	mu    sync.Mutex // guards what follows
	items items
	idle  chan struct{} // closed when stopping and nothing is held
	stats Stats
	err   error
}

// Stats counts what a subscription has done in this process.
type Stats struct {
	// Delivered is how many deliveries arrived, repeated ones included.
	Delivered uint64
	// Acknowledged is how many of them a handler finished without an error.
	Acknowledged uint64
	// Failed is how many ended with an error or a panic and will come again.
	Failed uint64
	// Undecodable is how many could not be given to the handler and will come again: broken, forged, of a newer version, or
	// with data that the contract does not fit.
	Undecodable uint64
	// InFlight is how many are held now, being handled or waiting for a worker.
	InFlight int
}

// item is an event held by this instance.
type item struct {
	arrival

	msg        *nats.Msg
	prev, next *item
	touched    time.Time // when the broker was last told that it is being worked on
}

// items is the list of what is held.
type items struct {
	head *item
	held int
}

func (l *items) add(it *item) {
	it.next = l.head
	if l.head != nil {
		l.head.prev = it
	}
	l.head = it
	l.held++
}

func (l *items) remove(it *item) {
	if it.prev != nil {
		it.prev.next = it.next
	} else {
		l.head = it.next
	}
	if it.next != nil {
		it.next.prev = it.prev
	}
	l.held--
}

func newSubscription(
	d durableConsumer, r *route, handle func(context.Context, *arrival) error, is jetstream.ConsumerConfig,
) (*Subscription, error) {
	s := &Subscription{
		bus: d.bus, consumer: d, route: r, handle: handle, ackWait: is.AckWait,
		log:  d.bus.log.With(slog.String("type", r.spec.name), slog.String("durable", d.name)),
		work: make(chan *item, d.cfg.maxInFlight), done: make(chan struct{}), stopping: make(chan struct{}),
		idle: make(chan struct{}),
	}
	s.ctx, s.cancel = context.WithCancelCause(context.Background())
	s.pull.init(s)
	if err := s.pull.open(); err != nil {
		s.cancel(err)
		return nil, err
	}
	for range d.cfg.workers {
		s.workers.Go(s.worker)
	}
	var helpers sync.WaitGroup
	helpers.Go(s.pull.run)
	helpers.Go(s.progress)
	go s.finish(&helpers)
	if err := d.bus.add(s); err != nil {
		_ = s.Close() // never an error
		return nil, err
	}
	return s, nil
}

// Drain ends the subscription: it takes no more events, lets the handlers that run finish, gives back the events that wait
// for a worker, and returns when all acknowledgements are with the broker. If the context ends first, it returns its error;
// the rest goes on, and Drain or Close may be called again. It must not be called from the handler.
func (s *Subscription) Drain(ctx context.Context) error {
	s.stop(nil)
	select {
	case <-s.done:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("events: drain %s: %d events in hand: %w", s.consumer.name, s.Stats().InFlight, ended(ctx))
	}
}

// Close ends the subscription now: the context of running handlers is cancelled, and Close waits for them to return. Their
// events are delivered again, here or elsewhere, unless they succeed. It must not be called from the handler.
func (s *Subscription) Close() error {
	s.cancel(fmt.Errorf("events: subscription %s: %w", s.consumer.name, ErrClosed))
	s.stop(nil)
	<-s.done
	return nil
}

// Done is closed when the subscription has ended and nothing of it runs any more.
func (s *Subscription) Done() <-chan struct{} { return s.done }

// Err says why the subscription ended by itself: its durable or its stream was deleted ([ErrDeleted]), the broker denies it
// ([ErrDenied]), or the connection was closed (nats.ErrConnectionClosed). It is nil while the subscription runs and after
// Drain and Close. A deleted durable is not made again, because only its user knows where to start.
func (s *Subscription) Err() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.err
}

// Durable returns the name that the subscription was made with, with the namespace if there is one.
func (s *Subscription) Durable() string { return s.consumer.name }

// Stats returns what the subscription has done so far.
func (s *Subscription) Stats() Stats {
	s.mu.Lock()
	defer s.mu.Unlock()
	st := s.stats
	st.InFlight = s.items.held
	return st
}

// stop begins the end, with an error if nobody asked for it.
func (s *Subscription) stop(err error) {
	s.stopOnce.Do(func() {
		s.mu.Lock()
		s.err = err
		if s.items.held == 0 {
			close(s.idle)
		}
		close(s.stopping)
		s.mu.Unlock()
		if err != nil {
			s.log.Error("events: subscription ended", slog.Any("error", err))
		}
	})
}

func (s *Subscription) stopped() bool {
	select {
	case <-s.stopping:
		return true
	default:
		return false
	}
}

// finish ends everything in order: intake, what is held, the acknowledgements on their way.
func (s *Subscription) finish(helpers *sync.WaitGroup) {
	<-s.stopping
	s.pull.close()
	close(s.work)
	s.workers.Wait()
	helpers.Wait()
	flush, cancel := context.WithTimeout(context.Background(), s.bus.opts.AttemptTimeout)
	defer cancel()
	if s.bus.nc.IsConnected() {
		if err := s.bus.nc.FlushWithContext(flush); err != nil {
			s.log.Warn("events: the last acknowledgements may be lost, their events are delivered again", slog.Any("error", err))
		}
	}
	s.cancel(ErrClosed)
	s.bus.remove(s)
	close(s.done)
}

// disturbed implements part.
func (s *Subscription) disturbed(_ *nats.Subscription, err error) bool {
	kind, subj := violation.Of(err)
	ours := kind == violation.Publish && subj == s.pull.request || kind == violation.Subscription && subj == s.pull.inbox
	if ours {
		s.stop(fmt.Errorf("events: subscription %s: %w", s.consumer.name, denied(err)))
	}
	return ours
}

// take holds an event that arrived and passes it to a worker. The client's goroutine calls it.
func (s *Subscription) take(msg *nats.Msg) {
	it := &item{msg: msg, touched: time.Now()}
	it.payload = decoder{own: s.route.format, codecs: s.bus.opts.Codecs}
	it.stream = s.consumer.stream.name
	if !it.readReply(msg.Reply) {
		s.log.Warn("events: a message without the broker's delivery details was ignored", slog.String("subject", msg.Subject))
		return
	}
	s.mu.Lock()
	if s.stopped() { // what was on its way when the intake closed
		s.mu.Unlock()
		s.answer(it, nakNow)
		return
	}
	s.items.add(it)
	s.stats.Delivered++
	s.mu.Unlock()
	s.work <- it
}

func (s *Subscription) worker() {
	for it := range s.work {
		if s.stopped() {
			s.finished(it, nakNow, nil)
			continue
		}
		s.process(it)
	}
}

// process runs the handler. It does not return if the handler calls runtime.Goexit, as the FailNow of a test does; another
// worker takes over then.
func (s *Subscription) process(it *item) {
	err := errors.New("the handler ended its goroutine")
	exited := true
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("panic: %v\n%s", r, debug.Stack())
			exited = false
		}
		s.conclude(it, err)
		if exited {
			s.workers.Go(s.worker)
		}
	}()
	err = s.attempt(it)
	exited = false
}

func (s *Subscription) attempt(it *item) error {
	from, ok := s.bus.names.ParseEvent(it.msg.Subject)
	if err := it.open(s.route.spec, from.Source, from.Type, ok, it.msg); err != nil {
		return fmt.Errorf("%w: %w", errUndecodable, err)
	}
	return s.handle(identity.WithCaller(s.ctx, it.ce.Source), &it.arrival)
}

// conclude acknowledges an event or gives it back.
func (s *Subscription) conclude(it *item, err error) {
	switch {
	case err == nil:
		s.finished(it, ack, func(st *Stats) { st.Acknowledged++ })
	case s.ctx.Err() != nil:
		s.finished(it, nakNow, nil)
	case errors.Is(err, errUndecodable):
		delay := jittered(s.consumer.cfg.retryMost)
		s.log.Error("events: an event cannot be decoded and is kept for a later attempt", it.attrs(err, delay)...)
		s.finished(it, nak(delay), func(st *Stats) { st.Undecodable++ })
	default:
		delay := jittered(exponential(it.tries, s.consumer.cfg.retryFirst, s.consumer.cfg.retryMost))
		s.log.Warn("events: the handler failed, the event comes again", it.attrs(err, delay)...)
		s.finished(it, nak(delay), func(st *Stats) { st.Failed++ })
	}
}

func (it *item) attrs(err error, delay time.Duration) []any {
	return []any{
		slog.String("id", it.ce.ID), slog.String("subject", it.msg.Subject), slog.Uint64("sequence", it.sequence),
		slog.Int("attempt", it.tries), slog.Duration("delay", delay), slog.Any("error", err),
	}
}

//nolint:gochecknoglobals // constants, but for their type
var (
	ack     = []byte("+ACK")
	working = []byte("+WPI")
	nakNow  = []byte("-NAK")
)

// nak gives an event back for a time that the broker's clock measures.
func nak(delay time.Duration) []byte {
	b := append([]byte(nil), `-NAK {"delay": `...)
	return append(strconv.AppendInt(b, delay.Nanoseconds(), 10), '}')
}

// answer tells the broker about an event. An answer that does not get through has it delivered again.
func (s *Subscription) answer(it *item, body []byte) {
	if err := s.bus.nc.Publish(it.msg.Reply, body); err != nil {
		s.log.Warn("events: the broker cannot be told, the event comes again", it.attrs(err, s.ackWait)...)
	}
}

// finished answers for an event and lets go of it.
func (s *Subscription) finished(it *item, body []byte, count func(*Stats)) {
	s.answer(it, body)
	s.mu.Lock()
	s.items.remove(it)
	if count != nil {
		count(&s.stats)
	}
	held := s.items.held
	if held == 0 && s.stopped() {
		close(s.idle)
	}
	s.mu.Unlock()
	s.pull.released(held)
}

// progress tells the broker about events that are held for long, so that it does not deliver them to another instance.
func (s *Subscription) progress() {
	const often = 4 // in the time that the broker waits
	tick := time.NewTicker(s.ackWait / often)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			s.touch(time.Now(), s.ackWait/often)
		case <-s.idle:
			return
		}
	}
}

func (s *Subscription) touch(now time.Time, every time.Duration) {
	s.mu.Lock()
	var due []*item
	for it := s.items.head; it != nil; it = it.next {
		if now.Sub(it.touched) >= every {
			it.touched = now
			due = append(due, it)
		}
	}
	s.mu.Unlock()
	for _, it := range due {
		s.answer(it, working)
	}
}
