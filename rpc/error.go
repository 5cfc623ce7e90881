package rpc

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"github.com/hocket-go/hocket/internal/outcome"
)

// ErrUnknown matches the error of a call that may or may not have been carried out: its reply did not come in time, or the
// caller stopped waiting. It is the same sentinel in every package of Hocket.
var ErrUnknown = outcome.ErrUnknown

// ErrClosed is the cause of what a closed [Server] or [Client] ends.
var ErrClosed = errors.New("rpc: closed")

// ErrCallerGone is the cause, by context.Cause, for which a handler's context ends when its caller stopped waiting.
var ErrCallerGone = errors.New("rpc: the caller no longer waits")

// Error is how a call fails, on both sides: a handler returns one to say a code, and what a caller gets is one.
type Error struct {
	// Code says what kind of failure it is.
	Code Code
	// Message is for people. It reaches the caller.
	Message string
	// Details say more to programs. They reach the caller.
	Details []Detail

	cause  error
	remote bool
}

// Detail is a piece of structured information in an [Error].
type Detail struct {
	// Type names what Value is.
	Type string `json:"type"`
	// Value is any JSON.
	Value json.RawMessage `json:"value"`
}

// Errorf returns an error with a code and a message made as by fmt.Errorf: what %w wraps stays reachable on this side,
// the text reaches the other.
func Errorf(code Code, format string, args ...any) *Error {
	err := fmt.Errorf(format, args...)
	return &Error{Code: code, Message: err.Error(), cause: err}
}

// Error returns the code and the message.
func (e *Error) Error() string {
	if e.Message == "" {
		return e.Code.String()
	}
	return e.Code.String() + ": " + e.Message
}

// Unwrap returns what the error was made of, on the side that made it.
func (e *Error) Unwrap() error { return e.cause }

// Remote tells whether the other side sent the error, as opposed to this side having failed to get an answer.
func (e *Error) Remote() bool { return e.remote }

// WithDetail returns an error that has one detail more, the value encoded as JSON, and wraps e, which stays as it is: it may
// be a package-level value. A value that does not encode is replaced by a string that says why.
func (e *Error) WithDetail(typ string, value any) *Error {
	data, err := json.Marshal(value)
	if err != nil {
		data, _ = json.Marshal("not encodable: " + err.Error()) //nolint:errchkjson // a string always encodes
	}
	return &Error{
		Code: e.Code, Message: e.Message, Details: append(slices.Clip(e.Details), Detail{Type: typ, Value: data}),
		cause: e, remote: e.remote,
	}
}

// Detail decodes the first detail of the given type into out, and tells whether there was one.
func (e *Error) Detail(typ string, out any) (bool, error) {
	for _, d := range e.Details {
		if d.Type == typ {
			if err := json.Unmarshal(d.Value, out); err != nil {
				return true, fmt.Errorf("rpc: detail %q: %w", typ, err)
			}
			return true, nil
		}
	}
	return false, nil
}

// asError makes the error that the wire carries out of whatever a handler returned.
func asError(err error) *Error {
	e, ok := errors.AsType[*Error](err)
	switch {
	case !ok:
		return &Error{Code: CodeOf(err), Message: err.Error(), cause: err}
	case e == nil:
		return &Error{Code: Internal, Message: "handler returned a nil *rpc.Error as its error"}
	case e.Code == OK || e.Code > maxCode:
		return &Error{Code: Internal, Message: fmt.Sprintf("handler returned an error with %v: %s", e.Code, e.Message)}
	}
	return e
}

// errTimeUp is the error of a call that got no answer in its time, or had no time left to be sent.
func errTimeUp(message string, why ...error) *Error {
	return &Error{Code: DeadlineExceeded, Message: message, cause: errors.Join(append(why, context.DeadlineExceeded)...)}
}

// ended is the error of a call whose context has ended. What is known besides comes as why.
func ended(ctx context.Context, message string, why ...error) *Error {
	why = append(why, context.Cause(ctx))
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return errTimeUp(message, why...)
	}
	return &Error{
		Code: Canceled, Message: message + ", the caller gave up: " + context.Cause(ctx).Error(),
		cause: errors.Join(append(why, ctx.Err())...),
	}
}
