package binding

import (
	"fmt"
	"strings"

	"github.com/nats-io/nats.go"
)

// DecodeError says that a message as a whole is not an event that can be read.
type DecodeError struct{ Reason string }

// Error says what is wrong with the message.
func (e *DecodeError) Error() string { return "cloudevents: " + e.Reason }

func undecodable(format string, args ...any) error {
	return &DecodeError{Reason: fmt.Sprintf(format, args...)}
}

// Decode reads an event in binary or structured mode into e, which must be zero. The data of a binary event is the
// message's payload itself, not a copy.
//
// The mode follows from the Content-Type header alone, as the specification has it. In binary mode a message without a
// datacontenttype attribute falls back to its Content-Type, which the HTTP binding would use and some producers copy.
func Decode(e *Event, h nats.Header, payload []byte) error {
	var seen uint
	contentType, hasContentType := "", false
	for name, values := range h {
		if len(values) == 1 && clean(values[0]) && e.setFast(name, values[0], &seen) {
			continue
		}
		if len(name) <= len(prefix) || (name[0]|0x20) != 'c' || (name[1]|0x20) != 'e' || name[2] != '-' {
			if len(name) == len("Content-Type") && strings.EqualFold(name, "Content-Type") && len(values) > 0 {
				contentType, hasContentType = values[0], true
			}
			continue
		}
		// A structured message may repeat attributes as headers, which are not the event then; so errors wait below.
		if err := e.setHeader(name[len(prefix):], values, &seen); err != nil {
			if structured(h) {
				continue
			}
			return err
		}
	}
	if hasContentType {
		media := mediaType(contentType)
		if strings.HasPrefix(media, "application/cloudevents") {
			return e.decodeStructured(media, payload)
		}
		if e.DataContentType == "" {
			// A guess that is no media type is no event's fault.
			if value := strings.Trim(contentType, " \t"); checkContentType(value) == nil {
				e.DataContentType = value
			}
		}
	}
	if seen&seenSpecVersion == 0 {
		return invalid("specversion", "required, but missing")
	}
	e.Data = payload
	return e.require(seen)
}

// structured reports whether the headers name the structured mode.
func structured(h nats.Header) bool {
	for name, values := range h {
		if strings.EqualFold(name, "Content-Type") && len(values) > 0 {
			return strings.HasPrefix(mediaType(values[0]), "application/cloudevents")
		}
	}
	return false
}

const (
	seenSpecVersion = 1 << iota
	seenID
	seenSource
	seenType
	seenSubject
	seenTime
	seenDataContentType
	seenDataSchema
)

func (e *Event) require(seen uint) error {
	switch {
	case seen&seenID == 0:
		return invalid("id", "required, but missing")
	case seen&seenSource == 0:
		return invalid("source", "required, but missing")
	case seen&seenType == 0:
		return invalid("type", "required, but missing")
	default:
		return nil
	}
}

// setHeader sets the attribute that a header carries; name is the header's without its prefix, in any case.
func (e *Event) setHeader(name string, values []string, seen *uint) error {
	name = lower(name)
	if len(values) != 1 {
		return invalid(name, "appears %d times", len(values))
	}
	value, err := unescape(name, values[0])
	if err != nil {
		return err
	}
	return e.set(Attribute{Name: name, Value: value}, seen)
}

// setFast sets an attribute from a header as this package writes it and reports whether it did. Everything unusual is left
// to setHeader, errors included.
func (e *Event) setFast(name, value string, seen *uint) bool {
	if value == "" {
		return false
	}
	var bit uint
	switch name {
	case hSpecVersion:
		if value == SpecVersion {
			bit = seenSpecVersion
		}
	case hID:
		bit, e.ID = seenID, value
	case hSource:
		if plainReference(value) {
			bit, e.Source = seenSource, value
		}
	case hType:
		bit, e.Type = seenType, value
	case hTime:
		if t, ok := rfc3339(value); ok {
			bit, e.Time = seenTime, t
		}
	case hDataContentType:
		if checkContentType(value) == nil {
			bit, e.DataContentType = seenDataContentType, value
		}
	case nats.MsgIdHdr:
		return true // no attribute
	}
	if bit == 0 || *seen&bit != 0 {
		return false
	}
	*seen |= bit
	return true
}

// set sets one attribute and checks it; its value is a valid String already.
func (e *Event) set(a Attribute, seen *uint) error {
	var bit uint
	var field *string
	switch a.Name {
	case "specversion":
		if a.Value != SpecVersion {
			return invalid(a.Name, "%q is not supported, only %s is", bounded(a.Value), SpecVersion)
		}
		bit = seenSpecVersion
	case "id":
		bit, field = seenID, &e.ID
	case "source":
		if err := checkSource(a.Value); err != nil {
			return err
		}
		bit, field = seenSource, &e.Source
	case "type":
		bit, field = seenType, &e.Type
	case "subject":
		bit, field = seenSubject, &e.Subject
	case "time":
		t, err := parseTime(a.Value)
		if err != nil {
			return err
		}
		e.Time, bit = t, seenTime
	case "datacontenttype":
		if err := checkContentType(a.Value); err != nil {
			return err
		}
		bit, field = seenDataContentType, &e.DataContentType
	case "dataschema":
		if err := checkSchema(a.Value); err != nil {
			return err
		}
		bit, field = seenDataSchema, &e.DataSchema
	default:
		return e.addExtension(a)
	}
	if a.Value == "" {
		return invalid(a.Name, "must not be empty")
	}
	if *seen&bit != 0 {
		return invalid(a.Name, "appears more than once")
	}
	*seen |= bit
	if field != nil {
		*field = a.Value
	}
	return nil
}

func (e *Event) addExtension(a Attribute) error {
	if err := CheckExtensionName(a.Name); err != nil {
		return err
	}
	if _, ok := e.Extension(a.Name); ok {
		return invalid(a.Name, "appears more than once")
	}
	e.Extensions = append(e.Extensions, a)
	return nil
}

// bounded cuts a value from outside before it goes into an error.
func bounded(s string) string {
	const most = 64
	if len(s) > most {
		return s[:most] + "..."
	}
	return s
}

// lower returns s in lower case, s itself when it is already: strings.ToLower looks at Unicode first.
func lower(s string) string {
	for i := range len(s) {
		if c := s[i]; c >= 'A' && c <= 'Z' || c >= 0x80 {
			return strings.ToLower(s)
		}
	}
	return s
}

// mediaType returns a content type without its parameters, in lower case.
func mediaType(s string) string {
	media, _, _ := strings.Cut(s, ";")
	return lower(strings.Trim(media, " \t"))
}
