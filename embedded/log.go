package embedded

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync"
)

// Levels of the server's more talkative messages. They are produced only if the handler is enabled for them when the
// broker starts, since they cost a lot: LevelTrace shows each protocol line.
const (
	LevelDebug = slog.LevelDebug
	LevelTrace = slog.LevelDebug - 4
)

// keptLines is how many warnings and errors of a failed start end up in its error.
const keptLines = 8

// logBridge hands what the server logs to slog. While the broker starts it also keeps what went wrong, because the
// server reports that nowhere else.
type logBridge struct {
	logger *slog.Logger
	failed chan struct{} // closed by the first fatal message

	mu       sync.Mutex
	starting bool
	fatal    *logLine
	lines    []string // warnings and errors while starting
}

// logLine is a message with the errors among its arguments, so that nobody has to search its text.
type logLine struct {
	text   string
	causes []error
}

func newLogBridge(logger *slog.Logger) *logBridge {
	return &logBridge{logger: logger, failed: make(chan struct{}), starting: true}
}

// verbosity tells which of the server's costly messages are wanted.
func (l *logBridge) verbosity(ctx context.Context) (debug, trace bool) {
	return l.logger.Enabled(ctx, LevelDebug), l.logger.Enabled(ctx, LevelTrace)
}

func (l *logBridge) log(level slog.Level, format string, args []any) logLine {
	line := logLine{text: strings.TrimSpace(fmt.Sprintf(format, args...))}
	for _, arg := range args {
		if err, ok := arg.(error); ok {
			line.causes = append(line.causes, err)
		}
	}
	// The server has no context to pass on.
	l.logger.Log(context.Background(), level, line.text) //nolint:sloglint // the message is the server's
	if level >= slog.LevelWarn {
		l.mu.Lock()
		if l.starting && len(l.lines) < keptLines {
			l.lines = append(l.lines, line.text)
		}
		l.mu.Unlock()
	}
	return line
}

// started ends the keeping of messages.
func (l *logBridge) started() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.starting, l.lines = false, nil
}

// problems returns the first fatal message, nil if there is none, and the warnings and errors so far.
func (l *logBridge) problems() (*logLine, []string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.fatal, l.lines
}

// Noticef implements [server.Logger], as do the methods that follow.
func (l *logBridge) Noticef(format string, args ...any) { l.log(slog.LevelInfo, format, args) }

// Warnf logs at Warn.
func (l *logBridge) Warnf(format string, args ...any) { l.log(slog.LevelWarn, format, args) }

// Errorf logs at Error.
func (l *logBridge) Errorf(format string, args ...any) { l.log(slog.LevelError, format, args) }

// Debugf logs at LevelDebug.
func (l *logBridge) Debugf(format string, args ...any) { l.log(LevelDebug, format, args) }

// Tracef logs at LevelTrace.
func (l *logBridge) Tracef(format string, args ...any) { l.log(LevelTrace, format, args) }

// Fatalf logs at Error and fails the start. Unlike the server's own logger it does not end the process.
func (l *logBridge) Fatalf(format string, args ...any) {
	line := l.log(slog.LevelError, format, args)
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.fatal == nil {
		l.fatal = &line
		close(l.failed)
	}
}
