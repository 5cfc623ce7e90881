// Package binding carries CloudEvents 1.0 in NATS messages.
//
// It is the NATS protocol binding of the CloudEvents specification, written by hand: events leave in binary mode (one
// ce- header for each attribute, the data as payload) and arrive in binary or structured JSON mode. [Event] is a lean form
// for the hot path, with the attributes in their canonical string form; [FromSDK] and [Event.SDK] convert it from and
// to the event of the CloudEvents SDK.
//
// Nothing here panics on any input. Every error is an [*AttributeError] or names the part of the message that is wrong.
package binding

import (
	"fmt"
	"mime"
	"net/url"
	"strings"
	"time"
	"unicode/utf8"
)

// SpecVersion is the version of CloudEvents that is written and the only one that is read.
const SpecVersion = "1.0"

// Kind tells a value's type in the CloudEvents type system, as far as a message shows it: binary mode carries strings
// only, structured mode tells booleans and integers apart from them.
type Kind uint8

// The kinds of an attribute. A binary value, a URI and a timestamp are strings in canonical form.
const (
	String Kind = iota
	Boolean
	Integer
)

// Attribute is an extension attribute: a name of lower-case letters and digits, and the value in its canonical form.
type Attribute struct {
	Name  string
	Value string
	Kind  Kind
}

// Event is a CloudEvent. An empty string and a zero time mean that an optional attribute is absent.
type Event struct {
	ID              string
	Source          string
	Type            string
	Subject         string
	DataContentType string
	DataSchema      string
	Time            time.Time
	Extensions      []Attribute
	Data            []byte
}

// Extension returns the value of the extension attribute with that name.
func (e *Event) Extension(name string) (string, bool) {
	for i := range e.Extensions {
		if e.Extensions[i].Name == name {
			return e.Extensions[i].Value, true
		}
	}
	return "", false
}

// SetExtension sets an extension attribute, replacing the one with that name.
func (e *Event) SetExtension(a Attribute) {
	for i := range e.Extensions {
		if e.Extensions[i].Name == a.Name {
			e.Extensions[i] = a
			return
		}
	}
	e.Extensions = append(e.Extensions, a)
}

// AttributeError says which attribute of an event breaks which rule of the specification.
type AttributeError struct {
	Attribute string // the name, without "ce-"
	Reason    string // the rule that it breaks
}

// Error names the attribute and the rule.
func (e *AttributeError) Error() string {
	return fmt.Sprintf("cloudevents: attribute %s: %s", printable(e.Attribute), e.Reason)
}

// printable quotes a name that came from outside unless it is a plain one, and bounds its length.
func printable(s string) string {
	const most = 64
	if len(s) > most {
		return fmt.Sprintf("%q... (%d bytes)", s[:most], len(s))
	}
	if CheckExtensionName(s) == nil || isCore(s) {
		return s
	}
	return fmt.Sprintf("%q", s)
}

func invalid(attribute, format string, args ...any) error {
	return &AttributeError{Attribute: attribute, Reason: fmt.Sprintf(format, args...)}
}

func isCore(name string) bool {
	switch name {
	case "specversion", "id", "source", "type", "subject", "time", "datacontenttype", "dataschema":
		return true
	default:
		return false
	}
}

// CheckExtensionName returns an error unless name can be that of an extension attribute: lower-case letters and digits,
// not a core attribute and not "data".
func CheckExtensionName(name string) error {
	if name == "" {
		return invalid(name, "a name must not be empty")
	}
	for i := range len(name) {
		if c := name[i]; (c < 'a' || c > 'z') && (c < '0' || c > '9') {
			return &AttributeError{Attribute: name, Reason: "a name must consist of the letters a-z and the digits 0-9"}
		}
	}
	if isCore(name) {
		return invalid(name, "an extension must not have the name of a core attribute")
	}
	if name == "data" {
		return &AttributeError{Attribute: name, Reason: "this name is reserved for the event's data"}
	}
	return nil
}

// Validate checks every attribute against the specification.
func (e *Event) Validate() error {
	if e.ID == "" {
		return invalid("id", "required, but missing or empty")
	}
	if e.Source == "" {
		return invalid("source", "required, but missing or empty")
	}
	if e.Type == "" {
		return invalid("type", "required, but missing or empty")
	}
	if err := checkString("id", e.ID); err != nil {
		return err
	}
	if err := checkSource(e.Source); err != nil {
		return err
	}
	if err := checkString("type", e.Type); err != nil {
		return err
	}
	if err := checkString("subject", e.Subject); err != nil {
		return err
	}
	if err := checkContentType(e.DataContentType); err != nil {
		return err
	}
	if err := checkSchema(e.DataSchema); err != nil {
		return err
	}
	if !e.Time.IsZero() {
		if y := e.Time.UTC().Year(); y < 0 || y > 9999 {
			return invalid("time", "the year %d does not fit RFC 3339, which has four digits", y)
		}
	}
	for i := range e.Extensions {
		if err := CheckExtensionName(e.Extensions[i].Name); err != nil {
			return err
		}
		if err := checkString(e.Extensions[i].Name, e.Extensions[i].Value); err != nil {
			return err
		}
		for j := range i {
			if e.Extensions[j].Name == e.Extensions[i].Name {
				return invalid(e.Extensions[i].Name, "appears more than once")
			}
		}
	}
	return nil
}

// checkString returns an error unless s is a String of the CloudEvents type system: valid UTF-8 with no control
// characters and no code points that Unicode calls noncharacters.
func checkString(attribute, s string) error {
	if clean(s) {
		return nil
	}
	if !utf8.ValidString(s) {
		return invalid(attribute, "the value is not valid UTF-8")
	}
	for _, r := range s {
		if r < 0x20 || r >= 0x7f && r <= 0x9f {
			return invalid(attribute, "the value contains the control character %U", r)
		}
		if r >= 0xfdd0 && r <= 0xfdef || r&0xfffe == 0xfffe {
			return invalid(attribute, "the value contains %U, which is no character", r)
		}
	}
	return nil
}

// plainReference reports whether s consists of characters that make a valid relative reference in any order, so that
// the common source, a service's name, needs no parser.
func plainReference(s string) bool {
	for i := range len(s) {
		c := s[i]
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') && (c < 'A' || c > 'Z') && c != '-' && c != '_' && c != '.' && c != '~' {
			return false
		}
	}
	return true
}

func checkSource(s string) error {
	if plainReference(s) {
		return nil
	}
	_, err := parseReference("source", s)
	return err
}

func checkSchema(s string) error {
	if s == "" {
		return nil
	}
	u, err := parseReference("dataschema", s)
	if err != nil {
		return err
	}
	if !u.IsAbs() {
		return invalid("dataschema", "must be an absolute URI")
	}
	return nil
}

// parseReference parses a URI-reference. The character set is checked first, because url.Parse accepts more than
// RFC 3986 does: spaces, quotes, and characters outside ASCII.
func parseReference(attribute, s string) (*url.URL, error) {
	const other = "-._~:/?#[]@!$&'()*+,;=%"
	hashes := 0
	for i := range len(s) {
		c := s[i]
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9':
		case c == '#':
			hashes++
		case strings.IndexByte(other, c) < 0:
			return nil, invalid(attribute, "not a URI-reference: byte 0x%02x at offset %d is not allowed in one", c, i)
		}
	}
	if hashes > 1 {
		return nil, invalid(attribute, "not a URI-reference: more than one fragment")
	}
	u, err := url.Parse(s)
	if err != nil {
		return nil, invalid(attribute, "not a URI-reference")
	}
	return u, nil
}

// checkContentType returns an error unless s is empty or a media type. Plain types, the ones seen all the time, are
// told without a parser.
func checkContentType(s string) error {
	switch s {
	case "", "application/json", "application/protobuf", "application/octet-stream", "text/plain":
		return nil
	}
	if err := checkString("datacontenttype", s); err != nil {
		return err
	}
	media, _, err := mime.ParseMediaType(s)
	if err != nil {
		return invalid("datacontenttype", "not a media type")
	}
	if kind, sub, ok := strings.Cut(media, "/"); !ok || kind == "" || sub == "" {
		return invalid("datacontenttype", "not a media type: no subtype")
	}
	return nil
}
