package events

import (
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/hocket-go/hocket/codec"
	"github.com/hocket-go/hocket/internal/subject"
)

const (
	defaultPublishTimeout  = 15 * time.Second
	defaultAttemptTimeout  = 2 * time.Second
	defaultDuplicateWindow = 2 * time.Minute
	defaultStream          = "events"
)

// Options are the settings of a [Bus]. The zero value and a nil pointer work.
type Options struct {
	// Namespace is put before every subject, stream and durable, so that several installations can share an account. It
	// must be an identity: lower-case letters, digits and dashes. Defaults to none.
	Namespace string

	// Logger gets what no caller is there to be told: failed handlers, events that cannot be decoded, lost subscriptions.
	// Defaults to [slog.Default].
	Logger *slog.Logger

	// Codecs turn data into bytes and back by content type; the set's default is used by types that name none. Defaults to
	// [codec.Default], JSON first.
	Codecs *codec.Set

	// PublishTimeout bounds a Publish, and what else asks the broker, when the caller's context has no deadline. The
	// election of a leader that was lost takes up to 7 seconds, and this should be longer. Defaults to 15 seconds.
	PublishTimeout time.Duration

	// AttemptTimeout bounds one attempt to publish or to ask: the broker drops requests silently while it has no leader.
	// Defaults to 2 seconds.
	AttemptTimeout time.Duration

	// Streams are where events are stored. Every process that shares events must be given the same, so put it beside the
	// contracts. Subjects of streams must not overlap: once one is named here, the default stream does not exist, and a type
	// that none captures cannot be published. Defaults to one stream named "events" for every type.
	Streams []Stream
}

// Stream says where the events of some types are stored. It is made on first use. A field that is zero is not asked for:
// it gets its default when the stream is made, and is left alone where the stream exists already. Every other difference
// from an existing stream is an error that matches [ErrMismatch], and nothing is changed.
//
// Asked for always, since what this package promises depends on it: that the stream captures the subjects of its types,
// acknowledges, keeps events that were read, refuses new events when full, stores in files, and allows neither roll-ups
// nor message schedules, by which whoever may write one subject could wipe the stream or write another.
type Stream struct {
	// Name is the stream's, without the namespace. Defaults to "events".
	Name string

	// Types are the event types that the stream captures, each with all types below it: "shop" captures "shop" and
	// "shop.order.placed" but not "shopping". Defaults to every type.
	Types []string

	// MaxBytes is the size at which new events are refused, in bytes on disk. The broker reserves it. Defaults to no limit
	// but the broker's own for the account, at which new events are refused as well; a production system should set it,
	// since a stream that takes all of the broker's storage leaves none for anything else.
	MaxBytes int64

	// MaxEvents is the number of events at which new ones are refused. Defaults to no limit.
	MaxEvents int64

	// MaxAge is how long events are kept. Defaults to for ever.
	MaxAge time.Duration

	// MaxEventBytes is the largest event with its headers that is accepted, in bytes. Defaults to the broker's limit.
	MaxEventBytes int32

	// DuplicateWindow is how long the broker remembers the ids of events, and so how long a publish may be repeated safely.
	// It costs the broker memory for each event published meanwhile. Defaults to 2 minutes.
	DuplicateWindow time.Duration

	// Replicas is the number of servers that store each event: 1, 3 or 5. Defaults to 3 where the broker is a cluster that
	// has three servers to offer, else 1.
	Replicas int

	// DropOld makes room for new events by dropping the oldest ones when a limit is reached, read or not. Defaults to
	// refusing the new ones.
	DropOld bool

	// Memory stores events in memory, so that they are lost with the broker. Defaults to files.
	Memory bool
}

func (o *Options) withDefaults() Options {
	var out Options
	if o != nil {
		out = *o
	}
	if out.Logger == nil {
		out.Logger = slog.Default()
	}
	if out.Codecs == nil {
		out.Codecs = codec.Default()
	}
	if out.PublishTimeout == 0 {
		out.PublishTimeout = defaultPublishTimeout
	}
	if out.AttemptTimeout == 0 {
		out.AttemptTimeout = defaultAttemptTimeout
	}
	if len(out.Streams) == 0 {
		out.Streams = []Stream{{}}
	}
	out.Streams = slices.Clone(out.Streams)
	for i := range out.Streams {
		s := &out.Streams[i]
		if s.Name == "" {
			s.Name = defaultStream
		}
		s.Types = slices.Clone(s.Types)
	}
	return out
}

func (o *Options) validate() error {
	if o.PublishTimeout < 0 || o.AttemptTimeout < 0 {
		return fmt.Errorf("events: %w: a timeout must not be negative", ErrInvalid)
	}
	for i, s := range o.Streams {
		if err := s.validate(); err != nil {
			return err
		}
		for _, other := range o.Streams[:i] {
			if err := s.overlaps(other); err != nil {
				return err
			}
		}
	}
	return nil
}

func (s *Stream) validate() error {
	if err := checkPlainName("stream", s.Name); err != nil {
		return err
	}
	for _, t := range s.Types {
		if err := checkType(t); err != nil {
			return fmt.Errorf("events: stream %s: %w", s.Name, err)
		}
	}
	if s.MaxBytes < 0 || s.MaxEvents < 0 || s.MaxAge < 0 || s.MaxEventBytes < 0 || s.DuplicateWindow < 0 || s.Replicas < 0 {
		return fmt.Errorf("events: %w: stream %s: a limit must not be negative; zero means the default", ErrInvalid, s.Name)
	}
	if s.Replicas != 0 && s.Replicas != 1 && s.Replicas != 3 && s.Replicas != 5 {
		return fmt.Errorf("events: %w: stream %s: %d replicas; they must be 1, 3 or 5", ErrInvalid, s.Name, s.Replicas)
	}
	if s.MaxAge > 0 && s.DuplicateWindow > s.MaxAge {
		return fmt.Errorf("events: %w: stream %s: the duplicate window %v is longer than the maximum age %v", ErrInvalid,
			s.Name, s.DuplicateWindow, s.MaxAge)
	}
	return nil
}

func (s *Stream) overlaps(other Stream) error {
	if s.Name == other.Name {
		return fmt.Errorf("events: %w: two streams have the name %s", ErrInvalid, s.Name)
	}
	if len(s.Types) == 0 || len(other.Types) == 0 {
		return fmt.Errorf("events: %w: streams %s and %s overlap: one captures every type", ErrInvalid, other.Name, s.Name)
	}
	for _, a := range s.Types {
		for _, b := range other.Types {
			if below(a, b) || below(b, a) {
				return fmt.Errorf("events: %w: streams %s and %s overlap: %s and %s", ErrInvalid, other.Name, s.Name, b, a)
			}
		}
	}
	return nil
}

func (s *Stream) captures(typ string) bool {
	return len(s.Types) == 0 || slices.ContainsFunc(s.Types, func(prefix string) bool { return below(typ, prefix) })
}

// subjects returns what the stream captures: both the type itself and what is below it.
func (s *Stream) subjects(names subject.Names) ([]string, error) {
	if len(s.Types) == 0 {
		return []string{names.Events()}, nil
	}
	var out []string
	for _, t := range s.Types {
		filter, err := names.EventFilter(t)
		if err != nil {
			return nil, invalidName(err)
		}
		out = append(out, filter, filter+".>")
	}
	return out, nil
}

// below reports whether typ is prefix or lies below it.
func below(typ, prefix string) bool {
	return typ == prefix || strings.HasPrefix(typ, prefix) && typ[len(prefix)] == '.'
}
