package binding_test

import (
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/require"

	"github.com/hocket-go/hocket/events/internal/binding"
)

// FuzzDecode: no message makes the decoder panic, and what it accepts is valid, converts to the SDK's event and survives
// being encoded again.
func FuzzDecode(f *testing.F) {
	f.Add("ce-specversion\n1.0\nce-id\n1\nce-source\ns\nce-type\nt\nce-subject\nEuro%20%E2", []byte("x"))
	f.Add("ce-specversion\n1.0\nCE-ID\n\"a\\\"\"\nce-source\nhttps://x/%41\nce-type\nt\nce-time\n2018-04-05T17:31:00Z", []byte("{}"))
	f.Add("content-type\napplication/cloudevents+json", []byte(`{"specversion":"1.0","id":"1","source":"s","type":"t","data":{}}`))
	f.Add("Content-Type\napplication/cloudevents", []byte(`{"specversion":"1.0","id":"\ud800","data_base64":"AA=="}`))
	f.Add("ce-specversion\n1.0\nce-id\n1\nce-source\ns\nce-type\nt\nce-ext\n", []byte{})
	f.Fuzz(func(t *testing.T, lines string, payload []byte) {
		h := nats.Header{}
		fields := strings.Split(lines, "\n")
		for i := 0; i+1 < len(fields); i += 2 {
			h[fields[i]] = append(h[fields[i]], fields[i+1])
		}
		var e binding.Event
		if err := binding.Decode(&e, h, payload); err != nil {
			require.NotEmpty(t, err.Error())
			return
		}
		require.NoError(t, e.Validate())
		_, err := e.SDK()
		require.NoError(t, err)
		requireRoundTrip(t, e)
	})
}

// FuzzRoundTrip: whatever is valid comes back as it was, through headers that hold printable ASCII only.
func FuzzRoundTrip(f *testing.F) {
	f.Add("1", "s", "t", "sub", "application/json", "ext", "value", int64(1), []byte("{}"))
	f.Add("a b", "https://example.com/ü", "t\"", "€%", "text/plain; charset=utf-8", "partitionkey", "k", int64(0), []byte(nil))
	f.Fuzz(func(t *testing.T, id, source, typ, subj, contentType, extName, extValue string, nanos int64, data []byte) {
		e := binding.Event{ID: id, Source: source, Type: typ, Subject: subj, DataContentType: contentType, Data: data}
		if nanos != 0 {
			e.Time = time.Unix(0, nanos).UTC()
		}
		if extName != "" {
			e.SetExtension(binding.Attribute{Name: extName, Value: extValue})
		}
		if e.Validate() != nil {
			return
		}
		requireRoundTrip(t, e)
	})
}

func requireRoundTrip(t *testing.T, e binding.Event) {
	t.Helper()
	h := e.Header("message-id")
	for name, values := range h {
		require.Len(t, values, 1)
		for i := range len(values[0]) {
			require.True(t, values[0][i] > ' ' && values[0][i] < 0x7f, "%s: %q", name, values[0])
		}
	}
	var back binding.Event
	require.NoError(t, binding.Decode(&back, h, e.Data))
	require.Len(t, back.Extensions, len(e.Extensions))
	for _, a := range e.Extensions {
		got, ok := back.Extension(a.Name)
		require.True(t, ok)
		require.Equal(t, a.Value, got)
	}
	require.True(t, e.Time.Equal(back.Time))
	e.Extensions, back.Extensions = nil, nil
	e.Time, back.Time = time.Time{}, time.Time{}
	require.Equal(t, e, back)
}
