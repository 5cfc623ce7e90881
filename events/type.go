package events

import (
	"fmt"
	"strconv"

	"github.com/hocket-go/hocket/codec"
	"github.com/hocket-go/hocket/events/internal/binding"
	"github.com/hocket-go/hocket/internal/subject"
)

// Attributes that this package gives a meaning, beyond those of the specification.
const (
	// keyAttribute is the CloudEvents extension "partitioning".
	keyAttribute = "partitionkey"
	// versionAttribute is the version of the contract that the data was written by; absent, it is 1.
	versionAttribute = "dataversion"
)

// Type is the contract for events of one type: its name and what its data is in Go. Declare it once, as a package-level
// variable that publishers and subscribers import. It is immutable and safe for concurrent use.
type Type[T any] struct {
	spec spec
	key  func(T) string
}

// spec is the part of a contract that does not depend on the Go type. Its address identifies the contract.
type spec struct {
	name    string
	version int
	doc     string
	format  codec.Format // zero: the default of the bus
}

// TypeOption is an option of [NewType].
type TypeOption func(*spec)

// NewType declares an event type. The name is dot-separated, "shop.order.placed", and becomes the CloudEvents type and
// the end of every subject. NewType panics if the name has an empty segment, holds control characters or is too long, or if
// an option is invalid, since that is known when the program starts.
func NewType[T any](name string, opts ...TypeOption) *Type[T] {
	if err := checkType(name); err != nil {
		panic(err)
	}
	t := &Type[T]{spec: spec{name: name, version: 1}}
	for _, opt := range opts {
		opt(&t.spec)
	}
	if t.spec.version < 1 {
		panic(fmt.Sprintf("events: type %s: version %d; versions start at 1", name, t.spec.version))
	}
	return t
}

// Version is the version of the data that the contract describes. Publishers write it into their events; a subscriber gets
// events of its own and older versions and leaves newer ones to an instance that knows them. Defaults to 1.
func Version(n int) TypeOption { return func(s *spec) { s.version = n } }

// Doc describes the event type in a sentence for those who read about it. Defaults to none.
func Doc(text string) TypeOption { return func(s *spec) { s.doc = text } }

// Codec is what publishers write the data with; its content type goes into the event. Subscribers read any content type
// that their bus knows. Defaults to the default of [Options].Codecs, JSON.
func Codec(f codec.Format) TypeOption { return func(s *spec) { s.format = f } }

// KeyedBy returns a copy of the contract whose events carry a key: events with the same key are about the same thing. The
// key goes into the attribute partitionkey and its hash into the subject. The empty key is no key.
func (t *Type[T]) KeyedBy(key func(T) string) *Type[T] {
	c := *t
	c.key = key
	return &c
}

// Name returns the name of the type.
func (t *Type[T]) Name() string { return t.spec.name }

// Version returns the version of the contract.
func (t *Type[T]) Version() int { return t.spec.version }

// Doc returns the description of the type.
func (t *Type[T]) Doc() string { return t.spec.doc }

// route is a contract on a bus: where its events go and how they are written. It is found out once.
type route struct {
	spec    *spec
	stream  *stream // nil where no stream captures the type, which signals do not need
	missing error   // why not
	format  codec.Format
	head    string // of the subject, up to the partition
	tail    string // of the subject, after the partition
	plain   string // the subject of an event without a key
	version string // the value of versionAttribute, "" for 1
}

func (b *Bus) route(s *spec) (*route, error) {
	if r, ok := b.routes.Load(s); ok {
		if r, ok := r.(*route); ok {
			return r, nil
		}
	}
	r, err := b.newRoute(s)
	if err != nil {
		return nil, err
	}
	b.routes.Store(s, r)
	return r, nil
}

func (b *Bus) newRoute(s *spec) (*route, error) {
	r := &route{spec: s, format: s.format}
	if r.format.IsZero() {
		r.format = b.opts.Codecs.Default()
	}
	if r.format.IsZero() {
		return nil, fmt.Errorf("events: type %s: %w: no codec", s.name, ErrInvalid)
	}
	r.stream, r.missing = b.streamFor(s.name)
	var err error
	if r.plain, err = b.names.Event(b.source, subject.NoPartition, s.name); err != nil {
		return nil, invalidName(err)
	}
	r.tail = "." + subject.EscapePath(s.name)
	r.head = r.plain[:len(r.plain)-len(r.tail)-len(subject.NoPartition)]
	if s.version > 1 {
		r.version = strconv.Itoa(s.version)
	}
	return r, nil
}

// subject returns where an event with that key is published.
func (r *route) subject(key string) string {
	if key == "" {
		return r.plain
	}
	return r.head + subject.Partition(key) + r.tail
}

// encode writes data into e, which has the attributes from the call already, and completes e.
func (r *route) encode(e *binding.Event, data any, key string) error {
	e.Type = r.spec.name
	e.DataContentType = r.format.ContentType()
	if r.version != "" {
		e.SetExtension(binding.Attribute{Name: versionAttribute, Value: r.version, Kind: binding.Integer})
	}
	if key != "" {
		e.SetExtension(binding.Attribute{Name: keyAttribute, Value: key})
	}
	var err error
	if e.Data, err = r.format.Marshal(data); err != nil {
		return err
	}
	if err := e.Validate(); err != nil {
		return invalidEvent(err)
	}
	return nil
}
