package bson_test

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"reflect"
	"runtime"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	driver "go.mongodb.org/mongo-driver/v2/bson"

	"github.com/hocket-go/hocket/codec"
	"github.com/hocket-go/hocket/codec/bson"
	"github.com/hocket-go/hocket/codec/codectest"
)

type item struct {
	SKU   string   `json:"sku"`
	Price float64  `json:"price,omitempty"`
	Tags  []string `json:"tags"`
}

type order struct {
	ID    string         `json:"id"`
	Count int64          `bson:"n" json:"count"`
	Items []item         `json:"items"`
	Extra map[string]any `json:"extra_fields"`
	Raw   []byte         `json:"raw"`
	At    time.Time      `json:"at"`
	Next  *order         `json:"next,omitempty"`
}

func anOrder() order {
	return order{
		ID: "o-1", Count: 5, Items: []item{{SKU: "a", Price: 1.5, Tags: []string{}}, {SKU: "b", Tags: []string{"x", ""}}},
		Extra: map[string]any{"s": "x", "b": true, "m": map[string]any{"f": 1.5}, "raw": []byte{1}}, Raw: []byte{0, 255},
		At:   time.Date(2026, 2, 3, 4, 5, 6, 789_000_000, time.UTC),
		Next: &order{ID: "o-2", Items: []item{}, Extra: map[string]any{}, Raw: []byte{}, At: time.Unix(0, 0).UTC()},
	}
}

func TestBSONKeepsItsPromises(t *testing.T) {
	t.Parallel()
	codectest.Run(t, bson.BSON(), nil, anOrder(), &item{SKU: "p", Tags: []string{}}, map[string]string{"a": "b"},
		map[string]any{"a": map[string]any{"b": "c"}}, driver.D{{Key: "k", Value: "v"}}, struct{}{})
}

func TestFieldNamesComeFromTags(t *testing.T) {
	t.Parallel()
	data, err := bson.BSON().Marshal(order{ID: "o-1", Count: 5})
	require.NoError(t, err)
	require.Equal(t, "o-1", driver.Raw(data).Lookup("id").StringValue())
	require.Equal(t, int64(5), driver.Raw(data).Lookup("n").Int64())
}

func TestOnlyDocumentsAreCarried(t *testing.T) {
	t.Parallel()
	f := bson.BSON()
	for _, v := range []any{"text", 5, []string{"a"}, true} {
		_, err := f.Marshal(v)
		require.ErrorIs(t, err, codec.ErrUnsupportedType, "%T", v)
		require.ErrorContains(t, err, "codec: bson: encode "+reflect.TypeOf(v).String()+": ")

		data, err := f.Marshal(map[string]any{"a": 1})
		require.NoError(t, err)
		require.Error(t, f.Unmarshal(data, reflect.New(reflect.TypeOf(v)).Interface()), "%T", v)
	}
	_, err := f.Marshal(nil)
	require.Error(t, err)
	require.ErrorContains(t, f.Unmarshal(nil, new(order)), "empty")
}

func TestDocumentsDecodeIntoAny(t *testing.T) {
	t.Parallel()
	f := bson.BSON()
	data, err := f.Marshal(map[string]any{"m": map[string]any{"l": []any{"x"}}, "raw": []byte{1}})
	require.NoError(t, err)
	var got any
	require.NoError(t, f.Unmarshal(data, &got))
	require.Equal(t, map[string]any{"m": map[string]any{"l": driver.A{"x"}}, "raw": []byte{1}}, got)
}

func TestASetFindsBSON(t *testing.T) {
	t.Parallel()
	set, err := codec.Default().With(bson.BSON())
	require.NoError(t, err)
	f, err := set.ByContentType("application/x-bson")
	require.NoError(t, err)
	require.Equal(t, "bson", f.Name())
}

func TestBytesAfterTheDocumentAreAnError(t *testing.T) {
	t.Parallel()
	data, err := bson.BSON().Marshal(item{SKU: "a"})
	require.NoError(t, err)
	require.ErrorContains(t, bson.BSON().Unmarshal(append(data, data...), new(item)), "malformed document: it claims")
}

// nest returns n documents within each other. head makes the type and the key of an element that holds a document of so
// many bytes, and what else is before that document.
func nest(n int, head func(size int) []byte) []byte {
	heads := [][]byte{{5, 0, 0, 0}} // the innermost first
	size := 5
	for range n - 1 {
		h := head(size)
		size += 4 + len(h) + 1
		heads = append(heads, append(binary.LittleEndian.AppendUint32(nil, uint32(size)), h...))
	}
	slices.Reverse(heads)
	return append(bytes.Join(heads, nil), make([]byte, n)...)
}

func document(elements []byte) []byte {
	data := binary.LittleEndian.AppendUint32(nil, uint32(len(elements)+5))
	return append(append(data, elements...), 0)
}

func asDocument(int) []byte { return []byte{3, 'a', 0} }
func asArray(int) []byte    { return []byte{4, '0', 0} }

func asScope(size int) []byte {
	data := binary.LittleEndian.AppendUint32([]byte{15, 'a', 0}, uint32(4+5+size))
	return append(data, 1, 0, 0, 0, 0)
}

func TestNestingIsBounded(t *testing.T) {
	t.Parallel()
	for _, wrap := range []func(int) []byte{asDocument, asArray, asScope} {
		for _, limit := range []struct{ set, levels int }{{0, 100}, {1, 1}, {-1, 10_000}} {
			f := bson.BSON().WithLimits(codec.Limits{MaxDepth: limit.set})
			require.NoError(t, f.Unmarshal(nest(limit.levels, wrap), new(any)))
			err := f.Unmarshal(nest(limit.levels+1, wrap), new(any))
			require.ErrorIs(t, err, codec.ErrTooDeep)
			require.ErrorContains(t, err, "codec: bson: decode into interface {}: nested too deep: more than ")
		}
	}
}

func TestClaimsOfLengthAreNotBelieved(t *testing.T) {
	element := func(s string) string {
		data, err := hex.DecodeString(s)
		require.NoError(t, err)
		return hex.EncodeToString(document(data))
	}
	for _, in := range []string{
		"00", "0500", "ffffff7f00", "ffffffff00", "0400000000", "0500000001", "060000000000", "0600000003" + "00",
		element("026100ffffff7f"), element("026100ffffffff"), element("02610000000000"), element("0261000100000061"),
		element("0d6100ffffff7f"), element("0e6100ffffff7f"), element("0c6100ffffff7f"), element("0c61000100000000"),
		element("056100ffffff7f00"), element("056100ffffffff00"),
		element("0561000800000002ffffff7f00000000"), // old binary: 8 bytes that claim 2 GiB
		element("0561000800000002ffffffff00000000"),
		element("056100080000000205000000000000000a6200"), // and here 5 where there are 4: the next element is torn
		element("036100ffffff7f00"), element("046100ffffffff00"), element("0461000500000001"),
		element("0f6100ffffff7f0100000000050000000000"), element("0f61000f0000000100000000050000000000"),
		element("0b610061"), element("0b6100"), element("076100"), element("136100"), element("016100"), element("106100"), element("086100"),
		element("0361"), element("33610000"),
	} {
		data, err := hex.DecodeString(in)
		require.NoError(t, err)
		for _, v := range []any{new(any), new(order), new(map[string]string), new(map[string][]byte), new(driver.Raw), new(driver.D)} {
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			err := bson.BSON().Unmarshal(data, v)
			runtime.ReadMemStats(&after)
			require.ErrorContains(t, err, "malformed document", "%s into %T", in, v)
			require.Less(t, after.TotalAlloc-before.TotalAlloc, uint64(1<<20), "%s into %T", in, v)
		}
	}
}

func TestEveryKindOfValueIsAccepted(t *testing.T) {
	t.Parallel()
	id := driver.NewObjectID()
	all := driver.D{
		{Key: "double", Value: 1.5}, {Key: "string", Value: "s"}, {Key: "doc", Value: driver.D{}}, {Key: "array", Value: driver.A{"x"}},
		{Key: "binary", Value: driver.Binary{Subtype: 4, Data: []byte{1}}}, {Key: "old", Value: driver.Binary{Subtype: 2, Data: []byte{1, 2, 3}}},
		{Key: "undefined", Value: driver.Undefined{}}, {Key: "id", Value: id}, {Key: "bool", Value: true},
		{Key: "date", Value: driver.DateTime(5)}, {Key: "null", Value: nil}, {Key: "regex", Value: driver.Regex{Pattern: "p", Options: "i"}},
		{Key: "pointer", Value: driver.DBPointer{DB: "db", Pointer: id}}, {Key: "js", Value: driver.JavaScript("x")},
		{Key: "symbol", Value: driver.Symbol("x")}, {Key: "scope", Value: driver.CodeWithScope{Code: "x", Scope: driver.D{{Key: "y", Value: int32(1)}}}},
		{Key: "int32", Value: int32(1)}, {Key: "timestamp", Value: driver.Timestamp{T: 1, I: 2}}, {Key: "int64", Value: int64(1)},
		{Key: "decimal", Value: driver.NewDecimal128(1, 2)}, {Key: "min", Value: driver.MinKey{}}, {Key: "max", Value: driver.MaxKey{}},
		{Key: "", Value: ""},
	}
	data, err := bson.BSON().Marshal(all)
	require.NoError(t, err)
	var got driver.D
	require.NoError(t, bson.BSON().Unmarshal(data, &got))
	require.Len(t, got, len(all))
	require.NoError(t, bson.BSON().Unmarshal(data, new(struct{}))) // each is skipped
}

func FuzzBSON(f *testing.F) {
	data, err := bson.BSON().Marshal(anOrder())
	require.NoError(f, err)
	f.Add(data)
	f.Add(nest(101, asDocument))
	f.Add(nest(3, asScope))
	f.Add(document([]byte("\x05a\x00\x08\x00\x00\x00\x02\x04\x00\x00\x00abcd")))
	f.Add(document([]byte("\x0ba\x00p\x00i\x00")))
	f.Fuzz(func(t *testing.T, data []byte) {
		for _, v := range []any{new(any), new(order), new(map[string]any), new(map[string]order), new(driver.D), new(driver.Raw), new(struct{})} {
			if err := bson.BSON().Unmarshal(data, v); err != nil {
				continue
			}
			if again, err := bson.BSON().Marshal(reflect.ValueOf(v).Elem().Interface()); err == nil {
				next := reflect.New(reflect.TypeOf(v).Elem()).Interface()
				require.NoError(t, bson.BSON().WithLimits(codec.Limits{MaxDepth: -1}).Unmarshal(again, next))
			}
		}
	})
}
