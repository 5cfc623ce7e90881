package events

import (
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/hocket-go/hocket/internal/outcome"
)

// Outcomes that a caller may want to tell apart, with errors.Is. What the broker said stays reachable with errors.As and a
// *jetstream.APIError.
var (
	// ErrUnknown says that an event may have been stored or not: no acknowledgement came before the context ended. It is
	// safe to publish again with the same id for a while, see [PublishError].
	ErrUnknown = outcome.ErrUnknown

	// ErrStreamFull says that the stream, or the broker's storage for the account, is at its limit and refused the event.
	ErrStreamFull = errors.New("stream is full")

	// ErrTooLarge says that the event with its headers is larger than the broker or the stream accepts.
	ErrTooLarge = errors.New("event too large")

	// ErrNoStream says that no stream captures the event's type: [Options].Streams names none for it, or the one that it
	// names answered nothing until the context ended.
	ErrNoStream = errors.New("no stream captures the event")

	// ErrDenied says that the broker does not let this connection publish or subscribe to a subject.
	ErrDenied = errors.New("denied by the broker")

	// ErrIDTaken says that the id was used by this source for an event of another type a moment ago, so that the broker
	// took this one for a copy of it and did not store it.
	ErrIDTaken = errors.New("id already used for another event")

	// ErrMismatch says that a stream or a durable consumer exists and differs from what was asked for. The error lists the
	// differences; nothing was changed.
	ErrMismatch = errors.New("exists with other settings")

	// ErrDeleted says that the durable consumer or the stream of a subscription was deleted while it ran.
	ErrDeleted = errors.New("deleted while in use")

	// ErrInvalid says that a name, an attribute or an option breaks a rule, which the error names.
	ErrInvalid = errors.New("invalid")

	// ErrClosed says that the bus or the subscription is closed.
	ErrClosed = errors.New("closed")
)

// PublishError is the error of every publish that got as far as having an id. Its Err matches one of the sentinels of this
// package, an error of the context, or an error of the broker.
type PublishError struct {
	// ID is the event's id, generated or given, for another try ([ID]).
	ID string
	// Type is the type of the event.
	Type string
	// Attempts is how often the event was sent.
	Attempts int
	// SafeUntil is how long publishing again with the same id stores the event at most once: the broker remembers an id for
	// the stream's duplicate window only. It is zero if the event was never sent, and another try is safe at any time.
	SafeUntil time.Time
	// Err is what went wrong.
	Err error
}

// Error says what was published, under which id, how often it was tried, and what went wrong.
func (e *PublishError) Error() string {
	s := fmt.Sprintf("events: publish %s (id %s)", e.Type, e.ID)
	if e.Attempts > 1 {
		s += fmt.Sprintf(" after %d attempts", e.Attempts)
	}
	s += ": " + e.Err.Error()
	if errors.Is(e.Err, ErrUnknown) {
		s += "; publishing again with the same id is safe until " + e.SafeUntil.UTC().Format(time.RFC3339)
	}
	return s
}

// Unwrap returns what went wrong.
func (e *PublishError) Unwrap() error { return e.Err }

// Codes of the broker that nats.go has no name for.
const (
	codeNoPeers              jetstream.ErrorCode = 10005 // no suitable peers for placement
	codeClusterNotAvailable  jetstream.ErrorCode = 10008 // JetStream has no leader just now
	codeInsufficient         jetstream.ErrorCode = 10023 // storage or memory of the account or server exhausted
	codeStreamCreate         jetstream.ErrorCode = 10049 // the stream cannot be made, see the description
	codeSubjectOverlap       jetstream.ErrorCode = 10065 // subjects overlap with an existing stream
	codeReplicasNotSupported jetstream.ErrorCode = 10074 // more than one replica on a server without a cluster
	codeStoreFailed          jetstream.ErrorCode = 10077 // the stream's store refused, see the description
	codeDuplicateInProcess   jetstream.ErrorCode = 10158 // the first copy is still being replicated
)

// refusal maps the broker's error in an acknowledgement to a sentinel, keeping the original reachable.
func refusal(e *jetstream.APIError) error {
	switch e.ErrorCode {
	case codeInsufficient:
		return fmt.Errorf("%w: %w", ErrStreamFull, e)
	case jetstream.JSErrCodeStreamMessageExceedsMaximum:
		return fmt.Errorf("%w: %w", ErrTooLarge, e)
	case codeStoreFailed:
		return storeRefusal(e)
	default:
		return e
	}
}

// storeRefusal tells the refusals of a stream's store apart. The broker has one code for all of them, so that the text is
// all there is to go by; tests hold it against the pinned server.
func storeRefusal(e *jetstream.APIError) error {
	switch e.Description {
	case "maximum messages exceeded", "maximum bytes exceeded", "maximum messages per subject exceeded":
		return fmt.Errorf("%w: %w", ErrStreamFull, e)
	case "message too large":
		return fmt.Errorf("%w: %w", ErrTooLarge, e)
	default:
		return e
	}
}

func denied(err error) error { return fmt.Errorf("%w: %w", ErrDenied, err) }
