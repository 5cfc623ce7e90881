package hocket

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"syscall"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nuid"

	"github.com/hocket-go/hocket/embedded"
	"github.com/hocket-go/hocket/events"
	"github.com/hocket-go/hocket/internal/subject"
	"github.com/hocket-go/hocket/rpc"
)

// Defaults of [Options].
const (
	DefaultOpenTimeout  = 30 * time.Second
	DefaultDrainTimeout = 30 * time.Second
)

// ErrOptions matches the error of [Open] for options that cannot work.
var ErrOptions = errors.New("hocket: invalid options")

// Broker is a broker that runs already: an *embedded.Broker or an *embedded.Shared, for example.
type Broker interface {
	Connect(opts ...nats.Option) (*nats.Conn, error)
}

// Options are the options of a [Service]; nil is all defaults. At most one of URL, Context, Broker and Embedded is given;
// without any, the environment decides: NATS_URL, then NATS_CONTEXT, and with neither a shared embedded broker.
type Options struct {
	// Version is the version of the program. Defaults to that of its main module, as far as it was built with one.
	Version string
	// Instance names this instance among those of the service. Defaults to a random name.
	Instance string
	// Metadata is what else is to be known about the instance. Defaults to none.
	Metadata map[string]string
	// Namespace prefixes every subject, stream and durable, so that several systems share a broker. It has the form
	// ^[a-z0-9][a-z0-9-]{0,62}$. Defaults to none.
	Namespace string

	// URL is a broker outside, or several alternatives separated by commas. Defaults to NATS_URL.
	URL string
	// Credentials is a NATS credentials file for URL. Defaults to NATS_CREDS.
	Credentials string
	// Context is the name, or the absolute path, of a NATS context, as the nats command manages them. Defaults to
	// NATS_CONTEXT.
	Context string
	// Broker is a broker that runs already; the service does not close it. Defaults to none.
	Broker Broker
	// Embedded are the options of the broker inside. With Listen, Cluster or Hub this process alone runs it, otherwise it
	// is shared with the other programs that name the same directory. Its Dir defaults to HOCKET_DATA, else to a
	// directory of the user for the program's main module; its Logger to Logger, for warnings and errors.
	Embedded *embedded.Options
	// NATS are further options of the connection, applied last. An error handler given here replaces the service's, which
	// then has to be given what it gets: see [Service.HandleError]. Defaults to none.
	NATS []nats.Option

	// RequireSync makes Open fail unless the broker is known to sync each write before it acknowledges it. Defaults to
	// false.
	RequireSync bool
	// Monitor is the URL of the broker's monitoring port, "http://broker:8222", where a broker that is not ours can be
	// asked whether it syncs. Defaults to none.
	Monitor string

	// Server, Client and Events are options of the parts; their namespace, instance and logger are the service's. Default
	// to those of the packages.
	Server *rpc.ServerOptions
	Client *rpc.ClientOptions
	Events *events.Options

	// Logger gets what the service and its parts have to say. Defaults to slog.Default().
	Logger *slog.Logger
	// OnState is called for every change of the connection, one after the other, with the reason if there is one. It must
	// not block. Defaults to none; changes are logged in any case.
	OnState func(state State, reason error)
	// Signals make [Service.Run] drain. Defaults to SIGINT and SIGTERM; an empty slice is none.
	Signals []os.Signal
	// OpenTimeout bounds Open when its context has no deadline. Defaults to [DefaultOpenTimeout].
	OpenTimeout time.Duration
	// DrainTimeout bounds the draining at the end of Run. Defaults to [DefaultDrainTimeout].
	DrainTimeout time.Duration
}

// resolve copies the options, applies the defaults and refuses what cannot work.
func (o *Options) resolve(name string) (Options, error) {
	var out Options
	if o != nil {
		out = *o
	}
	if err := subject.CheckIdentity("service", name); err != nil {
		return out, fmt.Errorf("%w: %w", ErrOptions, err)
	}
	if _, err := subject.New(out.Namespace); err != nil {
		return out, fmt.Errorf("%w: %w", ErrOptions, err)
	}
	named := 0
	for _, given := range []bool{out.URL != "", out.Context != "", out.Broker != nil, out.Embedded != nil} {
		if given {
			named++
		}
	}
	if named > 1 {
		return out, fmt.Errorf("%w: at most one of URL, Context, Broker and Embedded can name the broker", ErrOptions)
	}
	if out.OpenTimeout < 0 || out.DrainTimeout < 0 {
		return out, fmt.Errorf("%w: a timeout is negative", ErrOptions)
	}
	if named == 0 {
		out.URL, out.Context = os.Getenv("NATS_URL"), os.Getenv("NATS_CONTEXT")
	}
	if out.URL != "" && out.Credentials == "" {
		out.Credentials = os.Getenv("NATS_CREDS")
	}
	if out.Version == "" {
		out.Version = mainVersion()
	}
	if out.Instance == "" {
		out.Instance = nuid.Next()
	}
	if err := subject.CheckName("instance", out.Instance); err != nil {
		return out, fmt.Errorf("%w: %w", ErrOptions, err)
	}
	out.Metadata = maps.Clone(out.Metadata)
	if out.Logger == nil {
		out.Logger = slog.Default()
	}
	if out.Signals == nil {
		out.Signals = []os.Signal{os.Interrupt, syscall.SIGTERM}
	}
	if out.OpenTimeout == 0 {
		out.OpenTimeout = DefaultOpenTimeout
	}
	if out.DrainTimeout == 0 {
		out.DrainTimeout = DefaultDrainTimeout
	}
	return out, nil
}

// bounded gives a context a deadline if it has none.
func bounded(ctx context.Context, d time.Duration) (context.Context, context.CancelFunc) {
	if _, ok := ctx.Deadline(); ok {
		return context.WithCancel(ctx)
	}
	return context.WithTimeout(ctx, d)
}
