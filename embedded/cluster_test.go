package embedded_test

import (
	"context"
	"log/slog"
	"net"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/hocket-go/hocket/embedded"
	"github.com/hocket-go/hocket/embedded/embeddedtest"
)

func TestAReplicatedStreamSurvivesTheLossOfOneNode(t *testing.T) {
	t.Parallel()
	c := embeddedtest.NewCluster(t, 3)
	nc := c.Connect(t)
	s := stream(t, nc, jetstream.StreamConfig{Name: "S", Subjects: []string{"s"}, Replicas: 3})
	publish(t.Context(), t, nc, "s", 20)

	info, err := s.Info(t.Context())
	require.NoError(t, err)
	require.Len(t, info.Cluster.Replicas, 2)
	for _, node := range c.Nodes {
		if node.Broker().Name() == info.Cluster.Leader {
			node.Stop()
			t.Cleanup(node.Start) // on the same data and ports
			break
		}
	}
	js, err := jetstream.New(nc)
	require.NoError(t, err)
	publishWithRetry(t, js, "s", "after")
	s, err = js.Stream(t.Context(), "S")
	require.NoError(t, err)
	assert.EqualValues(t, 21, s.CachedInfo().State.Msgs, "an acknowledged message is lost, or one is twice there")
}

// publishWithRetry publishes with an id, so that retrying is safe.
func publishWithRetry(t *testing.T, js jetstream.JetStream, subject, id string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for {
		attempt, done := context.WithTimeout(ctx, time.Second)
		_, err := js.Publish(attempt, subject, []byte("x"), jetstream.WithMsgID(id))
		done()
		if err == nil {
			return
		}
		require.NotErrorIs(t, ctx.Err(), err)
	}
}

func leafOf(t *testing.T, hub *embedded.Broker, domain string) *embedded.Options {
	t.Helper()
	o := options(t)
	o.Domain, o.Leaf = domain, &embedded.Leaf{URLs: []string{"nats://leaf:pw@" + hub.HubURL()[len("nats://"):]}}
	return o
}

func hub(t *testing.T) *embedded.Broker {
	t.Helper()
	o := options(t)
	o.Domain, o.Hub = "hub", &embedded.Hub{Port: embedded.RandomPort, User: "leaf", Password: "pw"}
	return start(t, o)
}

func TestALeafNodeHasStreamsOfItsOwnAndReachesTheHubs(t *testing.T) {
	t.Parallel()
	h := hub(t)
	leaf := start(t, leafOf(t, h, "edge"))
	require.Eventually(t, func() bool { return h.Server().NumLeafNodes() == 1 }, patience, tick)
	hubConn, leafConn := connect(t, h), connect(t, leaf)
	// Subjects of their own: what both streams take, both would store and acknowledge.
	stream(t, hubConn, jetstream.StreamConfig{Name: "S", Subjects: []string{"hub"}})
	stream(t, leafConn, jetstream.StreamConfig{Name: "S", Subjects: []string{"edge"}})
	publish(t.Context(), t, leafConn, "edge", 3)

	atHub, err := jetstream.NewWithDomain(leafConn, "hub")
	require.NoError(t, err)
	here, err := jetstream.NewWithDomain(leafConn, "edge")
	require.NoError(t, err)
	for domain, js := range map[string]jetstream.JetStream{"hub": atHub, "edge": here} {
		s, err := js.Stream(t.Context(), "S")
		require.NoError(t, err, domain)
		assert.Equal(t, []string{domain}, s.CachedInfo().Config.Subjects)
		assert.Equal(t, map[string]uint64{"hub": 0, "edge": 3}[domain], s.CachedInfo().State.Msgs)
	}

	// What is not stored passes between the two.
	sub, err := hubConn.SubscribeSync("core")
	require.NoError(t, err)
	require.NoError(t, hubConn.Flush())
	require.Eventually(t, func() bool {
		require.NoError(t, leafConn.Publish("core", nil))
		_, err = sub.NextMsg(tick)
		return err == nil
	}, patience, tick)
}

func TestAHubWithAPasswordRefusesOtherLeafNodes(t *testing.T) {
	t.Parallel()
	var log buffer
	o := options(t)
	o.Logger = slog.New(slog.NewTextHandler(&log, nil))
	o.Domain, o.Hub = "hub", &embedded.Hub{Port: embedded.RandomPort, User: "leaf", Password: "pw"}
	h := start(t, o)
	intruder := options(t)
	intruder.Domain, intruder.Leaf = "edge", &embedded.Leaf{URLs: []string{h.HubURL()}}
	start(t, intruder)
	require.Eventually(t, func() bool { return strings.Contains(log.String(), "authentication error") }, patience, tick)
	require.Zero(t, h.Server().NumLeafNodes())
}

func TestALeafNodeWorksWithoutItsHub(t *testing.T) {
	t.Parallel()
	o := options(t)
	o.Domain, o.Leaf = "edge", &embedded.Leaf{URLs: []string{"127.0.0.1:1"}}
	nc := connect(t, start(t, o))
	stream(t, nc, jetstream.StreamConfig{Name: "S", Subjects: []string{"s"}})
	publish(t.Context(), t, nc, "s", 1)
}

func TestAHubAndItsLeafNodeCannotHaveTheSameDomain(t *testing.T) {
	t.Parallel()
	o := leafOf(t, hub(t), "hub")
	err := refuse(t, o)
	require.ErrorIs(t, err, embedded.ErrOptions)
	require.ErrorContains(t, err, `Domain "hub"`)
	require.NotContains(t, err.Error(), "pw", "the error shows a password")
}

func TestAClusterWithAPasswordRefusesOtherNodes(t *testing.T) {
	t.Parallel()
	var log buffer
	c := embeddedtest.NewCluster(t, 2, func(o *embedded.Options) {
		o.Cluster.User, o.Cluster.Password = "node", "pw"
		o.Logger = slog.New(slog.NewTextHandler(&log, nil))
	})
	stream(t, c.Connect(t), jetstream.StreamConfig{Name: "S", Subjects: []string{"s"}, Replicas: 2})
	require.NotContains(t, log.String(), "authentication error")

	v, err := c.Nodes[0].Broker().Server().Varz(nil)
	require.NoError(t, err)
	o := options(t)
	o.Name, o.Listen = "intruder", &embedded.Listen{Port: embedded.RandomPort}
	route := net.JoinHostPort("127.0.0.1", strconv.Itoa(v.Cluster.Port))
	o.Cluster = &embedded.Cluster{Name: "test", Port: freePort(t), Routes: []string{route}}
	start(t, o)
	require.Eventually(t, func() bool { return strings.Contains(log.String(), "authentication error") }, patience, tick)
}

func freePort(t *testing.T) int {
	t.Helper()
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer func() { require.NoError(t, l.Close()) }()
	return l.Addr().(*net.TCPAddr).Port
}
