package events

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/hocket-go/hocket/internal/violation"
)

// callList holds the requests that wait for the broker, so that a permission violation, which the broker reports without
// saying which request it refuses, reaches the one that it is about. A linked list costs a request two short critical
// sections and no allocation; looking through it is left to the violation.
type callList struct {
	mu   sync.Mutex // guards the list and the denials in it
	head *call
}

type call struct {
	prev, next *call
	subject    string // what is published to, or
	api        string // the name in the subject of a request to the JetStream API
	cancel     context.CancelFunc
	denial     error
}

func (l *callList) add(c *call) {
	l.mu.Lock()
	defer l.mu.Unlock()
	c.next = l.head
	if l.head != nil {
		l.head.prev = c
	}
	l.head = c
}

// remove ends a call and returns its denial.
func (l *callList) remove(c *call) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if c.prev != nil {
		c.prev.next = c.next
	} else {
		l.head = c.next
	}
	if c.next != nil {
		c.next.prev = c.prev
	}
	return c.denial
}

func (l *callList) deny(subject string, err error) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	found := false
	for c := l.head; c != nil; c = c.next {
		if c.concerns(subject) {
			c.denial = denied(err)
			c.cancel()
			found = true
		}
	}
	return found
}

func (c *call) concerns(subject string) bool {
	if c.api == "" {
		return c.subject == subject
	}
	return isAPI(subject, c.api)
}

// isAPI reports whether subject is one of the JetStream API that names a stream or consumer.
func isAPI(subject, name string) bool {
	rest, ok := strings.CutPrefix(subject, "$JS.API.")
	if !ok {
		return false
	}
	for token := range strings.SplitSeq(rest, ".") {
		if token == name {
			return true
		}
	}
	return false
}

// request runs one attempt until its deadline and returns its denial, if there was one, in place of its error. Without
// a caller of [Bus.HandleError] the denial shows in the connection's last error, once the attempt has timed out.
func (b *Bus) request(ctx context.Context, deadline time.Time, c *call, fn func(ctx context.Context) error) error {
	ctx, cancel := context.WithDeadline(ctx, deadline)
	defer cancel()
	before := b.nc.LastError()
	c.cancel = cancel
	b.calls.add(c)
	err := fn(ctx)
	if denial := b.calls.remove(c); denial != nil && err != nil {
		return denial
	}
	if err == nil || !errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	last := b.nc.LastError()
	if last == nil || last == before { //nolint:errorlint // the same error again is an old one, a new one only equals it
		return err
	}
	if kind, subj := violation.Of(last); kind == violation.Publish && c.concerns(subj) {
		return denied(last)
	}
	return err
}

// api asks the JetStream API about a stream or consumer, with a timeout for each attempt and again until the context ends,
// because the API drops requests silently while it has no leader.
func (b *Bus) api(ctx context.Context, name string, fn func(ctx context.Context) error) error {
	ctx, cancel := b.bounded(ctx)
	defer cancel()
	start := time.Now()
	for attempt := 1; ; attempt++ {
		err := b.request(ctx, time.Now().Add(b.opts.AttemptTimeout), &call{api: name}, fn)
		if err == nil || !temporary(err, time.Since(start)) {
			return err
		}
		if !backoff(ctx, attempt) {
			return fmt.Errorf("%w (%w)", ended(ctx), err)
		}
	}
}

// temporary reports whether asking the API again may help. Two answers are believed only after a while: that nobody is
// there, which means that the broker has no JetStream, or is just starting or electing; and that a stream cannot be made,
// which the broker also says for a moment while it still removes the files of one that was deleted.
func temporary(err error, since time.Duration) bool {
	const patience = time.Second
	if api, ok := errors.AsType[*jetstream.APIError](err); ok {
		return api.ErrorCode == codeClusterNotAvailable || api.ErrorCode == codeStreamCreate && since < patience
	}
	switch {
	case errors.Is(err, ErrDenied):
		return false
	case errors.Is(err, nats.ErrNoResponders):
		return since < patience
	default:
		return errors.Is(err, context.DeadlineExceeded) || errors.Is(err, nats.ErrTimeout) ||
			errors.Is(err, nats.ErrDisconnected) || errors.Is(err, nats.ErrReconnectBufExceeded)
	}
}
