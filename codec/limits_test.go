package codec_test

import (
	"bytes"
	"encoding/hex"
	"errors"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/fxamacker/cbor/v2"
	"github.com/stretchr/testify/require"
	"github.com/vmihailenco/msgpack/v5"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/types/known/structpb"

	"github.com/hocket-go/hocket/codec"
)

func TestPayloadsOverMaxBytesAreNotDecoded(t *testing.T) {
	t.Parallel()
	set := codec.Default().WithLimits(codec.Limits{MaxBytes: 3})
	for _, name := range []string{"json", "proto", "msgpack", "cbor", "text", "bytes"} {
		f, err := set.ByName(name)
		require.NoError(t, err)
		err = f.Unmarshal([]byte("1234"), new(any))
		require.ErrorIs(t, err, codec.ErrTooLarge)
		require.ErrorContains(t, err, "codec: "+name+": decode into interface {}: payload too large: 4 bytes, at most 3 are accepted")
	}
	require.NoError(t, set.Default().Unmarshal([]byte("123"), new(int)))

	large := bytes.Repeat([]byte{' '}, 64<<20+1)
	large[0] = '1'
	require.ErrorIs(t, codec.JSON().Unmarshal(large, new(int)), codec.ErrTooLarge, "the default")
	require.NoError(t, codec.JSON().Unmarshal(large[:64<<20], new(int)))
	require.NoError(t, codec.JSON().WithLimits(codec.Limits{MaxBytes: -1}).Unmarshal(large, new(int)))
}

// nested returns a payload that is n containers within each other, and a target for it.
type nested struct {
	name   string
	format codec.Format
	make   func(n int) []byte
	target func() any
}

func nestings() []nested {
	anyTarget := func() any { return new(any) }
	return []nested{
		{"json arrays", codec.JSON(), func(n int) []byte {
			return []byte(strings.Repeat("[", n) + strings.Repeat("]", n))
		}, anyTarget},
		{"json objects", codec.JSON(), func(n int) []byte {
			return []byte(`{"[{\"":` + strings.Repeat(`{"a}]\\":`, n-2) + "{}" + strings.Repeat("}", n-1))
		}, anyTarget},
		{"msgpack arrays", codec.MsgPack(), func(n int) []byte {
			return append(bytes.Repeat([]byte{0x91}, n), 0xc0)
		}, anyTarget},
		{"msgpack maps", codec.MsgPack(), func(n int) []byte {
			return append(bytes.Repeat([]byte{0x81, 0xa1, 'a'}, n), 0xc0)
		}, anyTarget},
		{"cbor arrays", codec.CBOR(), func(n int) []byte {
			return append(bytes.Repeat([]byte{0x81}, n), 0xf6)
		}, anyTarget},
		{"cbor maps", codec.CBOR(), func(n int) []byte {
			return append(bytes.Repeat([]byte{0xa1, 0x61, 'a'}, n), 0xf6)
		}, anyTarget},
		{"proto", codec.Proto(), nestedMessage, func() any { return new(structpb.Value) }},
	}
}

// nestedMessage makes a structpb.Value of n messages within each other.
func nestedMessage(n int) []byte {
	var heads [][]byte // the innermost first
	size := 0
	for level := n; level > 1; level-- {
		field := protowire.Number(1) // ListValue.values
		if level%2 == 0 {
			field = 6 // Value.list_value
		}
		head := protowire.AppendVarint(protowire.AppendTag(nil, field, protowire.BytesType), uint64(size))
		heads = append(heads, head)
		size += len(head)
	}
	slices.Reverse(heads)
	return bytes.Join(heads, nil)
}

func TestNestingIsBounded(t *testing.T) {
	t.Parallel()
	for _, tt := range nestings() {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			for _, limit := range []struct{ set, levels int }{{0, 100}, {5, 5}, {-1, 10_000}, {1 << 30, 10_000}} {
				f := tt.format.WithLimits(codec.Limits{MaxDepth: limit.set})
				require.NoError(t, f.Unmarshal(tt.make(limit.levels), tt.target()), limit)
				err := f.Unmarshal(tt.make(limit.levels+1), tt.target())
				require.ErrorIs(t, err, codec.ErrTooDeep, limit)
			}
			require.ErrorIs(t, tt.format.Unmarshal(tt.make(100_000), tt.target()), codec.ErrTooDeep)
		})
	}
}

func TestErrorOfTheLibraryStaysReachableWhenTooDeep(t *testing.T) {
	t.Parallel()
	err := codec.CBOR().Unmarshal(append(bytes.Repeat([]byte{0x81}, 101), 0xf6), new(any))
	_, ok := errors.AsType[*cbor.MaxNestedLevelError](err)
	require.True(t, ok)
}

func TestManyContainersSideBySideAreNotDeep(t *testing.T) {
	t.Parallel()
	var wide []any
	for range 10_000 {
		wide = append(wide, map[string]any{"a[{": []any{"]}"}})
	}
	for _, f := range []codec.Format{codec.JSON(), codec.MsgPack(), codec.CBOR()} {
		data, err := f.Marshal(wide)
		require.NoError(t, err)
		var got []any
		require.NoError(t, f.WithLimits(codec.Limits{MaxDepth: 4}).Unmarshal(data, &got), f)
		require.Len(t, got, len(wide))
	}
}

func TestLongListsAndMapsAreCarried(t *testing.T) {
	t.Parallel()
	const n = 200_000
	list, table := make([]int, n), make(map[int]bool, n)
	for i := range n {
		table[i] = true
	}
	for _, f := range []codec.Format{codec.JSON(), codec.MsgPack(), codec.CBOR()} {
		data, err := f.Marshal(list)
		require.NoError(t, err)
		var gotList []int
		require.NoError(t, f.Unmarshal(data, &gotList), f)
		require.Len(t, gotList, n)

		data, err = f.Marshal(table)
		require.NoError(t, err)
		var gotTable map[int]bool
		require.NoError(t, f.Unmarshal(data, &gotTable), f)
		require.Len(t, gotTable, n)
	}
}

// TestClaimsOfLengthAreNotBelieved decodes payloads of a few bytes that claim gigabytes.
func TestClaimsOfLengthAreNotBelieved(t *testing.T) {
	for _, tt := range []struct {
		format codec.Format
		hex    string
	}{
		{codec.MsgPack(), "ddffffffff"}, // array
		{codec.MsgPack(), "dfffffffff"}, // map
		{codec.MsgPack(), "dbffffffff"}, // string
		{codec.MsgPack(), "c6ffffffff"}, // bytes
		{codec.MsgPack(), "c9ffffffffff"},
		{codec.MsgPack(), "91ddffffffff"},
		// A timestamp whose content reads as a map of 4 billion; the rest of that number follows.
		{codec.MsgPack(), "92d6ffdfffffffff"},
		{codec.MsgPack(), "92c70cffdfffffffffffffffffffffff01"},
		{codec.CBOR(), "9affffffff"},
		{codec.CBOR(), "baffffffff"},
		{codec.CBOR(), "7affffffff"},
		{codec.CBOR(), "5affffffff"},
		{codec.CBOR(), "9b7fffffffffffffff"},
		{codec.CBOR(), "819affffffff"},
	} {
		data, err := hex.DecodeString(tt.hex)
		require.NoError(t, err)
		for _, target := range []func() any{
			func() any { return new(any) },
			func() any { return new([]any) },
			func() any { return new([]string) },
			func() any { return new([]order) },
			func() any { return new(map[string]any) },
			func() any { return new(map[string]string) },
			func() any { return new(map[string]order) },
			func() any { return new([]map[string]any) },
			func() any { return new([]map[string]order) },
			func() any { return new(string) },
			func() any { return new([]byte) },
			func() any { return new(time.Time) },
			func() any { return new(order) },
		} {
			v := target()
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			err := tt.format.Unmarshal(data, v)
			runtime.ReadMemStats(&after)
			require.Less(t, after.TotalAlloc-before.TotalAlloc, uint64(1<<20), "%s %s into %T", tt.format, tt.hex, v)
			if !strings.HasPrefix(tt.hex, "92") {
				require.Error(t, err, "%s %s into %T", tt.format, tt.hex, v)
			}
		}
	}
}

func TestMsgPackRefusesWhatItCannotBound(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"c1":         "code 0xc1 is not defined",
		"d40100":     "extension type 1: only the timestamp, -1, is accepted",
		"d4ff00":     "timestamp of 1 bytes: only 4, 8 and 12 are defined",
		"d6":         "ends within a value",
		"92c0":       "ends within a value",
		"cd01":       "ends within a value",
		"d9":         "ends within a value",
		"c0c0":       "1 bytes after the value",
		"91d6ff8000": "ends within a value",
	} {
		data, err := hex.DecodeString(in)
		require.NoError(t, err)
		require.ErrorContains(t, codec.MsgPack().Unmarshal(data, new(any)), want, in)
	}
	// A timestamp where a map is wanted: the library would read its content as one.
	data, err := hex.DecodeString("d6ff80000000")
	require.NoError(t, err)
	require.ErrorContains(t, codec.MsgPack().Unmarshal(data, new(map[string]any)), "extension where a map was expected")
	require.NoError(t, codec.MsgPack().Unmarshal(data, new(time.Time)))
}

// readsNothing is a type that does not know how to decode itself.
type readsNothing struct{}

func (*readsNothing) DecodeMsgpack(*msgpack.Decoder) error { return nil }

func TestMsgPackRefusesToLeaveBytesUnread(t *testing.T) {
	t.Parallel()
	require.ErrorContains(t, codec.MsgPack().Unmarshal([]byte{0xa1, 'a'}, new(readsNothing)), "2 bytes are left over")
}

// TestPanicsOfMsgPackAreErrors shows the panics that the recover is there for.
func TestPanicsOfMsgPackAreErrors(t *testing.T) {
	t.Parallel()
	for in, target := range map[string]any{
		"8191c0c0":   new(map[any]any),                  // a slice as the key of a map
		"81a14505":   new(struct{ E error }),            // a number as an error
		"81a153a178": new(struct{ S interface{ M() } }), // a string as something with methods
	} {
		data, err := hex.DecodeString(in)
		require.NoError(t, err)
		require.ErrorContains(t, codec.MsgPack().Unmarshal(data, target), "the value does not fit", in)
	}
}
