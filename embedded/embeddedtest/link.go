package embeddedtest

import (
	"errors"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
)

// errCut is what a new connection meets while its link is cut.
var errCut = errors.New("embeddedtest: link is cut")

// reconnectWait is short, so that no test waits for the client library's two seconds.
const reconnectWait = 5 * time.Millisecond

// Link is a way to a [Broker] that can be cut and healed. Connections made through it reconnect once it is healed. It is
// an option for [nats.InProcessServer].
type Link struct {
	broker *Broker

	mu    sync.Mutex
	cut   bool
	mute  bool
	conns map[*conn]struct{}
}

// InProcessConn returns an error while the link is cut or the broker is stopped.
func (l *Link) InProcessConn() (net.Conn, error) {
	current := l.broker.running()
	if current == nil {
		return nil, errStopped
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.cut || l.mute {
		return nil, errCut
	}
	inner, err := current.InProcessConn()
	if err != nil {
		return nil, err
	}
	c := &conn{Conn: inner, link: l}
	l.conns[c] = struct{}{}
	return c, nil
}

// Connect is [Broker.Connect] through this link.
func (l *Link) Connect(tb testing.TB, opts ...nats.Option) *nats.Conn {
	tb.Helper()
	nc, err := l.broker.Broker().Connect(append([]nats.Option{
		nats.InProcessServer(l), nats.MaxReconnects(-1), nats.ReconnectWait(reconnectWait), nats.ReconnectJitter(0, 0),
	}, opts...)...)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(nc.Close)
	return nc
}

// Cut breaks the link's connections and lets none be made until Heal.
func (l *Link) Cut() {
	l.mu.Lock()
	l.cut = true
	l.mu.Unlock()
	l.closeAll()
}

// Mute makes all that the broker sends get lost from now on, while what the clients send still arrives: this is how an
// acknowledgement is lost. The connections are of no use after that, so Heal breaks them.
func (l *Link) Mute() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.mute = true
	for c := range l.conns {
		c.mute.Store(true)
	}
}

// Heal ends Cut and Mute.
func (l *Link) Heal() {
	l.mu.Lock()
	muted := l.mute
	l.cut, l.mute = false, false
	l.mu.Unlock()
	if muted {
		l.closeAll()
	}
}

func (l *Link) closeAll() {
	l.mu.Lock()
	conns := make([]*conn, 0, len(l.conns))
	for c := range l.conns {
		conns = append(conns, c)
	}
	l.mu.Unlock()
	for _, c := range conns {
		_ = c.Close() // broken on purpose
	}
}

// conn is a connection that its link knows.
type conn struct {
	net.Conn

	link *Link
	mute atomic.Bool
}

func (c *conn) Read(p []byte) (int, error) {
	for {
		n, err := c.Conn.Read(p)
		if err != nil || !c.mute.Load() {
			return n, err
		}
	}
}

func (c *conn) Close() error {
	c.link.mu.Lock()
	delete(c.link.conns, c)
	c.link.mu.Unlock()
	return c.Conn.Close()
}
