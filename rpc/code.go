package rpc

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// Code says how a call ended. The values and their meaning are gRPC's canonical codes
// (https://grpc.io/docs/guides/status-codes/).
type Code uint8

// The canonical codes.
const (
	OK                 Code = 0  // it succeeded; no error has this code
	Canceled           Code = 1  // the caller gave up
	Unknown            Code = 2  // a handler's error that has no code of its own
	InvalidArgument    Code = 3  // the request is wrong, whatever the state of the system; also one that does not decode
	DeadlineExceeded   Code = 4  // it was not done in time
	NotFound           Code = 5  // what was asked for does not exist
	AlreadyExists      Code = 6  // what was to be made exists
	PermissionDenied   Code = 7  // the caller may not do this
	ResourceExhausted  Code = 8  // a limit was reached: a quota, the server's queue, the size of a message
	FailedPrecondition Code = 9  // the system is not in the state that this needs
	Aborted            Code = 10 // a conflict with another operation; worth trying again from the start
	OutOfRange         Code = 11 // past the end of something
	Unimplemented      Code = 12 // the service has no such method, codec or format
	Internal           Code = 13 // a defect: a panic, or a reply that does not encode or decode
	Unavailable        Code = 14 // nobody serves it now; later somebody may
	DataLoss           Code = 15 // stored data is lost or damaged
	Unauthenticated    Code = 16 // who the caller is could not be established
)

const maxCode = Unauthenticated

var codeNames = [...]string{ //nolint:gochecknoglobals // a constant table
	"OK", "Canceled", "Unknown", "InvalidArgument", "DeadlineExceeded", "NotFound", "AlreadyExists", "PermissionDenied",
	"ResourceExhausted", "FailedPrecondition", "Aborted", "OutOfRange", "Unimplemented", "Internal", "Unavailable",
	"DataLoss", "Unauthenticated",
}

// String returns the code's name as in this package, "InvalidArgument" for example.
func (c Code) String() string {
	if c > maxCode {
		return fmt.Sprintf("Code(%d)", uint8(c))
	}
	return codeNames[c]
}

// CodeOf returns the code of an error: that of the first [*Error] in its tree, [DeadlineExceeded] and [Canceled] for the
// errors of package context, [OK] for nil, [Unknown] for any other.
func CodeOf(err error) Code {
	if err == nil {
		return OK
	}
	if e, ok := errors.AsType[*Error](err); ok {
		if e == nil {
			return Unknown
		}
		return e.Code
	}
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		return DeadlineExceeded
	case errors.Is(err, context.Canceled):
		return Canceled
	}
	return Unknown
}

// parseCode reads a code off the wire: our names, gRPC's upper-case names and numbers, and the HTTP statuses that
// services written with other NATS libraries answer with. What says nothing is Unknown.
func parseCode(s string) Code {
	folded := strings.ReplaceAll(s, "_", "")
	for i, name := range codeNames {
		if strings.EqualFold(folded, name) && i != int(OK) {
			return Code(i)
		}
	}
	n, err := strconv.Atoi(s)
	if err != nil {
		return Unknown
	}
	if n > int(OK) && n <= int(maxCode) {
		return Code(n)
	}
	switch n {
	case 400:
		return InvalidArgument
	case 401:
		return Unauthenticated
	case 403:
		return PermissionDenied
	case 404:
		return NotFound
	case 408, 504:
		return DeadlineExceeded
	case 409:
		return AlreadyExists
	case 412:
		return FailedPrecondition
	case 413, 429:
		return ResourceExhausted
	case 499:
		return Canceled
	case 501:
		return Unimplemented
	case 503:
		return Unavailable
	}
	switch n / 100 {
	case 4:
		return FailedPrecondition
	case 5:
		return Internal
	}
	return Unknown
}
