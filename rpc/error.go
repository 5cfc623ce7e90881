package rpc

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

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

// WithDetail adds a detail, the value encoded as JSON, and returns e. A value that does not encode is replaced by a string
// that says why.
func (e *Error) WithDetail(typ string, value any) *Error {
	data, err := json.Marshal(value)
	if err != nil {
		data, _ = json.Marshal("not encodable: " + err.Error()) //nolint:errchkjson // a string always encodes
	}
	e.Details = append(e.Details, Detail{Type: typ, Value: data})
	return e
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
	if e, ok := errors.AsType[*Error](err); ok && e != nil {
		if e.Code == OK || e.Code > maxCode {
			return &Error{Code: Internal, Message: fmt.Sprintf("handler returned an error with %v: %s", e.Code, e.Message)}
		}
		return e
	}
	return &Error{Code: CodeOf(err), Message: err.Error(), cause: err}
}

// abandoned is the error of a call that was sent and not answered before its context ended or its time was up.
func abandoned(ctx context.Context) *Error {
	switch cause := context.Cause(ctx); {
	case cause == nil, errors.Is(ctx.Err(), context.DeadlineExceeded):
		return &Error{
			Code: DeadlineExceeded, Message: "no reply in time",
			cause: fmt.Errorf("%w: %w", ErrUnknown, context.DeadlineExceeded),
		}
	default:
		return &Error{
			Code: Canceled, Message: "the caller gave up: " + cause.Error(),
			cause: fmt.Errorf("%w: %w: %w", ErrUnknown, ctx.Err(), cause),
		}
	}
}
