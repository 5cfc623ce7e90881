package binding_test

import (
	"math"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/cloudevents/sdk-go/v2/event"
	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/require"

	"github.com/hocket-go/hocket/events/internal/binding"
)

func minimal() nats.Header {
	return nats.Header{"ce-specversion": {"1.0"}, "ce-id": {"1"}, "ce-source": {"orders"}, "ce-type": {"shop.order.placed"}}
}

func with(kv ...string) nats.Header {
	h := minimal()
	for i := 0; i < len(kv); i += 2 {
		h[kv[i]] = []string{kv[i+1]}
	}
	return h
}

func decode(h nats.Header, payload string) (binding.Event, error) {
	var e binding.Event
	err := binding.Decode(&e, h, []byte(payload))
	return e, err
}

// The example of section 3.1.4 of the NATS protocol binding.
func TestBinaryExampleOfTheSpecification(t *testing.T) {
	t.Parallel()
	e, err := decode(nats.Header{
		"ce-specversion": {"1.0"}, "ce-type": {"com.example.someevent"}, "ce-time": {"2018-04-05T03:56:24Z"},
		"ce-id": {"1234-1234-1234"}, "ce-source": {"/mycontext/subcontext"}, "ce-datacontenttype": {"application/json"},
	}, `{"a":1}`)
	require.NoError(t, err)
	require.Equal(t, binding.Event{
		ID: "1234-1234-1234", Source: "/mycontext/subcontext", Type: "com.example.someevent",
		Time: time.Date(2018, 4, 5, 3, 56, 24, 0, time.UTC), DataContentType: "application/json", Data: []byte(`{"a":1}`),
	}, e)
}

// The example of section 3.1.3.2, and the rules around it.
func TestHeaderValuesArePercentEncoded(t *testing.T) {
	t.Parallel()
	e := binding.Event{ID: "a\"b%c", Source: "s", Type: "t", Subject: "Euro € 😀"}
	h := e.Header("")
	require.Equal(t, []string{"Euro%20%E2%82%AC%20%F0%9F%98%80"}, h["ce-subject"])
	require.Equal(t, []string{"a%22b%25c"}, h["ce-id"])
	for _, values := range h {
		for _, v := range values {
			for i := range len(v) {
				require.True(t, v[i] > ' ' && v[i] < 0x7f, "%q", v)
			}
		}
	}
}

func TestHeaderValuesAreDecoded(t *testing.T) {
	t.Parallel()
	for value, want := range map[string]string{
		"Euro%20%E2%82%AC%20%F0%9F%98%80": "Euro € 😀",
		"%e2%82%ac":                       "€",   // lower-case digits
		"%41BC":                           "ABC", // needlessly encoded
		`"quoted value"`:                  "quoted value",
		`"a \"b\" \\ c"`:                  `a "b" \ c`,
		`"%41"`:                           "A",   // unquoted first, then decoded
		"%2541":                           "%41", // one round only
		"  padded\t":                      "padded",
		"unescaped space":                 "unescaped space",
		"Grüße":                           "Grüße", // other encoders send UTF-8 as it is
		`say "hi"`:                        `say "hi"`,
	} {
		e, err := decode(with("ce-subject", value), "")
		require.NoError(t, err, value)
		require.Equal(t, want, e.Subject, value)
	}
	for _, value := range []string{
		"%", "%4", "%zz", "100%", "%C0%A0", "%ED%A0%80", "%FF", "\xff", `"open`, `"a"b`, `"a\`, "%00", "a\x01b", "%C2%85", "\uFFFE",
		"\uFDD0",
	} {
		_, err := decode(with("ce-subject", value), "")
		requireAttribute(t, err, "subject")
	}
}

func requireAttribute(t *testing.T, err error, name string) {
	t.Helper()
	var attr *binding.AttributeError
	require.ErrorAs(t, err, &attr)
	require.Equal(t, name, attr.Attribute)
	require.Contains(t, err.Error(), name)
}

func TestHeaderNamesAreCaseInsensitive(t *testing.T) {
	t.Parallel()
	e, err := decode(nats.Header{
		"CE-SpecVersion": {"1.0"}, "Ce-Id": {"1"}, "cE-SOURCE": {"s"}, "CE-TYPE": {"t"}, "Ce-Trace": {"x"}, "Nats-Msg-Id": {"y"},
	}, "")
	require.NoError(t, err)
	require.Equal(t, []binding.Attribute{{Name: "trace", Value: "x"}}, e.Extensions)
}

func TestErrorsNameTheAttribute(t *testing.T) {
	t.Parallel()
	without := func(name string) nats.Header {
		h := minimal()
		delete(h, name)
		return h
	}
	for name, c := range map[string]struct {
		header    nats.Header
		attribute string
	}{
		"no headers":            {nil, "specversion"},
		"no specversion":        {without("ce-specversion"), "specversion"},
		"no id":                 {without("ce-id"), "id"},
		"no source":             {without("ce-source"), "source"},
		"no type":               {without("ce-type"), "type"},
		"old specversion":       {with("ce-specversion", "0.3"), "specversion"},
		"empty specversion":     {with("ce-specversion", ""), "specversion"},
		"empty id":              {with("ce-id", ""), "id"},
		"empty source":          {with("ce-source", ""), "source"},
		"empty type":            {with("ce-type", ""), "type"},
		"empty subject":         {with("ce-subject", ""), "subject"},
		"empty time":            {with("ce-time", ""), "time"},
		"source no reference":   {with("ce-source", "a b"), "source"},
		"source bad escape":     {with("ce-source", "%2561%252"), "source"},
		"source colon first":    {with("ce-source", "1:b"), "source"},
		"relative schema":       {with("ce-dataschema", "/a"), "dataschema"},
		"time without zone":     {with("ce-time", "2018-04-05T17:31:00"), "time"},
		"time with comma":       {with("ce-time", "2018-04-05T17:31:00,5Z"), "time"},
		"time in words":         {with("ce-time", "yesterday"), "time"},
		"content type":          {with("ce-datacontenttype", "json"), "datacontenttype"},
		"extension named data":  {with("ce-data", "x"), "data"},
		"extension with a dash": {with("ce-my-ext", "x"), "my-ext"},
		"extension outside a-z": {with("ce-ä", "x"), "ä"},
		"no values":             {nats.Header{"ce-specversion": {"1.0"}, "ce-id": {}}, "id"},
		"two values":            {nats.Header{"ce-specversion": {"1.0"}, "ce-id": {"1", "1"}}, "id"},
		"two headers":           {with("ce-subject", "x", "CE-Subject", "x"), "subject"},
		"two extension headers": {with("ce-ext", "x", "CE-Ext", "x"), "ext"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := decode(c.header, "x")
			var attr *binding.AttributeError
			require.ErrorAs(t, err, &attr)
			require.Equal(t, c.attribute, attr.Attribute)
		})
	}
}

func TestTimesAreRFC3339(t *testing.T) {
	t.Parallel()
	for value, want := range map[string]time.Time{
		"2018-04-05T17:31:00Z":                time.Date(2018, 4, 5, 17, 31, 0, 0, time.UTC),
		"2018-04-05t17:31:00z":                time.Date(2018, 4, 5, 17, 31, 0, 0, time.UTC),
		"2024-02-29T23:59:60Z":                time.Date(2024, 3, 1, 0, 0, 0, 0, time.UTC),
		"2018-04-05T17:31:00.1-01:30":         time.Date(2018, 4, 5, 19, 1, 0, 100000000, time.UTC),
		"2018-04-05T17:31:00.123456789+02:00": time.Date(2018, 4, 5, 15, 31, 0, 123456789, time.UTC),
	} {
		e, err := decode(with("ce-time", value), "")
		require.NoError(t, err)
		require.Equal(t, want, e.Time)
		require.Equal(t, want.Format(time.RFC3339Nano), binding.FormatTime(want.In(time.FixedZone("x", 3600))))
	}
}

func TestTimesThatAreNotRFC3339(t *testing.T) {
	t.Parallel()
	for _, value := range []string{
		"2018-04-05T17:31:00", "2018-04-05T17:31Z", "2018-04-05 17:31:00Z", "2018-04-05T7:31:00Z", "2018-04-05T17:31:00,5Z",
		"2018-04-05T17:31:00.Z", "2018-04-05T17:31:00+0200", "2018-04-05T17:31:00+24:00", "2018-02-29T00:00:00Z",
		"2018-13-01T00:00:00Z", "2018-00-01T00:00:00Z", "2018-01-00T00:00:00Z", "2018-04-05T24:00:00Z", "2018-04-05T17:60:00Z",
		"2018-04-05T17:31:61Z", "+018-04-05T17:31:00Z", "12018-04-05T17:31:00Z", "2018-04-05T17:31:00Zx", "2018-04-05T17:31:00x",
	} {
		_, err := decode(with("ce-time", value), "")
		requireAttribute(t, err, "time")
	}
}

func TestContentTypeHeaderStandsInForTheAttribute(t *testing.T) {
	t.Parallel()
	e, err := decode(with("content-type", "text/xml; charset=utf-8"), "<a/>")
	require.NoError(t, err)
	require.Equal(t, "text/xml; charset=utf-8", e.DataContentType)
	e, err = decode(with("content-type", "text/xml", "ce-datacontenttype", "text/plain"), "a")
	require.NoError(t, err)
	require.Equal(t, "text/plain", e.DataContentType)
	e, err = decode(with("content-type", "not one"), "a")
	require.NoError(t, err)
	require.Empty(t, e.DataContentType)
}

// The examples of section 3.2 of the JSON event format.
func TestStructuredExamplesOfTheSpecification(t *testing.T) {
	t.Parallel()
	attributes := `"specversion":"1.0","type":"com.example.someevent","source":"/mycontext","subject":null,"id":"C234-1234-1234",` +
		`"time":"2018-04-05T17:31:00Z","comexampleextension1":"value","comexampleothervalue":5,"unsetextension":null,"flag":true`
	for name, c := range map[string]struct{ members, contentType, data string }{
		"binary":          {`"datacontenttype":"application/vnd.apache.thrift.binary","data_base64":"AAEC"`, "application/vnd.apache.thrift.binary", "\x00\x01\x02"},
		"binary, no type": {`"data_base64":"eyAieHl6IjogMTIzIH0="`, "", `{ "xyz": 123 }`},
		"xml":             {`"datacontenttype":"application/xml","data":"<much wow=\"xml\"/>"`, "application/xml", `<much wow="xml"/>`},
		"object":          {`"datacontenttype":"application/json","data":{"appinfoA":"abc"}`, "application/json", `{"appinfoA":"abc"}`},
		"number":          {`"datacontenttype":"application/json","data":1.5`, "application/json", `1.5`},
		"string, no type": {`"data":"I'm just a string"`, "application/json", `"I'm just a string"`},
		"json suffix":     {`"datacontenttype":"application/PROBLEM+JSON; a=b","data":[1]`, "application/PROBLEM+JSON; a=b", `[1]`},
		"json null":       {`"data":null`, "application/json", `null`},
		"no data":         {`"x":1`, "", ""},
		"null binary":     {`"data_base64":null`, "", ""},
		"null text":       {`"datacontenttype":"text/plain","data":null`, "text/plain", ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := nats.Header{"content-type": {"Application/CloudEvents+JSON; charset=UTF-8"}, "ce-id": {""}, "ce-x_y": {"ignored"}}
			e, err := decode(h, "{"+attributes+","+c.members+"}")
			require.NoError(t, err)
			require.Equal(t, "C234-1234-1234", e.ID)
			require.Equal(t, "/mycontext", e.Source)
			require.Empty(t, e.Subject)
			require.Equal(t, c.contentType, e.DataContentType)
			require.Equal(t, c.data, string(e.Data))
			require.Contains(t, e.Extensions, binding.Attribute{Name: "comexampleothervalue", Value: "5", Kind: binding.Integer})
			require.Contains(t, e.Extensions, binding.Attribute{Name: "flag", Value: "true", Kind: binding.Boolean})
			sdk, err := e.SDK()
			require.NoError(t, err)
			require.NoError(t, sdk.Validate())
			require.Equal(t, int32(5), sdk.Extensions()["comexampleothervalue"])
		})
	}
}

func TestStructuredEventsThatAreRefused(t *testing.T) {
	t.Parallel()
	ok := `"specversion":"1.0","type":"t","source":"s","id":"1"`
	for payload, want := range map[string]string{
		``:                      "not a JSON object",
		`[]`:                    "not a JSON object",
		`{`:                     "ends too early",
		`{` + ok:                "ends too early",
		`{` + ok + `} {}`:       "more than one",
		`{` + ok + `} x`:        "more than one",
		`{"specversion":"1.0"`:  "ends too early",
		`{` + ok + `,"data":}`:  "not valid JSON",
		`{` + ok + `,"id":"2"}`: "attribute id: appears more than once",
		`{` + ok + `,"subject":null,"subject":null}`:            "attribute subject: appears more than once",
		`{` + ok + `,"e":"1","e":"2"}`:                          "attribute e: appears more than once",
		`{` + ok + `,"data":1,"data":2}`:                        "data appears more than once",
		`{` + ok + `,"data":1,"data_base64":""}`:                "both data and data_base64",
		`{` + ok + `,"data_base64":"!"}`:                        "not base64",
		`{` + ok + `,"data_base64":1}`:                          "not a string",
		`{` + ok + `,"e":{}}`:                                   "attribute e: an object or array",
		`{` + ok + `,"e":1.5}`:                                  "attribute e: the number 1.5",
		`{` + ok + `,"e":2147483648}`:                           "attribute e: the number",
		`{` + ok + `,"E":"x"}`:                                  `attribute "E"`,
		`{` + ok + `,"subject":""}`:                             "attribute subject: must not be empty",
		`{` + ok + `,"subject":1}`:                              "attribute subject: must be a string",
		`{` + ok + `,"subject":"\ud800"}`:                       "attribute subject: the value contains half a surrogate",
		`{` + ok + `,"subject":"\udc00\ud800"}`:                 "half a surrogate",
		`{` + ok + `,"subject":"\u0000"}`:                       "control character",
		`{` + ok + `,"datacontenttype":"text/plain","data":{}}`: "must be a string",
		`{"specversion":"1.0","type":"t","source":"s"}`:         "attribute id: required",
		`{"type":"t","source":"s","id":"1"}`:                    "attribute specversion: required",
		"{\"\xff\":1}":                                          "not valid UTF-8",
	} {
		_, err := decode(nats.Header{"Content-Type": {"application/cloudevents+json"}}, payload)
		require.ErrorContains(t, err, want, payload)
	}
	for contentType, want := range map[string]string{
		"application/cloudevents-batch+json": "a batch is not one event",
		"application/cloudevents+avro":       "not supported",
	} {
		_, err := decode(nats.Header{"Content-Type": {contentType}}, "{"+ok+"}")
		require.ErrorContains(t, err, want)
	}
	_, err := decode(nats.Header{"Content-Type": {"application/cloudevents+json"}}, `{`+ok+`,"subject":"\ud83d\ude00 � \\ud800"}`)
	require.NoError(t, err, "a whole pair, a replacement character and an escaped backslash are fine")
}

func TestEncodingRefusesWhatIsInvalid(t *testing.T) {
	t.Parallel()
	valid := func() binding.Event { return binding.Event{ID: "1", Source: "s", Type: "t"} }
	for attribute, change := range map[string]func(*binding.Event){
		"id":              func(e *binding.Event) { e.ID = "" },
		"source":          func(e *binding.Event) { e.Source = "a b" },
		"type":            func(e *binding.Event) { e.Type = "a\nb" },
		"subject":         func(e *binding.Event) { e.Subject = "\xff" },
		"datacontenttype": func(e *binding.Event) { e.DataContentType = "x" },
		"dataschema":      func(e *binding.Event) { e.DataSchema = "relative" },
		"time":            func(e *binding.Event) { e.Time = time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC) },
		"Bad":             func(e *binding.Event) { e.Extensions = []binding.Attribute{{Name: "Bad"}} },
		"twice":           func(e *binding.Event) { e.Extensions = []binding.Attribute{{Name: "twice"}, {Name: "twice"}} },
		"ext":             func(e *binding.Event) { e.Extensions = []binding.Attribute{{Name: "ext", Value: "\x00"}} },
	} {
		e := valid()
		require.NoError(t, e.Validate())
		change(&e)
		requireAttribute(t, e.Validate(), attribute)
	}
}

func TestExtensionValues(t *testing.T) {
	t.Parallel()
	u := &url.URL{Scheme: "https", Host: "example.com", Path: "/a"}
	for _, c := range []struct {
		value any
		want  string
		kind  binding.Kind
	}{
		{"x y", "x y", binding.String}, {true, "true", binding.Boolean}, {-5, "-5", binding.Integer},
		{uint8(7), "7", binding.Integer}, {[]byte{1, 2}, "AQI=", binding.String}, {u, "https://example.com/a", binding.String},
		{time.Date(2018, 4, 5, 17, 31, 0, 0, time.UTC), "2018-04-05T17:31:00Z", binding.String},
	} {
		a, err := binding.FormatValue("ext", c.value)
		require.NoError(t, err)
		require.Equal(t, binding.Attribute{Name: "ext", Value: c.want, Kind: c.kind}, a)
	}
	for _, value := range []any{nil, 1.5, math.MaxInt64, struct{}{}, "\x00", (*url.URL)(nil)} {
		_, err := binding.FormatValue("ext", value)
		requireAttribute(t, err, "ext")
	}
	for _, name := range []string{"", "id", "data", "a-b", "A", "ü", strings.Repeat("-", 1000)} {
		_, err := binding.FormatValue(name, "x")
		require.Error(t, err)
		require.Less(t, len(err.Error()), 300)
	}
}

func TestSDKEventsGoThereAndBack(t *testing.T) {
	t.Parallel()
	in := event.New()
	in.SetID("1")
	in.SetSource("https://example.com/a?b#c")
	in.SetType("t")
	in.SetSubject("s")
	in.SetTime(time.Date(2018, 4, 5, 17, 31, 0, 5, time.UTC))
	in.SetDataSchema("https://example.com/schema")
	in.SetExtension("number", 5)
	in.SetExtension("flag", false)
	require.NoError(t, in.SetData("application/json", map[string]int{"a": 1}))
	lean, err := binding.FromSDK(in)
	require.NoError(t, err)
	out, err := lean.SDK()
	require.NoError(t, err)
	require.Equal(t, in.String(), out.String())
	require.Equal(t, in.Context, out.Context)

	var back binding.Event
	require.NoError(t, binding.Decode(&back, lean.Header(""), lean.Data))
	require.Equal(t, lean.Source, back.Source)

	bad := event.New()
	bad.SetSource("\x7f")
	_, err = binding.FromSDK(bad)
	requireAttribute(t, err, "source")
	_, err = binding.FromSDK(event.Event{})
	requireAttribute(t, err, "specversion")
	_, err = binding.FromSDK(event.New("0.3"))
	requireAttribute(t, err, "specversion")
}
