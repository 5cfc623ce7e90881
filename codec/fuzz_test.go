package codec_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"reflect"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/structpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/hocket-go/hocket/codec"
)

// fuzzTargets are what payloads of any kind are decoded into: untyped, typed, recursive, and types that the libraries have
// ways of their own for.
func fuzzTargets() []any {
	return []any{
		new(any), new(order), new(*order), new([]order), new(map[string]order), new(map[string]any), new(map[any]any),
		new([]string), new(map[string]string), new(string), new([]byte), new(int8), new(float32), new(time.Time), new([4]byte),
		new(struct{ Err error }),
	}
}

// fuzzFormat checks that a payload never panics, and that what decodes can be encoded and decoded again.
func fuzzFormat(t *testing.T, f codec.Format, data []byte) {
	t.Helper()
	kept := bytes.Clone(data)
	for _, v := range fuzzTargets() {
		if err := f.Unmarshal(data, v); err != nil {
			continue
		}
		value := reflect.ValueOf(v).Elem().Interface()
		again, err := f.Append(nil, value)
		if err != nil {
			continue // a NaN in JSON, a tag of CBOR
		}
		next := reflect.New(reflect.TypeOf(v).Elem()).Interface()
		require.NoError(t, f.WithLimits(codec.Limits{MaxDepth: -1}).Unmarshal(again, next), "%x decoded into %#v", data, value)
	}
	require.Equal(t, kept, data, "the payload was changed")
}

func seed(f *testing.F, format codec.Format) {
	f.Helper()
	for _, v := range []any{anOrder(), []any{1, -1, 1.5, "x", nil, true, aTime}, map[string]any{"a": []byte{1}}, "text"} {
		data, err := format.Marshal(v)
		require.NoError(f, err)
		f.Add(data)
	}
	for _, n := range nestings() {
		if n.format.Name() == format.Name() {
			f.Add(n.make(100))
			f.Add(n.make(101))
		}
	}
}

func FuzzJSON(f *testing.F) {
	seed(f, codec.JSON())
	f.Add([]byte(`{"a":"[[[[\"","b":[1e400,"\ud800"]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		fuzzFormat(t, codec.JSON(), data)
		// The depth that the check sees must be the one that the standard library sees.
		for _, levels := range []int{1, 2, 5} {
			err := codec.JSON().WithLimits(codec.Limits{MaxDepth: levels}).Unmarshal(data, new(any))
			if len(data) > 0 && json.Valid(data) {
				require.Equal(t, depthOf(t, data) > levels, err != nil && isTooDeep(err), "%s: %v", data, err)
			}
		}
	})
}

func FuzzMsgPack(f *testing.F) {
	seed(f, codec.MsgPack())
	f.Add([]byte("\x92\xd6\xff\xdf\xff\xff\xff\xff"))
	f.Add([]byte("\x81\x91\xc0\xc0"))
	f.Add([]byte("\xdd\xff\xff\xff\xff"))
	f.Fuzz(func(t *testing.T, data []byte) { fuzzFormat(t, codec.MsgPack(), data) })
}

func FuzzCBOR(f *testing.F) {
	seed(f, codec.CBOR())
	f.Add([]byte("\x9f\x9f\xff\xff"))
	f.Add([]byte("\xc2\x49\x01\x00\x00\x00\x00\x00\x00\x00\x00"))
	f.Add([]byte("\x9b\x7f\xff\xff\xff\xff\xff\xff\xff"))
	f.Fuzz(func(t *testing.T, data []byte) { fuzzFormat(t, codec.CBOR(), data) })
}

func FuzzProto(f *testing.F) {
	for _, n := range nestings() {
		if n.name == "proto" {
			f.Add(n.make(100))
			f.Add(n.make(101))
		}
	}
	f.Add([]byte("\x0a\x05hello\x12\x03abc"))
	f.Add([]byte("\x0b\x0b\x0b\x0c\x0c\x0c"))
	f.Fuzz(func(t *testing.T, data []byte) {
		for _, v := range []proto.Message{new(structpb.Value), new(structpb.Struct), new(anypb.Any), new(timestamppb.Timestamp)} {
			fuzzMessage(t, codec.Proto(), data, v)
		}
	})
}

func FuzzProtoJSON(f *testing.F) {
	f.Add([]byte(`{"a":[1,"x",null,{"b":true}]}`))
	f.Add([]byte(`"2026-02-03T04:05:06Z"`))
	f.Add([]byte(`{"@type":"type.googleapis.com/google.protobuf.Duration","value":"1s"}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		for _, v := range []proto.Message{new(structpb.Value), new(structpb.Struct), new(anypb.Any), new(timestamppb.Timestamp)} {
			fuzzMessage(t, codec.JSON(), data, v)
		}
	})
}

func fuzzMessage(t *testing.T, f codec.Format, data []byte, v proto.Message) {
	t.Helper()
	if f.Unmarshal(data, v) != nil {
		return
	}
	again, err := f.Marshal(v)
	if err != nil {
		return
	}
	require.NoError(t, f.WithLimits(codec.Limits{MaxDepth: -1}).Unmarshal(again, v.ProtoReflect().New().Interface()))
}

func FuzzText(f *testing.F) {
	f.Add([]byte("héllo"))
	f.Add([]byte{0xff})
	f.Fuzz(func(t *testing.T, data []byte) {
		var got string
		err := codec.Text().Unmarshal(data, &got)
		require.Equal(t, utf8.Valid(data), err == nil)
		if err == nil {
			require.Equal(t, string(data), got)
		}
	})
}

// FuzzContentType checks that a header finds a format or an error that is no longer than need be.
func FuzzContentType(f *testing.F) {
	for _, s := range []string{"", "application/json; charset=utf-8", "a/b+json", "+json", "/+cbor;", "a/+", "\xff/\x00"} {
		f.Add(s)
	}
	set := codec.Default()
	f.Fuzz(func(t *testing.T, contentType string) {
		format, err := set.ByContentType(contentType)
		require.Equal(t, err != nil, format.IsZero())
		if err != nil {
			require.ErrorIs(t, err, codec.ErrUnknownFormat)
			require.Less(t, len(err.Error()), 1000)
		}
	})
}

func isTooDeep(err error) bool { return errors.Is(err, codec.ErrTooDeep) }

func depthOf(t *testing.T, document []byte) int {
	t.Helper()
	dec := json.NewDecoder(bytes.NewReader(document))
	dec.UseNumber()
	depth, most := 0, 0
	for {
		token, err := dec.Token()
		if errors.Is(err, io.EOF) {
			return most
		}
		require.NoError(t, err)
		switch token {
		case json.Delim('['), json.Delim('{'):
			depth++
			most = max(most, depth)
		case json.Delim(']'), json.Delim('}'):
			depth--
		}
	}
}
