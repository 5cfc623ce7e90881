package hocket

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/url"
	"os"
	"path/filepath"
	"runtime/debug"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/synadia-io/orbit.go/natscontext"

	"github.com/hocket-go/hocket/embedded"
	"github.com/hocket-go/hocket/internal/loglevel"
)

// State is a change of a service's connection.
type State int

// The states of a connection.
const (
	Connected    State = iota + 1 // for the first time
	Disconnected                  // it will reconnect, for ever
	Reconnected                   // perhaps to another broker
	LameDuck                      // the broker is about to stop; others of its cluster take over
	Closed                        // for good
)

// String returns the state's name in lower case.
func (s State) String() string {
	switch s {
	case Connected:
		return "connected"
	case Disconnected:
		return "disconnected"
	case Reconnected:
		return "reconnected"
	case LameDuck:
		return "lame duck"
	case Closed:
		return "closed"
	}
	return fmt.Sprintf("State(%d)", int(s))
}

// owned is a broker that the service opened and so closes.
type owned interface {
	Broker
	Shutdown(ctx context.Context) error
}

// connect connects to the broker that the options name.
func (s *Service) connect(ctx context.Context) error {
	var err error
	switch o := &s.opts; {
	case o.Broker != nil:
		s.nc, err = o.Broker.Connect(s.natsOptions()...)
	case o.URL != "":
		opts := outside(ctx)
		if o.Credentials != "" {
			opts = append(opts, nats.UserCredentials(o.Credentials))
		}
		if s.nc, err = nats.Connect(o.URL, append(opts, s.natsOptions()...)...); err != nil {
			if parse, ok := errors.AsType[*url.Error](err); ok {
				err = parse.Err // which does not repeat the whole URL
			}
			err = fmt.Errorf("connect to %s: %w", redacted(o.URL), err)
		}
	case o.Context != "":
		if s.nc, _, err = natscontext.Connect(o.Context, append(outside(ctx), s.natsOptions()...)...); err != nil {
			err = fmt.Errorf("connect by NATS context %q: %w", o.Context, err)
		}
	default:
		if err = s.startBroker(ctx); err == nil {
			s.nc, err = s.broker.Connect(s.natsOptions()...)
		}
	}
	if err != nil {
		return err
	}
	// Wrapped, not set as an option, since Options.NATS may bring a handler of its own.
	handler := s.nc.ClosedHandler()
	s.nc.SetClosedHandler(func(nc *nats.Conn) {
		if handler != nil {
			handler(nc)
		}
		close(s.ended)
	})
	s.changed(Connected, nil)
	return nil
}

// startBroker runs, or joins, the broker inside.
func (s *Service) startBroker(ctx context.Context) error {
	var o embedded.Options
	if s.opts.Embedded != nil {
		o = *s.opts.Embedded
	}
	if o.Dir == "" {
		dir, err := defaultDir()
		if err != nil {
			return err
		}
		o.Dir = dir
	}
	if o.Logger == nil {
		o.Logger = slog.New(loglevel.AtLeast(slog.LevelWarn, s.log.Handler()))
	}
	var err error
	if o.Listen != nil || o.Cluster != nil || o.Hub != nil {
		var b *embedded.Broker
		if b, err = embedded.Start(ctx, &o); err == nil {
			s.broker = b
		}
	} else {
		var b *embedded.Shared
		if b, err = embedded.Join(ctx, &o); err == nil {
			s.broker = b
		}
	}
	if err != nil {
		if errors.Is(err, embedded.ErrUnwritable) {
			return fmt.Errorf("%w; HOCKET_DATA names another directory", err)
		}
		return err
	}
	if ends, why := embedded.Ephemeral(o.Dir); ends {
		s.log.Warn("what is stored ends with this machine or container: put HOCKET_DATA on a disk that lasts",
			"dir", o.Dir, "reason", why)
	}
	return nil
}

// ErrTest is returned by [Open] in a test that names no broker: it would share its data with the program and with every
// other test.
var ErrTest = errors.New("hocket: a test needs a broker of its own: use hockettest.New, or name one in the options")

// defaultDir is where a program that says nothing keeps its data.
func defaultDir() (string, error) {
	if os.Getenv("HOCKET_DATA") != "" {
		return embedded.DefaultDir()
	}
	if flag.Lookup("test.v") != nil {
		return "", ErrTest
	}
	module := ""
	if info, ok := debug.ReadBuildInfo(); ok {
		module = info.Main.Path
	}
	if module == "" {
		return "", fmt.Errorf("%w: the program was not built in a module, which would tell its data from other programs': "+
			"set HOCKET_DATA or Options.Embedded.Dir", embedded.ErrNoDir)
	}
	dir, err := embedded.DefaultDir()
	if err != nil {
		return "", err
	}
	return filepath.Join(dir, url.PathEscape(module)), nil
}

// mainVersion is the version that the program was built as.
func mainVersion() string {
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" {
		return info.Main.Version
	}
	return "(devel)"
}

// natsOptions are the options of the connection, whichever broker it is to.
func (s *Service) natsOptions() []nats.Option {
	return append([]nats.Option{
		nats.Name(s.name + "/" + s.opts.Instance),
		nats.CustomInboxPrefix(inboxPrefix(s.name)),
		nats.ErrorHandler(s.HandleError),
		nats.DisconnectErrHandler(func(_ *nats.Conn, err error) { s.changed(Disconnected, err) }),
		nats.ReconnectHandler(func(*nats.Conn) { s.changed(Reconnected, nil) }),
		nats.LameDuckModeHandler(func(*nats.Conn) { s.changed(LameDuck, nil) }),
		nats.ClosedHandler(func(nc *nats.Conn) { s.changed(Closed, nc.LastError()) }),
	}, s.opts.NATS...)
}

// outside are the options of a connection to a broker outside, which Broker.Connect knows for one inside.
func outside(ctx context.Context) []nats.Option {
	opts := []nats.Option{
		nats.MaxReconnects(-1),
		nats.CustomReconnectDelay(reconnectDelay),
		nats.IgnoreAuthErrorAbort(), // a token that is renewed makes the next attempt succeed
	}
	if deadline, ok := ctx.Deadline(); ok {
		opts = append(opts, nats.Timeout(max(min(time.Until(deadline), nats.DefaultTimeout), time.Millisecond)))
	}
	return opts
}

const (
	minReconnectDelay = 50 * time.Millisecond
	maxReconnectDelay = 5 * time.Second
)

// reconnectDelay doubles with each attempt, with full jitter so that the clients of a broker that restarts do not come all
// at once.
func reconnectDelay(attempts int) time.Duration {
	limit := maxReconnectDelay
	if attempts < 7 { // 50 ms doubled seven times is more than the most
		limit = min(limit, minReconnectDelay<<max(attempts-1, 0))
	}
	return minReconnectDelay/2 + rand.N(limit)
}

func (s *Service) changed(state State, reason error) {
	level := slog.LevelInfo
	if state == Disconnected && !s.isStopping() {
		level = slog.LevelWarn
	}
	attrs := []slog.Attr{slog.String("state", state.String())}
	if reason != nil {
		attrs = append(attrs, slog.Any("reason", reason))
	}
	s.log.LogAttrs(context.Background(), level, "connection", attrs...)
	if s.opts.OnState != nil {
		s.opts.OnState(state, reason)
	}
}

// redacted leaves users, passwords and tokens out of an error. It works on text, since what does not parse may hold them too.
func redacted(servers string) string {
	parts := strings.Split(servers, ",")
	for i, part := range parts {
		scheme, rest, found := strings.Cut(part, "://")
		if !found {
			scheme, rest = "nats", part
		}
		if at := strings.LastIndexByte(rest, '@'); at >= 0 {
			parts[i] = scheme + "://xxxxx" + rest[at:]
		}
	}
	return strings.Join(parts, ",")
}
