package codec

import (
	"errors"
	"fmt"
	"reflect"

	"google.golang.org/protobuf/proto"
)

// Proto returns the format "proto", application/protobuf, also for application/x-protobuf, application/proto and
// application/vnd.google.protobuf.
//
// It carries protobuf messages (proto.Message) only, by themselves or behind a pointer; anything else is
// [ErrUnsupportedType]. A target that is a nil pointer to a message is allocated: a contract on *pb.Order decodes into a
// **pb.Order. Unknown fields are kept. A nil message encodes as the empty one.
func Proto() Format {
	return MustFormat("proto", "application/protobuf", protoCodec{},
		"application/x-protobuf", "application/proto", "application/vnd.google.protobuf")
}

type protoCodec struct {
	maxDepth int
}

func (c protoCodec) LimitDepth(levels int) Codec { return protoCodec{maxDepth: levels} }

func (c protoCodec) Marshal(v any) ([]byte, error) { return c.AppendMarshal(nil, v) }

func (protoCodec) AppendMarshal(dst []byte, v any) ([]byte, error) {
	m, ok := messageValue(v)
	if !ok {
		return nil, fmt.Errorf("%w: not a proto.Message", ErrUnsupportedType)
	}
	return proto.MarshalOptions{}.MarshalAppend(dst, m)
}

func (c protoCodec) Unmarshal(data []byte, v any) error {
	m, ok := messageTarget(v)
	if !ok {
		return fmt.Errorf("%w: not a proto.Message", ErrUnsupportedType)
	}
	// Lazy decoding would keep a reference to data and find errors only later.
	err := proto.UnmarshalOptions{RecursionLimit: c.maxDepth, NoLazyDecoding: true}.Unmarshal(data, m)
	if err != nil && errors.Is(err, recursionError(m)) {
		return fmt.Errorf("%w: %w", tooDeep(c.maxDepth), err)
	}
	return err
}

// recursionError returns the error with which the library refuses messages of m's kind that are nested too deep. It has no
// exported name and no stable text, so it is provoked: no message at all fits into a negative limit.
func recursionError(m proto.Message) error {
	return proto.UnmarshalOptions{RecursionLimit: -1}.Unmarshal(nil, m.ProtoReflect().New().Interface())
}

// messageValue returns the message that v is or points to. A nil pointer to a message is an empty message.
func messageValue(v any) (proto.Message, bool) {
	if m, ok := v.(proto.Message); ok {
		return m, true
	}
	rv := reflect.ValueOf(v)
	if rv.Kind() != reflect.Pointer || rv.IsNil() || !holdsPointer(rv.Type().Elem()) {
		return nil, false
	}
	m, ok := reflect.TypeAssert[proto.Message](rv.Elem())
	return m, ok
}

// messageTarget returns the message that v is or points to, which must not be a nil pointer, and allocates it if need be.
func messageTarget(v any) (proto.Message, bool) {
	if m, ok := v.(proto.Message); ok {
		return m, true
	}
	rv := reflect.ValueOf(v).Elem()
	if !holdsPointer(rv.Type()) {
		return nil, false
	}
	m, ok := reflect.TypeAssert[proto.Message](rv)
	if !ok {
		return nil, false
	}
	// m, not rv: an interface variable may hold a nil pointer too.
	if held := reflect.ValueOf(m); held.Kind() == reflect.Pointer && held.IsNil() {
		rv.Set(reflect.New(held.Type().Elem()))
		m, ok = reflect.TypeAssert[proto.Message](rv)
	}
	return m, ok
}

// holdsPointer spares all other types, which means nearly every call, a type assertion that costs more than the check.
func holdsPointer(t reflect.Type) bool {
	return t.Kind() == reflect.Pointer || t.Kind() == reflect.Interface
}
