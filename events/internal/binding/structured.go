package binding

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

const jsonContentType = "application/json"

// decodeStructured reads an event in the JSON event format. What headers said about attributes is forgotten.
func (e *Event) decodeStructured(media string, payload []byte) error {
	var d structuredDecoder // by value, so that a binary event, which comes far more often, stays off the heap
	if err := d.decode(media, payload); err != nil {
		return err
	}
	*e = d.event
	return nil
}

// structuredDecoder is an event of which some members are read.
type structuredDecoder struct {
	event            Event
	seen             uint
	nulls            []string // attributes that are null, the same as absent
	data, dataBase64 json.RawMessage
}

func (d *structuredDecoder) decode(media string, payload []byte) error {
	switch media {
	case "application/cloudevents", "application/cloudevents+json":
	case "application/cloudevents-batch", "application/cloudevents-batch+json":
		return undecodable("%s: a batch is not one event", media)
	default:
		return undecodable("the event format %q is not supported, only application/cloudevents+json is", bounded(media))
	}
	if !utf8.Valid(payload) {
		return undecodable("structured event: not valid UTF-8")
	}
	dec := json.NewDecoder(bytes.NewReader(payload))
	if t, err := dec.Token(); err != nil || t != json.Delim('{') {
		return undecodable("structured event: not a JSON object")
	}
	for dec.More() {
		t, err := dec.Token()
		if err != nil {
			return notJSON(err)
		}
		name, ok := t.(string)
		if !ok {
			return undecodable("structured event: not a JSON object")
		}
		var raw json.RawMessage
		if err := dec.Decode(&raw); err != nil {
			return notJSON(err)
		}
		if err := d.member(name, raw); err != nil {
			return err
		}
	}
	if err := closeObject(dec); err != nil {
		return err
	}
	return d.finish()
}

func (d *structuredDecoder) member(name string, raw json.RawMessage) error {
	switch name {
	case "data":
		if d.data != nil {
			return undecodable("structured event: data appears more than once")
		}
		d.data = raw
		return nil
	case "data_base64":
		if d.dataBase64 != nil {
			return undecodable("structured event: data_base64 appears more than once")
		}
		d.dataBase64 = raw
		return nil
	}
	if !isNull(raw) {
		return d.event.setMember(name, raw, &d.seen)
	}
	if slices.Contains(d.nulls, name) {
		return invalid(name, "appears more than once")
	}
	d.nulls = append(d.nulls, name)
	if isCore(name) {
		return nil
	}
	return CheckExtensionName(name)
}

func (d *structuredDecoder) finish() error {
	if d.seen&seenSpecVersion == 0 {
		return invalid("specversion", "required, but missing")
	}
	if err := d.event.require(d.seen); err != nil {
		return err
	}
	return d.event.setData(d.data, d.dataBase64)
}

func closeObject(dec *json.Decoder) error {
	if _, err := dec.Token(); err != nil {
		return notJSON(err)
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return undecodable("structured event: more than one JSON value")
	}
	return nil
}

func notJSON(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return undecodable("structured event: the JSON ends too early")
	}
	return undecodable("structured event: not valid JSON: %s", bounded(err.Error()))
}

func isNull(raw json.RawMessage) bool { return string(raw) == "null" }

// setMember sets an attribute from a member of the JSON object.
func (e *Event) setMember(name string, raw json.RawMessage, seen *uint) error {
	a := Attribute{Name: name}
	switch raw[0] {
	case '"':
		s, err := jsonString(name, raw)
		if err != nil {
			return err
		}
		a.Value = s
	case 't', 'f':
		a.Value, a.Kind = string(raw), Boolean
	case '{', '[':
		return invalid(name, "an object or array is no attribute value")
	default:
		n, err := strconv.ParseInt(string(raw), 10, 32)
		if err != nil {
			return invalid(name, "the number %s is not an integer of 32 bits", bounded(string(raw)))
		}
		a.Value, a.Kind = strconv.FormatInt(n, 10), Integer
	}
	if a.Kind != String && isCore(name) {
		return invalid(name, "must be a string")
	}
	if err := checkString(name, a.Value); err != nil {
		return err
	}
	return e.set(a, seen)
}

// jsonString decodes a JSON string. encoding/json replaces half a surrogate pair silently, the specification calls it
// invalid.
func jsonString(name string, raw json.RawMessage) (string, error) {
	var s string
	if err := json.Unmarshal(raw, &s); err != nil {
		return "", invalid(name, "not a JSON string")
	}
	if strings.Contains(s, "\uFFFD") && bytes.IndexByte(raw, '\\') >= 0 && halfSurrogate(raw) {
		return "", invalid(name, "the value contains half a surrogate pair")
	}
	return s, nil
}

// halfSurrogate reports whether a valid JSON string contains an escaped surrogate without its other half.
func halfSurrogate(raw []byte) bool {
	for i := 0; i < len(raw); i++ {
		if raw[i] != '\\' {
			continue
		}
		i++ // the escaped character; a valid string does not end with a backslash
		if i >= len(raw) || raw[i] != 'u' {
			continue
		}
		switch unit := codeUnit(raw, i+1); {
		case unit >= 0xdc00 && unit <= 0xdfff:
			return true
		case unit >= 0xd800 && unit <= 0xdbff:
			if i+6 >= len(raw) || raw[i+5] != '\\' || raw[i+6] != 'u' {
				return true
			}
			if low := codeUnit(raw, i+7); low < 0xdc00 || low > 0xdfff {
				return true
			}
			i += 6
		}
	}
	return false
}

func codeUnit(raw []byte, at int) uint64 {
	if at+4 > len(raw) {
		return 0
	}
	n, err := strconv.ParseUint(string(raw[at:at+4]), 16, 32)
	if err != nil {
		return 0
	}
	return n
}

// setData sets the data from the members data and data_base64. Without a content type a data member is JSON and says
// so from now on; a data_base64 member is bytes of which nothing is known.
func (e *Event) setData(data, dataBase64 json.RawMessage) error {
	switch {
	case data != nil && dataBase64 != nil:
		return undecodable("structured event: both data and data_base64")
	case dataBase64 != nil:
		if isNull(dataBase64) {
			return nil
		}
		var s string
		if err := json.Unmarshal(dataBase64, &s); err != nil {
			return undecodable("structured event: data_base64 is not a string")
		}
		b, err := base64.StdEncoding.Strict().DecodeString(s)
		if err != nil {
			return undecodable("structured event: data_base64 is not base64")
		}
		e.Data = b
	case data != nil:
		if e.DataContentType == "" {
			e.DataContentType = jsonContentType
		}
		if isJSON(e.DataContentType) {
			e.Data = data
			return nil
		}
		if isNull(data) {
			return nil
		}
		var s string
		if err := json.Unmarshal(data, &s); err != nil {
			return undecodable("structured event: data of content type %q must be a string", bounded(e.DataContentType))
		}
		e.Data = []byte(s)
	}
	return nil
}

// isJSON reports whether a content type declares JSON: its subtype is json or ends with +json.
func isJSON(contentType string) bool {
	_, sub, ok := strings.Cut(mediaType(contentType), "/")
	return ok && (sub == "json" || strings.HasSuffix(sub, "+json"))
}
