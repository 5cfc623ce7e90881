package codec_test

import (
	"encoding/json"
	"math"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/hocket-go/hocket/codec"
)

func TestJSONIsByteForByteThatOfTheStandardLibrary(t *testing.T) {
	t.Parallel()
	for _, v := range []any{
		nil, 0, "", "<script>&\u2028\u2029\xff\n", "newline at the end\n", anOrder(), new(anOrderPtr), []any{}, []byte("x"),
		map[string]any{"z": 1, "a": map[string]any{"<": []int{1, 2}}, "m": nil}, json.RawMessage(` {"a" : 1 } `), json.Number("1.50"),
		math.MaxFloat64, struct {
			A any `json:"a,omitzero"`
		}{}, strings.Repeat("long ", 50_000),
	} {
		want, err := json.Marshal(v)
		require.NoError(t, err)
		got, err := codec.JSON().Marshal(v)
		require.NoError(t, err)
		require.Equal(t, string(want), string(got))
		got, err = codec.JSON().Append([]byte("x"), v)
		require.NoError(t, err)
		require.Equal(t, "x"+string(want), string(got))
	}
}

type anOrderPtr struct{ Order *order }

func TestJSONAppendsWithoutAllocating(t *testing.T) {
	v, dst := &item{SKU: "a", Price: 2}, make([]byte, 0, 1024)
	f := codec.JSON()
	allocs := testing.AllocsPerRun(1000, func() {
		if _, err := f.Append(dst, v); err != nil {
			t.Fatal(err)
		}
	})
	if !raceEnabled { // the race detector drops pooled objects at random
		require.Zero(t, allocs)
	}
}

func TestJSONTakesMessagesByTheProtobufMapping(t *testing.T) {
	t.Parallel()
	f := codec.JSON()
	for _, v := range []any{wrapperspb.Int64(5), new(wrapperspb.Int64(5))} {
		data, err := f.Marshal(v)
		require.NoError(t, err)
		require.JSONEq(t, `"5"`, string(data), "64-bit integers are strings in the protobuf mapping")
		data, err = f.Append([]byte("x"), v)
		require.NoError(t, err)
		require.Equal(t, `x"5"`, string(data))
	}
	message := new(wrapperspb.Int64Value)
	require.NoError(t, f.Unmarshal([]byte(`"6"`), message))
	require.EqualValues(t, 6, message.GetValue())

	var pointer *wrapperspb.Int64Value
	require.NoError(t, f.Unmarshal([]byte(`"7"`), &pointer))
	require.EqualValues(t, 7, pointer.GetValue())

	var held proto.Message = (*wrapperspb.Int64Value)(nil)
	require.NoError(t, f.Unmarshal([]byte(`"8"`), &held))
	require.True(t, proto.Equal(wrapperspb.Int64(8), held))

	require.ErrorContains(t, f.Unmarshal([]byte(`{`), &pointer), "codec: json: decode into *wrapperspb.Int64Value: ")
}

func TestProtoTakesMessagesAndPointersToThem(t *testing.T) {
	t.Parallel()
	f := codec.Proto()
	want := wrapperspb.String("x")
	for _, v := range []any{want, &want} {
		data, err := f.Marshal(v)
		require.NoError(t, err)
		var got *wrapperspb.StringValue
		require.NoError(t, f.Unmarshal(data, &got))
		require.True(t, proto.Equal(want, got))
		var none proto.Message
		require.ErrorIs(t, f.Unmarshal(data, &none), codec.ErrUnsupportedType, "of what type would it be?")
	}
	data, err := f.Marshal((*wrapperspb.StringValue)(nil))
	require.NoError(t, err)
	require.Empty(t, data)
	require.ErrorIs(t, f.Unmarshal([]byte{0xff}, want), proto.Error)
}
