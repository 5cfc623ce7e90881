package embedded_test

import (
	"bytes"
	"log/slog"
	"strings"
	"sync"
	"testing"

	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/hocket-go/hocket/embedded"
)

// buffer is a log that may be read while it is written.
type buffer struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String()
}

func logged(t *testing.T, level slog.Level, use func(b *embedded.Broker)) string {
	t.Helper()
	var log buffer
	o := options(t)
	o.Logger = slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: level}))
	o.Listen = &embedded.Listen{Port: embedded.RandomPort, Token: "secret"}
	b, err := embedded.Start(t.Context(), o)
	require.NoError(t, err)
	use(b)
	require.NoError(t, b.Close())
	return log.String()
}

func TestTheServersLogGoesToSlog(t *testing.T) {
	t.Parallel()
	provoke := func(b *embedded.Broker) {
		_, err := nats.Connect(b.URL(), nats.Token("wrong"))
		require.ErrorIs(t, err, nats.ErrAuthorization)
		require.NoError(t, connect(t, b).Flush())
	}
	errs := logged(t, slog.LevelError, provoke)
	assert.Contains(t, errs, "level=ERROR")
	assert.Contains(t, errs, "authentication error")
	assert.Contains(t, errs, "component=broker")
	assert.NotContains(t, errs, "level=INFO")

	info := logged(t, slog.LevelInfo, provoke)
	assert.Contains(t, info, "level=INFO msg=\"Server is ready\"")
	assert.NotContains(t, info, "level=DEBUG")

	debug := logged(t, embedded.LevelDebug, provoke)
	assert.Contains(t, debug, "level=DEBUG")
	assert.NotContains(t, debug, "level=DEBUG-4")

	trace := logged(t, embedded.LevelTrace, provoke)
	assert.Contains(t, trace, "level=DEBUG-4")
	assert.Contains(t, trace, "PING")
	assert.NotContains(t, trace, "secret", "a trace shows tokens")
}

// It replaces the process's default logger, so it does not run in parallel.
func TestWithoutALoggerOnlyWarningsAndErrorsAreLogged(t *testing.T) {
	var log buffer
	before := slog.Default()
	slog.SetDefault(slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: embedded.LevelTrace})))
	t.Cleanup(func() { slog.SetDefault(before) })
	o := options(t)
	o.Logger = nil
	o.Listen = &embedded.Listen{Port: embedded.RandomPort, Token: "secret"}
	b := start(t, o)
	_, err := nats.Connect(b.URL())
	require.ErrorIs(t, err, nats.ErrAuthorization)
	require.NoError(t, b.Close())
	assert.Contains(t, log.String(), "authentication error")
	for line := range strings.Lines(log.String()) {
		assert.True(t, strings.Contains(line, "level=ERROR") || strings.Contains(line, "level=WARN"), line)
	}
}
