package events

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

const (
	// pullExpiry is how long the broker keeps a request for more events. A new one follows at once.
	pullExpiry = 30 * time.Second
	// pullHeartbeat is how often the broker says that it still has the request; it is missed after twice the time, which is
	// how long a request stays lost when the broker loses it without the connection.
	pullHeartbeat = time.Second
	// pullRetry is the wait after the broker ended a request because of a change of its own.
	pullRetry = 100 * time.Millisecond
)

// puller asks the broker for events, never for more than there is room for. It speaks the protocol of pull requests itself
// instead of using Consume of nats.go, for two reasons: Consume requests events that it does not show before the handler
// is free, so that the broker could not be told that they wait and would deliver them elsewhere; and it takes any stored
// message with a Status header and no payload for a word of the broker, which lets any publisher end it.
type puller struct {
	s       *Subscription
	sub     *nats.Subscription
	inbox   string
	request string // the subject of requests
	status  chan nats.Status
	wake    chan struct{} // room for more, or a request that ended
	closed  chan struct{} // closed when the client has no more messages
	enough  int           // room that is worth a request

	mu      sync.Mutex // guards what follows
	pending int        // requested and neither arrived nor given up by the broker
	heard   time.Time  // when the broker last said anything
	after   time.Time  // no request before
	doubt   bool       // the consumer may be gone
}

func (p *puller) init(s *Subscription) {
	cfg := s.consumer.cfg
	p.s = s
	p.request = "$JS.API.CONSUMER.MSG.NEXT." + s.consumer.stream.name + "." + s.consumer.name
	p.wake = make(chan struct{}, 1)
	p.closed = make(chan struct{})
	p.enough = max(1, (cfg.maxInFlight-cfg.workers)/2) //nolint:mnd // half of what can wait
	p.heard = time.Now()
}

func (p *puller) open() error {
	nc := p.s.bus.nc
	p.status = nc.StatusChanged(nats.CONNECTED, nats.CLOSED)
	p.inbox = nc.NewInbox()
	sub, err := nc.Subscribe(p.inbox, p.receive)
	if err != nil {
		nc.RemoveStatusListener(p.status)
		return fmt.Errorf("subscribe to %s: %w", p.inbox, err)
	}
	// What can be pending is what was requested, which is bounded already.
	_ = sub.SetPendingLimits(-1, -1)
	sub.SetClosedHandler(func(string) { close(p.closed) })
	if !sub.IsValid() { // closed before the handler was set
		nc.RemoveStatusListener(p.status)
		return nats.ErrConnectionClosed
	}
	p.sub = sub
	return nil
}

// close ends the intake. Events that the broker sent before it knows are given back by take.
func (p *puller) close() {
	nc := p.s.bus.nc
	defer nc.RemoveStatusListener(p.status)
	if nc.IsConnected() && p.sub.Drain() == nil {
		t := time.NewTimer(p.s.bus.opts.AttemptTimeout)
		defer t.Stop()
		select {
		case <-p.closed:
			return
		case <-t.C:
		}
	}
	_ = p.sub.Unsubscribe() // the error is that of a closed connection, with which the subscription ended
	<-p.closed
}

// receive is called by the client's goroutine. A word of the broker has no reply subject, a stored event always has,
// whatever its headers claim.
func (p *puller) receive(msg *nats.Msg) {
	p.mu.Lock()
	p.heard = time.Now()
	if msg.Reply != "" && p.pending > 0 {
		p.pending--
	}
	p.mu.Unlock()
	if msg.Reply == "" {
		p.notice(msg)
		return
	}
	p.s.take(msg)
}

// notice reads a word of the broker about a request.
func (p *puller) notice(msg *nats.Msg) {
	const heartbeat = "100"
	code := msg.Header.Get("Status")
	if code == heartbeat {
		return
	}
	p.mu.Lock()
	switch code {
	case "408", "404": // the request is over; what it still had asked for is not coming
		left, err := strconv.Atoi(msg.Header.Get("Nats-Pending-Messages"))
		if err != nil {
			left = p.pending
		}
		p.pending = max(0, p.pending-max(0, left))
	default:
		// The consumer is deleted, moves to another server or nobody is there to answer: no request is known any more.
		p.pending = 0
		p.after = time.Now().Add(pullRetry)
		p.doubt = true
		p.s.log.Debug("events: a request for events ended", slog.String("status", code),
			slog.String("description", msg.Header.Get("Description")))
	}
	p.mu.Unlock()
	p.signal()
}

func (p *puller) signal() {
	select {
	case p.wake <- struct{}{}:
	default:
	}
}

// released is told how many events are held after one was let go.
func (p *puller) released(held int) {
	if p.s.consumer.cfg.maxInFlight-held >= p.enough {
		p.signal()
	}
}

// run requests events until the subscription stops.
func (p *puller) run() {
	tick := time.NewTicker(pullHeartbeat)
	defer tick.Stop()
	retry := time.NewTimer(0)
	defer retry.Stop()
	for {
		if wait := p.ask(); wait > 0 {
			retry.Reset(wait)
		}
		select {
		case <-p.s.stopping:
			return
		case <-p.wake:
		case <-retry.C:
		case st := <-p.status:
			if st == nats.CLOSED {
				p.s.stop(fmt.Errorf("events: subscription %s: %w", p.s.consumer.name, nats.ErrConnectionClosed))
				return
			}
			p.forget(false) // the broker forgets requests when a connection breaks
		case now := <-tick.C:
			if p.missing(now) {
				p.forget(true)
			}
		}
	}
}

// missing reports whether the broker should have said something.
func (p *puller) missing(now time.Time) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.pending > 0 && now.Sub(p.heard) > 2*pullHeartbeat && p.s.bus.nc.IsConnected()
}

func (p *puller) forget(doubt bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.pending = 0
	p.heard = time.Now()
	p.doubt = p.doubt || doubt
}

// ask sends a request if there is room enough. It returns how long to wait before asking again, 0 for until woken.
func (p *puller) ask() time.Duration {
	if !p.s.bus.nc.IsConnected() {
		return 0
	}
	p.mu.Lock()
	wait, doubt := time.Until(p.after), p.doubt
	p.mu.Unlock()
	if wait > 0 {
		return wait
	}
	if doubt && !p.reassure() {
		return pullRetry
	}
	held := p.s.Stats().InFlight
	p.mu.Lock()
	defer p.mu.Unlock()
	room := p.s.consumer.cfg.maxInFlight - held - p.pending
	if room < p.enough {
		return 0
	}
	req := fmt.Appendf(nil, `{"batch":%d,"expires":%d,"idle_heartbeat":%d}`, room, pullExpiry.Nanoseconds(),
		pullHeartbeat.Nanoseconds())
	if err := p.s.bus.nc.PublishRequest(p.request, p.inbox, req); err != nil {
		return pullRetry
	}
	p.pending += room
	p.heard = time.Now()
	return 0
}

// reassure looks whether the consumer is still there and reports whether it is. If it is not, the subscription ends.
func (p *puller) reassure() bool {
	ctx, cancel := context.WithTimeout(p.s.ctx, p.s.bus.opts.AttemptTimeout)
	defer cancel()
	d := p.s.consumer
	info, err := d.info(ctx)
	if err == nil {
		err = d.compare(info.Config)
	}
	switch {
	case err == nil:
		p.mu.Lock()
		p.doubt = false
		p.mu.Unlock()
		return true
	case isGone(err, jetstream.ErrConsumerNotFound), isGone(err, jetstream.ErrStreamNotFound):
		p.s.stop(fmt.Errorf("events: durable %s on stream %s: %w: %w", d.name, d.stream.name, ErrDeleted, err))
	case errors.Is(err, ErrMismatch), errors.Is(err, ErrDenied):
		p.s.stop(fmt.Errorf("events: subscription %s: %w", d.name, err))
	}
	return false
}

// readReply reads what the broker says about a delivery in the subject for answers:
// $JS.ACK.<stream>.<consumer>.<delivered>.<stream sequence>.<consumer sequence>.<time>.<pending>, with the domain and the
// account after the second token and possibly more at the end in its newer form.
func (a *arrival) readReply(reply string) bool {
	const oldForm, newForm = 9, 11
	n := strings.Count(reply, ".") + 1
	rest, ok := strings.CutPrefix(reply, "$JS.ACK.")
	skip := 2 // stream and consumer
	switch {
	case !ok || n < oldForm || n > oldForm && n < newForm:
		return false
	case n >= newForm:
		skip += 2
	}
	for range skip {
		_, rest, _ = strings.Cut(rest, ".")
	}
	delivered, rest, _ := strings.Cut(rest, ".")
	sequence, rest, _ := strings.Cut(rest, ".")
	_, rest, _ = strings.Cut(rest, ".")
	stored, _, _ := strings.Cut(rest, ".")
	attempt, err1 := strconv.Atoi(delivered)
	seq, err2 := strconv.ParseUint(sequence, 10, 64)
	nanos, err3 := strconv.ParseInt(stored, 10, 64)
	if err1 != nil || err2 != nil || err3 != nil {
		return false
	}
	a.tries, a.sequence, a.stored = attempt, seq, time.Unix(0, nanos).UTC()
	return true
}
