// Package codec turns Go values into payloads and back, by name or by content type.
//
// A [Format] is a wire format with its name and its content type: [JSON], [Proto], [MsgPack], [CBOR], [Text], [Bytes], BSON
// in the subpackage codec/bson, and your own made of any [Codec] by [NewFormat]. A [Set] holds those that a program
// speaks. There is no global registry: what is not in the set is not decoded.
//
//	set, err := codec.Default().With(bson.BSON())      // the light ones, and one more
//	f, err := set.ByContentType("application/cbor")    // errors.Is(err, codec.ErrUnknownFormat)
//	data, err := f.Marshal(order)
//	err = f.Unmarshal(data, &order)                    // "codec: cbor: decode into shop.Order: …"
//
// # Guarantees
//
// Formats and sets are immutable and safe for concurrent use. A value decoded keeps no reference to the payload. Whatever
// bytes come in, decoding them ends with a value or an error: the size and the nesting of a payload are bounded ([Limits]),
// a length that a payload claims is believed only as far as there are bytes behind it, and bytes after the value are an
// error. A failed decode may leave the target half filled.
//
// # One struct, every format
//
// MsgPack, CBOR and BSON read `json` struct tags where a field has no tag of their own, so one struct works with all of
// them. What a format cannot carry it changes or refuses: BSON carries documents (structs and maps) only and times to the
// millisecond; MsgPack keeps the instant of a time but not its zone; Proto carries protobuf messages only, Text strings,
// Bytes byte slices. Decoded into an `any`, a map is a map[string]any in every format but numbers have the type that the
// format's library gives them. The same value always has the same bytes in JSON; the other formats do not promise it.
//
// # Empty payloads
//
// An empty payload is what a shell user sends to a method without arguments (nats req rpc.orders.List "").
//
//   - JSON leaves the target as it is: the zero value, for a fresh one.
//   - Proto decodes it as the empty message, which has no other encoding.
//   - Text gives the empty string, Bytes an empty slice that is not nil.
//   - MsgPack, CBOR and BSON have no empty value: it is an error.
package codec
