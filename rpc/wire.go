package rpc

import (
	"encoding/json"
	"strings"
	"unicode/utf8"

	"github.com/nats-io/nats.go"
)

// Errors travel in the headers of the NATS micro protocol (ADR-32), so that any tool shows them.
const (
	errorHeader     = "Nats-Service-Error"
	errorCodeHeader = "Nats-Service-Error-Code"
	contentType     = "Content-Type"
	statusHeader    = "Status"
	noResponders    = "503"
)

// formatVersion is the version of what a call looks like on the wire. It is the first byte of a reply subject's last
// token; the codec's name follows. A call that names no reply of ours (a plain one) has no version: JSON in, JSON out.
const formatVersion = '1'

// maxHeaderMessage is how much of an error's message goes into a header. A longer one, or one of several lines, goes into
// the body as a whole.
const maxHeaderMessage = 1024

// errorBody is what does not fit into headers.
type errorBody struct {
	Message string   `json:"message,omitempty"`
	Details []Detail `json:"details,omitempty"`
}

// errorMessage makes the reply that carries an error. Details that do not encode or fit are left out, since the code and
// the message must arrive whatever happens.
func errorMessage(subject string, e *Error, maxPayload int) *nats.Msg {
	line := strings.ToValidUTF8(strings.Join(strings.FieldsFunc(e.Message, isLineBreak), " "), "�")
	if len(line) > maxHeaderMessage {
		line = line[:maxHeaderMessage]
		for !utf8.ValidString(line) {
			line = line[:len(line)-1]
		}
	}
	line = strings.TrimSpace(line)
	if line == "" {
		line = e.Code.String() // an empty header value would read as no error
	}
	msg := &nats.Msg{Subject: subject, Header: nats.Header{errorHeader: {line}, errorCodeHeader: {e.Code.String()}}}
	body := errorBody{Details: e.Details}
	if line != e.Message {
		body.Message = e.Message
	}
	if body.Message == "" && len(body.Details) == 0 {
		return msg
	}
	room := maxPayload - maxHeaderMessage - 256 // what the two headers take
	data, err := json.Marshal(body)
	if err != nil || len(data) > room {
		data, err = json.Marshal(errorBody{Message: body.Message})
	}
	if err == nil && len(data) <= room {
		msg.Data = data
	}
	return msg
}

func isLineBreak(r rune) bool { return r == '\n' || r == '\r' }

// readError returns the error that a reply carries, if it carries one.
func readError(msg *nats.Msg) (*Error, bool) {
	if len(msg.Data) == 0 && msg.Header.Get(statusHeader) == noResponders {
		return &Error{Code: Unavailable, Message: "nobody serves it", cause: nats.ErrNoResponders}, true
	}
	text, code := msg.Header.Get(errorHeader), msg.Header.Get(errorCodeHeader)
	if text == "" && code == "" {
		return nil, false
	}
	e := &Error{Code: parseCode(code), Message: text, remote: true}
	var body errorBody
	if len(msg.Data) > 0 && json.Unmarshal(msg.Data, &body) == nil {
		e.Details = body.Details
		if body.Message != "" {
			e.Message = body.Message
		}
	}
	return e, true
}
