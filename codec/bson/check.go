package bson

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/hocket-go/hocket/codec"
)

var errMalformed = errors.New("malformed document")

// The shortest of each: an empty document is a length and a zero byte, an empty string likewise.
const (
	lengthSize  = 4
	minDocument = lengthSize + 1
	minString   = lengthSize + 1
	objectID    = 12
)

// check walks a payload before it is decoded: the decoder recurses as deep as documents are nested and allocates for
// strings and binary data what they claim to have.
func check(data []byte, maxDepth int) error {
	if len(data) == 0 {
		return errors.New("the payload is empty, and no document is")
	}
	size, err := documentSize(data)
	if err != nil {
		return err
	}
	if size != len(data) {
		return fmt.Errorf("%w: it claims %d bytes and has %d", errMalformed, size, len(data))
	}
	ends := []int{size} // where each document around the current element ends
	off := lengthSize
	for len(ends) > 0 {
		end := ends[len(ends)-1]
		if kind := data[off]; kind == 0 {
			if off++; off != end {
				return fmt.Errorf("%w: it claims to end at byte %d and ends at %d", errMalformed, end, off)
			}
			ends = ends[:len(ends)-1]
			continue
		}
		key := bytes.IndexByte(data[off+1:end-1], 0)
		if key < 0 {
			return fmt.Errorf("%w: a key has no end", errMalformed)
		}
		kind := bson.Type(data[off])
		off += 1 + key + 1
		// The document ends with a zero byte, which no value may take.
		size, inner, err := valueSize(kind, data[off:end-1])
		if err != nil {
			return err
		}
		if inner == 0 {
			off += size
			continue
		}
		if len(ends) == maxDepth {
			return fmt.Errorf("%w: more than %d levels", codec.ErrTooDeep, maxDepth)
		}
		ends = append(ends, off+size)
		off += inner
	}
	return nil
}

// valueSize returns the size of the value with which data starts. If it has a document in it, inner is where the first
// element of that document starts, and the document ends with the value; else inner is 0.
func valueSize(kind bson.Type, data []byte) (size, inner int, err error) {
	switch kind {
	case bson.TypeEmbeddedDocument, bson.TypeArray:
		size, err = documentSize(data)
		inner = lengthSize
	case bson.TypeCodeWithScope:
		return codeWithScopeSize(data)
	case bson.TypeString, bson.TypeJavaScript, bson.TypeSymbol:
		size, err = stringSize(data)
	case bson.TypeBinary:
		size, err = binarySize(data)
	case bson.TypeDBPointer:
		size, err = stringSize(data)
		size += objectID
	case bson.TypeRegex:
		size, err = regexSize(data)
	case bson.TypeObjectID:
		size = objectID
	case bson.TypeDecimal128:
		size = 16
	case bson.TypeDouble, bson.TypeDateTime, bson.TypeTimestamp, bson.TypeInt64:
		size = 8
	case bson.TypeInt32:
		size = 4
	case bson.TypeBoolean:
		size = 1
	case bson.TypeNull, bson.TypeUndefined, bson.TypeMinKey, bson.TypeMaxKey:
	default:
		return 0, 0, fmt.Errorf("%w: type 0x%02x is not defined", errMalformed, byte(kind))
	}
	if err != nil {
		return 0, 0, err
	}
	if size > len(data) {
		return 0, 0, truncated(size, data)
	}
	return size, inner, nil
}

// claim reads a length and refuses those that data, which starts with it, cannot hold. extra is what comes beside the
// bytes counted, the length itself included.
func claim(data []byte, least, extra int) (int, error) {
	if len(data) < lengthSize {
		return 0, truncated(lengthSize, data)
	}
	n := int32(binary.LittleEndian.Uint32(data))
	if int64(n) < int64(least) || int64(n)+int64(extra) > int64(len(data)) {
		return 0, fmt.Errorf("%w: a value claims %d bytes of %d", errMalformed, n, len(data))
	}
	return int(n), nil
}

// documentSize also sees to the zero byte at the end, so that a walk of the elements always meets it.
func documentSize(data []byte) (int, error) {
	n, err := claim(data, minDocument, 0)
	if err != nil {
		return 0, err
	}
	if data[n-1] != 0 {
		return 0, fmt.Errorf("%w: a document does not end with a zero byte", errMalformed)
	}
	return n, nil
}

func stringSize(data []byte) (int, error) {
	n, err := claim(data, 1, lengthSize)
	if err != nil {
		return 0, err
	}
	if data[lengthSize+n-1] != 0 {
		return 0, fmt.Errorf("%w: a string does not end with a zero byte", errMalformed)
	}
	return lengthSize + n, nil
}

func binarySize(data []byte) (int, error) {
	n, err := claim(data, 0, lengthSize+1)
	if err != nil {
		return 0, err
	}
	// The old subtype has a second length in its data, which the decoder follows, wherever it leads.
	if subtype := data[lengthSize]; subtype == bson.TypeBinaryBinaryOld && n > lengthSize {
		old, err := claim(data[lengthSize+1:], 0, lengthSize)
		if err != nil {
			return 0, err
		}
		if old != n-lengthSize {
			return 0, fmt.Errorf("%w: binary data claims both %d and %d bytes", errMalformed, n-lengthSize, old)
		}
	}
	return lengthSize + 1 + n, nil
}

func regexSize(data []byte) (int, error) {
	pattern := bytes.IndexByte(data, 0)
	if pattern < 0 {
		return 0, fmt.Errorf("%w: a pattern has no end", errMalformed)
	}
	options := bytes.IndexByte(data[pattern+1:], 0)
	if options < 0 {
		return 0, fmt.Errorf("%w: the options of a pattern have no end", errMalformed)
	}
	return pattern + 1 + options + 1, nil
}

func codeWithScopeSize(data []byte) (size, inner int, err error) {
	size, err = claim(data, lengthSize+minString+minDocument, 0)
	if err != nil {
		return 0, 0, err
	}
	code, err := stringSize(data[lengthSize:size])
	if err != nil {
		return 0, 0, err
	}
	scopeAt := lengthSize + code
	if _, err = documentSize(data[scopeAt:size]); err != nil {
		return 0, 0, err
	}
	return size, scopeAt + lengthSize, nil
}

func truncated(need int, data []byte) error {
	return fmt.Errorf("%w: a value needs %d bytes and %d are left", errMalformed, need, len(data))
}
