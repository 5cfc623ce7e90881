package codec

import (
	"errors"
	"fmt"
	"sync"

	"github.com/vmihailenco/msgpack/v5"
)

// MsgPack returns the format "msgpack", application/vnd.msgpack, also for application/msgpack and application/x-msgpack.
//
// Field names come from `msgpack` struct tags, else from `json` ones. Integers take as few bytes as they need. Of the
// extension types only the timestamp (-1) is accepted: what is inside another one cannot be bounded. An empty payload is an
// error. Embed structs by value: for each type embedded by pointer the library starts, on the first decode that needs it, a
// goroutine that never ends.
func MsgPack() Format {
	return MustFormat("msgpack", "application/vnd.msgpack", msgpackCodec{}, "application/msgpack", "application/x-msgpack")
}

type msgpackCodec struct {
	maxDepth int
}

func (msgpackCodec) LimitDepth(levels int) Codec { return msgpackCodec{maxDepth: levels} }

func (c msgpackCodec) Marshal(v any) ([]byte, error) { return c.AppendMarshal(nil, v) }

// msgpackWriter is what a pooled encoder appends to.
type msgpackWriter struct {
	enc *msgpack.Encoder
	dst []byte
}

func (w *msgpackWriter) Write(p []byte) (int, error) {
	w.dst = append(w.dst, p...)
	return len(p), nil
}

func (w *msgpackWriter) WriteByte(b byte) error {
	w.dst = append(w.dst, b)
	return nil
}

// msgpackWriters is a cache, as jsonAppenders is.
//
//nolint:gochecknoglobals // so is this one
var msgpackWriters = sync.Pool{New: func() any { return &msgpackWriter{enc: msgpack.NewEncoder(nil)} }}

func (msgpackCodec) AppendMarshal(dst []byte, v any) ([]byte, error) {
	w, _ := msgpackWriters.Get().(*msgpackWriter)
	w.dst = dst
	w.enc.Reset(w)
	w.enc.SetCustomStructTag("json")
	w.enc.UseCompactInts(true)
	err := w.enc.Encode(v)
	out := w.dst
	w.dst = nil
	msgpackWriters.Put(w)
	if err != nil {
		return dst, err
	}
	return out, nil
}

// msgpackReader is a pooled decoder with the input that it reads. The decoder needs a guard because of a way it has of
// reading maps: where it expects one, it steps over the head of an extension and takes the *content* of the extension for
// the map, which is content that the check before decoding had to take for opaque.
type msgpackReader struct {
	dec   *msgpack.Decoder
	data  []byte
	off   int
	check msgpackCheck
	next  int // first of check.exts that is not behind off
}

// errInExtension stops the decoder from reading an extension as something else.
var errInExtension = errors.New("extension where a map was expected")

// ReadByte is how the decoder reads codes and lengths. It reads what is inside an extension by Read.
func (r *msgpackReader) ReadByte() (byte, error) {
	if r.off >= len(r.data) {
		return 0, errTruncated
	}
	for r.next < len(r.check.exts) && r.check.exts[r.next].end <= r.off {
		r.next++
	}
	if r.next < len(r.check.exts) && r.check.exts[r.next].start <= r.off {
		return 0, errInExtension
	}
	r.off++
	return r.data[r.off-1], nil
}

// UnreadByte is called after ReadByte only, and never across an extension.
func (r *msgpackReader) UnreadByte() error {
	r.off--
	return nil
}

func (r *msgpackReader) Read(p []byte) (int, error) {
	if r.off >= len(r.data) {
		return 0, errTruncated
	}
	n := copy(p, r.data[r.off:])
	r.off += n
	return n, nil
}

// msgpackReaders is a cache, as jsonAppenders is.
//
//nolint:gochecknoglobals // so is this one
var msgpackReaders = sync.Pool{New: func() any { return &msgpackReader{dec: msgpack.NewDecoder(nil)} }}

// maxPooledInput is the longest input after which a decoder is kept: it has a buffer of the longest string it met.
const maxPooledInput = 64 << 10

func (c msgpackCodec) Unmarshal(data []byte, v any) (err error) {
	if len(data) == 0 {
		return errEmpty
	}
	r, _ := msgpackReaders.Get().(*msgpackReader)
	r.data, r.off, r.next = data, 0, 0
	// The library panics where the payload has a value of another type than a map[any]any can have as a key or a field of
	// an interface type with methods, such as error, can hold. Both come from the wire alone.
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("the value does not fit: %v", p)
		}
	}()
	if err = r.check.run(data, c.maxDepth); err != nil {
		return err
	}
	r.dec.Reset(r)
	r.dec.SetCustomStructTag("json")
	if err = r.dec.Decode(v); err != nil {
		return err // the decoder may have stopped within a recording, which Reset does not end: it is not kept
	}
	if r.off != len(data) {
		return fmt.Errorf("%d bytes are left over", len(data)-r.off)
	}
	r.data = nil
	if len(data) <= maxPooledInput {
		msgpackReaders.Put(r)
	}
	return nil
}
