package codec

import (
	"encoding"
	"errors"
	"fmt"
	"reflect"
	"unicode/utf8"
)

// Text returns the format "text", text/plain in UTF-8.
//
// It carries types that have a text form (encoding.TextMarshaler and TextUnmarshaler), strings and byte slices, named ones
// included, and pointers to these; a target that is a nil pointer is allocated, an `any` gets a string. Other types are
// [ErrUnsupportedType]. Text that is not valid UTF-8 is refused both ways.
func Text() Format {
	return MustFormat("text", "text/plain; charset=utf-8", textCodec{})
}

type textCodec struct{}

var (
	errNil     = errors.New("nil has no encoding in this format")
	errNotUTF8 = errors.New("not valid UTF-8")
	errNotText = fmt.Errorf("%w: neither a string, a []byte nor a type with MarshalText and UnmarshalText", ErrUnsupportedType)
)

func (c textCodec) Marshal(v any) ([]byte, error) { return c.AppendMarshal(nil, v) }

func (textCodec) AppendMarshal(dst []byte, v any) ([]byte, error) {
	out, err := appendText(dst, v)
	if err != nil {
		return dst, err
	}
	if !utf8.Valid(out[len(dst):]) {
		return dst, errNotUTF8
	}
	return out, nil
}

func appendText(dst []byte, v any) ([]byte, error) {
	rv := reflect.ValueOf(v)
	for {
		if rv.Kind() == reflect.Pointer && rv.IsNil() {
			return nil, errNil
		}
		if !rv.IsValid() {
			return nil, errNil
		}
		switch t := rv.Interface().(type) {
		case encoding.TextAppender:
			return t.AppendText(dst)
		case encoding.TextMarshaler:
			text, err := t.MarshalText()
			return append(dst, text...), err
		}
		switch {
		case rv.Kind() == reflect.Pointer:
			rv = rv.Elem()
		case rv.Kind() == reflect.String:
			return append(dst, rv.String()...), nil
		case isByteSlice(rv.Type()):
			return append(dst, rv.Bytes()...), nil
		default:
			return nil, errNotText
		}
	}
}

func (textCodec) Unmarshal(data []byte, v any) error {
	if !utf8.Valid(data) {
		return errNotUTF8
	}
	rv := reflect.ValueOf(v)
	for {
		if u, ok := reflect.TypeAssert[encoding.TextUnmarshaler](rv); ok {
			return u.UnmarshalText(data)
		}
		if rv = rv.Elem(); rv.Kind() != reflect.Pointer {
			break
		}
		if rv.IsNil() {
			rv.Set(reflect.New(rv.Type().Elem()))
		}
	}
	switch {
	case rv.Kind() == reflect.String:
		rv.SetString(string(data))
	case isByteSlice(rv.Type()):
		rv.SetBytes(append([]byte{}, data...))
	case isAny(rv.Type()):
		rv.Set(reflect.ValueOf(string(data)))
	default:
		return errNotText
	}
	return nil
}

func isByteSlice(t reflect.Type) bool {
	return t.Kind() == reflect.Slice && t.Elem().Kind() == reflect.Uint8
}

func isAny(t reflect.Type) bool { return t.Kind() == reflect.Interface && t.NumMethod() == 0 }
