package embedded

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"time"

	"github.com/nats-io/nats.go"
)

const (
	// A connection that lost its owner tries again after these times, so that it finds the next one as soon as it is
	// there: a try without an owner costs a look at a variable, no system call.
	reconnectFirst = 5 * time.Millisecond
	reconnectMost  = 100 * time.Millisecond

	// A connection to an owner that was stopped counts as lost after the second ping without an answer.
	clientPingEvery = 2 * time.Second
	clientPingsOut  = 2

	// afterFailure is how long a failed Connect waits for a change of owner that would explain it.
	afterFailure = 250 * time.Millisecond
)

// InProcessConn implements [nats.InProcessConnProvider]: a connection inside this process if it owns the directory, else
// one to the owner. nats.go asks again at every reconnect, so that one client follows every takeover; [Shared.Connect]
// makes one that does it well. It never waits for a takeover, since nats.go holds the client's lock meanwhile.
//
// Errors: [ErrOwnerUnresponsive] when the owner does not answer within a second, and any other when there is none at
// the moment or the Shared is closed.
func (s *Shared) InProcessConn() (net.Conn, error) {
	s.mu.Lock()
	st, b := s.status, s.broker
	s.mu.Unlock()
	switch {
	case st.State == StateOwner:
		return b.InProcessConn()
	case st.State == StateMember:
		return s.dial(st.Owner)
	case st.Err != nil:
		return nil, st.Err
	}
	return nil, fmt.Errorf("embedded: no owner of %s serves at the moment", s.dir)
}

// dial connects to another process that owns the directory, and makes sure that it is the one and that it lives: the
// kernel accepts connections for a process that is stopped, and gives the port of a dead one to anybody.
func (s *Shared) dial(owner OwnerInfo) (net.Conn, error) {
	conn, err := (&net.Dialer{Timeout: ioTimeout}).DialContext(context.Background(), "tcp", owner.Address)
	if err != nil {
		return nil, s.unreachable(owner, err)
	}
	first, err := firstLine(conn)
	if err == nil {
		_, err = checkInfo(string(first), owner)
	}
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded):
		err = s.unresponsive(owner, notAnswering(owner))
	case err != nil:
		err = s.unreachable(owner, err)
	default:
		return &peekedConn{Conn: conn, peeked: first}, nil
	}
	return nil, errors.Join(err, conn.Close())
}

// firstLine reads until the server's first line is complete, and perhaps more.
func firstLine(conn net.Conn) ([]byte, error) {
	if err := conn.SetReadDeadline(time.Now().Add(ioTimeout)); err != nil {
		return nil, err
	}
	const most = 64 << 10 // the server's INFO has less than one
	var line []byte
	for buf := make([]byte, 4096); len(line) < most; {
		n, err := conn.Read(buf)
		line = append(line, buf[:n]...)
		if bytes.IndexByte(line, '\n') >= 0 {
			return line, conn.SetReadDeadline(time.Time{})
		}
		if err != nil {
			return nil, err
		}
	}
	return nil, errStranger
}

// peekedConn gives back what was read from it already.
type peekedConn struct {
	net.Conn

	peeked []byte // only Read touches it, and one goroutine reads
}

func (c *peekedConn) Read(p []byte) (int, error) {
	if len(c.peeked) > 0 {
		n := copy(p, c.peeked)
		c.peeked = c.peeked[n:]
		return n, nil
	}
	return c.Conn.Read(p)
}

// Connect makes a client of the shared broker that follows it from owner to owner for ever, finding the next one within
// a tenth of a second and leaving one that was stopped after some seconds. opts are applied last. While a takeover is on
// its way it waits for the outcome, for Options.StartTimeout at most. The caller closes the client.
//
// Errors: [ErrOwnerUnresponsive], or what nats.go says.
func (s *Shared) Connect(opts ...nats.Option) (*nats.Conn, error) {
	ctx, cancel := withStartTimeout(context.Background(), s.opts)
	defer cancel()
	for {
		if err := s.awaitFirst(ctx); err != nil {
			return nil, err
		}
		_, _, changed := s.look()
		nc, err := nats.Connect("", append(s.clientOptions(), opts...)...)
		if err == nil || errors.Is(err, ErrOwnerUnresponsive) {
			return nc, err
		}
		// The owner may have ended just now, and the link shows it in a moment.
		select {
		case <-changed:
		case <-time.After(afterFailure):
			return nil, err
		}
	}
}

func (s *Shared) clientOptions() []nats.Option {
	s.mu.Lock()
	sec := s.secret
	s.mu.Unlock()
	return []nats.Option{
		nats.InProcessServer(s),
		nats.Nkey(sec.public, sec.sign),
		nats.MaxReconnects(-1),
		nats.CustomReconnectDelay(reconnectDelay),
		nats.PingInterval(clientPingEvery),
		nats.MaxPingsOutstanding(clientPingsOut),
		nats.IgnoreDiscoveredServers(), // a server's own address is of no use beside the directory
		nats.IgnoreAuthErrorAbort(),    // two refusals by owners on their way out must not end the client
	}
}

// reconnectDelay doubles from reconnectFirst to reconnectMost, with as much jitter.
func reconnectDelay(attempts int) time.Duration {
	d := reconnectMost
	if attempts < 6 { //nolint:mnd // 5 ms doubled five times is more than 100
		d = min(reconnectFirst<<max(attempts-1, 0), reconnectMost)
	}
	return d/2 + rand.N(d/2)
}
