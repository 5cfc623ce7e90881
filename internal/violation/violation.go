// Package violation reads the broker's refusals. The protocol has no other form for them than the text of an error, in which
// the subject is quoted, and nats.go goes by that text too; tests hold it against the pinned server.
package violation

import (
	"errors"
	"strings"

	"github.com/nats-io/nats.go"
)

// Kind is what was refused.
type Kind int

// What can be refused.
const (
	None         Kind = iota // the error is no refusal
	Publish                  // publishing to a subject
	Subscription             // subscribing to one
)

// Of returns what was refused by an error that a connection reported, and the subject.
func Of(err error) (Kind, string) {
	if !errors.Is(err, nats.ErrPermissionViolation) {
		return None, ""
	}
	for kind, text := range map[Kind]string{Publish: " for publish to ", Subscription: " for subscription to "} {
		at := strings.Index(strings.ToLower(err.Error()), text)
		if at < 0 {
			continue
		}
		_, rest, _ := strings.Cut(err.Error()[at:], `"`)
		if subject, _, closed := strings.Cut(rest, `"`); closed {
			return kind, subject
		}
	}
	return None, ""
}
