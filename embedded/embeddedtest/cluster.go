package embeddedtest

import (
	"errors"
	"fmt"
	"net"
	"strings"
	"testing"

	"github.com/nats-io/nats.go"

	"github.com/hocket-go/hocket/embedded"
)

// attempts is how often a cluster is given other ports, should another process take one before it is opened.
const attempts = 5

// Cluster is several brokers that are one NATS cluster, each with its own store. A node can be stopped and started on
// the same data and ports.
type Cluster struct {
	// Nodes are in the order of their names, n1 first.
	Nodes []*Broker

	tb testing.TB
}

// NewCluster starts n nodes and returns when JetStream has a leader that knows them all, which takes a second or
// two. Each modify may change the options of every node. The nodes listen on 127.0.0.1 and stop when the test ends.
func NewCluster(tb testing.TB, n int, modify ...func(*embedded.Options)) *Cluster {
	tb.Helper()
	for attempt := 1; ; attempt++ {
		c, err := startCluster(tb, n, modify)
		if err == nil {
			c.WaitLeader()
			return c
		}
		if attempt == attempts || !errors.Is(err, embedded.ErrPortInUse) {
			tb.Fatal(err)
		}
	}
}

func startCluster(tb testing.TB, n int, modify []func(*embedded.Options)) (*Cluster, error) {
	tb.Helper()
	clients, err := freePorts(n)
	if err != nil {
		return nil, err
	}
	routes, err := freePorts(n)
	if err != nil {
		return nil, err
	}
	urls := make([]string, n)
	for i, port := range routes {
		urls[i] = fmt.Sprintf("127.0.0.1:%d", port)
	}
	c := &Cluster{tb: tb}
	for i := range n {
		node := newBroker(tb, append([]func(*embedded.Options){func(o *embedded.Options) {
			o.Name = fmt.Sprintf("n%d", i+1)
			o.Listen = &embedded.Listen{Port: clients[i]}
			o.Cluster = &embedded.Cluster{Name: "test", Port: routes[i], Routes: urls}
		}}, modify...))
		c.Nodes = append(c.Nodes, node)
	}
	for _, node := range c.Nodes {
		if err := node.start(); err != nil {
			for _, started := range c.Nodes {
				started.Stop()
			}
			return nil, err
		}
	}
	return c, nil
}

// freePorts finds n ports that are free now. They are held together, so that they differ.
func freePorts(n int) ([]int, error) {
	ports := make([]int, 0, n)
	held := make([]net.Listener, 0, n)
	defer func() {
		for _, listener := range held {
			_ = listener.Close() // nobody connected
		}
	}()
	for range n {
		listener, err := net.ListenTCP("tcp", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
		if err != nil {
			return nil, err
		}
		held = append(held, listener)
		addr, _ := listener.Addr().(*net.TCPAddr) // what else
		ports = append(ports, addr.Port)
	}
	return ports, nil
}

// WaitLeader returns when JetStream has a leader among the running nodes that has heard of every running node.
func (c *Cluster) WaitLeader() {
	c.tb.Helper()
	waitFor(c.tb, "a JetStream leader", func() bool {
		running, leader, current := 0, false, 0
		for _, node := range c.Nodes {
			b := node.running()
			if b == nil {
				continue
			}
			running++
			srv := b.Server()
			if srv.JetStreamIsCurrent() {
				current++
			}
			leader = leader || srv.JetStreamIsLeader() && len(srv.JetStreamClusterPeers()) == len(c.Nodes)
		}
		return leader && current == running
	})
}

// URL lists the client ports of all nodes.
func (c *Cluster) URL() string {
	urls := make([]string, len(c.Nodes))
	for i, node := range c.Nodes {
		urls[i] = fmt.Sprintf("nats://127.0.0.1:%d", node.opts.Listen.Port)
	}
	return strings.Join(urls, ",")
}

// Connect returns a connection to one of the nodes, over TCP, that goes to another when that stops. It is closed when tb
// ends; opts come last.
func (c *Cluster) Connect(tb testing.TB, opts ...nats.Option) *nats.Conn {
	tb.Helper()
	nc, err := nats.Connect(c.URL(), append([]nats.Option{
		nats.MaxReconnects(-1), nats.ReconnectWait(reconnectWait), nats.ReconnectJitter(0, 0),
	}, opts...)...)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(nc.Close)
	return nc
}
