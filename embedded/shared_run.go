package embedded

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"path/filepath"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
)

const (
	loopback = "127.0.0.1"

	// Without an owner, the next try comes after a twentieth of the time already waited, within these bounds: an
	// orderly hand-over is noticed in milliseconds, an owner that takes minutes to start costs next to nothing.
	pollLeast = 5 * time.Millisecond
	pollMost  = 500 * time.Millisecond
	pollShare = 20

	// refusedTolerance is how long an owner that holds the lock may refuse connections: while it stops, it does.
	refusedTolerance = 3 * time.Second

	// takeoverTimeout is for ever: whoever has the lock must recover the store, however long that takes, since the next
	// one would have to begin anew. Join has its own bound.
	takeoverTimeout = 365 * 24 * time.Hour
)

// run is the one goroutine of a Shared: it owns the broker, the link to another owner, and the status.
func (s *Shared) run(ctx context.Context) {
	defer close(s.done)
	defer s.set(Status{State: StateClosed, Err: ErrClosed}, true, nil)

	m := &member{Shared: s}
	for since := time.Now(); ctx.Err() == nil; {
		if m.round(ctx) {
			since = time.Now()
		}
		pause := min(max(pollLeast, time.Since(since)/pollShare), pollMost)
		pause = pause/2 + rand.N(pause) // members that lost their owner together shall not try together
		select {
		case <-time.After(pause):
		case <-ctx.Done():
		}
	}
}

// member is what only the goroutine of run touches.
type member struct {
	*Shared

	joined    bool      // there was an owner once: failures are not final any more
	tooOld    bool      // the store is newer than this program: never try the lock again
	refused   time.Time // since when the owner of refusedID has refused connections
	refusedID string
}

// wait notes that there is no owner yet and why.
func (m *member) wait(owner OwnerInfo, why error) {
	m.set(Status{Owner: owner, Err: why}, false, nil)
}

// fail notes a reason that waiting alone does not mend: Join returns it. Afterwards a member goes on trying, since what
// is wrong may be mended and others may have better luck.
func (m *member) fail(owner OwnerInfo, why error) {
	m.set(Status{Owner: owner, Err: why}, !m.joined, nil)
}

// round tries once to become the owner or to follow the one there is, and stays with it until it ends. It reports
// whether there was one.
func (m *member) round(ctx context.Context) bool {
	d, err := m.campaign()
	switch {
	case err == nil:
		return m.serve(ctx, d)
	case errors.Is(err, errLocked):
		return m.follow(ctx, nil)
	case errors.Is(err, ErrNewerStore) && m.tooOld:
		return m.follow(ctx, err)
	}
	// The lock is free and this program cannot have it.
	m.tooOld = errors.Is(err, ErrNewerStore)
	m.fail(OwnerInfo{}, writable(m.dir, err))
	return false
}

// campaign tries to take the directory. A program that once found itself too old does not touch the lock again, where it
// would be in the way of others.
func (m *member) campaign() (*dataDir, error) {
	self := newOwnerInfo()
	self.SyncInterval = m.opts.SyncInterval
	if m.tooOld {
		if err := checkStore(m.dir, self); err != nil {
			return nil, err
		}
	}
	return lockDir(m.dir, self)
}

// serve runs the broker on the directory that was won, until ctx ends or the broker does.
func (m *member) serve(ctx context.Context, d *dataDir) bool {
	m.wait(d.owner, nil)
	b, err := m.startOwned(ctx, d)
	if err != nil {
		if ctx.Err() == nil {
			m.fail(OwnerInfo{}, fmt.Errorf("embedded: serve %s: %w", m.dir, err))
		}
		return false
	}
	m.joined = true
	m.set(Status{State: StateOwner, Owner: d.owner}, false, b)
	select {
	case <-ctx.Done():
	case <-b.Done():
	}
	// From here on nobody gets a connection to the broker. It lets go of its clients and then, stopped, of the lock.
	m.wait(OwnerInfo{}, nil)
	err = b.Close()
	m.mu.Lock()
	m.closeErr = err
	m.mu.Unlock()
	return true
}

// startOwned starts the broker and announces it. When it fails the directory is free again as it returns.
func (m *member) startOwned(ctx context.Context, d *dataDir) (*Broker, error) {
	m.mu.Lock()
	known := m.secret
	m.mu.Unlock()
	sec, err := ownSecret(m.dir, known)
	if err != nil {
		return nil, errors.Join(err, d.close())
	}
	released := make(chan struct{})
	b, err := startBroker(ctx, m.ownerOptions(sec), d.path, func() error {
		defer close(released)
		return d.close()
	})
	if err != nil {
		<-released // a server that ctx interrupted is still on its way down
		return nil, err
	}
	self := d.owner
	self.Address = b.srv.Addr().String()
	self.ServerID = b.srv.ID()
	if err = d.announce(self); err != nil {
		return nil, errors.Join(err, b.Close())
	}
	m.know(sec)
	return b, nil
}

// ownerOptions are the broker's: this program's, but on loopback only and for who has the secret only.
func (m *member) ownerOptions(sec secret) Options {
	o := m.opts
	o.Listen = &Listen{Host: loopback, Port: RandomPort}
	o.StartTimeout = takeoverTimeout
	configure := o.Configure
	o.Configure = func(so *server.Options) {
		if configure != nil {
			configure(so)
		}
		so.Nkeys = append(so.Nkeys, &server.NkeyUser{Nkey: sec.public})
	}
	return o
}

// know remembers the secret that an owner accepts.
func (m *member) know(sec secret) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.secret = sec
}

// follow connects to the owner and stays until it is gone. tooOld says why this program cannot own the directory itself,
// nil if only because another one holds the lock; with it, the record may be stale.
func (m *member) follow(ctx context.Context, tooOld error) bool {
	owner, err := readOwner(m.dir)
	switch {
	case tooOld != nil && (err != nil || !owner.serving()):
		m.fail(OwnerInfo{}, tooOld)
		return false
	case err != nil:
		m.wait(OwnerInfo{}, missingRecord(m.dir, err))
		return false
	case owner.Exclusive:
		m.fail(owner, ownedError(m.dir))
		return false
	case !owner.serving():
		m.wait(owner, m.unresponsive(owner, "has the lock since "+owner.StartedAt.Format(time.RFC3339)+
			" and does not serve yet"))
		return false
	}
	sec, err := m.loadSecret()
	if err != nil {
		m.fail(owner, fmt.Errorf("%w: to join %s", err, owner))
		return false
	}
	l, err := openLink(ctx, owner, sec, func(silent bool) { m.silence(owner, silent) })
	if err != nil {
		if ctx.Err() == nil {
			m.cannotReach(owner, err, tooOld)
		}
		return false
	}
	defer l.close()
	m.joined, m.refusedID = true, ""
	m.know(sec)
	m.set(Status{State: StateMember, Owner: owner}, false, nil)
	if err = l.watch(); ctx.Err() == nil {
		m.wait(OwnerInfo{}, fmt.Errorf("embedded: owner %s of %s is gone: %w", owner, m.dir, err))
	}
	return true
}

// loadSecret reads the secret, or remembers it if the file was lost or opened to others since.
func (m *member) loadSecret() (secret, error) {
	sec, err := loadSecret(m.dir)
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.secret.public != "" {
		return m.secret, nil
	}
	return sec, err
}

// cannotReach notes what it means that an owner with the lock could not be connected to.
func (m *member) cannotReach(owner OwnerInfo, err, tooOld error) {
	if m.refusedID != owner.ID {
		m.refusedID, m.refused = owner.ID, time.Now()
	}
	switch {
	case errors.Is(err, nats.ErrAuthorization):
		m.fail(owner, fmt.Errorf("embedded: owner %s refused the secret in %s: %w",
			owner, filepath.Join(m.dir, secretFileName), err))
	case tooOld != nil:
		m.fail(OwnerInfo{}, tooOld)
	case time.Since(m.refused) < refusedTolerance:
		m.wait(OwnerInfo{}, m.unreachable(owner, err))
	default:
		how := "has the lock but cannot be reached at " + owner.Address + ": " + err.Error()
		m.set(Status{State: StateUnresponsive, Owner: owner, Err: m.unresponsive(owner, how)}, false, nil)
	}
}

// silence notes that the owner stopped to answer, or answers again.
func (m *member) silence(owner OwnerInfo, silent bool) {
	if !silent {
		m.set(Status{State: StateMember, Owner: owner}, false, nil)
		return
	}
	m.set(Status{State: StateUnresponsive, Owner: owner, Err: m.unresponsive(owner, notAnswering(owner))}, false, nil)
}

func (s *Shared) unreachable(owner OwnerInfo, err error) error {
	return fmt.Errorf("embedded: reach owner %s of %s at %s: %w", owner, s.dir, owner.Address, err)
}

func (s *Shared) unresponsive(owner OwnerInfo, how string) error {
	return fmt.Errorf("%w: %s, which owns %s, %s", ErrOwnerUnresponsive, owner, s.dir, how)
}

func missingRecord(dir string, err error) error {
	what := "is unreadable"
	if errors.Is(err, fs.ErrNotExist) {
		what = "is missing"
	}
	return fmt.Errorf("%w: %s is locked, but %s %s, so that its owner has not come as far as serving: %w",
		ErrOwnerUnresponsive, dir, filepath.Join(dir, recordFileName), what, err)
}

// notAnswering says how an owner does not answer. Whether it is stopped can be seen on the same host only.
func notAnswering(owner OwnerInfo) string {
	if owner.Host == newOwnerInfo().Host && stopped(owner.PID) {
		return fmt.Sprintf("is stopped: continue it (kill -CONT %d) or kill it", owner.PID)
	}
	return fmt.Sprintf("has not answered for %v", patience)
}
