package binding

import (
	"strings"
	"unicode/utf8"

	"github.com/nats-io/nats.go"
)

const (
	prefix           = "ce-"
	hSpecVersion     = "ce-specversion"
	hID              = "ce-id"
	hSource          = "ce-source"
	hType            = "ce-type"
	hSubject         = "ce-subject"
	hTime            = "ce-time"
	hDataContentType = "ce-datacontenttype"
	hDataSchema      = "ce-dataschema"
	hexDigits        = "0123456789ABCDEF"
)

// Header returns the headers of the event in binary mode. The event must be valid: [Event.Validate] is the caller's.
// With a message id the header that the broker recognises a repeated message by is added.
//
// A header map of at most eight entries is one group of Go's map and so two allocations; the values share one more.
func (e *Event) Header(messageID string) nats.Header {
	n := 4 // specversion, id, source, type
	for _, s := range [...]string{e.Subject, e.DataContentType, e.DataSchema, messageID} {
		if s != "" {
			n++
		}
	}
	if !e.Time.IsZero() {
		n++
	}
	n += len(e.Extensions)
	w := headerWriter{header: make(nats.Header, n), values: make([]string, 0, n)}
	w.add(hSpecVersion, SpecVersion)
	w.add(hID, escape(e.ID))
	w.add(hSource, escape(e.Source))
	w.add(hType, escape(e.Type))
	if e.Subject != "" {
		w.add(hSubject, escape(e.Subject))
	}
	if !e.Time.IsZero() {
		w.add(hTime, FormatTime(e.Time))
	}
	if e.DataContentType != "" {
		w.add(hDataContentType, escape(e.DataContentType))
	}
	if e.DataSchema != "" {
		w.add(hDataSchema, escape(e.DataSchema))
	}
	for i := range e.Extensions {
		w.add(prefix+e.Extensions[i].Name, escape(e.Extensions[i].Value))
	}
	if messageID != "" {
		w.add(nats.MsgIdHdr, messageID)
	}
	return w.header
}

// headerWriter gives each header a slice of one, cut from a slice of all values.
type headerWriter struct {
	header nats.Header
	values []string
}

func (w *headerWriter) add(name, value string) {
	i := len(w.values)
	w.values = append(w.values, value)
	w.header[name] = w.values[i : i+1 : i+1]
}

// Escape percent-encodes a header value by the rules of the binding: space, double quote, percent, and everything
// outside printable ASCII.
func Escape(s string) string { return escape(s) }

func escape(s string) string {
	if clean(s) {
		return s
	}
	n := 0
	for i := range len(s) {
		if mustEscape(s[i]) {
			n++
		}
	}
	var b strings.Builder
	b.Grow(len(s) + 2*n)
	for i := range len(s) {
		c := s[i]
		if !mustEscape(c) {
			b.WriteByte(c)
			continue
		}
		b.WriteByte('%')
		b.WriteByte(hexDigits[c>>4])
		b.WriteByte(hexDigits[c&0xf])
	}
	return b.String()
}

func mustEscape(c byte) bool { return c <= ' ' || c >= 0x7f || c == '"' || c == '%' }

// unescape reverses escape: first a double-quoted value is unquoted, then one round of percent-decoding is made. What
// an encoder did not need to escape is accepted, and so is UTF-8 that was not escaped at all, since several encoders
// send it. The result is a valid String of the CloudEvents type system.
func unescape(attribute, s string) (string, error) {
	if clean(s) {
		return s, nil
	}
	s = strings.Trim(s, " \t")
	if strings.HasPrefix(s, `"`) {
		var err error
		if s, err = unquote(attribute, s); err != nil {
			return "", err
		}
	}
	if strings.IndexByte(s, '%') >= 0 {
		var err error
		if s, err = percentDecode(attribute, s); err != nil {
			return "", err
		}
		if !utf8.ValidString(s) {
			return "", invalid(attribute, "the percent-encoded value is not valid UTF-8")
		}
	}
	return s, checkString(attribute, s)
}

// unquote reads a quoted-string of RFC 7230, section 3.2.6.
func unquote(attribute, s string) (string, error) {
	b := make([]byte, 0, len(s))
	for i := 1; i < len(s); i++ {
		switch c := s[i]; c {
		case '"':
			if i != len(s)-1 {
				return "", invalid(attribute, "characters follow the quoted value")
			}
			return string(b), nil
		case '\\':
			i++
			if i == len(s) {
				return "", invalid(attribute, "the quoted value is not closed")
			}
			b = append(b, s[i])
		default:
			b = append(b, c)
		}
	}
	return "", invalid(attribute, "the quoted value is not closed")
}

func percentDecode(attribute, s string) (string, error) {
	b := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		if s[i] != '%' {
			b = append(b, s[i])
			continue
		}
		if i+2 >= len(s) {
			return "", invalid(attribute, "a percent sign without two hexadecimal digits")
		}
		hi, ok1 := unhex(s[i+1])
		lo, ok2 := unhex(s[i+2])
		if !ok1 || !ok2 {
			return "", invalid(attribute, "a percent sign without two hexadecimal digits")
		}
		b = append(b, hi<<4|lo)
		i += 2
	}
	return string(b), nil
}

func unhex(c byte) (byte, bool) {
	switch {
	case c >= '0' && c <= '9':
		return c - '0', true
	case c >= 'a' && c <= 'f':
		return c - 'a' + 10, true
	case c >= 'A' && c <= 'F':
		return c - 'A' + 10, true
	default:
		return 0, false
	}
}
