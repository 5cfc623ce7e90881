package embedded

import (
	"bytes"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// pipePair is a connection past its handshake, and the server's end.
func pipePair(t *testing.T) (client *pipeConn, srv net.Conn) {
	t.Helper()
	srv, inner := net.Pipe()
	client = newPipeConn(inner)
	client.reads.Store(handshakeReads)
	t.Cleanup(func() {
		_ = srv.Close()
		_ = client.Close() // may have failed on purpose
	})
	return client, srv
}

func TestBytesArriveInOrderWhateverTheSizesOfWrites(t *testing.T) {
	t.Parallel()
	client, srv := pipePair(t)
	random := rand.New(rand.NewPCG(1, 2))
	var sent bytes.Buffer
	go func() {
		for range 2000 {
			size := 1 + random.IntN(100)
			if random.IntN(10) == 0 {
				size = directWrite + random.IntN(32<<10)
			}
			b := make([]byte, size)
			for i := range b {
				b[i] = byte(random.Uint32())
			}
			sent.Write(b)
			if _, err := client.Write(b); !assert.NoError(t, err) {
				break
			}
			clear(b) // the caller may reuse its buffer
		}
		assert.NoError(t, client.Close())
	}()
	got, err := io.ReadAll(srv)
	require.NoError(t, err)
	assert.True(t, bytes.Equal(sent.Bytes(), got), "sent %d bytes, got %d", sent.Len(), len(got))
}

func TestTheBufferIsBoundedAndAWriteDeadlineEndsTheWait(t *testing.T) {
	t.Parallel()
	client, _ := pipePair(t)
	require.NoError(t, client.SetWriteDeadline(time.Now().Add(100*time.Millisecond)))
	chunk := make([]byte, 32<<10)
	total := 0
	for {
		n, err := client.Write(chunk)
		total += n
		if err != nil {
			require.ErrorIs(t, err, os.ErrDeadlineExceeded)
			break
		}
	}
	// One buffer is with the pump, the other is ahead, and each may be over by a write.
	assert.LessOrEqual(t, total, 2*(writeAhead+len(chunk)))
}

func TestAnErrorOfTheServersEndReachesTheNextWrite(t *testing.T) {
	t.Parallel()
	client, srv := pipePair(t)
	require.NoError(t, srv.Close())
	require.Eventually(t, func() bool {
		_, err := client.Write(make([]byte, directWrite))
		return err != nil
	}, time.Second, time.Millisecond)
	_, err := client.Write([]byte("x"))
	require.ErrorIs(t, err, io.ErrClosedPipe)
}

func TestCloseEndsAWaitingWriteAndItsOwnWaitIsBounded(t *testing.T) {
	t.Parallel()
	client, _ := pipePair(t)
	failed := make(chan error, 1)
	go func() {
		for {
			if _, err := client.Write(make([]byte, writeAhead)); err != nil {
				failed <- err
				return
			}
		}
	}()
	began := time.Now()
	require.NoError(t, client.Close())
	assert.Less(t, time.Since(began), 5*lingerTime)
	require.Error(t, <-failed)
	_, err := client.Write([]byte("x"))
	require.Error(t, err)
}

func TestASmallWriteThatWaitsEndsWithClose(t *testing.T) {
	t.Parallel()
	client, _ := pipePair(t)
	failed := make(chan error, 1)
	go func() {
		_, err := client.Write([]byte("x")) // straight into the pipe, which nobody reads
		failed <- err
	}()
	require.NoError(t, client.Close())
	require.Error(t, <-failed)
}
