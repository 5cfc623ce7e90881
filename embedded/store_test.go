package embedded_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"

	"github.com/hocket-go/hocket/embedded"
	"github.com/hocket-go/hocket/embedded/embeddedtest"
)

// stored makes a data directory with a stream of some messages and a consumer, and returns its options and the
// directory of the stream.
func stored(t *testing.T) (*embedded.Options, string) {
	t.Helper()
	o := options(t)
	b, err := embedded.Start(t.Context(), o)
	require.NoError(t, err)
	nc := connect(t, b)
	s := stream(t, nc, jetstream.StreamConfig{Name: "S", Subjects: []string{"s"}})
	publish(t.Context(), t, nc, "s", 100)
	_, err = s.CreateConsumer(t.Context(), jetstream.ConsumerConfig{Durable: "D"})
	require.NoError(t, err)
	require.NoError(t, b.Close())
	return o, filepath.Join(b.Dir(), "jetstream", "$G", "streams", "S")
}

func TestACorruptStoreIsAnErrorThatNamesThePlace(t *testing.T) {
	t.Parallel()
	for name, file := range map[string]string{
		"stream":          "meta.inf",
		"stream checksum": "meta.sum",
		"consumer":        filepath.Join("obs", "D", "meta.inf"),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o, dir := stored(t)
			path := filepath.Join(dir, file)
			original, err := os.ReadFile(path)
			require.NoError(t, err)
			require.NoError(t, os.WriteFile(path, []byte("{ nothing"), 0o600))
			err = refuse(t, o)
			require.ErrorIs(t, err, embedded.ErrCorruptDir)
			require.ErrorContains(t, err, filepath.Dir(path))

			require.NoError(t, os.Remove(path))
			require.ErrorIs(t, refuse(t, o), embedded.ErrCorruptDir, "a missing file is as bad")

			require.NoError(t, os.WriteFile(path, original, 0o600))
			start(t, o) // nothing was deleted or repaired
		})
	}
}

func TestAStreamThatWentBackwardsIsAnError(t *testing.T) {
	t.Parallel()
	o, dir := stored(t)
	block := filepath.Join(dir, "msgs", "1.blk")
	original, err := os.ReadFile(block)
	require.NoError(t, err)
	index := filepath.Join(dir, "msgs", "index.db")
	require.NoError(t, os.Truncate(block, int64(len(original)/2)))
	require.NoError(t, os.Remove(index))
	for range 2 { // a failed start does not make the loss the new truth
		err = refuse(t, o)
		require.ErrorIs(t, err, embedded.ErrCorruptDir)
		require.ErrorContains(t, err, "stream S had come to sequence 100 and now ends at")
		require.ErrorContains(t, err, dir)
	}
	require.NoError(t, os.WriteFile(block, original, 0o600))
	require.NoError(t, os.RemoveAll(index))
	b, err := embedded.Start(t.Context(), o)
	require.NoError(t, err)
	require.NoError(t, b.Close())

	require.NoError(t, os.Truncate(block, int64(len(original)/2)))
	require.NoError(t, os.Remove(index))
	require.NoError(t, os.Remove(filepath.Join(o.Dir, "sequences.json")))
	start(t, o) // as the error says: the loss is accepted
}

func TestAStreamMayBeginAnew(t *testing.T) {
	t.Parallel()
	b := embeddedtest.New(t)
	nc := b.Connect(t)
	js, err := jetstream.New(nc)
	require.NoError(t, err)
	config := jetstream.StreamConfig{Name: "S", Subjects: []string{"s"}}
	stream(t, nc, config)
	stream(t, nc, jetstream.StreamConfig{Name: "M", Subjects: []string{"m"}, Storage: jetstream.MemoryStorage})
	publish(t.Context(), t, nc, "s", 10)
	publish(t.Context(), t, nc, "m", 10)
	b.Restart() // what it remembers now is 10
	require.Eventually(t, func() bool { return js.DeleteStream(t.Context(), "S") == nil }, patience, tick)
	stream(t, nc, config)
	b.Kill() // without a chance to look again
	b.Start()
}
