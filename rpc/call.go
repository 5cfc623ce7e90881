package rpc

import (
	"context"
	"slices"
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
	call := Call{Service: c.server.service, Method: c.method.name, Caller: c.caller}
	if c.instance {
		call.Instance = c.server.instance
	}
	return call
}

// Next goes on with a call: to the next interceptor, and in the end to the handler or over the wire.
type Next func(ctx context.Context, req any) (any, error)

// Interceptor wraps calls, on the side of the [Server] or of the [Client]. It may look at the request and the reply, which
// have the types of the method's contract, replace either by a value of the same type (nil is the zero value), answer by
// itself, or call next more than once. The first interceptor given is the outermost. It runs on the goroutine of the handler
// or the caller.
type Interceptor func(ctx context.Context, call Call, req any, next Next) (any, error)

// intercepted returns next inside the interceptors.
func intercepted(interceptors []Interceptor, call Call, next Next) Next {
	for _, interceptor := range slices.Backward(interceptors) {
		inner := next
		next = func(ctx context.Context, req any) (any, error) { return interceptor(ctx, call, req, inner) }
	}
	return next
}

// typed gives what came through interceptors its type back. Nil stands for the zero value.
func typed[T any](what string, v any) (T, error) {
	out, ok := v.(T)
	if !ok && v != nil {
		return out, Errorf(Internal, "an interceptor made the %s a %T, not a %T", what, v, out)
	}
	return out, nil
}
