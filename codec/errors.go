package codec

import (
	"errors"
	"fmt"
	"reflect"
)

// Outcomes that a caller may want to tell apart. They carry no package prefix since they appear only inside errors that
// begin with it.
var (
	// ErrUnknownFormat says that no format of a [Set] has the name or content type asked for.
	ErrUnknownFormat = errors.New("unknown format")

	// ErrTooLarge says that a payload is longer than [Limits.MaxBytes]. Nothing of it was decoded.
	ErrTooLarge = errors.New("payload too large")

	// ErrTooDeep says that a payload is nested in more levels than [Limits.MaxDepth].
	ErrTooDeep = errors.New("nested too deep")

	// ErrUnsupportedType says that a format cannot carry values of a Go type at all, whatever the payload: Proto something
	// that is no message, Text something that is no text, Bytes something that is no byte slice, BSON something that is no
	// document. The other formats report such types with errors of their library.
	ErrUnsupportedType = errors.New("type not supported by the format")
)

// errZeroFormat is what a Format says that came from nowhere, such as an unset field.
var errZeroFormat = errors.New("codec: zero Format: use a constructor such as JSON or NewFormat")

func encodeError(format string, v any, err error) error {
	return fmt.Errorf("codec: %s: encode %s: %w", format, typeName(reflect.TypeOf(v)), err)
}

// decodeError names the type behind the target's pointer, which is the one that the caller thinks of.
func decodeError(format string, v any, err error) error {
	t := reflect.TypeOf(v)
	if t != nil && t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	return fmt.Errorf("codec: %s: decode into %s: %w", format, typeName(t), err)
}

func typeName(t reflect.Type) string {
	if t == nil {
		return "nil"
	}
	return t.String()
}

func tooDeep(levels int) error {
	return fmt.Errorf("%w: more than %d levels", ErrTooDeep, levels)
}

// clip shortens what a peer sent, so that a hostile header cannot fill a log.
func clip(s string) string {
	const most = 100
	if len(s) > most {
		return s[:most] + "…"
	}
	return s
}
