package embedded

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
)

// Broker is a NATS server that runs in this process. [Start] returns one; [Broker.Close] or [Broker.Shutdown] stops it.
// It is safe for concurrent use.
type Broker struct {
	srv     *server.Server
	opts    Options
	dir     string
	release func() error

	ready bool // set by a start that succeeded, before anyone else has the Broker
	stop  sync.Once
	done  chan struct{} // closed after err is set
	err   error
}

// Durability says what a broker does with a write before it acknowledges it.
type Durability struct {
	// SyncInterval is zero if each write is on the disk before it is acknowledged, otherwise how long an acknowledged
	// write may wait for that.
	SyncInterval time.Duration
}

// Synced says whether an acknowledged write survives a loss of power.
func (d Durability) Synced() bool { return d.SyncInterval == 0 }

// Start runs a broker in this process, on a data directory that is its own until it has stopped, and returns when
// clients can connect. A context that ends first makes it return at once; what has been started is then stopped in the
// background, and the directory is free when that is done.
//
// Errors: [ErrOptions], [ErrTLS], [ErrNoDir], [ErrUnwritable], [ErrCorruptDir], [ErrOwned], [ErrNewerStore],
// [ErrNetworkFS], [ErrPortInUse], [ErrStart], or the context's.
func Start(ctx context.Context, opts *Options) (*Broker, error) {
	o, err := resolve(opts)
	if err != nil {
		return nil, err
	}
	dir, err := openDir(o.Dir)
	if err != nil {
		return nil, writable(o.Dir, err)
	}
	return startBroker(ctx, o, dir.path, dir.close)
}

// writable makes an operating system's refusal match [ErrUnwritable].
func writable(dir string, err error) error {
	for _, refusal := range []error{
		fs.ErrPermission, fs.ErrExist, fs.ErrNotExist, syscall.EROFS, syscall.ENOTDIR, syscall.ENOSPC,
	} {
		if errors.Is(err, refusal) {
			return fmt.Errorf("%w: %s: %w", ErrUnwritable, dir, err)
		}
	}
	return err
}

// startBroker runs a broker with resolved options on a directory that the caller has locked. It calls release exactly
// once: when the server has stopped for good, also if that is because it did not start. A caller that wants a port or a
// token of its own sets opts.Listen.
func startBroker(ctx context.Context, opts Options, dir string, release func() error) (*Broker, error) {
	log := newLogBridge(opts.Logger.With(slog.String("component", "broker")))
	srv, err := newServer(ctx, opts, dir, log)
	if err != nil {
		return nil, errors.Join(err, release())
	}
	b := &Broker{srv: srv, opts: opts, dir: dir, release: release, done: make(chan struct{})}
	booted := make(chan struct{})
	go func() {
		defer close(booted)
		srv.Start()
	}()
	if err = waitReady(ctx, srv, log, booted, opts.StartTimeout); err == nil {
		err = b.finishStart()
	}
	if err == nil {
		log.started()
		b.ready = true
		return b, nil
	}
	// Stopping a server that is still recovering its store would race with that, so wait for the end of it first.
	stopped := func() error {
		<-booted
		return b.Close()
	}
	select {
	case <-booted:
		return nil, errors.Join(err, stopped())
	default:
		go func() { _ = stopped() }() // the caller has the reason already
		return nil, err
	}
}

// finishStart is what can be done or checked only on a running server.
func (b *Broker) finishStart() error {
	if n := b.opts.Limits.MaxStreams; n > 0 {
		if err := limitStreams(b.srv, n); err != nil {
			return fmt.Errorf("%w: limit the number of streams to %d: %w", ErrStart, n, err)
		}
	}
	if err := checkStreams(b.srv, filepath.Join(b.dir, server.JetStreamStoreDir)); err != nil {
		return err
	}
	if !b.opts.keepsLedger() {
		return forgetLedger(b.dir)
	}
	return checkLedger(b.srv, b.dir)
}

// InProcessConn makes a connection that stays inside the process. With it a Broker is a [nats.InProcessConnProvider],
// for [nats.InProcessServer]. It has the latency of a [net.Pipe], and a buffer for publishing in bulk. It returns
// [ErrClosed] once the broker is shutting down.
func (b *Broker) InProcessConn() (net.Conn, error) {
	conn, err := b.srv.InProcessConn()
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrClosed, err)
	}
	return newPipeConn(conn), nil
}

// Connect opens an in-process connection, with the token or user of [Listen] if it has one. The connection is the
// caller's to close. A broker that was started with users of its own needs one of them in opts.
func (b *Broker) Connect(opts ...nats.Option) (*nats.Conn, error) {
	all := []nats.Option{nats.InProcessServer(b)}
	if l := b.opts.Listen; l != nil {
		switch {
		case l.Token != "":
			all = append(all, nats.Token(l.Token))
		case l.User != "":
			all = append(all, nats.UserInfo(l.User, l.Password))
		}
	}
	nc, err := nats.Connect("", append(all, opts...)...)
	if err != nil {
		return nil, fmt.Errorf("embedded: connect in process: %w", err)
	}
	return nc, nil
}

// URL is where clients in other processes connect, without token or user. It is "" if no port is open.
func (b *Broker) URL() string {
	l := b.opts.Listen
	if l == nil {
		return ""
	}
	scheme := "nats"
	if l.TLS != nil || l.CertFile != "" {
		scheme = "tls"
	}
	return scheme + "://" + reachable(l.Host, b.srv.Addr())
}

// HubURL is where leaf nodes connect. It is "" unless the broker is a [Hub].
func (b *Broker) HubURL() string {
	if b.opts.Hub == nil {
		return ""
	}
	v, err := b.srv.Varz(nil)
	if err != nil {
		return ""
	}
	return "nats://" + net.JoinHostPort(reachableHost(b.opts.Hub.Host), strconv.Itoa(v.LeafNode.Port))
}

// reachable is host with the port of addr, which is nil once the server has stopped.
func reachable(host string, addr net.Addr) string {
	port := "0"
	if tcp, ok := addr.(*net.TCPAddr); ok {
		port = strconv.Itoa(tcp.Port)
	}
	return net.JoinHostPort(reachableHost(host), port)
}

// reachableHost turns "all addresses" into one that can be dialled.
func reachableHost(host string) string {
	if ip := net.ParseIP(host); ip != nil && ip.IsUnspecified() {
		if ip.To4() == nil {
			return net.IPv6loopback.String()
		}
		return "127.0.0.1"
	}
	return host
}

// Dir is the data directory.
func (b *Broker) Dir() string { return b.dir }

// Name is the broker's name, [Options.Name] or its ID.
func (b *Broker) Name() string { return b.srv.Name() }

// ID is the server's id, new with every start.
func (b *Broker) ID() string { return b.srv.ID() }

// Version is the version of the NATS server in this process.
func (b *Broker) Version() string { return server.VERSION }

// Durability says what an acknowledgement of this broker is worth.
func (b *Broker) Durability() Durability { return Durability{SyncInterval: b.opts.SyncInterval} }

// Server is the NATS server itself, for what has no method here, such as its monitoring. Stop it only through the
// Broker: the data directory stays locked otherwise.
func (b *Broker) Server() *server.Server { return b.srv }

// Shutdown stops the broker and returns when everything has stopped and the data directory is free, with the error of
// that, or the context's error if it ends first. Shutting down goes on then, and Shutdown may be called again to wait
// for it, as often and from as many goroutines as one likes. Connections are closed; clients that can still reach a
// broker elsewhere reconnect. What was acknowledged is in the store.
func (b *Broker) Shutdown(ctx context.Context) error {
	b.stop.Do(func() { go b.shutdown() })
	select {
	case <-b.done:
		return b.err
	default:
	}
	select {
	case <-b.done:
		return b.err
	case <-ctx.Done():
		return fmt.Errorf("embedded: shut down: %w", context.Cause(ctx))
	}
}

func (b *Broker) shutdown() {
	defer close(b.done)
	var last ledger
	var err error
	keep := b.ready && b.opts.keepsLedger()
	if keep {
		last, err = takeLedger(b.srv)
	}
	b.srv.Shutdown()
	b.srv.WaitForShutdown()
	if keep && err == nil {
		err = last.close(b.dir)
	}
	b.err = errors.Join(err, b.release())
}

// Close is Shutdown without a bound.
func (b *Broker) Close() error { return b.Shutdown(context.Background()) }

// Done is closed once the broker has stopped and its data directory is free.
func (b *Broker) Done() <-chan struct{} { return b.done }
