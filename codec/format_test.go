package codec_test

import (
	"encoding/json"
	"errors"
	"math/big"
	"net/netip"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/structpb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/hocket-go/hocket/codec"
	"github.com/hocket-go/hocket/codec/codectest"
)

type item struct {
	SKU   string  `json:"sku"`
	Price float64 `json:"price,omitempty"`
}

type base struct {
	Region string `json:"region"`
}

type order struct {
	base

	ID     string            `json:"id"`
	Count  int64             `json:"count"`
	Big    uint64            `json:"big"`
	Neg    int32             `json:"neg"`
	Paid   bool              `json:"paid"`
	Items  []item            `json:"items"`
	Labels map[string]string `json:"labels"`
	Parent *order            `json:"parent,omitempty"`
	Raw    []byte            `json:"raw"`
	At     time.Time         `json:"at"`
	From   netip.Addr        `json:"from"`
	Secret string            `json:"-"`
}

func anOrder() order {
	return order{
		base: base{Region: "eu"}, ID: "o-1 <&> \u2028 é", Count: 1 << 40, Big: 1 << 63, Neg: -7, Paid: true,
		Items:  []item{{SKU: "a", Price: 1.5}, {SKU: "b"}},
		Labels: map[string]string{"k": "v", "é": ""},
		Parent: &order{ID: "o-0", Items: []item{}, Labels: map[string]string{}, Raw: []byte{}, At: aTime, From: netip.IPv6Loopback()},
		Raw:    []byte{0, 1, 255},
		At:     aTime,
		From:   netip.MustParseAddr("10.0.0.1"),
	}
}

var aTime = time.Date(2026, 2, 3, 4, 5, 6, 789_012_345, time.UTC)

// sameOrder compares times as instants, since MessagePack has no zones.
func sameOrder(want, got any) bool {
	a, isOrder := want.(order)
	b, ok := got.(order)
	if !isOrder || !ok {
		return reflect.DeepEqual(want, got)
	}
	b.At = b.At.UTC()
	if b.Parent != nil {
		b.Parent.At = b.Parent.At.UTC()
	}
	return reflect.DeepEqual(a, b)
}

func sameMessage(want, got any) bool {
	a, isMessage := want.(proto.Message)
	b, ok := got.(proto.Message)
	if !isMessage || !ok {
		return reflect.DeepEqual(want, got)
	}
	return proto.Equal(a, b)
}

func TestFormatsKeepTheirPromises(t *testing.T) {
	t.Parallel()
	values := []any{
		anOrder(), "o-1", int64(-5), uint8(200), true, 1.25, []string{"a", ""}, map[string]int64{"a": 1}, [3]byte{1, 2, 3},
		map[string]any{"s": "x", "b": true, "n": nil, "l": []any{"y"}, "m": map[string]any{"z": "z"}}, &item{SKU: "p"}, []item{}, time.Duration(5), struct{}{},
	}
	message, err := structpb.NewStruct(map[string]any{"a": []any{1.0, "b", nil, map[string]any{"c": true}}})
	require.NoError(t, err)
	messages := []any{wrapperspb.String("héllo"), message}

	t.Run("json", func(t *testing.T) {
		t.Parallel()
		codectest.Run(t, codec.JSON(), sameOrder, values...)
		codectest.Run(t, codec.JSON(), sameMessage, messages...)
	})
	t.Run("msgpack", func(t *testing.T) { t.Parallel(); codectest.Run(t, codec.MsgPack(), sameOrder, values...) })
	t.Run("cbor", func(t *testing.T) { t.Parallel(); codectest.Run(t, codec.CBOR(), sameOrder, values...) })
	t.Run("proto", func(t *testing.T) { t.Parallel(); codectest.Run(t, codec.Proto(), sameMessage, messages...) })
	t.Run("text", func(t *testing.T) {
		t.Parallel()
		ten, name := big.NewInt(10), title("named")
		codectest.Run(t, codec.Text(), nil, "héllo", []byte("bytes"), name, &name, netip.IPv6Loopback(), ten)
	})
	t.Run("bytes", func(t *testing.T) {
		t.Parallel()
		named := json.RawMessage("{not checked")
		codectest.Run(t, codec.Bytes(), nil, []byte{0, 255}, named, &named)
	})
	t.Run("own codec, without optional abilities", func(t *testing.T) {
		t.Parallel()
		f, err := codec.NewFormat("own", "application/x-own", indented{})
		require.NoError(t, err)
		codectest.Run(t, f, sameOrder, values...)
	})
}

type title string

// indented is a codec with the two methods and no more.
type indented struct{}

func (indented) Marshal(v any) ([]byte, error)      { return json.MarshalIndent(v, "", "  ") }
func (indented) Unmarshal(data []byte, v any) error { return json.Unmarshal(data, v) }

func TestZeroFormatIsAnErrorAndNoPanic(t *testing.T) {
	t.Parallel()
	var f codec.Format
	_, err := f.Marshal(1)
	require.ErrorContains(t, err, "zero Format")
	out, err := f.Append([]byte("kept"), 1)
	require.ErrorContains(t, err, "zero Format")
	require.Equal(t, "kept", string(out))
	require.ErrorContains(t, f.Unmarshal([]byte("1"), new(int)), "zero Format")
	require.True(t, f.WithLimits(codec.Limits{MaxBytes: 1}).IsZero())
	require.Empty(t, f.Name()+f.ContentType()+f.String())
	require.False(t, codec.JSON().IsZero())
}

func TestNewFormatNamesWhatIsWrong(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name, contentType string
		codec             codec.Codec
		aliases           []string
		want              string
	}{
		{"", "a/b", indented{}, nil, `format name "" is not 1 to 16 characters of a-z, 0-9 and -`},
		{"YAML", "a/b", indented{}, nil, `"YAML"`},
		{"a.b", "a/b", indented{}, nil, `"a.b"`},
		{strings.Repeat("x", 17), "a/b", indented{}, nil, "1 to 16"},
		{"yaml", "a/b", nil, nil, "format yaml: the codec is nil"},
		{"yaml", "", indented{}, nil, `format yaml: content type ""`},
		{"yaml", "yaml", indented{}, nil, `format yaml: content type "yaml" is not of the form type/subtype`},
		{"yaml", "a/b", indented{}, []string{"a b"}, `content type "a b"`},
		{"yaml", "a/b", indented{}, []string{"+"}, `suffix "+"`},
	} {
		f, err := codec.NewFormat(tt.name, tt.contentType, tt.codec, tt.aliases...)
		require.ErrorContains(t, err, tt.want)
		require.True(t, f.IsZero())
		require.Panics(t, func() { codec.MustFormat(tt.name, tt.contentType, tt.codec, tt.aliases...) })
	}
}

func TestErrorsNameFormatAndTypeAndKeepTheCause(t *testing.T) {
	t.Parallel()
	err := codec.JSON().Unmarshal([]byte(`{"id":`), new(order))
	require.ErrorContains(t, err, "codec: json: decode into codec_test.order: ")
	_, ok := errors.AsType[*json.SyntaxError](err)
	require.True(t, ok)

	for _, encode := range []func(any) ([]byte, error){
		codec.JSON().Marshal,
		func(v any) ([]byte, error) { return codec.JSON().Append([]byte("kept"), v) },
	} {
		_, err = encode(make(chan int))
		require.ErrorContains(t, err, "codec: json: encode chan int: ")
		_, ok = errors.AsType[*json.UnsupportedTypeError](err)
		require.True(t, ok)
	}
	require.ErrorContains(t, codec.JSON().Unmarshal([]byte(`1`), nil), "codec: json: decode into nil: the target is not")
	require.ErrorContains(t, codec.CBOR().Unmarshal([]byte{1}, order{}), "decode into codec_test.order: the target is not")
}

func TestEncodersAreGoodAgainAfterAnError(t *testing.T) {
	t.Parallel()
	for _, f := range []codec.Format{codec.JSON(), codec.MsgPack(), codec.CBOR()} {
		for range 10 {
			out, err := f.Append([]byte("kept"), []any{"written", make(chan int)})
			require.Error(t, err)
			require.Equal(t, "kept", string(out))
			require.Error(t, f.Unmarshal([]byte{0x81, 0xa1}, new(map[string]any)))

			data, err := f.Append(nil, item{SKU: "a"})
			require.NoError(t, err)
			var got item
			require.NoError(t, f.Unmarshal(data, &got))
			require.Equal(t, item{SKU: "a"}, got)
		}
	}
}

func TestEmptyPayloads(t *testing.T) {
	t.Parallel()
	kept := item{SKU: "kept"}
	require.NoError(t, codec.JSON().Unmarshal(nil, &kept))
	require.Equal(t, item{SKU: "kept"}, kept)

	for _, f := range []codec.Format{codec.JSON(), codec.Proto()} {
		var message *wrapperspb.StringValue
		require.NoError(t, f.Unmarshal(nil, &message), f)
		require.NotNil(t, message, f)
		require.Empty(t, message.GetValue())
	}
	text, raw := "kept", []byte(nil)
	require.NoError(t, codec.Text().Unmarshal(nil, &text))
	require.Empty(t, text)
	require.NoError(t, codec.Bytes().Unmarshal(nil, &raw))
	require.NotNil(t, raw)
	require.Empty(t, raw)

	for _, f := range []codec.Format{codec.MsgPack(), codec.CBOR()} {
		require.ErrorContains(t, f.Unmarshal(nil, &kept), "empty")
	}
}

func TestBytesAfterTheValueAreAnError(t *testing.T) {
	t.Parallel()
	for _, f := range []codec.Format{codec.JSON(), codec.MsgPack(), codec.CBOR()} {
		data, err := f.Marshal(item{SKU: "a"})
		require.NoError(t, err)
		require.Error(t, f.Unmarshal(append(data, data...), new(item)), f)
	}
}

func TestUnsupportedTypesAreNamed(t *testing.T) {
	t.Parallel()
	for _, f := range []codec.Format{codec.Proto(), codec.Text(), codec.Bytes()} {
		_, err := f.Marshal(item{})
		require.ErrorIs(t, err, codec.ErrUnsupportedType)
		require.ErrorContains(t, err, "codec: "+f.Name()+": encode codec_test.item: ")
		require.ErrorIs(t, f.Unmarshal([]byte("x"), new(item)), codec.ErrUnsupportedType)
		require.ErrorIs(t, f.Unmarshal([]byte("x"), new(*item)), codec.ErrUnsupportedType)

		_, err = f.Marshal(nil)
		require.ErrorContains(t, err, "codec: "+f.Name()+": encode nil: ")
		_, err = f.Marshal((*[]byte)(nil))
		require.Error(t, err)
	}
	_, err := codec.Bytes().Marshal("text")
	require.ErrorIs(t, err, codec.ErrUnsupportedType)
}

func TestTextIsUTF8(t *testing.T) {
	t.Parallel()
	_, err := codec.Text().Append([]byte{0xff}, "\xff")
	require.ErrorContains(t, err, "not valid UTF-8")
	_, err = codec.Text().Append([]byte{0xff}, "fine")
	require.NoError(t, err, "what was there before is not looked at")
	require.ErrorContains(t, codec.Text().Unmarshal([]byte{'a', 0xff}, new(string)), "not valid UTF-8")
	require.ErrorContains(t, codec.Text().Unmarshal([]byte("not an address"), new(netip.Addr)), "decode into netip.Addr")
}

func TestTextAndBytesDecodeIntoAny(t *testing.T) {
	t.Parallel()
	var v any
	require.NoError(t, codec.Text().Unmarshal([]byte("t"), &v))
	require.Equal(t, "t", v)
	require.NoError(t, codec.Bytes().Unmarshal([]byte("b"), &v))
	require.Equal(t, []byte("b"), v)
}
