package rpc

import (
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
)

// pending is the table of the calls that wait for a reply. A waiter has a place in it for good and is used again and
// again; a call's sequence number is made of that place and of how often the place was used, so that a reply finds its
// call without a lock or a map, and one that comes too late finds nobody.
type pending struct {
	mu   sync.Mutex
	free []*waiter // last in, first out: the warmest
	kept int       // bytes of the buffers that those in free keep
	all  atomic.Pointer[[]*waiter]
}

const (
	placeBits  = 20 // calls in flight of one client: 1,048,576
	maxPending = 1 << placeBits
	// keptPayload is how large a buffer a waiter keeps for its next call, keptPayloads how large all together: a burst of
	// calls must not hold its memory for ever.
	keptPayload  = 64 << 10
	keptPayloads = 8 << 20
)

// waiter is one call that waits.
type waiter struct {
	place uint64
	uses  uint64
	// sequence is the sequence number of the call that waits, 0 if none does. Whoever swaps it for 0 owns the call's end:
	// the reply's reader then sends to reply, once; the caller then goes without.
	sequence atomic.Uint64
	route    atomic.Pointer[route]
	reply    chan *nats.Msg // nil for a failure, which is then in err
	err      *Error
	timer    *time.Timer
	payload  []byte
	subject  []byte
}

func (p *pending) acquire() (*waiter, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if n := len(p.free); n > 0 {
		w := p.free[n-1]
		p.free = p.free[:n-1]
		p.kept -= cap(w.payload)
		return w, nil
	}
	var all []*waiter
	if known := p.all.Load(); known != nil {
		all = *known
	}
	if len(all) == maxPending {
		return nil, Errorf(ResourceExhausted, "%d calls wait for their replies, the most that one client can have", maxPending)
	}
	w := &waiter{place: uint64(len(all)), reply: make(chan *nats.Msg, 1), timer: time.NewTimer(time.Hour)}
	w.timer.Stop()
	// A reader of the old slice does not look beyond its length, so that appending in place is safe.
	all = append(all, w)
	p.all.Store(&all)
	return w, nil
}

func (p *pending) release(w *waiter) {
	w.err = nil
	p.mu.Lock()
	defer p.mu.Unlock()
	if n := cap(w.payload); n > keptPayload || p.kept+n > keptPayloads {
		w.payload = nil
	}
	p.kept += cap(w.payload)
	p.free = append(p.free, w)
}

// arm makes the waiter ready for one reply and returns the call's sequence number.
func (w *waiter) arm(r *route) uint64 {
	w.uses++
	seq := w.uses<<placeBits | w.place
	w.route.Store(r)
	w.sequence.Store(seq)
	return seq
}

// disarm gives up waiting. False means that the reply is already on its way into the channel.
func (w *waiter) disarm(seq uint64) bool { return w.sequence.CompareAndSwap(seq, 0) }

// deliver hands a reply to the call with this sequence number, if it still waits and the reply is to it: a service may
// publish all replies that bear its own name, and could guess the number of a call to another.
func (p *pending) deliver(seq uint64, msg *nats.Msg) {
	all := p.all.Load()
	place := seq & (maxPending - 1)
	if all == nil || place >= uint64(len(*all)) {
		return
	}
	w := (*all)[place]
	if seq == 0 || w.sequence.Load() != seq { // 0 is also what those have that do not wait
		return
	}
	// Read after the sequence number, the route is that call's, or else the swap fails.
	if r := w.route.Load(); strings.HasPrefix(msg.Subject, r.reply) && w.sequence.CompareAndSwap(seq, 0) {
		w.reply <- msg
	}
}

// fail ends the calls that wait on matching routes, and counts them.
func (p *pending) fail(err *Error, match func(*route) bool) int {
	all := p.all.Load()
	if all == nil {
		return 0
	}
	n := 0
	for _, w := range *all {
		seq, r := w.sequence.Load(), w.route.Load()
		if seq != 0 && match(r) && w.sequence.CompareAndSwap(seq, 0) {
			w.err = err
			w.reply <- nil
			n++
		}
	}
	return n
}
