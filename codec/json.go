package codec

import (
	"bytes"
	"encoding/json"
	"sync"

	"google.golang.org/protobuf/encoding/protojson"
)

// JSON returns the format "json", application/json, also for text/json and everything that ends in +json.
//
// What it writes is byte for byte what json.Marshal writes. A protobuf message, by itself or behind a pointer, goes by the
// protobuf JSON mapping instead (unknown fields are ignored when decoding, as encoding/json does), so that a plain client
// can talk to a service whose contracts are protobuf; messages inside other Go values do not. An empty payload leaves the
// target as it is, except that a nil pointer to a message becomes an empty message.
func JSON() Format {
	return MustFormat("json", "application/json", jsonCodec{}, "text/json", "+json")
}

type jsonCodec struct {
	maxDepth int
}

func (c jsonCodec) LimitDepth(levels int) Codec { return jsonCodec{maxDepth: levels} }

func (jsonCodec) Marshal(v any) ([]byte, error) {
	if m, ok := messageValue(v); ok {
		return protojson.Marshal(m)
	}
	return json.Marshal(v)
}

// jsonAppender lends a json.Encoder the slice to append to. It holds no buffer of its own: json.Encoder makes one Write of
// the whole value, so nothing is copied twice and no grown buffer stays behind.
type jsonAppender struct {
	enc *json.Encoder
	dst []byte
}

func (a *jsonAppender) Write(p []byte) (int, error) {
	a.dst = append(a.dst, p...)
	return len(p), nil
}

// jsonAppenders saves the two allocations of making one. It is a cache, not state: nothing can be seen in it.
var jsonAppenders = sync.Pool{New: func() any { //nolint:gochecknoglobals // a cache, as said
	a := new(jsonAppender)
	a.enc = json.NewEncoder(a)
	return a
}}

func (jsonCodec) AppendMarshal(dst []byte, v any) ([]byte, error) {
	if m, ok := messageValue(v); ok {
		return protojson.MarshalOptions{}.MarshalAppend(dst, m)
	}
	a, _ := jsonAppenders.Get().(*jsonAppender)
	a.dst = dst
	err := a.enc.Encode(v)
	out := a.dst
	a.dst = nil
	// An encoder remembers only failed writes, and these writes cannot fail, so it is good again after any error. A
	// MarshalJSON that panics does not come here and its encoder goes to the garbage.
	jsonAppenders.Put(a)
	if err != nil {
		return dst, err
	}
	return out[:len(out)-1], nil // Encode ends with a newline, Marshal does not
}

func (c jsonCodec) Unmarshal(data []byte, v any) error {
	m, isMessage := messageTarget(v)
	if len(data) == 0 {
		return nil
	}
	if jsonDeeperThan(data, c.maxDepth) {
		return tooDeep(c.maxDepth)
	}
	if isMessage {
		return protojson.UnmarshalOptions{DiscardUnknown: true}.Unmarshal(data, m)
	}
	return json.Unmarshal(data, v)
}

// jsonDeeperThan tells whether a document is nested deeper than levels. Most are cleared by less than reading them: each
// level takes an opening and a closing byte, so a short one cannot be; and the openers, which are counted several bytes at
// a time, bound the depth of a longer one. (A short one that is not closed is a syntax error before anything recurses.)
func jsonDeeperThan(data []byte, levels int) bool {
	if len(data) < 2*(levels+1) {
		return false
	}
	openers := bytes.Count(data, []byte{'['})
	if openers += bytes.Count(data, []byte{'{'}); openers <= levels {
		return false
	}
	depth := 0
	for i := 0; i < len(data); i++ {
		switch data[i] {
		case '[', '{':
			if depth++; depth > levels {
				return true
			}
		case ']', '}':
			depth--
		case '"':
			i = endOfString(data, i+1)
		}
	}
	return false
}

// endOfString returns the index of the quote that ends the string which starts at i, or the length of data.
func endOfString(data []byte, i int) int {
	for ; i < len(data) && data[i] != '"'; i++ {
		if data[i] == '\\' {
			i++
		}
	}
	return i
}
