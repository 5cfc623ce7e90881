package embedded

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"time"

	"github.com/nats-io/nats-server/v2/server"
)

// newServer makes a server that is not started yet.
func newServer(ctx context.Context, o Options, dir string, log *logBridge) (*server.Server, error) {
	if err := o.checkHubDomain(ctx); err != nil {
		return nil, err
	}
	if err := prepareStore(dir, o.Limits.MaxStore); err != nil {
		return nil, err
	}
	so, err := o.serverOptions(dir)
	if err != nil {
		return nil, err
	}
	srv, err := server.NewServer(so)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrOptions, err)
	}
	debug, trace := log.verbosity(ctx)
	srv.SetLoggerV2(log, debug, trace, false)
	return srv, nil
}

// serverOptions translates validated options, for one server only: it writes to them.
func (o *Options) serverOptions(dir string) (*server.Options, error) {
	so := &server.Options{
		ServerName:             o.Name,
		NoSigs:                 true,
		DontListen:             o.Listen == nil,
		JetStream:              true,
		DisableJetStreamBanner: true,
		StoreDir:               dir,
		JetStreamDomain:        o.Domain,
		JetStreamMaxMemory:     o.Limits.MaxMemory,
		JetStreamMaxStore:      o.Limits.MaxStore, // zero lets the server look at the disk
		SyncAlways:             o.SyncInterval == 0,
		SyncInterval:           o.SyncInterval,
		MaxPayload:             int32(o.Limits.MaxPayload),
		MaxConn:                o.Limits.MaxConnections,
	}
	so.JetStreamLimits.DefaultMaxConsumers = o.Limits.MaxConsumers
	if l := o.Listen; l != nil {
		so.Host, so.Port, so.ClientAdvertise = l.Host, l.Port, l.Advertise
		so.Authorization, so.Username, so.Password = l.Token, l.User, l.Password
		config, err := l.tlsConfig()
		if err != nil {
			return nil, err
		}
		so.TLSConfig, so.TLS = config, config != nil
	}
	if err := o.configureCluster(so); err != nil {
		return nil, err
	}
	if o.Configure == nil {
		return so, nil
	}
	promised := promises(so)
	o.Configure(so)
	for i, p := range promises(so) {
		if !reflect.DeepEqual(p, promised[i]) {
			return nil, invalid("Configure changed %s from %v to %v, which is for other options to say",
				p.name, promised[i].value, p.value)
		}
	}
	return so, nil
}

type promise struct {
	name  string
	value any
}

// promises are the settings on which this package's word depends.
func promises(so *server.Options) []promise {
	return []promise{
		{"StoreDir", so.StoreDir}, {"JetStream", so.JetStream}, {"JetStreamDomain", so.JetStreamDomain},
		{"SyncAlways", so.SyncAlways}, {"SyncInterval", so.SyncInterval}, {"NoSigs", so.NoSigs},
		{"ConfigFile", so.ConfigFile}, {"ServerName", so.ServerName}, {"DontListen", so.DontListen},
		{"Host", so.Host}, {"Port", so.Port}, {"Cluster.Name", so.Cluster.Name}, {"Cluster.Port", so.Cluster.Port},
		{"LeafNode.Port", so.LeafNode.Port},
	}
}

// tlsConfig is nil without TLS.
func (l *Listen) tlsConfig() (*tls.Config, error) {
	if l.CertFile == "" {
		return l.TLS.Clone(), nil
	}
	cert, err := tls.LoadX509KeyPair(l.CertFile, l.KeyFile)
	if err != nil {
		return nil, fmt.Errorf("%w: certificate %s with key %s: %w", ErrTLS, l.CertFile, l.KeyFile, err)
	}
	config := &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS12}
	if l.ClientCAFile != "" {
		pem, err := os.ReadFile(l.ClientCAFile)
		if err != nil {
			return nil, fmt.Errorf("%w: client authorities: %w", ErrTLS, err)
		}
		config.ClientCAs = x509.NewCertPool()
		if !config.ClientCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("%w: client authorities: %s holds no PEM certificate", ErrTLS, l.ClientCAFile)
		}
		config.ClientAuth = tls.RequireAndVerifyClientCert
	}
	return config, nil
}

// prepareStore makes the server's directory and tries to write there. The server does so too, but keeps the operating
// system's reason to itself.
func prepareStore(dir string, maxStore int64) error {
	store := filepath.Join(dir, server.JetStreamStoreDir)
	if err := os.MkdirAll(store, dirMode); err != nil {
		return fmt.Errorf("%w: %w", ErrUnwritable, err)
	}
	probe, err := os.CreateTemp(store, ".hocket-*")
	if err != nil {
		return fmt.Errorf("%w: %w", ErrUnwritable, err)
	}
	if err = errors.Join(probe.Close(), os.Remove(probe.Name())); err != nil {
		return fmt.Errorf("%w: %w", ErrUnwritable, err)
	}
	size, err := diskSize(store)
	if err != nil {
		return fmt.Errorf("embedded: size of the disk of %s: %w", store, err)
	}
	if size > 0 && maxStore > size {
		return invalid("Limits.MaxStore is %d, but the disk of %s has %d bytes in all", maxStore, store, size)
	}
	return nil
}

// pollInterval is how often a starting server is asked whether its ports are open. With no port open it is not asked
// at all.
const pollInterval = time.Millisecond

// waitReady waits until clients can connect.
func waitReady(
	ctx context.Context, srv *server.Server, log *logBridge, booted <-chan struct{}, timeout time.Duration,
) error {
	if _, bounded := ctx.Deadline(); !bounded {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeoutCause(ctx, timeout, fmt.Errorf("not ready within %v", timeout))
		defer cancel()
	}
	select {
	case <-booted:
	case <-log.failed:
		// The server comes back from its start soon after it has said why.
		select {
		case <-booted:
		case <-ctx.Done():
		}
		return startError(log, nil)
	case <-ctx.Done():
		return startError(log, context.Cause(ctx))
	}
	tick := time.NewTicker(pollInterval)
	defer tick.Stop()
	// ReadyForConnections looks once and comes back at once if all is well; otherwise it spins for as long as it is
	// allowed to if that is less than 25 ms.
	for !srv.ReadyForConnections(pollInterval / 10) {
		select {
		case <-tick.C:
		case <-log.failed:
			return startError(log, nil)
		case <-ctx.Done():
			return startError(log, context.Cause(ctx))
		}
	}
	if fatal, _ := log.problems(); fatal != nil {
		return startError(log, nil)
	}
	return nil
}

// startError is what a server that did not start has logged, with the sentinel for it.
func startError(log *logBridge, cause error) error {
	fatal, lines := log.problems()
	if fatal == nil {
		if len(lines) > 0 {
			return fmt.Errorf("%w: %w; the server says: %s", ErrStart, cause, strings.Join(lines, "; "))
		}
		return fmt.Errorf("%w: %w", ErrStart, cause)
	}
	sentinel := ErrStart
	for _, err := range fatal.causes {
		if isPortInUse(err) {
			sentinel = ErrPortInUse
		}
	}
	if len(fatal.causes) > 0 {
		return fmt.Errorf("%w: %w", sentinel, errors.Join(fatal.causes...))
	}
	return fmt.Errorf("%w: %s", sentinel, fatal.text)
}

// limitStreams bounds the number of streams in the default account.
func limitStreams(srv *server.Server, n int) error {
	account, err := srv.LookupAccount(server.DEFAULT_GLOBAL_ACCOUNT)
	if err != nil {
		return err
	}
	return account.UpdateJetStreamLimits(map[string]server.JetStreamAccountLimits{"": {
		MaxMemory: -1, MaxStore: -1, MaxStreams: n, MaxConsumers: -1, MaxAckPending: -1,
		MemoryMaxStreamBytes: -1, StoreMaxStreamBytes: -1,
	}})
}
