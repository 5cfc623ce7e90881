package codec

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"reflect"

	"github.com/fxamacker/cbor/v2"
)

// minCBORDepth is the least that the library can be held to.
const minCBORDepth = 4

// CBOR returns the format "cbor" (RFC 8949), application/cbor, also for everything that ends in +cbor.
//
// Field names come from `cbor` struct tags, else from `json` ones. Times are RFC 3339 text with nanoseconds and zone, under
// tag 0. Types with a binary or a text form (encoding.BinaryMarshaler, encoding.TextMarshaler) travel in it. An empty
// payload is an error.
func CBOR() Format {
	return MustFormat("cbor", "application/cbor", newCBOR(defaultMaxDepth), "+cbor")
}

type cborCodec struct {
	enc      cbor.UserBufferEncMode
	dec      cbor.DecMode
	maxDepth int
}

func newCBOR(levels int) cborCodec {
	enc, err := cbor.EncOptions{
		Time:          cbor.TimeRFC3339Nano, // the library's default drops fractions of a second
		TimeTag:       cbor.EncTagRequired,
		TextMarshaler: cbor.TextMarshalerTextString,
	}.UserBufferEncMode()
	if err != nil {
		panic(err) // an option out of range, and all are constants
	}
	levels = max(levels, minCBORDepth)
	dec, err := cbor.DecOptions{
		MaxNestedLevels: levels,
		// The library walks the whole input before it allocates for it, so claimed lengths need no bound of their own.
		MaxArrayElements: math.MaxInt32,
		MaxMapPairs:      math.MaxInt32,
		DefaultMapType:   reflect.TypeFor[map[string]any](),
		TextUnmarshaler:  cbor.TextUnmarshalerTextString,
	}.DecMode()
	if err != nil {
		panic(err) // likewise: levels is within 4 and 10,000
	}
	return cborCodec{enc: enc, dec: dec, maxDepth: levels}
}

func (cborCodec) LimitDepth(levels int) Codec { return newCBOR(levels) }

func (c cborCodec) Marshal(v any) ([]byte, error) { return c.enc.Marshal(v) }

func (c cborCodec) AppendMarshal(dst []byte, v any) ([]byte, error) {
	buf := bytes.NewBuffer(dst)
	if err := c.enc.MarshalToBuffer(v, buf); err != nil {
		return dst, err
	}
	return buf.Bytes(), nil
}

func (c cborCodec) Unmarshal(data []byte, v any) error {
	if len(data) == 0 {
		return errEmpty
	}
	err := c.dec.Unmarshal(data, v)
	if _, ok := errors.AsType[*cbor.MaxNestedLevelError](err); ok {
		return fmt.Errorf("%w: %w", tooDeep(c.maxDepth), err)
	}
	return err
}
