package embedded

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"sync"
)

// State is what a [Shared] sees of the owner of its directory.
type State int

// The states there are.
const (
	StateElecting     State = iota // no owner serves: one starts, or is being found
	StateOwner                     // this Shared serves the directory
	StateMember                    // another one does, and answers
	StateUnresponsive              // another one holds the lock and does not answer
	StateClosed                    // this Shared was closed
)

// String is made for logs.
func (s State) String() string {
	switch s {
	case StateElecting:
		return "electing"
	case StateOwner:
		return "owner"
	case StateMember:
		return "member"
	case StateUnresponsive:
		return "unresponsive"
	case StateClosed:
		return "closed"
	}
	return fmt.Sprintf("State(%d)", int(s))
}

// Status is what a [Shared] knows at one moment.
type Status struct {
	State State
	Owner OwnerInfo // who holds the directory; zero while nobody is known to
	Err   error     // why there is no owner that answers; nil in StateOwner and StateMember
}

// Shared is one program's part in a broker that several programs on one machine share through a data directory. One of
// them, the owner, runs the broker; when it ends, another takes over the same data. It is safe for concurrent use.
type Shared struct {
	opts Options // resolved
	dir  string
	log  *slog.Logger

	cancel context.CancelCauseFunc
	done   chan struct{} // closed when run has returned

	mu       sync.Mutex // guards what follows; nothing blocks under it
	status   Status
	final    bool          // status.Err will not pass by waiting: Join gives up
	changed  chan struct{} // closed and replaced when status changes
	broker   *Broker       // in StateOwner
	secret   secret        // what the owner is known to accept, zero before the first one
	closeErr error         // of the broker that ran last, set before done
}

// Join opens a data directory together with other programs of the same user on the same machine. The first to open it
// serves it on a random port of 127.0.0.1; others find that port in the directory and prove themselves with the secret
// in it. When the owner closes or dies, one of the others takes the directory over, and everybody's connections, if made
// by [Shared.Connect], follow by themselves. Nothing that was acknowledged is lost; what was on its way at that moment
// has an unknown outcome.
//
// It returns once this process owns the directory or has reached the owner. Without a deadline in ctx it gives up after
// Options.StartTimeout; ctx has no part in the life of the Shared after that. Once joined, a takeover takes the time it
// takes. Options.Listen, Cluster and Hub must be nil: the address is not to choose, and a node of a cluster is one
// process.
//
// Errors: [ErrOwned] when a broker made by [Start] has the directory, [ErrOwnerUnresponsive] when its owner does not
// answer, [ErrInsecureDir], [nats.ErrAuthorization] when the owner refuses the secret, and what [Start] returns. A
// broker that was still starting then is stopped in the background, as by Start.
func Join(ctx context.Context, opts *Options) (*Shared, error) {
	o, err := resolve(opts)
	if err != nil {
		return nil, err
	}
	if err = checkShareable(o); err != nil {
		return nil, err
	}
	dir, err := prepareDir(o.Dir)
	if err != nil {
		return nil, writable(o.Dir, err)
	}
	if err = checkPrivate(dir); err != nil {
		return nil, err
	}
	ctx, cancel := withStartTimeout(ctx, o)
	defer cancel()

	life, end := context.WithCancelCause(context.Background())
	s := &Shared{
		opts:    o,
		dir:     dir,
		log:     o.Logger.With("component", "shared", "dir", dir),
		cancel:  end,
		done:    make(chan struct{}),
		changed: make(chan struct{}),
	}
	go s.run(life)
	if err = s.awaitFirst(ctx); err != nil {
		stopping, cancel := context.WithTimeout(context.Background(), ioTimeout)
		defer cancel()
		return nil, errors.Join(err, s.Shutdown(stopping))
	}
	return s, nil
}

// withStartTimeout bounds ctx if nothing else does.
func withStartTimeout(ctx context.Context, o Options) (context.Context, context.CancelFunc) {
	if _, bounded := ctx.Deadline(); bounded {
		return context.WithCancel(ctx)
	}
	return context.WithTimeoutCause(ctx, o.StartTimeout,
		fmt.Errorf("not within the StartTimeout of %v: %w", o.StartTimeout, context.DeadlineExceeded))
}

// checkShareable refuses options that make no sense for a broker which moves from process to process.
func checkShareable(o Options) error {
	switch {
	case o.Listen != nil:
		return invalid("Listen is set for Join, but a shared broker chooses its own loopback address")
	case o.Cluster != nil, o.Hub != nil:
		return invalid("Cluster or Hub is set for Join, but a node that others know is one process; use Start")
	}
	return nil
}

// awaitFirst waits until there is an owner that answers, ctx ends, or waiting is of no use.
func (s *Shared) awaitFirst(ctx context.Context) error {
	for {
		st, final, changed := s.look()
		switch {
		case st.State == StateOwner, st.State == StateMember:
			return nil
		case st.State == StateUnresponsive, final:
			return st.Err
		}
		select {
		case <-changed:
		case <-ctx.Done():
			if st.Err != nil {
				return fmt.Errorf("%w (%w)", st.Err, context.Cause(ctx))
			}
			return fmt.Errorf("embedded: no owner of %s serves yet: %w", s.dir, context.Cause(ctx))
		}
	}
}

// Status tells what is known now.
func (s *Shared) Status() Status {
	st, _, _ := s.look()
	return st
}

// Owner tells who serves the directory, this process or another one; zero while nobody is known to. Its SyncInterval
// is the owner's, not that of this program's options, until this program takes over.
func (s *Shared) Owner() OwnerInfo { return s.Status().Owner }

// Durability says what an acknowledgement of the present owner is worth, which is what its options say; not ok while
// there is none.
func (s *Shared) Durability() (d Durability, ok bool) {
	st := s.Status()
	return Durability{SyncInterval: st.Owner.SyncInterval}, st.Owner.serving()
}

// Watch yields the status, then every newer one as it comes, until ctx ends or after [StateClosed]. A slow reader
// misses what was replaced in the meantime, never the newest.
func (s *Shared) Watch(ctx context.Context) iter.Seq[Status] {
	return func(yield func(Status) bool) {
		for {
			st, _, changed := s.look()
			if !yield(st) || st.State == StateClosed {
				return
			}
			select {
			case <-changed:
			case <-ctx.Done():
				return
			}
		}
	}
}

// look returns the status, whether its error is final, and what is closed at the next change.
func (s *Shared) look() (st Status, final bool, changed <-chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.status, s.final, s.changed
}

// Close leaves the directory: the broker stops if it runs here, with everything acknowledged on disk, and its lock is
// given free for another to take over. Close connections made by [Shared.Connect] first; those of the owner are cut. It
// may be called often and at any time, and returns when nothing of this Shared runs any more.
func (s *Shared) Close() error { return s.Shutdown(context.Background()) }

// Shutdown is Close with a bound: when ctx ends first it returns that error while the work goes on, and may be called
// again to wait for the rest.
func (s *Shared) Shutdown(ctx context.Context) error {
	s.cancel(ErrClosed)
	select {
	case <-s.done:
		s.mu.Lock()
		defer s.mu.Unlock()
		return s.closeErr
	case <-ctx.Done():
		return fmt.Errorf("embedded: leave %s: %w", s.dir, context.Cause(ctx))
	}
}

// Done is closed once nothing of this Shared runs any more, after [Shared.Close].
func (s *Shared) Done() <-chan struct{} { return s.done }

// set changes the status, tells the waiting, and logs what a person wants to know. b is the broker in StateOwner.
func (s *Shared) set(st Status, final bool, b *Broker) {
	s.mu.Lock()
	before := s.status
	if before.State == st.State && before.Owner == st.Owner && s.final == final && sameText(before.Err, st.Err) {
		s.mu.Unlock()
		return // polling finds the same again and again
	}
	s.status, s.final, s.broker = st, final, b
	close(s.changed)
	s.changed = make(chan struct{})
	s.mu.Unlock()

	attrs := []any{"state", st.State.String()}
	if st.Owner.ID != "" {
		attrs = append(attrs, "owner_pid", st.Owner.PID, "owner_program", st.Owner.Program, "address", st.Owner.Address)
	}
	if st.Err != nil {
		attrs = append(attrs, "error", st.Err)
	}
	switch {
	case st.State == StateUnresponsive:
		s.log.Warn("owner of the shared broker does not answer", attrs...)
	case st.State == StateMember && before.State == StateUnresponsive:
		s.log.Info("owner of the shared broker answers again", attrs...)
	case st.State == StateMember && st.Owner.SyncInterval != s.opts.SyncInterval:
		s.log.Warn("owner of the shared broker syncs otherwise than this program asks",
			append(attrs, "owner_sync_interval", st.Owner.SyncInterval, "wanted_sync_interval", s.opts.SyncInterval)...)
	default:
		s.log.Info("shared broker", attrs...)
	}
}

func sameText(a, b error) bool {
	if a == nil || b == nil {
		return a == nil && b == nil
	}
	return a.Error() == b.Error()
}
