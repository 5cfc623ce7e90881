package events

import (
	"errors"
	"fmt"
	"maps"
	"strconv"
	"time"

	"github.com/cloudevents/sdk-go/v2/event"
	"github.com/nats-io/nats.go"

	"github.com/hocket-go/hocket/codec"
	"github.com/hocket-go/hocket/events/internal/binding"
)

// Event is an event as a handler gets it.
type Event[T any] struct {
	// ID identifies the event together with Source.
	ID string
	// Source is who published it. It equals the name in the subject, which the broker guards where access rules are on.
	Source string
	// Type is the name of the contract.
	Type string
	// Version is the version of the contract that the data was written by.
	Version int
	// Subject is what the event is about in the context of its source; it may be empty.
	Subject string
	// Time is when what the event tells happened, as its source says; zero if it does not.
	Time time.Time
	// Key is what events about the same thing have in common; it may be empty.
	Key string
	// Data is the event's data.
	Data T

	// Stream is the name of the stream, empty for a signal.
	Stream string
	// Sequence is the event's place in the stream, 0 for a signal.
	Sequence uint64
	// Stored is when the broker stored it, by the broker's clock; zero for a signal.
	Stored time.Time
	// Attempt is 1 for the first delivery to this subscription, by any instance, and counts from there; 1 for a signal.
	Attempt int

	raw *binding.Event
}

// Extension returns an extension attribute of the event in its canonical string form.
func (e Event[T]) Extension(name string) (string, bool) {
	if e.raw == nil {
		return "", false
	}
	return e.raw.Extension(name)
}

// Extensions returns all extension attributes of the event in their canonical string form. The map belongs to the caller.
func (e Event[T]) Extensions() map[string]string {
	if e.raw == nil {
		return map[string]string{}
	}
	return maps.Collect(func(yield func(string, string) bool) {
		for _, a := range e.raw.Extensions {
			if !yield(a.Name, a.Value) {
				return
			}
		}
	})
}

// CloudEvent returns the event with its data as it came, as an event of the CloudEvents SDK.
func (e Event[T]) CloudEvent() (event.Event, error) {
	if e.raw == nil {
		return event.Event{}, fmt.Errorf("events: %w: the event did not come from a subscription", ErrInvalid)
	}
	ce, err := e.raw.SDK()
	if err != nil {
		return event.Event{}, fmt.Errorf("events: %w", invalidEvent(err))
	}
	return ce, nil
}

// ToMessage returns an event as a NATS message in binary mode, without a subject: one ce- header for each attribute, with
// values percent-encoded, and the data as payload. The error matches [ErrInvalid] and names the attribute.
func ToMessage(e event.Event) (*nats.Msg, error) {
	lean, err := binding.FromSDK(e)
	if err != nil {
		return nil, fmt.Errorf("events: %w", invalidEvent(err))
	}
	return &nats.Msg{Header: lean.Header(""), Data: lean.Data}, nil
}

// FromMessage reads an event from a NATS message in binary mode or, with the content type application/cloudevents+json, in
// structured mode. It accepts what the NATS protocol binding of CloudEvents 1.0 lets a producer send. Extensions of a binary
// message are strings, since the mode does not carry their type. The data may share memory with the message. The error
// matches [ErrInvalid] and names the attribute; no message makes it panic.
func FromMessage(msg *nats.Msg) (event.Event, error) {
	if msg == nil {
		return event.Event{}, fmt.Errorf("events: %w: no message", ErrInvalid)
	}
	var lean binding.Event
	err := binding.Decode(&lean, msg.Header, msg.Data)
	if err == nil {
		var e event.Event
		if e, err = lean.SDK(); err == nil {
			return e, nil
		}
	}
	return event.Event{}, fmt.Errorf("events: %w", invalidEvent(err))
}

// arrival is a message with an event, as it came.
type arrival struct {
	ce       binding.Event
	version  int
	stream   string
	sequence uint64
	stored   time.Time
	tries    int
	payload  decoder
}

// decoder finds the codec of an event's data.
type decoder struct {
	own    codec.Format
	codecs *codec.Set
}

func (d decoder) decode(e *binding.Event, data any) error {
	f := d.own
	if e.DataContentType != "" && e.DataContentType != f.ContentType() {
		var err error
		if f, err = d.codecs.ByContentType(e.DataContentType); err != nil {
			return err
		}
	}
	return f.Unmarshal(e.Data, data)
}

// open reads the event of a message and refuses one that is not what its subject says: the subject is what the broker
// checked. It returns the reason; nothing that a publisher sends makes it panic.
func (a *arrival) open(spec *spec, source, typ string, ok bool, msg *nats.Msg) error {
	if !ok {
		return fmt.Errorf("subject %.200q is not an event's", msg.Subject)
	}
	if err := binding.Decode(&a.ce, msg.Header, msg.Data); err != nil {
		return err
	}
	if a.ce.Source != source {
		return fmt.Errorf("ce-source %.200q is not the source in the subject, %.200q", a.ce.Source, source)
	}
	if a.ce.Type != typ || typ != spec.name {
		return fmt.Errorf("ce-type %.200q is not the type in the subject, %.200q", a.ce.Type, typ)
	}
	a.version = 1
	if v, ok := a.ce.Extension(versionAttribute); ok {
		n, err := strconv.Atoi(v)
		if err != nil || n < 1 {
			return fmt.Errorf("%s %.200q is not a positive number", versionAttribute, v)
		}
		a.version = n
	}
	if a.version > spec.version {
		return fmt.Errorf("%s is %d, this program knows versions up to %d", versionAttribute, a.version, spec.version)
	}
	return nil
}

// errUndecodable marks an error of the data, which no retry in this program mends.
var errUndecodable = errors.New("the event cannot be decoded")

// typed makes the event of a handler.
func typed[T any](a *arrival) (Event[T], error) {
	e := Event[T]{
		ID: a.ce.ID, Source: a.ce.Source, Type: a.ce.Type, Subject: a.ce.Subject, Time: a.ce.Time, Version: a.version,
		Stream: a.stream, Sequence: a.sequence, Stored: a.stored, Attempt: a.tries, raw: &a.ce,
	}
	e.Key, _ = a.ce.Extension(keyAttribute)
	if err := a.payload.decode(&a.ce, &e.Data); err != nil {
		return e, fmt.Errorf("%w: %w", errUndecodable, err)
	}
	return e, nil
}
