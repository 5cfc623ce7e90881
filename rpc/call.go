package rpc

import (
	"context"

	"github.com/hocket-go/hocket/internal/subject"
)

// Call says which call an [Interceptor] or a handler is in.
type Call struct {
	// Service and Method are the two halves of the contract's name.
	Service, Method string
	// Caller is the name of the service that calls, "" where the call does not say. Where the broker enforces access
	// rules it is verified; else it is what the caller claims.
	Caller string
	// Instance is the instance that the call is addressed to, "" for whichever gets it.
	Instance string
}

// Name returns the contract's name, "<service>.<method>".
func (c Call) Name() string { return c.Service + "." + c.Method }

// CallFrom returns the call that a handler's context belongs to.
func CallFrom(ctx context.Context) (Call, bool) {
	c, ok := ctx.Value(callKey{}).(*callContext)
	if !ok {
		return Call{}, false
	}
	return c.call(), true
}

func (c *callContext) call() Call {
	call := Call{Service: c.server.service, Method: c.method.name}
	call.Caller, _ = c.callerName()
	if c.instance {
		call.Instance = c.server.instance
	}
	return call
}

func (c *callContext) callerName() (string, bool) {
	if c.caller == "" {
		return "", false
	}
	name, err := subject.Unescape(c.caller)
	return name, err == nil
}

// Next goes on with a call: to the next interceptor, and in the end to the handler or over the wire.
type Next func(ctx context.Context, req any) (any, error)

// Interceptor wraps calls, on the side of the [Server] or of the [Client]. It may look at the request and the reply, which
// have the types of the method's contract, replace either by a value of the same type, answer by itself, or call next more
// than once. The first interceptor given is the outermost. It runs on the goroutine of the handler or the caller.
type Interceptor func(ctx context.Context, call Call, req any, next Next) (any, error)

// intercepted returns next inside the interceptors.
func intercepted(interceptors []Interceptor, call Call, next Next) Next {
	for i := len(interceptors) - 1; i >= 0; i-- {
		interceptor, inner := interceptors[i], next
		next = func(ctx context.Context, req any) (any, error) { return interceptor(ctx, call, req, inner) }
	}
	return next
}
