package rpc

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hocket-go/hocket/internal/identity"
)

// callContext is the context of one call in its handler. Most handlers are over before anything could end it, and never
// look; so the deadline's timer and the channel are made when somebody first asks. It costs one allocation instead of the
// six of context.WithDeadline, for every call.
type callContext struct {
	server   *Server
	method   *handler
	caller   string // "" where the call does not name one
	instance bool   // addressed to this instance
	key      string // names the call in a cancellation
	deadline time.Time

	made atomic.Pointer[context.Context]

	mu       sync.Mutex // guards making the context against ending it
	cancel   context.CancelCauseFunc
	canceled error // the cause, once it was canceled
}

type callKey struct{}

// String names the call, so that printing a context does not look into fields that others are writing.
func (c *callContext) String() string { return "rpc call " + c.call().Name() }

// Deadline returns when the caller stops waiting.
func (c *callContext) Deadline() (time.Time, bool) { return c.deadline, !c.deadline.IsZero() }

// Done returns a channel that is closed when the caller stops waiting, the server closes, or the call is over.
func (c *callContext) Done() <-chan struct{} { return c.make().Done() }

// Err returns why the context ended.
func (c *callContext) Err() error { return c.make().Err() }

// Value answers for the call itself and for the caller's identity, and else passes the question on.
func (c *callContext) Value(key any) any {
	if key == (callKey{}) {
		return c
	}
	if key == identity.Key() {
		if c.caller == "" {
			return nil
		}
		return c.caller
	}
	if made := c.made.Load(); made != nil {
		return (*made).Value(key) // package context finds its own parent by a value
	}
	return c.server.base.Value(key)
}

// make returns the context that does the work, made on first use.
func (c *callContext) make() context.Context {
	if made := c.made.Load(); made != nil {
		return *made
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if made := c.made.Load(); made != nil {
		return *made
	}
	ctx, cancel := context.WithCancelCause(c.server.base)
	if !c.deadline.IsZero() {
		var stop context.CancelFunc
		ctx, stop = context.WithDeadline(ctx, c.deadline)
		outer := cancel
		cancel = func(cause error) { outer(cause); stop() }
	}
	c.cancel = cancel
	if c.canceled != nil {
		cancel(c.canceled)
	}
	c.made.Store(&ctx)
	return ctx
}

// end ends the context with a cause. The first cause stays.
func (c *callContext) end(cause error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.canceled != nil {
		return
	}
	c.canceled = cause
	if c.cancel != nil {
		c.cancel(cause)
	}
}
