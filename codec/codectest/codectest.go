// Package codectest holds the conformance suite for formats: what package codec promises of a [codec.Format], which a
// codec of one's own must keep too.
//
//	func TestYAML(t *testing.T) {
//		codectest.Run(t, yaml.Format(), nil, Order{ID: "o-1"}, map[string]any{"a": true})
//	}
package codectest

import (
	"bytes"
	"reflect"
	"slices"
	"sync"
	"testing"

	"github.com/hocket-go/hocket/codec"
)

// Run checks that f keeps the promises of package codec with each of the values, which should be of different types and
// must not encode to nothing. equal tells whether a decoded value, which has the type of the original, is the same;
// reflect.DeepEqual if nil.
func Run(t *testing.T, f codec.Format, equal func(want, got any) bool, values ...any) {
	t.Helper()
	if equal == nil {
		equal = reflect.DeepEqual
	}
	for _, v := range values {
		s := suite{f: f, equal: equal, value: v}
		t.Run(reflect.TypeOf(v).String(), func(t *testing.T) {
			t.Run("what was encoded is decoded", s.roundTrip)
			t.Run("append keeps what is there", s.appends)
			t.Run("an encoding belongs to the caller", s.owned)
			t.Run("a decoded value does not refer to the payload", s.detached)
			t.Run("a cut payload never panics", s.cut)
			t.Run("a target that cannot be set is an error", s.badTargets)
			t.Run("concurrent use is safe", s.concurrent)
		})
	}
}

type suite struct {
	f     codec.Format
	equal func(want, got any) bool
	value any
}

func (s suite) marshal(t *testing.T) []byte {
	t.Helper()
	data, err := s.f.Marshal(s.value)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// decodes checks that data is an encoding of the value, and returns what it was decoded to.
func (s suite) decodes(t *testing.T, data []byte) any {
	t.Helper()
	target := reflect.New(reflect.TypeOf(s.value))
	if err := s.f.Unmarshal(data, target.Interface()); err != nil {
		t.Errorf("%x: %v", data, err)
		return nil
	}
	got := target.Elem().Interface()
	if !s.equal(s.value, got) {
		t.Errorf("%x decoded into %#v, want %#v", data, got, s.value)
	}
	return got
}

func (s suite) roundTrip(t *testing.T) {
	s.decodes(t, s.marshal(t))
}

func (s suite) appends(t *testing.T) {
	const prefix = "prefix"
	for _, room := range []int{0, 1 << 16} {
		dst := append(make([]byte, 0, len(prefix)+room), prefix...)
		out, err := s.f.Append(dst, s.value)
		if err != nil {
			t.Fatal(err)
		}
		rest, ok := bytes.CutPrefix(out, []byte(prefix))
		if !ok {
			t.Fatalf("%q was changed to %q", prefix, out[:len(prefix)])
		}
		s.decodes(t, rest)
	}
}

func (s suite) owned(t *testing.T) {
	first := s.marshal(t)
	kept := slices.Clone(first)
	for i := range first {
		first[i] ^= 0xff
	}
	s.decodes(t, s.marshal(t))
	for i := range first {
		first[i] ^= 0xff
	}
	if !bytes.Equal(first, kept) {
		t.Errorf("an encoding was changed by the next one")
	}
}

func (s suite) detached(t *testing.T) {
	data := s.marshal(t)
	kept := slices.Clone(data)
	got := s.decodes(t, data)
	if !bytes.Equal(data, kept) {
		t.Errorf("decoding changed the payload")
	}
	for i := range data {
		data[i] ^= 0xff
	}
	if !s.equal(s.value, got) {
		t.Errorf("a decoded value changed with the payload to %#v", got)
	}
}

func (s suite) cut(t *testing.T) {
	data := s.marshal(t)
	for n := range data {
		target := reflect.New(reflect.TypeOf(s.value))
		_ = s.f.Unmarshal(data[:n:n], target.Interface()) // a part may well be a value; that it returns is the promise
	}
}

func (s suite) badTargets(t *testing.T) {
	data := s.marshal(t)
	for _, target := range []any{nil, s.value, reflect.Zero(reflect.PointerTo(reflect.TypeOf(s.value))).Interface()} {
		if rv := reflect.ValueOf(target); rv.Kind() == reflect.Pointer && !rv.IsNil() {
			continue // a value that is a pointer is a target
		}
		if err := s.f.Unmarshal(data, target); err == nil {
			t.Errorf("decoding into %T(%v) worked", target, target)
		}
	}
}

func (s suite) concurrent(t *testing.T) {
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			for range 25 {
				data, err := s.f.Append(nil, s.value)
				if err != nil {
					t.Error(err)
					return
				}
				if s.decodes(t, data); t.Failed() {
					return
				}
			}
		})
	}
	all.Wait()
}
