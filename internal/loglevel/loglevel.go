// Package loglevel holds back the records of a slog handler below a level, for logs that are not ours to change.
package loglevel

import (
	"context"
	"log/slog"
)

// AtLeast returns a handler that drops records below a level, and those that the handler itself drops.
func AtLeast(level slog.Level, h slog.Handler) slog.Handler { return atLeast{h, level} }

type atLeast struct {
	slog.Handler

	level slog.Level
}

// Enabled reports whether the level is high enough.
func (h atLeast) Enabled(ctx context.Context, level slog.Level) bool {
	return level >= h.level && h.Handler.Enabled(ctx, level)
}

// WithAttrs keeps the level.
func (h atLeast) WithAttrs(attrs []slog.Attr) slog.Handler {
	return atLeast{h.Handler.WithAttrs(attrs), h.level}
}

// WithGroup keeps the level.
func (h atLeast) WithGroup(name string) slog.Handler {
	return atLeast{h.Handler.WithGroup(name), h.level}
}
