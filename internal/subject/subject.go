// Package subject makes, parses, escapes and validates every subject and name that Hocket puts on the wire.
//
// It is the only place that knows the layout, which DESIGN.md describes under "Names on the wire" and on which access rules
// rest: whoever may publish only `rpc.*.*.billing` cannot make this package produce another caller's token, because user
// input is escaped into exactly one token (or, for dotted names, one token a segment) and never holds a dot, a wildcard or
// a space.
package subject

import (
	"errors"
	"fmt"
	"hash/fnv"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

const (
	// MaxToken is the longest token in bytes, after escaping.
	MaxToken = 128
	// MaxSubject is the longest subject in bytes. The server refuses a protocol line of more than 4096 bytes by closing
	// the connection, and a line carries up to two subjects.
	MaxSubject = 1024
	// Partitions is the number of partitions that keys are spread over. It is part of the stored format and never changes.
	Partitions = 64
	// NoPartition is the partition token of an event without a key.
	NoPartition = "_"
)

// ErrInvalid matches every error of this package.
var ErrInvalid = errors.New("invalid name")

// The first tokens of Hocket's own subjects.
const (
	callRoot      = "rpc"
	replyRoot     = "r"
	cancelRoot    = "cancel"
	heartbeatRoot = "registry"
	eventRoot     = "events"
	signalRoot    = "signal"
	entityRoot    = "es"
)

// An identity is the form of a name that access rules know.
var identity = regexp.MustCompile(`^[a-z0-9][a-z0-9-]{0,62}$`)

// Names makes and parses the subjects of one namespace. The zero value is the namespace without a name. A Names is
// immutable and safe for concurrent use.
type Names struct {
	prefix    string // "" or "<namespace>."
	namespace string
}

// New returns the names of a namespace, "" for none. A namespace has the form of an identity and is none of the first
// tokens that Hocket uses itself, so that one namespace's subjects never lie below another's.
func New(namespace string) (Names, error) {
	if namespace == "" {
		return Names{}, nil
	}
	if err := CheckIdentity("namespace", namespace); err != nil {
		return Names{}, err
	}
	reserved := []string{callRoot, replyRoot, cancelRoot, heartbeatRoot, eventRoot, signalRoot, entityRoot}
	if slices.Contains(reserved, namespace) {
		return Names{}, invalid("namespace", namespace, "is reserved: "+strings.Join(reserved, ", "))
	}
	return Names{prefix: namespace + ".", namespace: namespace}, nil
}

// Prefix is what every subject of the namespace starts with: "" or the namespace and a dot.
func (n Names) Prefix() string { return n.prefix }

// Stream returns the name of a stream, durable or bucket inside the namespace.
func (n Names) Stream(name string) string {
	if n.namespace == "" {
		return name
	}
	return n.namespace + "-" + name
}

// Escape turns any string into one token: letters, digits, '_' and '-' stay, every other byte becomes =XX in upper-case
// hexadecimal, and the empty string becomes "=". Unescape reverses it.
func Escape(s string) string {
	if s == "" {
		return "="
	}
	extra := 0
	for i := range len(s) {
		if !plain(s[i]) {
			extra += 2
		}
	}
	if extra == 0 {
		return s
	}
	const hex = "0123456789ABCDEF"
	b := make([]byte, 0, len(s)+extra)
	for i := range len(s) {
		if c := s[i]; plain(c) {
			b = append(b, c)
		} else {
			b = append(b, '=', hex[c>>4], hex[c&0xF])
		}
	}
	return string(b)
}

// Unescape reverses Escape. A token that Escape would not have made is an error, so that no two tokens mean one name.
func Unescape(token string) (string, error) {
	if token == "=" {
		return "", nil
	}
	if token == "" {
		return "", invalid("token", token, "is empty")
	}
	var b []byte
	for i := 0; i < len(token); i++ {
		c := token[i]
		if plain(c) {
			if b != nil {
				b = append(b, c)
			}
			continue
		}
		if c != '=' || i+2 >= len(token) {
			return "", invalid("token", token, fmt.Sprintf("has %q at byte %d", c, i))
		}
		hi, lo := unhex(token[i+1]), unhex(token[i+2])
		if hi < 0 || lo < 0 || plain(byte(hi<<4|lo)) {
			return "", invalid("token", token, "has the escape "+strconv.Quote(token[i:i+3])+", which is never written")
		}
		if b == nil {
			b = append(make([]byte, 0, len(token)), token[:i]...)
		}
		b = append(b, byte(hi<<4|lo))
		i += 2
	}
	if b == nil {
		return token, nil
	}
	return string(b), nil
}

// EscapePath escapes a dot-separated name segment by segment; an empty segment becomes "=".
func EscapePath(s string) string {
	if s != "" && pathIsPlain(s) {
		return s
	}
	segments := strings.Split(s, ".")
	for i, segment := range segments {
		segments[i] = Escape(segment)
	}
	return strings.Join(segments, ".")
}

// UnescapePath reverses EscapePath.
func UnescapePath(path string) (string, error) {
	if pathIsPlain(path) {
		return path, nil
	}
	segments := strings.Split(path, ".")
	for i, segment := range segments {
		s, err := Unescape(segment)
		if err != nil {
			return "", err
		}
		segments[i] = s
	}
	return strings.Join(segments, "."), nil
}

// CheckName refuses a name that cannot be one token: an empty one, or one longer than [MaxToken] bytes once escaped. The
// kind ("service", "method") is named in the error.
func CheckName(kind, s string) error {
	if s == "" {
		return invalid(kind, s, "is empty")
	}
	if n := len(Escape(s)); n > MaxToken {
		return invalid(kind, s, fmt.Sprintf("is %d bytes once escaped, at most %d", n, MaxToken))
	}
	return nil
}

// CheckPath refuses a dot-separated name with an empty or too long segment, or one that is too long as a whole.
func CheckPath(kind, s string) error {
	for segment := range strings.SplitSeq(s, ".") {
		if segment == "" {
			return invalid(kind, s, "has an empty segment; segments are separated by single dots")
		}
		if n := len(Escape(segment)); n > MaxToken {
			return invalid(kind, s, fmt.Sprintf("has a segment of %d bytes once escaped, at most %d", n, MaxToken))
		}
	}
	if n := len(EscapePath(s)); n > MaxSubject/2 {
		return invalid(kind, s, fmt.Sprintf("is %d bytes once escaped, at most %d", n, MaxSubject/2))
	}
	return nil
}

// CheckIdentity refuses a name that access rules could not name: it must match ^[a-z0-9][a-z0-9-]{0,62}$.
func CheckIdentity(kind, s string) error {
	if !identity.MatchString(s) {
		return invalid(kind, s, "must match "+identity.String())
	}
	return nil
}

// Partition returns the partition token of a key: its FNV-1a hash modulo [Partitions] in decimal, [NoPartition] for "".
func Partition(key string) string {
	if key == "" {
		return NoPartition
	}
	h := fnv.New64a()
	_, _ = h.Write([]byte(key)) // a hash never fails
	return strconv.FormatUint(h.Sum64()%Partitions, 10)
}

func plain(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '_' || c == '-'
}

func pathIsPlain(s string) bool {
	dot := true
	for i := range len(s) {
		switch {
		case s[i] == '.':
			if dot {
				return false
			}
			dot = true
		case plain(s[i]):
			dot = false
		default:
			return false
		}
	}
	return !dot
}

func unhex(c byte) int {
	switch {
	case c >= '0' && c <= '9':
		return int(c - '0')
	case c >= 'A' && c <= 'F':
		return int(c-'A') + 10
	}
	return -1
}

func invalid(kind, value, rule string) error {
	if len(value) > 80 {
		value = value[:80] + "…"
	}
	return fmt.Errorf("%w: %s %q %s", ErrInvalid, kind, value, rule)
}
