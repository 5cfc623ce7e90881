// Package outcome holds the one sentinel for outcomes that nobody knows.
//
// A request whose answer did not arrive in time may have been carried out or not. Every public package re-exports
// [ErrUnknown] under its own name, and all of them match each other, so that a caller who works with calls, events and
// keys tests for one thing.
package outcome

import "errors"

// ErrUnknown says that an operation may or may not have taken effect. It is never returned for an operation that
// certainly failed.
var ErrUnknown = errors.New("outcome unknown")
