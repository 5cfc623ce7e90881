package benchmarks_test

import (
	"maps"
	"slices"
	"testing"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"

	"github.com/hocket-go/hocket/benchmarks"
)

// The comparison is worth something only while both store the same: the same headers, and into streams of the same kind.
func TestPublishersDoTheSameWork(t *testing.T) {
	t.Parallel()
	site := newSite(t, benchmarks.InProcess, false)
	for _, p := range benchmarks.Publishers() {
		publish, done, err := p.Open(t.Context(), site)
		require.NoError(t, err)
		require.NoError(t, publish(t.Context(), benchmarks.NewMessage(128)))
		require.NoError(t, done())
	}

	nc, err := site.Connect()
	require.NoError(t, err)
	defer nc.Close()
	js, err := jetstream.New(nc)
	require.NoError(t, err)

	var configs []jetstream.StreamConfig
	var headers [][]string
	var data []string
	for info := range js.ListStreams(t.Context()).Info() {
		stream, err := js.Stream(t.Context(), info.Config.Name)
		require.NoError(t, err)
		msg, err := stream.GetMsg(t.Context(), 1)
		require.NoError(t, err)
		headers = append(headers, slices.Sorted(maps.Keys(msg.Header)))
		data = append(data, string(msg.Data))
		config := info.Config
		config.Name, config.Subjects, config.Description, config.Metadata = "", nil, "", nil
		configs = append(configs, config)
	}
	require.Len(t, configs, 2)
	require.Equal(t, configs[0], configs[1])
	require.Equal(t, headers[0], headers[1])
	require.Equal(t, data[0], data[1])
}
