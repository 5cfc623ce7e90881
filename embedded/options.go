package embedded

import (
	"crypto/tls"
	"fmt"
	"log/slog"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"github.com/hocket-go/hocket/internal/loglevel"
)

// Defaults of [Options] and [Limits].
const (
	DefaultStartTimeout = 30 * time.Second
	DefaultMaxMemory    = 256 << 20
	DefaultMaxPayload   = 1 << 20
	DefaultMaxConsumers = 10_000
	DefaultPort         = 4222
)

// RandomPort as a port lets the operating system choose one.
const RandomPort = -1

// Options configures a broker. The zero value, and nil, is a broker that nobody else can reach, with its data in
// [DefaultDir] and every acknowledged write synced. Start copies what it is given, so that options can be reused.
type Options struct {
	// Dir is the data directory, made if there is none. Only one broker can run on it at a time, and it cannot be on a
	// network file system. Defaults to [DefaultDir].
	Dir string

	// SyncInterval trades durability for speed. Zero syncs every write before it is acknowledged. A positive interval
	// acknowledges when the operating system has the data and syncs in the background: a power failure or a crash of
	// the machine can lose what was acknowledged during the last interval, a crash of the process alone cannot.
	// Defaults to 0.
	SyncInterval time.Duration

	// Name identifies this broker to others and in logs. It has no spaces, dots or wildcards, is unique in a cluster,
	// and must be set there. Defaults to the random id of the server.
	Name string

	// Logger receives what the server logs: errors, warnings, notices as Info, and where the handler is enabled for
	// [LevelDebug] or [LevelTrace] when the broker starts, these too. Defaults to [slog.Default] for warnings and
	// errors only.
	Logger *slog.Logger

	// Listen opens a port for clients in other processes. Defaults to none: only in-process connections.
	Listen *Listen

	// Cluster makes this broker a node of a NATS cluster. It needs Name and Listen. Defaults to a broker on its own.
	Cluster *Cluster

	// Hub accepts leaf nodes. Defaults to accepting none.
	Hub *Hub

	// Leaf connects this broker to a hub as a leaf node. It needs Domain. Defaults to no hub.
	Leaf *Leaf

	// Domain names the JetStream domain, which must differ between a hub and each of its leaf nodes: two brokers with
	// the same one store in each other's place. Defaults to none.
	Domain string

	// Limits bounds what the broker may use.
	Limits Limits

	// StartTimeout bounds Start when its context has no deadline. A store of many gigabytes that was not closed cleanly
	// can take minutes to recover. Defaults to [DefaultStartTimeout].
	StartTimeout time.Duration

	// Configure is the way to settings of the server that have no option here, such as users with permissions or
	// accounts. It runs last, on options that are this broker's alone. Changing what the other options promise (store,
	// sync, JetStream, names, ports, signals, configuration file) makes Start return [ErrOptions]. Defaults to nil.
	Configure func(*server.Options)
}

// Listen says where clients from other processes connect and what they must show.
type Listen struct {
	// Host is the name or address to listen on, "0.0.0.0" for all. Defaults to 127.0.0.1.
	Host string

	// Port is the TCP port; [RandomPort] chooses a free one. Defaults to [DefaultPort].
	Port int

	// Advertise is the host, or host and port, that clients are told to connect to. Defaults to what Host resolves to.
	Advertise string

	// TLS makes clients of the port use TLS; a ClientAuth of RequireAndVerifyClientCert makes them show a certificate.
	// In-process connections go without. Defaults to CertFile and KeyFile, and to no TLS.
	TLS *tls.Config

	// CertFile and KeyFile are PEM files, an alternative to TLS. ClientCAFile is a PEM file with the authorities whose
	// client certificates are accepted, and makes one necessary. Default to none.
	CertFile, KeyFile, ClientCAFile string

	// Token, or User and Password, must be shown by every client, in-process ones too: [Broker.Connect] does.
	// Default to none, which lets in everyone who reaches the port.
	Token, User, Password string
}

// Limits bounds what a broker may use. Minus one means no limit where a field says so; any other negative number is an
// error.
type Limits struct {
	// MaxMemory is how many bytes all memory streams together may hold. Defaults to [DefaultMaxMemory].
	MaxMemory int64

	// MaxStore is how many bytes all file streams together may hold. A stream that would exceed it refuses messages
	// with JetStream error 10023, whereas a full disk makes publishers time out: keep it below what the disk has free.
	// More than the size of the disk is an error. Defaults to three quarters of the sum of what the disk has free at
	// start and what the streams hold already.
	MaxStore int64

	// MaxPayload is the largest message in bytes, headers included, at most 64 MiB. Clients learn it as they connect.
	// Defaults to [DefaultMaxPayload].
	MaxPayload int

	// MaxConsumers is how many consumers one stream may have unless the stream says otherwise, watchers of a key-value
	// bucket included; -1 is no limit. The server's own default is 1000. Defaults to [DefaultMaxConsumers].
	MaxConsumers int

	// MaxStreams is how many streams the default account may have. Defaults to -1, no limit.
	MaxStreams int

	// MaxConnections is how many clients may be connected at once. Defaults to 65536.
	MaxConnections int
}

// DefaultDir is the data directory of a broker that was not given one: the value of HOCKET_DATA, or "hocket" below the
// operating system's place for a user's data, which is $XDG_DATA_HOME or ~/.local/share on Linux and other Unix systems,
// ~/Library/Application Support on macOS, and %LocalAppData% on Windows. It makes nothing. It returns [ErrNoDir] if
// there is no such place, and when HOCKET_DATA or XDG_DATA_HOME is not an absolute path.
func DefaultDir() (string, error) {
	if dir := os.Getenv("HOCKET_DATA"); dir != "" {
		return absolute("HOCKET_DATA", dir)
	}
	var env, dir string
	switch runtime.GOOS {
	case "windows":
		env = "LocalAppData"
	case "darwin", "ios":
	default:
		env = "XDG_DATA_HOME"
	}
	if env != "" {
		if dir = os.Getenv(env); dir != "" {
			return absolute(env, filepath.Join(dir, "hocket"))
		}
	}
	home, err := os.UserHomeDir()
	if err != nil {
		return "", fmt.Errorf("%w: set HOCKET_DATA to a directory, or Options.Dir: %w", ErrNoDir, err)
	}
	switch runtime.GOOS {
	case "windows":
		dir = filepath.Join(home, "AppData", "Local", "hocket")
	case "darwin", "ios":
		dir = filepath.Join(home, "Library", "Application Support", "hocket")
	default:
		dir = filepath.Join(home, ".local", "share", "hocket")
	}
	return absolute("the user's home directory", dir)
}

func absolute(what, dir string) (string, error) {
	if !filepath.IsAbs(dir) {
		return "", fmt.Errorf("%w: %s gives %q, which is not an absolute path; set HOCKET_DATA to one", ErrNoDir, what, dir)
	}
	return dir, nil
}

// resolve copies opts (nil is the zero value), applies the defaults, and validates the result. What it returns shares
// no pointer with opts that this package writes to.
func resolve(opts *Options) (Options, error) {
	var o Options
	if opts != nil {
		o = *opts
	}
	if err := o.applyDefaults(); err != nil {
		return Options{}, err
	}
	if err := o.validate(); err != nil {
		return Options{}, err
	}
	return o, nil
}

func (o *Options) applyDefaults() error {
	if o.Dir == "" {
		dir, err := DefaultDir()
		if err != nil {
			return err
		}
		o.Dir = dir
	}
	if o.Logger == nil {
		o.Logger = slog.New(loglevel.AtLeast(slog.LevelWarn, slog.Default().Handler()))
	}
	setDefault(&o.StartTimeout, DefaultStartTimeout)
	setDefault(&o.Limits.MaxMemory, DefaultMaxMemory)
	setDefault(&o.Limits.MaxPayload, DefaultMaxPayload)
	setDefault(&o.Limits.MaxConsumers, DefaultMaxConsumers)
	setDefault(&o.Limits.MaxStreams, -1)
	setDefault(&o.Limits.MaxConnections, server.DEFAULT_MAX_CONNECTIONS)
	if o.Listen != nil {
		l := *o.Listen
		setDefault(&l.Host, "127.0.0.1")
		setDefault(&l.Port, DefaultPort)
		o.Listen = &l
	}
	o.clusterDefaults()
	return nil
}

func setDefault[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}

func (o *Options) validate() error {
	switch {
	case o.SyncInterval < 0:
		return invalid("SyncInterval is %v, which is negative; zero syncs every write", o.SyncInterval)
	case o.StartTimeout < 0:
		return invalid("StartTimeout is %v, which is negative", o.StartTimeout)
	case strings.ContainsAny(o.Name, " \t\r\n.*>/\\"):
		return invalid("Name is %q, which contains a space, a dot, a slash or a wildcard", o.Name)
	case strings.ContainsAny(o.Domain, " \t\r\n.*>/\\"):
		return invalid("Domain is %q, which contains a space, a dot, a slash or a wildcard", o.Domain)
	}
	if err := o.Limits.validate(); err != nil {
		return err
	}
	if o.Listen != nil {
		if err := o.Listen.validate(); err != nil {
			return err
		}
	}
	return o.validateCluster()
}

func (l *Limits) validate() error {
	for _, limit := range []struct {
		name       string
		value      int64
		minimum    int64
		unlimited  bool
		maximum    int64
		maximumWhy string
	}{
		{name: "MaxMemory", value: l.MaxMemory, minimum: 1, maximum: math.MaxInt64},
		{name: "MaxStore", value: l.MaxStore, maximum: math.MaxInt64},
		{name: "MaxPayload", value: int64(l.MaxPayload), minimum: 1, maximum: server.MAX_PENDING_SIZE},
		{name: "MaxConsumers", value: int64(l.MaxConsumers), minimum: 1, unlimited: true, maximum: math.MaxInt32},
		{name: "MaxStreams", value: int64(l.MaxStreams), minimum: 1, unlimited: true, maximum: math.MaxInt32},
		{name: "MaxConnections", value: int64(l.MaxConnections), minimum: 1, maximum: math.MaxInt32},
	} {
		switch {
		case limit.unlimited && limit.value == -1:
		case limit.value < limit.minimum:
			return invalid("Limits.%s is %d, which is too small", limit.name, limit.value)
		case limit.value > limit.maximum:
			return invalid("Limits.%s is %d, more than the most that works, %d", limit.name, limit.value, limit.maximum)
		}
	}
	return nil
}

func (l *Listen) validate() error {
	switch {
	case !validPort(l.Port):
		return invalid("Listen.Port is %d, not a TCP port", l.Port)
	case l.Token != "" && (l.User != "" || l.Password != ""):
		return invalid("Listen has both a Token and a User")
	case (l.User == "") != (l.Password == ""):
		return invalid("Listen needs both User and Password, or neither")
	case l.TLS != nil && (l.CertFile != "" || l.KeyFile != "" || l.ClientCAFile != ""):
		return invalid("Listen has both TLS and certificate files")
	case (l.CertFile == "") != (l.KeyFile == ""):
		return invalid("Listen needs both CertFile and KeyFile, or neither")
	case l.ClientCAFile != "" && l.CertFile == "":
		return invalid("Listen has a ClientCAFile but no CertFile")
	}
	return nil
}

func validPort(port int) bool { return port == RandomPort || port > 0 && port <= math.MaxUint16 }

func invalid(format string, args ...any) error {
	return fmt.Errorf("%w: "+format, append([]any{ErrOptions}, args...)...)
}
