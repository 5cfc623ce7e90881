// Package embeddedtest gives each test a broker of its own, and breaks it on demand.
//
// [New] starts a real one in the process, with its store in the test's temporary directory and its log in the test's;
// both are gone with the test. It takes a few milliseconds, so that no test needs to share.
//
//	broker := embeddedtest.New(t)
//	nc := broker.Connect(t)
//	...
//	broker.Restart() // nc reconnects, and what was stored is still there
//
// Writes are synced as they are by default, which costs each a fifth of a millisecond or more; a test that stores
// thousands may set [embedded.Options].SyncInterval. [Broker.Kill] stops a broker as a crash does, [Link] is a way to it
// that can be cut, and [NewCluster] starts several nodes.
//
// Failures to start or stop end the test with Fatal, so call the methods that do so from the test's own goroutine;
// apart from that everything is safe for concurrent use.
package embeddedtest
