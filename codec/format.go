package codec

import (
	"errors"
	"fmt"
	"math"
	"mime"
	"reflect"
	"regexp"
	"slices"
	"strings"
)

// Format is a wire format: a codec with a name, a content type and [Limits]. It is an immutable value, cheap to copy and
// safe for concurrent use. The zero value is safe too, but every attempt to use it is an error. Tell formats apart by
// [Format.Name].
type Format struct {
	d *definition
}

// definition is never changed once a Format holds it.
type definition struct {
	name        string
	contentType string
	mediaTypes  []string // lower case, no parameters; the canonical one first
	suffixes    []string // of "+json", the part after the plus sign
	plain       Codec    // as it was given
	codec       Codec    // the same, held to maxDepth if it can be
	appender    Appender // nil if the codec is none
	maxBytes    int
}

// namePattern is short and strict because the name travels as a token of the reply subject.
var namePattern = regexp.MustCompile(`^[a-z0-9-]{1,16}$`)

// NewFormat makes a format of a codec. The name is one token of 1 to 16 characters out of a-z, 0-9 and the hyphen: it
// travels in subjects. The content type is what goes into headers, parameters included. An alias is another media type that
// means the same ("application/x-yaml"), or a structured suffix ("+yaml"), which claims every media type that ends in it.
// The codec gets the default [Limits]; it may implement [Appender] and [DepthLimiter] too.
func NewFormat(name, contentType string, c Codec, aliases ...string) (Format, error) {
	if !namePattern.MatchString(name) {
		return Format{}, fmt.Errorf("codec: format name %q is not 1 to 16 characters of a-z, 0-9 and -", clip(name))
	}
	if c == nil {
		return Format{}, fmt.Errorf("codec: format %s: the codec is nil", name)
	}
	canonical, err := mediaType(contentType)
	if err != nil {
		return Format{}, fmt.Errorf("codec: format %s: %w", name, err)
	}
	d := &definition{name: name, contentType: contentType, mediaTypes: []string{canonical}, plain: c}
	for _, alias := range aliases {
		if suffix, ok := strings.CutPrefix(alias, "+"); ok {
			if !namePattern.MatchString(suffix) {
				return Format{}, fmt.Errorf("codec: format %s: suffix %q is not + and 1 to 16 characters of a-z, 0-9 and -",
					name, clip(alias))
			}
			d.suffixes = append(d.suffixes, suffix)
			continue
		}
		other, err := mediaType(alias)
		if err != nil {
			return Format{}, fmt.Errorf("codec: format %s: %w", name, err)
		}
		d.mediaTypes = append(d.mediaTypes, other)
	}
	return Format{d: d.limited(Limits{})}, nil
}

// MustFormat is [NewFormat] for arguments that are fixed in the source: it panics where NewFormat returns an error.
func MustFormat(name, contentType string, c Codec, aliases ...string) Format {
	f, err := NewFormat(name, contentType, c, aliases...)
	if err != nil {
		panic(err)
	}
	return f
}

// mediaType returns the type and subtype of a content type in lower case.
func mediaType(contentType string) (string, error) {
	mt, _, err := mime.ParseMediaType(contentType)
	if err != nil {
		return "", fmt.Errorf("content type %q: %w", clip(contentType), err)
	}
	if !strings.Contains(mt, "/") {
		return "", fmt.Errorf("content type %q is not of the form type/subtype", clip(contentType))
	}
	return mt, nil
}

func (d *definition) limited(l Limits) *definition {
	l = l.withDefaults()
	out := *d
	out.maxBytes = l.MaxBytes
	if l.MaxBytes < 0 {
		out.maxBytes = math.MaxInt
	}
	out.codec = d.plain
	if c, ok := d.plain.(DepthLimiter); ok {
		out.codec = c.LimitDepth(l.MaxDepth)
	}
	out.appender, _ = out.codec.(Appender)
	return &out
}

// WithLimits returns the same format with other limits: all of them, so that a zero field means its default.
func (f Format) WithLimits(l Limits) Format {
	if f.d == nil {
		return f
	}
	return Format{d: f.d.limited(l)}
}

// Name returns the format's name, such as "json"; of the zero Format, "".
func (f Format) Name() string {
	if f.d == nil {
		return ""
	}
	return f.d.name
}

// ContentType returns the canonical content type, such as "application/json"; of the zero Format, "".
func (f Format) ContentType() string {
	if f.d == nil {
		return ""
	}
	return f.d.contentType
}

// IsZero tells whether f is the zero Format, which can do nothing.
func (f Format) IsZero() bool { return f.d == nil }

// String returns the name.
func (f Format) String() string { return f.Name() }

// Marshal encodes v. The slice returned belongs to the caller.
func (f Format) Marshal(v any) ([]byte, error) {
	if f.d == nil {
		return nil, errZeroFormat
	}
	data, err := f.d.codec.Marshal(v)
	if err != nil {
		return nil, encodeError(f.d.name, v, err)
	}
	return data, nil
}

// Append appends the encoding of v to dst and returns the longer slice; after an error, dst as it was. All formats here but
// BSON encode right into dst, JSON without any allocation of its own.
func (f Format) Append(dst []byte, v any) ([]byte, error) {
	if f.d == nil {
		return dst, errZeroFormat
	}
	if f.d.appender == nil {
		data, err := f.d.codec.Marshal(v)
		if err != nil {
			return dst, encodeError(f.d.name, v, err)
		}
		return append(dst, data...), nil
	}
	out, err := f.d.appender.AppendMarshal(dst, v)
	if err != nil {
		return dst, encodeError(f.d.name, v, err)
	}
	return out, nil
}

// Unmarshal decodes data into what v points to. The whole of data must be one value; for empty data see the package
// comment. The error matches [ErrTooLarge], [ErrTooDeep] or [ErrUnsupportedType], or carries the library's own
// (errors.As finds a *json.SyntaxError). After an error the target may be half filled.
func (f Format) Unmarshal(data []byte, v any) error {
	if f.d == nil {
		return errZeroFormat
	}
	if len(data) > f.d.maxBytes {
		return decodeError(f.d.name, v, fmt.Errorf("%w: %d bytes, at most %d are accepted", ErrTooLarge, len(data), f.d.maxBytes))
	}
	if rv := reflect.ValueOf(v); rv.Kind() != reflect.Pointer || rv.IsNil() {
		return decodeError(f.d.name, v, errors.New("the target is not a non-nil pointer"))
	}
	if err := f.d.codec.Unmarshal(data, v); err != nil {
		return decodeError(f.d.name, v, err)
	}
	return nil
}

// keys returns every key, names aside, under which a set finds the format.
func (d *definition) keys() []string {
	keys := slices.Clone(d.mediaTypes)
	for _, s := range d.suffixes {
		keys = append(keys, "+"+s)
	}
	return keys
}
