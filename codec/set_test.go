package codec_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/hocket-go/hocket/codec"
)

func TestContentTypesFindTheirFormat(t *testing.T) {
	t.Parallel()
	set := codec.Default()
	for contentType, want := range map[string]string{
		"": "json", "application/json": "json", "Application/JSON; charset=UTF-8": "json", "text/json": "json",
		"application/json;broken=\"": "json", " application/json\t; x=y": "json",
		"application/problem+json": "json", "application/vnd.api+JSON; v=1": "json", "application/ld+json": "json",
		"application/protobuf": "proto", "application/x-protobuf": "proto", "application/proto": "proto",
		"application/vnd.google.protobuf": "proto",
		"application/vnd.msgpack":         "msgpack", "application/msgpack": "msgpack", "application/x-msgpack": "msgpack",
		"application/cbor": "cbor", "application/senml+cbor": "cbor",
		"text/plain": "text", "text/plain; charset=utf-8": "text", "application/octet-stream": "bytes",
	} {
		f, err := set.ByContentType(contentType)
		require.NoError(t, err, contentType)
		require.Equal(t, want, f.Name(), contentType)
	}
	for _, name := range []string{"json", "proto", "msgpack", "cbor", "text", "bytes"} {
		f, err := set.ByName(name)
		require.NoError(t, err)
		require.Equal(t, name, f.String())
		byType, err := set.ByContentType(f.ContentType())
		require.NoError(t, err)
		require.Equal(t, f, byType)
	}
	f, err := set.ByName("")
	require.NoError(t, err)
	require.Equal(t, set.Default(), f)
}

func TestUnknownFormatsAreNamedBesideTheKnown(t *testing.T) {
	t.Parallel()
	set := codec.Default()
	const known = ": known are json (application/json), proto (application/protobuf), msgpack (application/vnd.msgpack), " +
		"cbor (application/cbor), text (text/plain), bytes (application/octet-stream)"
	_, err := set.ByContentType("Application/XML; v=1")
	require.ErrorIs(t, err, codec.ErrUnknownFormat)
	require.EqualError(t, err, `codec: unknown format: content type "Application/XML; v=1"`+known)
	_, err = set.ByName("JSON")
	require.ErrorIs(t, err, codec.ErrUnknownFormat)
	require.EqualError(t, err, `codec: unknown format "JSON"`+known)

	for _, contentType := range []string{
		"json", "+json", "a+json", ";", " ", "/", "application/json-seq", "application/grpc+proto", "application/x+json-seq",
	} {
		_, err = set.ByContentType(contentType)
		require.ErrorIs(t, err, codec.ErrUnknownFormat, contentType)
	}
	_, err = set.ByContentType(strings.Repeat("x", 1<<20))
	require.ErrorIs(t, err, codec.ErrUnknownFormat)
	require.Less(t, len(err.Error()), 1000, "a header must not fill a log")
}

func TestNoTwoFormatsClaimTheSame(t *testing.T) {
	t.Parallel()
	one := codec.MustFormat("one", "application/one", indented{}, "+one", "application/uno")
	for want, other := range map[string]codec.Format{
		"two formats of the set are named one":                        codec.MustFormat("one", "application/other", indented{}),
		"content type application/uno is claimed by both one and two": codec.MustFormat("two", "Application/UNO", indented{}),
		"content type +one is claimed by both one and two":            codec.MustFormat("two", "application/two", indented{}, "+one"),
		"content type application/one is claimed by both one and two": codec.MustFormat("two", "a/b", indented{}, "application/one"),
		"content type application/two is claimed by both two and two": codec.MustFormat("two", "application/two", indented{}, "application/two"),
		"format 2 of the set is the zero Format":                      {},
	} {
		_, err := codec.NewSet(one, other)
		require.EqualError(t, err, "codec: "+want)
	}
	_, err := codec.NewSet(codec.Format{})
	require.ErrorContains(t, err, "format 1 of the set is the zero Format")
	_, err = codec.Default().With(codec.JSON())
	require.Error(t, err)
}

func TestSetsAreImmutable(t *testing.T) {
	t.Parallel()
	old := codec.Default()
	one := codec.MustFormat("one", "application/one", indented{}, "+one")
	more, err := old.With(one)
	require.NoError(t, err)
	require.Equal(t, "json", more.Default().Name())
	f, err := more.ByContentType("application/x+one")
	require.NoError(t, err)
	require.Equal(t, "one", f.Name())
	_, err = old.ByName("one")
	require.ErrorIs(t, err, codec.ErrUnknownFormat)

	small := more.WithLimits(codec.Limits{MaxBytes: 1})
	require.ErrorIs(t, small.Default().Unmarshal([]byte("12"), new(int)), codec.ErrTooLarge)
	f, err = small.ByContentType("application/x+one")
	require.NoError(t, err)
	require.ErrorIs(t, f.Unmarshal([]byte("12"), new(int)), codec.ErrTooLarge)
	require.NoError(t, more.Default().Unmarshal([]byte("12"), new(int)))
}

func TestNilSetIsEmpty(t *testing.T) {
	t.Parallel()
	var set *codec.Set
	require.True(t, set.Default().IsZero())
	require.Nil(t, set.WithLimits(codec.Limits{}))
	_, err := set.ByName("json")
	require.ErrorIs(t, err, codec.ErrUnknownFormat)
	_, err = set.ByContentType("application/json")
	require.ErrorIs(t, err, codec.ErrUnknownFormat)
	_, err = set.With(codec.JSON())
	require.Error(t, err)
}
