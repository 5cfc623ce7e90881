package embedded_test

import (
	"crypto/tls"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/hocket-go/hocket/embedded"
)

func TestListeningServesOtherProcessesAndThisOne(t *testing.T) {
	t.Parallel()
	o := options(t)
	o.Listen = &embedded.Listen{Host: "0.0.0.0", Port: embedded.RandomPort}
	b := start(t, o)
	require.True(t, strings.HasPrefix(b.URL(), "nats://127.0.0.1:"), b.URL())
	outside, err := nats.Connect(b.URL())
	require.NoError(t, err)
	t.Cleanup(outside.Close)
	sub, err := connect(t, b).SubscribeSync("s")
	require.NoError(t, err)
	require.NoError(t, sub.SetPendingLimits(-1, -1))
	require.NoError(t, connect(t, b).Flush())
	require.Eventually(t, func() bool { return b.Server().NumSubscriptions() > 0 }, patience, tick)
	require.NoError(t, outside.Publish("s", []byte("hello")))
	msg, err := sub.NextMsg(patience)
	require.NoError(t, err)
	assert.Equal(t, "hello", string(msg.Data))
}

func TestTLSFromFiles(t *testing.T) {
	t.Parallel()
	cert, key := certificate(t)
	o := options(t)
	o.Listen = &embedded.Listen{Port: embedded.RandomPort, CertFile: cert, KeyFile: key, ClientCAFile: cert}
	b := start(t, o)
	require.True(t, strings.HasPrefix(b.URL(), "tls://127.0.0.1:"), b.URL())
	_, err := nats.Connect(b.URL())
	require.Error(t, err, "the authority is unknown")
	_, err = nats.Connect(b.URL(), nats.RootCAs(cert))
	require.Error(t, err, "no client certificate was shown")
	nc, err := nats.Connect(b.URL(), nats.RootCAs(cert), nats.ClientCert(cert, key))
	require.NoError(t, err)
	t.Cleanup(nc.Close)
	require.NoError(t, nc.Flush())
	require.NoError(t, connect(t, b).Flush(), "connections in the process go without TLS")
}

func TestTLSFromAConfig(t *testing.T) {
	t.Parallel()
	certFile, keyFile := certificate(t)
	cert, err := tls.LoadX509KeyPair(certFile, keyFile)
	require.NoError(t, err)
	o := options(t)
	o.Listen = &embedded.Listen{
		Port: embedded.RandomPort, TLS: &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS13},
	}
	nc, err := nats.Connect(start(t, o).URL(), nats.RootCAs(certFile))
	require.NoError(t, err)
	t.Cleanup(nc.Close)
	require.NoError(t, nc.Flush())
}

func TestBadTLSFilesAreNamed(t *testing.T) {
	t.Parallel()
	cert, key := certificate(t)
	_, otherKey := certificate(t)
	missing := filepath.Join(t.TempDir(), "missing.pem")
	empty := filepath.Join(t.TempDir(), "empty.pem")
	require.NoError(t, os.WriteFile(empty, nil, 0o600))
	for name, c := range map[string]struct {
		listen embedded.Listen
		named  string
	}{
		"missing certificate":     {embedded.Listen{CertFile: missing, KeyFile: key}, missing},
		"missing key":             {embedded.Listen{CertFile: cert, KeyFile: missing}, missing},
		"another key":             {embedded.Listen{CertFile: cert, KeyFile: otherKey}, otherKey},
		"not a certificate":       {embedded.Listen{CertFile: empty, KeyFile: key}, empty},
		"missing authority":       {embedded.Listen{CertFile: cert, KeyFile: key, ClientCAFile: missing}, missing},
		"authority without a PEM": {embedded.Listen{CertFile: cert, KeyFile: key, ClientCAFile: empty}, empty},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o := options(t)
			o.Listen = &c.listen
			o.Listen.Port = embedded.RandomPort
			err := refuse(t, o)
			require.ErrorIs(t, err, embedded.ErrTLS)
			require.ErrorContains(t, err, c.named)
			o.Listen = nil
			start(t, o) // the directory is free
		})
	}
}
