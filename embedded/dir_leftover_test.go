package embedded_test

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"

	"github.com/hocket-go/hocket/embedded"
)

func TestWhatAKilledServerLeftHalfMadeIsRemovedAndCanBeMadeAnew(t *testing.T) {
	t.Parallel()
	o, dir := stored(t)
	description, err := os.ReadFile(filepath.Join(dir, "obs", "D", "meta.inf"))
	require.NoError(t, err)
	half := filepath.Join(dir, "obs", "HALF") // killed after the description
	require.NoError(t, os.Mkdir(half, 0o700))
	require.NoError(t, os.WriteFile(filepath.Join(half, "meta.inf"), description[:10], 0o600))
	require.NoError(t, os.WriteFile(filepath.Join(half, "meta.sum.tmp"), []byte("1"), 0o600))
	empty := filepath.Join(dir, "obs", "EMPTY") // killed at once
	require.NoError(t, os.Mkdir(empty, 0o700))
	other := filepath.Join(filepath.Dir(dir), "OTHER")
	require.NoError(t, os.MkdirAll(filepath.Join(other, "obs"), 0o700))
	require.NoError(t, os.MkdirAll(filepath.Join(other, "msgs"), 0o700))
	require.NoError(t, os.WriteFile(filepath.Join(other, "msgs", "1.blk"), nil, 0o600))

	for range 2 { // and it survives the next restart
		b := start(t, o)
		nc := connect(t, b)
		s := stream(t, nc, jetstream.StreamConfig{Name: "S", Subjects: []string{"s"}})
		require.Equal(t, uint64(100), s.CachedInfo().State.Msgs)
		_, err = s.Consumer(t.Context(), "D")
		require.NoError(t, err)
		for _, name := range []string{"HALF", "EMPTY"} {
			_, err = s.CreateOrUpdateConsumer(t.Context(), jetstream.ConsumerConfig{Durable: name})
			require.NoError(t, err)
		}
		stream(t, nc, jetstream.StreamConfig{Name: "OTHER", Subjects: []string{"other"}})
		nc.Close()
		require.NoError(t, b.Close())
		for _, made := range []string{half, empty, other} {
			require.FileExists(t, filepath.Join(made, "meta.sum"))
		}
	}
}

func TestDataWithoutItsChecksumIsNotRemoved(t *testing.T) {
	t.Parallel()
	for _, file := range []string{"meta.sum", "meta.inf"} {
		t.Run(file, func(t *testing.T) {
			t.Parallel()
			o, dir := stored(t)
			for _, at := range []string{dir, filepath.Join(dir, "obs", "D")} {
				require.NoError(t, os.Remove(filepath.Join(at, file)))
			}
			require.ErrorIs(t, refuse(t, o), embedded.ErrCorruptDir)
			blocks, err := filepath.Glob(filepath.Join(dir, "msgs", "*.blk"))
			require.NoError(t, err)
			require.NotEmpty(t, blocks)
		})
	}
}

func TestChangeOfAStreamThatAKilledServerLeftWithoutItsChecksumIsFinished(t *testing.T) {
	t.Parallel()
	o, dir := stored(t)
	meta, sum := filepath.Join(dir, "meta.inf"), filepath.Join(dir, "meta.sum")
	before, err := os.ReadFile(meta)
	require.NoError(t, err)
	changed := bytes.Replace(before, []byte(`{`), []byte(`{"description":"changed",`), 1)
	require.NoError(t, os.WriteFile(meta, changed, 0o600))

	info, err := os.Stat(sum)
	require.NoError(t, err)
	old := info.ModTime().Add(-time.Hour)
	require.NoError(t, os.Chtimes(meta, old, old)) // a description that decayed is as old as it was
	require.ErrorIs(t, refuse(t, o), embedded.ErrCorruptDir)

	now := time.Now()
	require.NoError(t, os.Chtimes(meta, now, now))
	js, err := jetstream.New(connect(t, start(t, o)))
	require.NoError(t, err)
	s, err := js.Stream(t.Context(), "S")
	require.NoError(t, err)
	require.Equal(t, uint64(100), s.CachedInfo().State.Msgs)
	require.Equal(t, "changed", s.CachedInfo().Config.Description)
	_, err = s.Consumer(t.Context(), "D")
	require.NoError(t, err)
}
