package embedded_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"log/slog"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"

	"github.com/hocket-go/hocket/embedded"
)

// options are for a broker in a directory of its own, with its log in the test's.
func options(tb testing.TB) *embedded.Options {
	tb.Helper()
	return &embedded.Options{Dir: filepath.Join(tb.TempDir(), "data"), Logger: logger(tb)}
}

func logger(tb testing.TB) *slog.Logger {
	tb.Helper()
	return slog.New(slog.NewTextHandler(tb.Output(), &slog.HandlerOptions{Level: slog.LevelWarn}))
}

// start starts a broker that is closed with the test.
func start(tb testing.TB, o *embedded.Options) *embedded.Broker {
	tb.Helper()
	b, err := embedded.Start(tb.Context(), o)
	require.NoError(tb, err)
	tb.Cleanup(func() { require.NoError(tb, b.Close()) })
	return b
}

// refuse starts a broker that must not start.
func refuse(tb testing.TB, o *embedded.Options) error {
	tb.Helper()
	b, err := embedded.Start(tb.Context(), o)
	if err == nil {
		require.NoError(tb, b.Close())
	}
	require.Error(tb, err)
	return err
}

func connect(tb testing.TB, b *embedded.Broker, opts ...nats.Option) *nats.Conn {
	tb.Helper()
	nc, err := b.Connect(opts...)
	require.NoError(tb, err)
	tb.Cleanup(nc.Close)
	return nc
}

func stream(tb testing.TB, nc *nats.Conn, config jetstream.StreamConfig) jetstream.Stream {
	tb.Helper()
	js, err := jetstream.New(nc)
	require.NoError(tb, err)
	s, err := js.CreateOrUpdateStream(tb.Context(), config)
	require.NoError(tb, err)
	return s
}

func publish(ctx context.Context, tb testing.TB, nc *nats.Conn, subject string, n int) {
	tb.Helper()
	js, err := jetstream.New(nc)
	require.NoError(tb, err)
	for range n {
		_, err = js.Publish(ctx, subject, []byte("x"))
		require.NoError(tb, err)
	}
}

// certificate writes a self-signed certificate for 127.0.0.1 that is its own authority, good for servers and clients.
func certificate(tb testing.TB) (certFile, keyFile string) {
	tb.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(tb, err)
	template := &x509.Certificate{
		SerialNumber:          big.NewInt(1),
		Subject:               pkix.Name{CommonName: "test"},
		NotBefore:             time.Now().Add(-time.Hour),
		NotAfter:              time.Now().Add(time.Hour),
		IPAddresses:           []net.IP{net.IPv4(127, 0, 0, 1)},
		ExtKeyUsage:           []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
		IsCA:                  true,
		BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	require.NoError(tb, err)
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	require.NoError(tb, err)
	dir := tb.TempDir()
	certFile, keyFile = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	writePEM(tb, certFile, "CERTIFICATE", der)
	writePEM(tb, keyFile, "PRIVATE KEY", keyDER)
	return certFile, keyFile
}

func writePEM(tb testing.TB, name, kind string, der []byte) {
	tb.Helper()
	require.NoError(tb, os.WriteFile(name, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600))
}

// How long a test waits for what must come, and how often it looks.
const (
	patience = 20 * time.Second
	tick     = 2 * time.Millisecond
)
