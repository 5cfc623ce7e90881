// Package embedded runs a NATS server with JetStream inside the process.
//
// [Start] gives a [Broker] that this process has to itself; [Join] gives a [Shared] one, which all programs of one user
// that name the same data directory use together. With no options at all both keep their data below [DefaultDir].
//
//	broker, err := embedded.Start(ctx, nil)
//	if err != nil {
//		return err
//	}
//	defer broker.Close()
//
//	nc, err := broker.Connect() // an ordinary *nats.Conn that stays inside the process
//
// What is guaranteed:
//
//   - An acknowledged write survives the loss of power: each one is synced before it is acknowledged, an atomic batch
//     as a whole. [Options.SyncInterval] trades that for speed.
//   - One data directory, one server. A lock that the operating system drops with the process guards it.
//   - A broker that cannot work says so at once: Start returns when clients can connect, or an error that names the
//     cause and matches one of the sentinels. A stream that cannot be read, or has lost its end, is such a cause.
//   - [Broker.Close] returns when everything has stopped; [Broker.Shutdown] may be called again after its context ended.
//   - The server's log goes to slog, and nothing ends the process.
//
// # What an acknowledgement means
//
//	                      process killed   machine crashes or loses power
//	SyncInterval 0        nothing lost     nothing lost
//	SyncInterval d > 0    nothing lost     acknowledged writes of the last d can be lost
//
// What a consumer acknowledges is not a write in this sense: after a crash a message may be delivered again. A disk that
// lies about syncing, or that ends with its container, keeps no promise. The server's own default is an
// interval of two minutes. Streams in memory are gone with the broker, and streams that ask for asynchronous persistence
// (PersistMode async) are not synced whatever the broker does: Hocket never asks for either with data that it promised.
//
// # From one process to many
//
// [Options.Listen] opens a port for other processes, [Options.Cluster] makes the broker a node of a cluster, and
// [Options.Leaf] a leaf node of a hub. The code that uses the connection stays the same. Streams of hub and leaf node
// should not take the same subjects: both would store what either publishes, and the first to acknowledge wins.
//
// For a single caller an in-process connection is one and a half to three times as fast as loopback TCP, for publishing
// in bulk at least as fast, and for receiving many small messages a sixth slower. Package embeddedtest gives each test a
// broker of its own.
package embedded
