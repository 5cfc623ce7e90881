// Package identity carries the identity of a caller through a context.
//
// The name comes from a subject token. Where the broker enforces access rules, it let only the owner of that name publish
// there, so the name is verified; where it does not, the name is what the sender claims.
package identity

import "context"

type callerKey struct{}

// WithCaller returns a context that carries the caller's name.
func WithCaller(ctx context.Context, name string) context.Context {
	return context.WithValue(ctx, callerKey{}, name)
}

// Caller returns the name of the service that sent what is being handled, and whether there is one.
func Caller(ctx context.Context) (string, bool) {
	name, ok := ctx.Value(callerKey{}).(string)
	return name, ok
}

// Key is the context key under which the caller's name is kept, for contexts that answer it without wrapping.
func Key() any { return callerKey{} }
