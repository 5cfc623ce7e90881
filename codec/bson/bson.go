// Package bson is the BSON format for package codec. It is a package of its own so that only programs that import it link
// the MongoDB driver's encoder.
//
//	set, err := codec.Default().With(bson.BSON())
package bson

import (
	"bytes"
	"errors"
	"fmt"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/hocket-go/hocket/codec"
)

// BSON returns the format "bson", application/bson, also for application/x-bson.
//
// BSON encodes documents: structs, maps with string keys, bson.D and the like, and pointers to them; a value of any other
// type is [codec.ErrUnsupportedType]. Field names come from `bson` struct tags, else from `json` ones, else they are the
// field's name in lower case. Times are kept to the millisecond. Decoded into an `any`, a document is a map[string]any, an
// array a bson.A and binary data a []byte. An empty payload is an error. The format is safe for concurrent use.
func BSON() codec.Format {
	return codec.MustFormat("bson", "application/bson", bsonCodec{}, "application/x-bson")
}

type bsonCodec struct {
	maxDepth int
}

func (bsonCodec) LimitDepth(levels int) codec.Codec { return bsonCodec{maxDepth: levels} }

func (bsonCodec) Marshal(v any) ([]byte, error) {
	var buf bytes.Buffer
	enc := bson.NewEncoder(bson.NewDocumentWriter(&buf))
	enc.UseJSONStructTags()
	if err := enc.Encode(v); err != nil {
		return nil, notDocument(err)
	}
	return buf.Bytes(), nil
}

func (c bsonCodec) Unmarshal(data []byte, v any) error {
	if err := check(data, c.maxDepth); err != nil {
		return err
	}
	dec := bson.NewDecoder(bson.NewDocumentReader(bytes.NewReader(data)))
	dec.UseJSONStructTags()
	dec.DefaultDocumentMap()
	dec.BinaryAsSlice()
	return notDocument(dec.Decode(v))
}

// notDocument adds to an error that comes of reading or writing something else than a document what is wrong in our words:
// the library tells of the state of its reader or writer.
func notDocument(err error) error {
	if _, ok := errors.AsType[bson.TransitionError](err); ok {
		return fmt.Errorf("%w: not a document, which is a struct or a map: %w", codec.ErrUnsupportedType, err)
	}
	return err
}
