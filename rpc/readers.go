package rpc

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
)

const (
	// watchTick is how long all readers may be in handlers before the watchman looks. A handler that blocks unexpectedly
	// holds up the calls behind it for up to two ticks.
	watchTick = 500 * time.Microsecond
	// slowHandler is from which duration on a handler is worth a goroutine, which costs one to two microseconds.
	slowHandler = 20 * time.Microsecond
	// sampleEvery is every how many calls a quick method's duration is measured.
	sampleEvery = 16
)

// pace is how slow a method's handler is taken for: each slow call that is measured raises it, each quick one lowers it. A
// single call that seemed slow proves nothing, since on a busy machine any goroutine may have to wait for a processor.
type pace struct{ score atomic.Int32 }

const (
	paceStep = 4  // what a slow call adds; a quick one takes away 1
	paceSlow = 16 // from here on calls get a goroutine each
	paceMost = 32
)

func (p *pace) slow() bool { return p.score.Load() >= paceSlow }

// set says that the method is certainly slow, or not yet known.
func (p *pace) set() { p.score.Store(paceMost) }

func (p *pace) measured(d time.Duration) {
	old := p.score.Load()
	score := max(old-1, 0)
	if d >= slowHandler {
		score = min(old+paceStep, paceMost)
	}
	p.score.CompareAndSwap(old, score) // a measurement that is lost is one of many
}

// readers are the goroutines that take calls from the server's queue and run their handlers.
//
// One goroutine per call costs a third of the throughput of quick handlers, since their replies no longer leave in one
// write; one goroutine for all calls lets a slow handler hold up the others. So there is, as a rule, one reader, which
// runs quick handlers itself. Before a handler that is known to be slow, it starts a successor if nobody else is reading.
// For a handler that was thought quick and blocks, the watchman starts the successor. A reader that comes back and finds
// another one waiting for calls ends, so that quick calls are soon with one reader again.
//
// The watchman is a timer that each call pushes ahead of itself, so that it does not go off as long as calls come and go: a
// goroutine that looked every half millisecond took a sixth of a processor from a service with one caller, since whatever
// wakes on an idle processor keeps it awake for a while.
type readers struct {
	server *Server
	taken  atomic.Uint64 // calls taken from the queue
	idle   atomic.Int64  // readers that wait for a call
	over   chan struct{} // closed when the intake has ended and the last reader has
	began  time.Time     // what times below count from, in nanoseconds of the monotonic clock

	watchman *time.Timer  // runs look
	pushed   atomic.Int64 // when the watchman was last pushed ahead

	looking sync.Mutex // held by the watchman; guards what follows, and comes before mu
	seen    uint64     // taken, at the watchman's last look
	gone    bool       // it has nothing more to look at

	mu     sync.Mutex // guards what follows
	all    map[*reader]struct{}
	closed bool // the queue is closed
	ended  bool // over is closed
}

// reader is one goroutine.
type reader struct {
	current atomic.Pointer[callContext] // the call it is in
	reply   []byte                      // scratch space for replies
	stuck   atomic.Int64                // since when the watchman thinks that current blocks
}

func (r *readers) init(s *Server) {
	r.server = s
	r.all = map[*reader]struct{}{}
	r.over = make(chan struct{})
	r.began = time.Now()
	r.watchman = time.AfterFunc(time.Hour, r.look)
	r.watchman.Stop() // until the first call
}

// now is a moment of the monotonic clock, which costs half of what time.Now does.
func (r *readers) now() int64 { return int64(time.Since(r.began)) }

func (r *readers) start() { r.spawn() }

// spawn adds a reader unless there are as many as handlers may run, or nothing is left to read.
func (r *readers) spawn() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.spawnLocked()
}

func (r *readers) spawnLocked() bool {
	if r.ended || len(r.all) >= r.server.opts.MaxInFlight {
		return false
	}
	reader := &reader{}
	r.all[reader] = struct{}{}
	go r.run(reader)
	return true
}

// finish is called once the queue is closed: the readers empty it and end, and so does the watchman.
func (r *readers) finish() {
	r.mu.Lock()
	r.closed = true
	r.endLocked()
	r.mu.Unlock()
	<-r.over
	r.looking.Lock() // it may be refusing a call
	defer r.looking.Unlock()
	r.gone = true
	r.watchman.Stop()
}

func (r *readers) endLocked() {
	if r.closed && len(r.all) == 0 && !r.ended {
		r.ended = true
		close(r.over)
	}
}

func (r *readers) run(self *reader) {
	returned := false
	defer func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		delete(r.all, self)
		if !returned {
			r.spawnLocked() // a handler ended the goroutine, by runtime.Goexit: the queue still needs a reader
		}
		r.endLocked()
	}()
	for r.next(self) {
	}
	returned = true
}

// next handles one call. False means that this reader is not needed any more.
func (r *readers) next(self *reader) bool {
	select {
	case msg, open := <-r.server.queue:
		return r.serve(self, msg, open)
	default:
	}
	for r.idle.Add(1) > 1 {
		if r.idle.Add(-1) > 0 {
			return false // somebody else waits already
		}
		// Whoever waited has got a call since, and may have counted this reader as the one that waits.
	}
	msg, open := <-r.server.queue
	r.idle.Add(-1)
	return r.serve(self, msg, open)
}

func (r *readers) serve(self *reader, msg *nats.Msg, open bool) bool {
	if open {
		r.server.serve(self, msg, r.took())
	}
	return open
}

// took counts a call and pushes the watchman ahead, not each time, since that would cost more than counting.
func (r *readers) took() (now int64) {
	r.taken.Add(1)
	now = r.now()
	if last := r.pushed.Load(); now-last > int64(watchTick)/4 && r.pushed.CompareAndSwap(last, now) {
		r.watchman.Reset(watchTick)
	}
	return now
}

// successor makes sure that somebody reads while a slow handler runs.
func (r *readers) successor() {
	if r.idle.Load() == 0 {
		r.spawn()
	}
}

// look is the watchman: it starts readers when all of them are in handlers that take long, and refuses calls that no reader
// can be started for. It looks again after a tick for as long as nobody waits for a call.
func (r *readers) look() {
	r.looking.Lock()
	defer r.looking.Unlock()
	if r.gone {
		return
	}
	before := r.seen
	r.seen = r.taken.Load()
	if r.seen == before && r.idle.Load() == 0 {
		r.promote()
	}
	r.shed()
	r.server.cancellations.expire()
	if r.idle.Load() == 0 || len(r.server.queue) > 0 {
		r.pushed.Store(r.now())
		r.watchman.Reset(watchTick)
	}
}

// promote is called when all readers have been in handlers for a whole tick: as many calls as wait get a reader.
func (r *readers) promote() {
	now := r.now()
	r.mu.Lock()
	for reader := range r.all {
		if reader.current.Load() != nil {
			reader.stuck.CompareAndSwap(0, now)
		}
	}
	r.mu.Unlock()
	for range max(1, len(r.server.queue)) {
		if !r.spawn() {
			return
		}
	}
}

// unstuck is called when a handler returns. If the watchman had noticed it, and it then took longer still, it was the
// handler and not the machine that was slow.
func (r *readers) unstuck(self *reader, p *pace) {
	since := self.stuck.Load()
	if since == 0 {
		return
	}
	self.stuck.Store(0)
	if r.now()-since > int64(watchTick) {
		p.set()
	}
}

// shed refuses what is in the queue above its limit.
func (r *readers) shed() {
	for len(r.server.queue) > r.server.opts.MaxQueue {
		select {
		case msg, open := <-r.server.queue:
			if !open {
				return
			}
			r.server.counters.shed.Add(1)
			r.server.reject(msg, Errorf(ResourceExhausted, "%d calls run and %d wait, the most that this instance takes",
				r.server.opts.MaxInFlight, r.server.opts.MaxQueue))
		default:
			return
		}
	}
}

// cancel ends the context of the call with this key, if it is in a handler now.
func (r *readers) cancel(key string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	for reader := range r.all {
		if c := reader.current.Load(); c != nil && c.key == key {
			c.end(ErrCallerGone)
			return true
		}
	}
	return false
}

// inFlight returns how many handlers run.
func (r *readers) inFlight() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	n := 0
	for reader := range r.all {
		if reader.current.Load() != nil {
			n++
		}
	}
	return n
}

// running names the methods whose handlers run, for errors.
func (r *readers) running() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	counts := map[string]int{}
	for reader := range r.all {
		if c := reader.current.Load(); c != nil {
			counts[c.method.name]++
		}
	}
	names := make([]string, 0, len(counts))
	for name, n := range counts {
		names = append(names, fmt.Sprintf("%s (%d)", name, n))
	}
	slices.Sort(names)
	return strings.Join(names, ", ")
}
