package codec

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/vmihailenco/msgpack/v5/msgpcode"
)

var (
	errEmpty     = errors.New("the payload is empty, and no value of this format is")
	errTruncated = errors.New("the payload ends within a value")
)

// msgpackCheck walks a payload before it is decoded, since the decoder allocates for whatever number of elements or bytes a
// payload claims (five bytes for 64 GiB) and recurses as deep as it is told to.
type msgpackCheck struct {
	open []int  // for each container around the current one, the values still to come
	exts []span // what is inside extensions
}

type span struct{ start, end int }

// timestamp is the extension type that the MessagePack specification itself defines.
const timestamp = -1

//nolint:gocognit // one walk over one grammar, in one place
func (c *msgpackCheck) run(data []byte, maxDepth int) error {
	c.open, c.exts = c.open[:0], c.exts[:0]
	left, off := 1, 0 // values to come in the current container, and where the next one starts
	for {
		for left == 0 {
			if len(c.open) == 0 {
				if off != len(data) {
					return fmt.Errorf("%d bytes after the value", len(data)-off)
				}
				return nil
			}
			left = c.open[len(c.open)-1]
			c.open = c.open[:len(c.open)-1]
		}
		if off >= len(data) {
			return errTruncated
		}
		left--
		h, err := msgpackHeadOf(data[off:])
		if err != nil {
			return err
		}
		off += h.size
		if h.ext {
			if err := c.extension(data, off-1, h.body); err != nil {
				return err
			}
		}
		if h.body > len(data)-off || h.values > len(data)-off {
			return fmt.Errorf("%w: it claims %d more of %d bytes", errTruncated, max(h.body, h.values), len(data)-off)
		}
		off += h.body
		if h.container {
			if len(c.open) == maxDepth {
				return tooDeep(maxDepth)
			}
			c.open = append(c.open, left)
			left = h.values
		}
	}
}

func (c *msgpackCheck) extension(data []byte, typeAt, body int) error {
	if typeAt >= len(data) {
		return errTruncated
	}
	if kind := int8(data[typeAt]); kind != timestamp {
		return fmt.Errorf("extension type %d: only the timestamp, %d, is accepted", kind, timestamp)
	}
	if body != 4 && body != 8 && body != 12 {
		return fmt.Errorf("timestamp of %d bytes: only 4, 8 and 12 are defined", body)
	}
	c.exts = append(c.exts, span{start: typeAt + 1, end: typeAt + 1 + body})
	return nil
}

// msgpackHead is what the first bytes of a value say about it.
type msgpackHead struct {
	size      int // of the head itself
	body      int // bytes that follow
	values    int // values that follow, instead: two for each entry of a map
	container bool
	ext       bool
}

// msgpackHeadOf reads a head. data is not empty.
func msgpackHeadOf(data []byte) (msgpackHead, error) {
	c := data[0]
	switch {
	case msgpcode.IsFixedNum(c):
		return msgpackHead{size: 1}, nil
	case msgpcode.IsFixedString(c):
		return msgpackHead{size: 1, body: int(c & msgpcode.FixedStrMask)}, nil
	case msgpcode.IsFixedArray(c):
		return msgpackHead{size: 1, values: int(c & msgpcode.FixedArrayMask), container: true}, nil
	case msgpcode.IsFixedMap(c):
		return msgpackHead{size: 1, values: 2 * int(c&msgpcode.FixedMapMask), container: true}, nil
	}
	switch c {
	case msgpcode.Nil, msgpcode.False, msgpcode.True:
		return msgpackHead{size: 1}, nil
	case msgpcode.Uint8, msgpcode.Int8:
		return msgpackHead{size: 1, body: 1}, nil
	case msgpcode.Uint16, msgpcode.Int16:
		return msgpackHead{size: 1, body: 2}, nil
	case msgpcode.Uint32, msgpcode.Int32, msgpcode.Float:
		return msgpackHead{size: 1, body: 4}, nil
	case msgpcode.Uint64, msgpcode.Int64, msgpcode.Double:
		return msgpackHead{size: 1, body: 8}, nil
	case msgpcode.FixExt1, msgpcode.FixExt2, msgpcode.FixExt4, msgpcode.FixExt8, msgpcode.FixExt16:
		return msgpackHead{size: 2, body: 1 << (c - msgpcode.FixExt1), ext: true}, nil
	}
	return msgpackLongHeadOf(c, data[1:])
}

// msgpackLongHeadOf reads a head that has a length in bytes of its own.
func msgpackLongHeadOf(c byte, data []byte) (msgpackHead, error) {
	var width int
	switch c {
	case msgpcode.Str8, msgpcode.Bin8, msgpcode.Ext8:
		width = 1
	case msgpcode.Str16, msgpcode.Bin16, msgpcode.Ext16, msgpcode.Array16, msgpcode.Map16:
		width = 2
	case msgpcode.Str32, msgpcode.Bin32, msgpcode.Ext32, msgpcode.Array32, msgpcode.Map32:
		width = 4
	default:
		return msgpackHead{}, fmt.Errorf("code 0x%x is not defined", c)
	}
	if len(data) < width {
		return msgpackHead{}, errTruncated
	}
	var claim uint32
	switch width {
	case 1:
		claim = uint32(data[0])
	case 2:
		claim = uint32(binary.BigEndian.Uint16(data))
	default:
		claim = binary.BigEndian.Uint32(data)
	}
	// Each byte and each value takes a byte at least. Checked here, before an int of 32 bits could overflow.
	if uint64(claim) > uint64(len(data)-width) {
		return msgpackHead{}, fmt.Errorf("%w: it claims %d more of %d bytes", errTruncated, claim, len(data)-width)
	}
	n := int(claim)
	h := msgpackHead{size: 1 + width}
	switch c {
	case msgpcode.Array16, msgpcode.Array32:
		h.container, h.values = true, n
	case msgpcode.Map16, msgpcode.Map32:
		h.container, h.values = true, 2*n
	case msgpcode.Ext8, msgpcode.Ext16, msgpcode.Ext32:
		h.ext, h.size, h.body = true, h.size+1, n
	default:
		h.body = n
	}
	return h, nil
}
