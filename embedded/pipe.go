package embedded

import (
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// The server hands out one end of a [net.Pipe], which has no buffer: a client that publishes in bulk stands still while
// the server parses what it just wrote, and loses up to a third of the rate that loopback TCP has. pipeConn wraps the
// client's end, which is as far as one gets without reaching into the server, and lets large writes run ahead into a
// buffer. A client that publishes in bulk makes such: nats.go writes when it has 32 KiB, or when nothing more comes. Small
// writes still go through the pipe directly, so that one caller has the pipe's latency.
//
// BenchmarkTransport on two cores, 11 interleaved rounds, as a multiple of loopback TCP's rate in the same round: median
// (lowest to highest).
//
//	                           net.Pipe              pipeConn
//	request and reply 128 B    2.30 (1.97 to 2.66)   2.25 (1.87 to 2.37)
//	request and reply 1 KiB    1.87 (1.59 to 2.21)   1.87 (1.54 to 2.09)
//	request and reply 16 KiB   1.52 (1.33 to 1.78)   1.48 (1.23 to 1.85)
//	publish 128 B              0.63 (0.56 to 0.72)   1.13 (1.04 to 1.28)
//	publish 1 KiB              0.78 (0.64 to 0.94)   1.01 (0.87 to 1.47)
//	publish, receive 128 B     0.76 (0.71 to 0.93)   0.85 (0.71 to 1.02)
//	publish, receive 1 KiB     1.28 (1.05 to 1.48)   1.27 (1.01 to 1.86)
//	replay a stream 128 B      0.72 (0.66 to 0.80)   0.76 (0.65 to 0.92)
//	replay a stream 1 KiB      0.84 (0.69 to 1.73)   0.87 (0.69 to 1.61)
//
// What stays slower than TCP is receiving small messages in bulk. The server keeps them in pieces of 512 bytes and writes
// piece by piece, which is one system call for a socket but an exchange between two goroutines for each piece of a pipe,
// and the client's end cannot change that. Turned down, by the same measure:
//
//   - Reading ahead in a goroutine of its own, with a buffer of up to 1 MiB: 0.77 where 0.79 without, and 0.69 where 0.76.
//   - A larger read buffer: 0.95 where 0.93 without. It does not matter how much the client asks for.
//   - A buffer of 64 KiB for writing (publish 128 B: 0.88 where 256 KiB has 1.18), and one of 1 MiB (1.18).
//   - A larger write buffer in nats.go instead of ours (publish 128 B: 0.82).
//   - A pipe with buffers on both sides, handed to a method that the server does not export through go:linkname: 1.2 to
//     1.35 for receiving 128 B and a third more requests for one caller. It would break the build of whoever uses a
//     server in which that method has another name.
const (
	directWrite = 8 << 10   // a write of this size or more is taken for bulk
	writeAhead  = 256 << 10 // how much may wait for the server
	lingerTime  = time.Second
)

// pipeConn is safe for concurrent use, as each net.Conn is.
type pipeConn struct {
	net.Conn // the client's end of the pipe; deadlines are its own

	reads atomic.Int32 // up to handshakeReads

	writing sync.Mutex // held by one Write at a time; before mu
	mu      sync.Mutex
	space   *sync.Cond // on mu: ahead got shorter, or the pump ended
	ahead   []byte     // written, but not yet handed to the pump's Write
	spare   []byte     // the buffer that is not in use
	pump    bool       // a goroutine writes what is ahead; it ends when there is nothing left
	err     error      // what the pump met
	closing bool
}

func newPipeConn(conn net.Conn) *pipeConn {
	c := &pipeConn{Conn: conn}
	c.space = sync.NewCond(&c.mu)
	return c
}

// handshakeReads is how often a client reads while it connects: the server's greeting, and the answer to its own. It
// writes twice before the second, in the same goroutine. A server that refuses the first write wants to say so before
// it reads the second, and with no buffer between them both would wait until the server's write times out after 10 s.
const handshakeReads = 2

// Read reads from the server.
func (c *pipeConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	if c.reads.Load() < handshakeReads {
		c.reads.Add(1)
	}
	return n, err
}

// Write returns once the server has b, or, if b is large or there is something ahead of it, once it is in the buffer.
// An error that the server's end meets later is returned by the next Write. A write deadline that passes while the
// buffer is full breaks the connection.
func (c *pipeConn) Write(b []byte) (int, error) {
	c.writing.Lock()
	defer c.writing.Unlock()
	c.mu.Lock()
	for c.err == nil && !c.closing && len(c.ahead) >= writeAhead {
		c.space.Wait()
	}
	switch {
	case c.err != nil:
		defer c.mu.Unlock()
		return 0, c.err
	case c.closing:
		defer c.mu.Unlock()
		return 0, net.ErrClosed
	case !c.pump && len(b) < directWrite && c.reads.Load() >= handshakeReads:
		c.mu.Unlock()
		return c.Conn.Write(b)
	}
	defer c.mu.Unlock()
	c.ahead = append(c.ahead, b...)
	if !c.pump {
		c.pump = true
		go c.runPump()
	}
	return len(b), nil
}

// runPump writes what is ahead, in order, until nothing is. Close waits for it.
func (c *pipeConn) runPump() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for len(c.ahead) > 0 && c.err == nil {
		b := c.ahead
		c.ahead, c.spare = c.spare[:0], nil
		c.space.Broadcast()
		c.mu.Unlock()
		_, err := c.Conn.Write(b)
		c.mu.Lock()
		c.spare, c.err = b, err
	}
	c.pump = false
	c.space.Broadcast()
}

// Close lets the server read what was written before, as a socket does, for up to a second.
func (c *pipeConn) Close() error {
	c.mu.Lock()
	c.closing = true
	c.space.Broadcast()
	if c.pump {
		// The deadline ends the pump's write, should the server have stopped reading.
		if err := c.SetWriteDeadline(time.Now().Add(lingerTime)); err != nil {
			c.err = err
		}
		for c.pump {
			c.space.Wait()
		}
	}
	c.mu.Unlock()
	return c.Conn.Close()
}
