package codec

import (
	"fmt"
	"reflect"
)

// Bytes returns the format "bytes", application/octet-stream: the payload as it is.
//
// It carries []byte, types whose underlying type is []byte (json.RawMessage), and pointers to these; a target that is a nil
// pointer is allocated, an `any` gets a []byte. Other types are [ErrUnsupportedType], strings too: [Text] is for them. Both
// ways the bytes are copied.
func Bytes() Format {
	return MustFormat("bytes", "application/octet-stream", bytesCodec{})
}

type bytesCodec struct{}

var errNotBytes = fmt.Errorf("%w: not a []byte", ErrUnsupportedType)

func (c bytesCodec) Marshal(v any) ([]byte, error) { return c.AppendMarshal([]byte{}, v) }

func (bytesCodec) AppendMarshal(dst []byte, v any) ([]byte, error) {
	if b, ok := v.([]byte); ok {
		return append(dst, b...), nil
	}
	rv := reflect.ValueOf(v)
	for rv.Kind() == reflect.Pointer {
		rv = rv.Elem()
	}
	switch {
	case !rv.IsValid():
		return dst, errNil
	case !isByteSlice(rv.Type()):
		return dst, errNotBytes
	}
	return append(dst, rv.Bytes()...), nil
}

func (bytesCodec) Unmarshal(data []byte, v any) error {
	if b, ok := v.(*[]byte); ok {
		*b = append([]byte{}, data...)
		return nil
	}
	rv := reflect.ValueOf(v).Elem()
	for rv.Kind() == reflect.Pointer {
		if rv.IsNil() {
			rv.Set(reflect.New(rv.Type().Elem()))
		}
		rv = rv.Elem()
	}
	switch {
	case isByteSlice(rv.Type()):
		rv.SetBytes(append([]byte{}, data...))
	case isAny(rv.Type()):
		rv.Set(reflect.ValueOf(append([]byte{}, data...)))
	default:
		return errNotBytes
	}
	return nil
}
