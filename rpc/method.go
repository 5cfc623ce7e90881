package rpc

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/hocket-go/hocket/codec"
	"github.com/hocket-go/hocket/internal/subject"
)

// Method is the contract of a unary call: a name, the types of its request and reply, and how they are encoded. It is
// made once, as a package-level value, is immutable and safe for concurrent use.
type Method[Req, Resp any] struct {
	spec spec
}

// spec is the part of a contract that has no types.
type spec struct {
	service, method string
	format          codec.Format
}

func (s *spec) name() string { return s.service + "." + s.method }

// MethodOption is an option of a contract.
type MethodOption func(*spec)

// Codec sets how requests and replies of a method travel. Servers understand, besides, every codec of their
// [ServerOptions].Codecs. Defaults to JSON.
func Codec(f codec.Format) MethodOption {
	return func(s *spec) { s.format = f }
}

// NewMethod declares a method. The name is "<service>.<method>"; what stands before the last dot is the service. It
// panics if the name has no dot, an empty half, or a half longer than 128 bytes once escaped, and if the codec is not
// usable, since a contract is part of the program.
func NewMethod[Req, Resp any](name string, opts ...MethodOption) *Method[Req, Resp] {
	dot := strings.LastIndexByte(name, '.')
	if dot < 0 {
		panic(fmt.Sprintf("rpc: method name %q has no dot; it is \"<service>.<method>\"", name))
	}
	m := &Method[Req, Resp]{spec: spec{service: name[:dot], method: name[dot+1:], format: codec.JSON()}}
	for _, opt := range opts {
		opt(&m.spec)
	}
	if err := subject.CheckName("service", m.spec.service); err != nil {
		panic(fmt.Sprintf("rpc: method %q: %v", name, err))
	}
	if err := subject.CheckName("method", m.spec.method); err != nil {
		panic(fmt.Sprintf("rpc: method %q: %v", name, err))
	}
	if m.spec.format.Name() == "" {
		panic(fmt.Sprintf("rpc: method %q: the codec has no name", name))
	}
	return m
}

// Name returns the contract's name.
func (m *Method[Req, Resp]) Name() string { return m.spec.name() }

// Registrar has a [Server]: the Server itself, or a service that is made of parts.
type Registrar interface{ RPCServer() *Server }

// Caller has a [Client]: the Client itself, or a service that is made of parts.
type Caller interface{ RPCClient() *Client }

// Handle registers the function that serves the method. Nothing is sent until the server starts. It panics if the method
// belongs to another service than the server's, already has a handler, or the server has started: a program that does so
// is wrong from the start.
//
// The function's context ends when the caller stops waiting or the server closes. Its error reaches the caller as an
// [*Error]: with the code of the first [*Error] in its tree, else with [DeadlineExceeded] or [Canceled] for the errors of
// package context, else with [Unknown] and its text.
func (m *Method[Req, Resp]) Handle(r Registrar, fn func(ctx context.Context, req Req) (Resp, error)) {
	s := r.RPCServer()
	handle := func(c *callContext, f codec.Format, payload, buf []byte) ([]byte, error) {
		req := new(Req)
		if err := f.Unmarshal(payload, req); err != nil {
			return buf, Errorf(InvalidArgument, "request: %w", err)
		}
		var (
			resp Resp
			err  error
		)
		if len(s.opts.Interceptors) == 0 {
			resp, err = fn(c, *req)
		} else {
			resp, err = handleIntercepted(c, s.opts.Interceptors, *req, fn)
		}
		if err != nil {
			return buf, err
		}
		if buf, err = f.Append(buf, resp); err != nil {
			return buf, Errorf(Internal, "reply: %w", err)
		}
		return buf, nil
	}
	s.register(&m.spec, handle)
}

func handleIntercepted[Req, Resp any](
	c *callContext, interceptors []Interceptor, req Req, fn func(context.Context, Req) (Resp, error),
) (Resp, error) {
	next := intercepted(interceptors, c.call(), func(ctx context.Context, req any) (any, error) {
		in, err := typed[Req]("request", req)
		if err != nil {
			return nil, err
		}
		return fn(ctx, in)
	})
	resp, err := next(c, req)
	if err != nil {
		var none Resp
		return none, err
	}
	return typed[Resp]("reply", resp)
}

// CallOption is an option of one call.
type CallOption func(*callOptions)

type callOptions struct {
	timeout  time.Duration
	instance string
	// Which of them are set.
	timed, addressed bool
}

// Timeout bounds one call, besides its context. It replaces [ClientOptions].Timeout. With a duration that is not positive,
// the call ends with [DeadlineExceeded] and is not sent.
func Timeout(d time.Duration) CallOption {
	return func(o *callOptions) { o.timeout, o.timed = d, true }
}

// ToInstance addresses one instance of the service, instead of whichever gets the call. [Unavailable] says that this
// instance is not there, though others may be; [InvalidArgument], that no instance can have such a name.
func ToInstance(instance string) CallOption {
	return func(o *callOptions) { o.instance, o.addressed = instance, true }
}

// Call calls the method and waits for its reply, until the context ends or the call's time is up. Every error is an
// [*Error], wrapped in one that names the method; see the package's documentation for how a call ends. It is safe for
// concurrent use, and does not keep req.
func (m *Method[Req, Resp]) Call(ctx context.Context, c Caller, req Req, opts ...CallOption) (Resp, error) {
	client := c.RPCClient()
	var o callOptions
	for _, opt := range opts {
		opt(&o)
	}
	var (
		resp Resp
		err  error
	)
	if len(client.opts.Interceptors) == 0 {
		err = m.call(ctx, client, req, &resp, o)
	} else {
		call := Call{Service: m.spec.service, Method: m.spec.method, Caller: client.caller, Instance: o.instance}
		next := intercepted(client.opts.Interceptors, call, func(ctx context.Context, req any) (any, error) {
			in, failure := typed[Req]("request", req)
			if failure != nil {
				return nil, failure
			}
			var out Resp
			failure = m.call(ctx, client, in, &out, o)
			return out, failure
		})
		var out any
		if out, err = next(ctx, req); err == nil {
			resp, err = typed[Resp]("reply", out)
		}
	}
	if err != nil {
		var none Resp
		if e, ok := errors.AsType[*Error](err); !ok || e == nil {
			err = &Error{Code: CodeOf(err), Message: err.Error(), cause: err} // an interceptor's
		}
		return none, fmt.Errorf("call %s: %w", m.spec.name(), err)
	}
	return resp, nil
}

// call goes over the wire.
func (m *Method[Req, Resp]) call(ctx context.Context, client *Client, req Req, resp *Resp, o callOptions) error {
	w, err := client.pending.acquire()
	if err != nil {
		return err
	}
	defer client.pending.release(w)
	w.payload, err = m.spec.format.Append(w.payload[:0], req)
	if err != nil {
		return Errorf(InvalidArgument, "request: %w", err)
	}
	msg, err := client.roundTrip(ctx, &m.spec, w, o)
	if err != nil {
		return err
	}
	if err := m.spec.format.Unmarshal(msg.Data, resp); err != nil {
		return Errorf(Internal, "reply: %w", err)
	}
	return nil
}
