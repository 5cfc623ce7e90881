package subject

import (
	"fmt"
	"strconv"
	"strings"
)

// PlainCall is where any client of any language calls a method, naming nobody: rpc.<service>.<method>.
func (n Names) PlainCall(service, method string) string {
	return n.prefix + callRoot + "." + Escape(service) + "." + Escape(method)
}

// Call is where caller calls any instance: rpc.<service>.<method>.<caller>.
func (n Names) Call(service, method, caller string) string {
	return n.PlainCall(service, method) + "." + Escape(caller)
}

// CallFilter is what an instance subscribes to in its service's queue group: rpc.<service>.<method>.*.
func (n Names) CallFilter(service, method string) string {
	return n.PlainCall(service, method) + ".*"
}

// InstanceCall is where caller calls one instance: rpc.<service>.<method>.<instance>.<caller>.
func (n Names) InstanceCall(service, method, instance, caller string) string {
	return n.PlainCall(service, method) + "." + Escape(instance) + "." + Escape(caller)
}

// InstanceCallFilter is what an instance subscribes to for itself: rpc.<service>.<method>.<instance>.*.
func (n Names) InstanceCallFilter(service, method, instance string) string {
	return n.PlainCall(service, method) + "." + Escape(instance) + ".*"
}

// Call is a call's subject in parts, unescaped. Instance and Caller are empty where the subject does not name them.
type Call struct {
	Service, Method, Instance, Caller string
}

// ParseCall takes a subject apart that Call, PlainCall or InstanceCall made.
func (n Names) ParseCall(subject string) (Call, error) {
	tokens, err := n.tokens(subject, callRoot, 2, 4)
	if err != nil {
		return Call{}, err
	}
	c := Call{Service: tokens[0], Method: tokens[1]}
	if len(tokens) == 4 {
		c.Instance = tokens[2]
	}
	if len(tokens) > 2 {
		c.Caller = tokens[len(tokens)-1]
	}
	return c, nil
}

// ReplyPrefix is what all reply subjects of one caller's connection to one service begin with, the last dot included:
// r.<service>.<caller>.<connection>.
func (n Names) ReplyPrefix(service, caller, connection string) string {
	return n.prefix + replyRoot + "." + Escape(service) + "." + Escape(caller) + "." + Escape(connection) + "."
}

// ReplyFilter is what a caller subscribes to for all its replies on one connection: r.*.<caller>.<connection>.>.
func (n Names) ReplyFilter(caller, connection string) string {
	return n.prefix + replyRoot + ".*." + Escape(caller) + "." + Escape(connection) + ".>"
}

// ReplyGrant is what a service needs to publish to answer its callers: r.<service>.>.
func (n Names) ReplyGrant(service string) string {
	return n.prefix + replyRoot + "." + Escape(service) + ".>"
}

// Reply is a reply subject in parts. The names are still escaped, since they are only compared; the other parts are
// written by a client's library and are plain.
type Reply struct {
	Service, Caller, Connection string
	// Sequence tells the calls of one connection apart.
	Sequence string
	// TimeLeft is how long the caller still waits, in milliseconds, 0 for no deadline.
	TimeLeft int64
	// Codec is the format version and the name of the codec.
	Codec string
	// Key is the part that names one call of one connection: <caller>.<connection>.<sequence>.
	Key string
}

// AppendReply appends to a prefix that ReplyPrefix made the parts that change from call to call.
func AppendReply(prefix []byte, sequence uint64, timeLeft int64, codec string) []byte {
	b := strconv.AppendUint(prefix, sequence, 36)
	b = append(b, '.')
	b = strconv.AppendInt(b, timeLeft, 10)
	b = append(b, '.')
	return append(b, codec...)
}

// ParseReply takes a reply subject apart. It allocates nothing: it runs for every call.
func (n Names) ParseReply(subject string) (Reply, bool) {
	rest, ok := strings.CutPrefix(subject, n.prefix)
	if !ok {
		return Reply{}, false
	}
	rest, ok = strings.CutPrefix(rest, replyRoot+".")
	if !ok {
		return Reply{}, false
	}
	var r Reply
	var left string
	if r.Service, rest, ok = strings.Cut(rest, "."); !ok {
		return Reply{}, false
	}
	key := rest
	r.Caller, rest, _ = strings.Cut(rest, ".")
	r.Connection, rest, _ = strings.Cut(rest, ".")
	r.Sequence, rest, _ = strings.Cut(rest, ".")
	left, r.Codec, ok = strings.Cut(rest, ".")
	if !ok || r.Service == "" || r.Caller == "" || r.Connection == "" || r.Sequence == "" || !isPlainToken(r.Codec) {
		return Reply{}, false
	}
	r.Key = key[:len(r.Caller)+len(r.Connection)+len(r.Sequence)+2]
	ms, err := strconv.ParseUint(left, 10, 53)
	if err != nil {
		return Reply{}, false
	}
	r.TimeLeft = int64(ms)
	return r, true
}

// Cancel is where a caller says that it no longer waits for a call: cancel.<service>.<caller>.<connection>.<sequence>,
// read by every instance, since the caller does not know which of them has the call.
func (n Names) Cancel(service, caller, connection string, sequence uint64) string {
	return n.prefix + cancelRoot + "." + Escape(service) + "." + Escape(caller) + "." + Escape(connection) + "." +
		strconv.FormatUint(sequence, 36)
}

// CancelFilter is what a service subscribes to: cancel.<service>.*.*.*.
func (n Names) CancelFilter(service string) string { return n.cancelPrefix(service) + "*.*.*" }

// CancelKey returns the part of a cancel subject that equals [Reply.Key] of the call.
func (n Names) CancelKey(service, subject string) (string, bool) {
	return strings.CutPrefix(subject, n.cancelPrefix(service))
}

func (n Names) cancelPrefix(service string) string {
	return n.prefix + cancelRoot + "." + Escape(service) + "."
}

// Heartbeat is where an instance says that it lives: registry.<service>.<instance>.
func (n Names) Heartbeat(service, instance string) string {
	return n.prefix + heartbeatRoot + "." + Escape(service) + "." + Escape(instance)
}

// Event is where a stored event is published: events.<source>.<partition>.<type…>.
func (n Names) Event(source, partition, typ string) (string, error) {
	if err := CheckName("event source", source); err != nil {
		return "", err
	}
	if err := checkPartition(partition); err != nil {
		return "", err
	}
	if err := CheckPath("event type", typ); err != nil {
		return "", err
	}
	return n.checked(n.prefix + eventRoot + "." + Escape(source) + "." + partition + "." + EscapePath(typ))
}

// EventFilter is what reads a type from every source: events.*.*.<type…>.
func (n Names) EventFilter(typ string) (string, error) {
	if err := CheckPath("event type", typ); err != nil {
		return "", err
	}
	return n.checked(n.prefix + eventRoot + ".*.*." + EscapePath(typ))
}

// Events is the subject of all stored events: events.>.
func (n Names) Events() string { return n.prefix + eventRoot + ".>" }

// Event is an event's subject in parts, unescaped. Partition is empty for signals.
type Event struct {
	Source, Partition, Type string
}

// ParseEvent takes a subject apart that Event made.
func (n Names) ParseEvent(subject string) (Event, bool) {
	source, rest, ok := n.sourced(subject, eventRoot)
	if !ok {
		return Event{}, false
	}
	partition, path, _ := strings.Cut(rest, ".")
	if checkPartition(partition) != nil {
		return Event{}, false
	}
	typ, err := UnescapePath(path)
	if err != nil || CheckPath("event type", typ) != nil {
		return Event{}, false
	}
	return Event{Source: source, Partition: partition, Type: typ}, true
}

// Signal is where an event that is not stored is published: signal.<source>.<type…>.
func (n Names) Signal(source, typ string) (string, error) {
	if err := CheckName("event source", source); err != nil {
		return "", err
	}
	if err := CheckPath("event type", typ); err != nil {
		return "", err
	}
	return n.checked(n.prefix + signalRoot + "." + Escape(source) + "." + EscapePath(typ))
}

// SignalFilter is what reads a type from every source: signal.*.<type…>.
func (n Names) SignalFilter(typ string) (string, error) {
	if err := CheckPath("event type", typ); err != nil {
		return "", err
	}
	return n.checked(n.prefix + signalRoot + ".*." + EscapePath(typ))
}

// ParseSignal takes a subject apart that Signal made.
func (n Names) ParseSignal(subject string) (Event, bool) {
	source, path, ok := n.sourced(subject, signalRoot)
	if !ok {
		return Event{}, false
	}
	typ, err := UnescapePath(path)
	if err != nil || CheckPath("event type", typ) != nil {
		return Event{}, false
	}
	return Event{Source: source, Type: typ}, true
}

// Entity is where the commits of one event-sourced entity are stored: es.<aggregate>.<id>. Any id is one token.
func (n Names) Entity(aggregate, id string) (string, error) {
	if err := CheckName("aggregate", aggregate); err != nil {
		return "", err
	}
	if err := CheckName("entity id", id); err != nil {
		return "", err
	}
	return n.checked(n.prefix + entityRoot + "." + Escape(aggregate) + "." + Escape(id))
}

// Key is where the broker keeps a key of a bucket: $KV.<bucket>.<key>. The layout is the standard one, so that the
// namespace is in the bucket's name and not before the subject.
func (n Names) Key(bucket, key string) (string, error) {
	if err := CheckName("bucket", bucket); err != nil {
		return "", err
	}
	if key == "" {
		return "", invalid("key", key, "is empty")
	}
	return n.checked("$KV." + n.Stream(Escape(bucket)) + "." + EscapePath(key))
}

func (n Names) sourced(subject, root string) (source, rest string, ok bool) {
	rest, ok = strings.CutPrefix(subject, n.prefix)
	if !ok {
		return "", "", false
	}
	rest, ok = strings.CutPrefix(rest, root+".")
	if !ok {
		return "", "", false
	}
	token, rest, ok := strings.Cut(rest, ".")
	if !ok {
		return "", "", false
	}
	source, err := Unescape(token)
	return source, rest, err == nil && source != ""
}

func (n Names) tokens(subject, root string, least, most int) ([]string, error) {
	rest, ok := strings.CutPrefix(subject, n.prefix+root+".")
	if !ok {
		return nil, invalid("subject", subject, "does not start with "+n.prefix+root)
	}
	tokens := strings.Split(rest, ".")
	if len(tokens) < least || len(tokens) > most {
		return nil, invalid("subject", subject, fmt.Sprintf("has %d tokens after %s, not %d to %d", len(tokens), root, least, most))
	}
	for i, token := range tokens {
		s, err := Unescape(token)
		if err != nil {
			return nil, err
		}
		tokens[i] = s
	}
	return tokens, nil
}

func (n Names) checked(subject string) (string, error) {
	if len(subject) > MaxSubject {
		return "", invalid("subject", subject, fmt.Sprintf("is %d bytes, at most %d", len(subject), MaxSubject))
	}
	return subject, nil
}

func checkPartition(token string) error {
	if token == NoPartition {
		return nil
	}
	if p, err := strconv.ParseUint(token, 10, 8); err != nil || p >= Partitions || strconv.FormatUint(p, 10) != token {
		return invalid("partition", token, fmt.Sprintf("is neither %q nor a number below %d", NoPartition, Partitions))
	}
	return nil
}

func isPlainToken(s string) bool {
	for i := range len(s) {
		if !plain(s[i]) {
			return false
		}
	}
	return s != ""
}
