// Package events publishes typed events and subscribes to them, over NATS JetStream, as CloudEvents 1.0.
//
// An event type is a value, a [Type], that publishers and subscribers import. A [Bus] is this process's part: a connection
// and the name under which it publishes.
//
//	var Placed = events.NewType[OrderPlaced]("shop.order.placed")
//
//	bus, err := events.New(nc, "orders", nil)      // nc is a *nats.Conn; a hocket.Service has a bus already
//	defer bus.Close()
//
//	sub, err := Placed.Subscribe(ctx, bus, "billing", func(ctx context.Context, e events.Event[OrderPlaced]) error {
//		return charge(ctx, e.ID, e.Data)           // nil acknowledges, an error has the event delivered again
//	})
//	receipt, err := Placed.Publish(ctx, bus, OrderPlaced{OrderID: "o-1"})
//
// What is promised:
//
//   - Publish returns once the event is stored, with its place in the stream. One that did not learn in time says so:
//     [ErrUnknown], with the id to try again with. An id is stored once while the broker remembers it, 2 minutes by default.
//   - A full stream refuses new events ([ErrStreamFull]) and keeps those it has.
//   - Delivery is at least once, to one instance of each durable name, in no promised order. An event is acknowledged after
//     its handler returned nil, and never dropped before that: a failed one comes again, from half a second up to a minute
//     later, for ever. One that cannot be decoded, or whose ce-source is not the source in its subject, is logged, counted
//     and tried again each minute at most; it is in nobody's way.
//   - A handler may take as long as it needs. An instance that crashes is noticed after [AckWait].
//   - After a restart of the broker, subscriptions go on as soon as the client is connected again.
//   - A stream or durable that exists with other settings is an error ([ErrMismatch]) and is not changed.
//
// Everything is safe for concurrent use. A slow handler costs memory for [MaxInFlight] events and no more; the rest stays in
// the stream. Handlers run on a number of [Workers], so that they must expect to run at the same time. [Bus.Drain] finishes
// what runs, [Bus.Close] cancels it. Tests use a real broker: package hockettest, or any other.
//
// # Stored and synced
//
// Stored means that the broker has acknowledged the event: it survives a crash of the broker's process, and on a replicated
// stream the loss of a server. Whether it survives a loss of power depends on whether the broker syncs each write to disk
// before it acknowledges. That is a setting of the server which clients cannot see: the broker in package embedded does so
// unless told otherwise, and the Durability method of a hocket.Service tells what is known of the one that it uses.
//
// # On the wire
//
// An event is published to events.<source>.<partition>.<type>, where the partition is a hash of the event's key or "_", in
// the binary mode of the NATS protocol binding: attributes in ce- headers, data as payload. Any NATS client can read it, and
// can publish one: in binary mode, or in structured mode with the content type application/cloudevents+json. The ce-source
// is a URI-reference that equals the source in the subject; a bus has a plain name for it, and a foreign publisher may have
// any URI, escaped in the subject. The message id, by which the broker recognises a copy, is <source>/<id>, so that two
// sources may use the same id. An event without an id gets a UUID of version 7.
//
// Stream "events" is made on first use and captures every type; [Options].Streams replaces it by others. Streams and
// durables carry hocket-format: 1 in their metadata, and events the specversion of CloudEvents.
//
// # Not stored
//
// [Type.Signal] sends an event to whoever listens right now ([Type.Listen]), on core NATS, for what may be lost: there is no
// acknowledgement, and a listener that is slow, away or reconnecting misses it.
//
// # Errors that come late
//
// The broker reports that it denies a publish or a subscription to the connection and not to the call. Give the bus what the
// connection's error handler gets, which a hocket.Service does by itself, and the call ends at once with [ErrDenied]; without
// it a Publish finds out after its first attempt has timed out:
//
//	nats.ErrorHandler(func(_ *nats.Conn, sub *nats.Subscription, err error) { bus.HandleError(sub, err) })
package events
