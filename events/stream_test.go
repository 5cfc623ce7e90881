package events_test

import (
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"

	"github.com/hocket-go/hocket/embedded/embeddedtest"
	"github.com/hocket-go/hocket/events"
)

func TestAStreamThatDiffersIsAnErrorAndIsNotChanged(t *testing.T) {
	t.Parallel()
	usual := func() jetstream.StreamConfig {
		return jetstream.StreamConfig{
			Name: "events", Subjects: []string{"events.>"}, Discard: jetstream.DiscardNew, Storage: jetstream.FileStorage,
		}
	}
	for name, c := range map[string]struct {
		change func(*jetstream.StreamConfig)
		asked  events.Stream
		says   string
	}{
		"subjects":  {func(c *jetstream.StreamConfig) { c.Subjects = []string{"events.a.>"} }, events.Stream{}, "subjects is events.a.>"},
		"discard":   {func(c *jetstream.StreamConfig) { c.Discard = jetstream.DiscardOld }, events.Stream{}, "discard"},
		"storage":   {func(c *jetstream.StreamConfig) { c.Storage = jetstream.MemoryStorage }, events.Stream{}, "storage is Memory, asked for File"},
		"retention": {func(c *jetstream.StreamConfig) { c.Retention = jetstream.WorkQueuePolicy }, events.Stream{}, "retention"},
		"rollups":   {func(c *jetstream.StreamConfig) { c.AllowRollup = true }, events.Stream{}, "allow_rollup_hdrs is true"},
		"schedules": {func(c *jetstream.StreamConfig) { c.AllowMsgSchedules, c.Discard = true, jetstream.DiscardOld }, events.Stream{DropOld: true}, "allow_msg_schedules is true"},
		"silence":   {func(c *jetstream.StreamConfig) { c.NoAck = true }, events.Stream{}, "no_ack is true"},
		"format":    {func(c *jetstream.StreamConfig) { c.Metadata = map[string]string{"hocket-format": "2"} }, events.Stream{}, "hocket-format is 2, asked for 1"},
		"bytes":     {func(c *jetstream.StreamConfig) { c.MaxBytes = 1000 }, events.Stream{MaxBytes: 2000}, "max_bytes is 1000, asked for 2000"},
		"age":       {func(*jetstream.StreamConfig) {}, events.Stream{MaxAge: time.Hour}, "max_age is 0s, asked for 1h0m0s"},
		"window":    {func(*jetstream.StreamConfig) {}, events.Stream{DuplicateWindow: time.Hour}, "duplicate_window is 2m0s, asked for 1h0m0s"},
		"replicas":  {func(*jetstream.StreamConfig) {}, events.Stream{Replicas: 3}, "num_replicas is 1, asked for 3"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := setup(t)
			cfg := usual()
			c.change(&cfg)
			before, err := r.js.CreateStream(t.Context(), cfg)
			require.NoError(t, err)
			b := r.bus("orders", &events.Options{Streams: []events.Stream{c.asked}})
			_, err = placed.Publish(t.Context(), b, order{})
			require.ErrorIs(t, err, events.ErrMismatch)
			require.ErrorContains(t, err, c.says)
			_, err = placed.Subscribe(t.Context(), b, "billing", newRecorder().handle)
			require.ErrorIs(t, err, events.ErrMismatch)
			after, err := r.js.Stream(t.Context(), "events")
			require.NoError(t, err)
			require.Equal(t, before.CachedInfo().Config, after.CachedInfo().Config)
		})
	}
}

func TestAStreamOfAnotherToolIsAcceptedIfNothingAskedForDiffers(t *testing.T) {
	t.Parallel()
	r := setup(t)
	_, err := r.js.CreateStream(t.Context(), jetstream.StreamConfig{
		Name: "events", Subjects: []string{"audit.>", "events.>"}, Discard: jetstream.DiscardNew, MaxBytes: 1 << 20,
		MaxAge: time.Hour, Duplicates: time.Minute, Compression: jetstream.S2Compression,
	})
	require.NoError(t, err)
	r.publish(r.bus("orders", nil), "o-1")
}

func TestOverlappingStreamsAreNamed(t *testing.T) {
	t.Parallel()
	r := setup(t)
	r.publish(r.bus("orders", nil), "o-1")
	b := r.bus("orders", &events.Options{Streams: []events.Stream{{Name: "shop", Types: []string{"shop"}}}})
	_, err := placed.Publish(t.Context(), b, order{})
	require.ErrorIs(t, err, events.ErrMismatch)
	require.ErrorContains(t, err, "overlap")
	require.ErrorContains(t, err, "by events")
}

func TestAskedForOptionsAreSet(t *testing.T) {
	t.Parallel()
	r := setup(t)
	b := r.bus("orders", &events.Options{Namespace: "staging", Streams: []events.Stream{{
		Name: "shop", Types: []string{"shop"}, MaxBytes: 1 << 20, MaxEvents: 100, MaxAge: time.Hour, MaxEventBytes: 1000,
		DuplicateWindow: time.Minute, Replicas: 1, DropOld: true, Memory: true,
	}}})
	receipt := r.publish(b, "o-1")
	require.Equal(t, "staging-shop", receipt.Stream)
	s, err := r.js.Stream(t.Context(), "staging-shop")
	require.NoError(t, err)
	cfg := s.CachedInfo().Config
	require.Equal(t, []string{"staging.events.*.*.shop", "staging.events.*.*.shop.>"}, cfg.Subjects)
	require.EqualValues(t, 1<<20, cfg.MaxBytes)
	require.EqualValues(t, 100, cfg.MaxMsgs)
	require.Equal(t, time.Hour, cfg.MaxAge)
	require.EqualValues(t, 1000, cfg.MaxMsgSize)
	require.Equal(t, time.Minute, cfg.Duplicates)
	require.Equal(t, jetstream.DiscardOld, cfg.Discard)
	require.Equal(t, jetstream.MemoryStorage, cfg.Storage)
	// And found again.
	r.publish(r.bus("orders", &events.Options{Namespace: "staging", Streams: []events.Stream{{
		Name: "shop", Types: []string{"shop"}, MaxBytes: 1 << 20, Replicas: 1, DropOld: true, Memory: true,
	}}}), "o-2")
}

func TestNamespacesDoNotMeet(t *testing.T) {
	t.Parallel()
	r := setup(t)
	staging, live := r.bus("orders", &events.Options{Namespace: "staging"}), r.bus("orders", nil)
	fromStaging, fromLive := newRecorder(), newRecorder()
	_, err := placed.Subscribe(t.Context(), staging, "billing", fromStaging.handle)
	require.NoError(t, err)
	_, err = placed.Subscribe(t.Context(), live, "billing", fromLive.handle)
	require.NoError(t, err)
	r.publish(staging, "staging")
	r.publish(live, "live")
	require.Equal(t, "staging", receive(t, fromStaging.all).Data.ID)
	require.Equal(t, "live", receive(t, fromLive.all).Data.ID)
	require.Len(t, fromStaging.counts(), 1)
	require.Len(t, fromLive.counts(), 1)
}

func TestManyProvisionTheSameStream(t *testing.T) {
	t.Parallel()
	r := setup(t)
	var wg sync.WaitGroup
	for range 8 {
		b := r.bus("orders", nil)
		for range 4 {
			wg.Go(func() {
				_, err := placed.Publish(t.Context(), b, order{})
				require.NoError(t, err)
				_, err = placed.Subscribe(t.Context(), b, "billing", newRecorder().handle)
				require.NoError(t, err)
			})
		}
	}
	wg.Wait()
	require.EqualValues(t, 32, r.stored())
}

func TestAClusterOfThreeKeepsThreeReplicas(t *testing.T) {
	t.Parallel()
	c := embeddedtest.NewCluster(t, 3, unsynced)
	nc := c.Connect(t)
	b := busOn(t, nc, "orders", nil)
	_, err := placed.Publish(t.Context(), b, order{ID: "o-1"}, events.ID("1"))
	require.NoError(t, err)
	js, err := jetstream.New(nc)
	require.NoError(t, err)
	s, err := js.Stream(t.Context(), "events")
	require.NoError(t, err)
	require.Equal(t, 3, s.CachedInfo().Config.Replicas)
	receipt, err := placed.Publish(t.Context(), b, order{ID: "o-1"}, events.ID("1"))
	require.NoError(t, err)
	require.True(t, receipt.Duplicate)
	got := newRecorder()
	_, err = placed.Subscribe(t.Context(), b, "billing", got.handle)
	require.NoError(t, err)
	require.Equal(t, "o-1", receive(t, got.all).Data.ID)

	// The stream's leader goes; what is published meanwhile is stored, and consumption goes on.
	leader := s.CachedInfo().Cluster.Leader
	for _, node := range c.Nodes {
		if strings.HasSuffix(node.Broker().Name(), leader) {
			node.Stop()
			break
		}
	}
	_, err = placed.Publish(t.Context(), b, order{ID: "o-2"})
	require.NoError(t, err)
	require.Equal(t, "o-2", receive(t, got.all).Data.ID)
}
