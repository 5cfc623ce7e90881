package codec

import (
	"errors"
	"fmt"
	"strings"
)

// Set is an immutable set of formats, one of which is the default. It is safe for concurrent use. A nil Set is empty.
type Set struct {
	formats []Format // the default first
	byName  map[string]Format
	byType  map[string]Format // media types, and suffixes with their plus sign
	known   string            // for errors
}

// Default returns JSON, which is its default, Proto, MsgPack, CBOR, Text and Bytes.
func Default() *Set {
	s, err := NewSet(JSON(), Proto(), MsgPack(), CBOR(), Text(), Bytes())
	if err != nil {
		panic(err) // only two formats that claim the same name could be the cause, and a test sees that there are none
	}
	return s
}

// NewSet makes a set of the default format and more. A zero Format, or a name, media type or suffix that two formats claim,
// is an error.
func NewSet(def Format, more ...Format) (*Set, error) {
	s := &Set{byName: make(map[string]Format), byType: make(map[string]Format)}
	for _, f := range append([]Format{def}, more...) {
		if err := s.add(f); err != nil {
			return nil, err
		}
	}
	return s, nil
}

func (s *Set) add(f Format) error {
	if f.d == nil {
		return fmt.Errorf("codec: format %d of the set is the zero Format", len(s.formats)+1)
	}
	if _, dup := s.byName[f.d.name]; dup {
		return fmt.Errorf("codec: two formats of the set are named %s", f.d.name)
	}
	s.byName[f.d.name] = f
	for _, key := range f.d.keys() {
		if other, dup := s.byType[key]; dup {
			return fmt.Errorf("codec: content type %s is claimed by both %s and %s", key, other.d.name, f.d.name)
		}
		s.byType[key] = f
	}
	s.formats = append(s.formats, f)
	if s.known != "" {
		s.known += ", "
	}
	s.known += f.d.name + " (" + f.d.mediaTypes[0] + ")"
	return nil
}

// With returns a set that has the formats of s and more, with the same default. Errors are those of [NewSet].
func (s *Set) With(more ...Format) (*Set, error) {
	if s == nil {
		return nil, errors.New("codec: a nil Set has no default to keep: use NewSet")
	}
	return NewSet(s.formats[0], append(s.formats[1:len(s.formats):len(s.formats)], more...)...)
}

// WithLimits returns a set of the same formats, each with the limits given in place of its own.
func (s *Set) WithLimits(l Limits) *Set {
	if s == nil {
		return nil
	}
	out := &Set{known: s.known, byName: make(map[string]Format, len(s.byName)), byType: make(map[string]Format, len(s.byType))}
	for _, f := range s.formats {
		f = f.WithLimits(l)
		out.formats = append(out.formats, f)
		out.byName[f.d.name] = f
		for _, key := range f.d.keys() {
			out.byType[key] = f
		}
	}
	return out
}

// Default returns the default format; of a nil Set, the zero Format.
func (s *Set) Default() Format {
	if s == nil {
		return Format{}
	}
	return s.formats[0]
}

// ByName returns the format of that name. The empty name means the default. The error matches [ErrUnknownFormat] and names
// the formats known.
func (s *Set) ByName(name string) (Format, error) {
	if s == nil {
		return Format{}, fmt.Errorf("codec: %w: the set is empty", ErrUnknownFormat)
	}
	if f, ok := s.byName[name]; ok {
		return f, nil
	}
	if name == "" {
		return s.formats[0], nil
	}
	return Format{}, fmt.Errorf("codec: %w %q: known are %s", ErrUnknownFormat, clip(name), s.known)
}

// ByContentType returns the format of a content type as a header has it: case and parameters do not matter, and no content
// type means the default. A media type that nobody claims goes by its structured suffix: "application/problem+json" is
// JSON. The error matches [ErrUnknownFormat] and names the formats known.
func (s *Set) ByContentType(contentType string) (Format, error) {
	if s == nil {
		return Format{}, fmt.Errorf("codec: %w: the set is empty", ErrUnknownFormat)
	}
	if f, ok := s.byType[contentType]; ok && contentType[0] != '+' {
		return f, nil
	}
	if contentType == "" {
		return s.formats[0], nil
	}
	// Not mime.ParseMediaType: parameters that are malformed are as unimportant as the others, and it allocates.
	mt, _, _ := strings.Cut(contentType, ";")
	mt = strings.ToLower(strings.Trim(mt, " \t"))
	if strings.Contains(mt, "/") {
		if f, ok := s.byType[mt]; ok {
			return f, nil
		}
		if plus := strings.LastIndexByte(mt, '+'); plus > 0 {
			if f, ok := s.byType[mt[plus:]]; ok {
				return f, nil
			}
		}
	}
	return Format{}, fmt.Errorf("codec: %w: content type %q: known are %s", ErrUnknownFormat, clip(contentType), s.known)
}
