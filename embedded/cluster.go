package embedded

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/json"
	"net"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats-server/v2/server"
)

// DefaultLeafPort is the port of [Hub], and of a hub's URL that has none.
const DefaultLeafPort = 7422

// Cluster makes a broker one node of a NATS cluster, in which streams can have replicas. Every node has the same Name
// here and a name of its own in [Options].
type Cluster struct {
	// Name is the cluster's, the same on each node. It has no default.
	Name string

	// Host is the name or address that other nodes connect to. Defaults to 127.0.0.1.
	Host string

	// Port is the TCP port for other nodes. It has no default, since the others must know it.
	Port int

	// Advertise is the host, or host and port, that other nodes are told to connect to. Defaults to Host and Port.
	Advertise string

	// Routes are the other nodes, as "host:port" or "nats://host:port". One is enough to find the rest; this node may
	// be among them. There must be one.
	Routes []string

	// User and Password must be the same on all nodes. Default to none, which lets in everyone who reaches the port.
	User, Password string

	// TLS encrypts and, with ClientAuth, authenticates what goes between the nodes. Defaults to none.
	TLS *tls.Config
}

// Hub accepts leaf nodes.
type Hub struct {
	// Host is the name or address that leaf nodes connect to. Defaults to 127.0.0.1.
	Host string

	// Port is the TCP port for leaf nodes; [RandomPort] chooses a free one. Defaults to [DefaultLeafPort].
	Port int

	// User and Password must be shown by each leaf node. Default to none, which lets in everyone who reaches the port.
	User, Password string

	// TLS encrypts what goes between hub and leaf nodes. Defaults to none.
	TLS *tls.Config
}

// Leaf connects a broker to a hub. The leaf node has streams of its own, in its own JetStream domain, and goes on
// working while it cannot reach the hub; messages that are not stored pass between the two as if they were one.
type Leaf struct {
	// URLs are the hub's, as "host:port", "nats://user:password@host:port" or "tls://host:port"; more than one are
	// alternatives. There must be one.
	URLs []string

	// CredentialsFile is a NATS credentials file, for a hub that wants one. Defaults to none.
	CredentialsFile string

	// TLS is used for a hub that wants it. Defaults to the system's authorities.
	TLS *tls.Config
}

func (o *Options) clusterDefaults() {
	if o.Cluster != nil {
		c := *o.Cluster
		setDefault(&c.Host, "127.0.0.1")
		o.Cluster = &c
	}
	if o.Hub != nil {
		h := *o.Hub
		setDefault(&h.Host, "127.0.0.1")
		setDefault(&h.Port, DefaultLeafPort)
		o.Hub = &h
	}
}

func (o *Options) validateCluster() error {
	if o.Cluster != nil {
		if err := o.Cluster.validate(o); err != nil {
			return err
		}
	}
	if h := o.Hub; h != nil {
		switch {
		case !validPort(h.Port):
			return invalid("Hub.Port is %d, not a TCP port", h.Port)
		case (h.User == "") != (h.Password == ""):
			return invalid("Hub needs both User and Password, or neither")
		}
	}
	if o.Leaf != nil {
		// Without a domain the leaf's requests to JetStream and the hub's are the same subjects.
		if o.Domain == "" {
			return invalid("Leaf needs a Domain, and one that no other broker at the hub has")
		}
		if _, err := parseURLs("Leaf.URLs", o.Leaf.URLs, DefaultLeafPort); err != nil {
			return err
		}
	}
	return nil
}

func (c *Cluster) validate(o *Options) error {
	switch {
	case c.Name == "" || strings.ContainsAny(c.Name, " \t\r\n"):
		return invalid("Cluster.Name is %q, but a cluster needs one, without spaces", c.Name)
	case o.Name == "":
		return invalid("Cluster %q needs Options.Name, the name of this node", c.Name)
	case o.Listen == nil:
		// The server opens its routes only after its client port, so that without one it would never be ready.
		return invalid("Cluster %q needs Options.Listen, a port for clients", c.Name)
	case c.Port <= 0 || !validPort(c.Port):
		return invalid("Cluster.Port is %d, but the other nodes of %q must know a TCP port", c.Port, c.Name)
	case len(c.Routes) == 0:
		return invalid("Cluster %q has no Routes, and JetStream in a cluster needs at least one", c.Name)
	case (c.User == "") != (c.Password == ""):
		return invalid("Cluster needs both User and Password, or neither")
	}
	_, err := parseURLs("Cluster.Routes", c.Routes, 0)
	return err
}

// parseURLs reads "host:port" and "scheme://host:port". Without a default port there must be one.
func parseURLs(field string, list []string, defaultPort int) ([]*url.URL, error) {
	if len(list) == 0 {
		return nil, invalid("%s is empty", field)
	}
	urls := make([]*url.URL, 0, len(list))
	for _, s := range list {
		text := s
		if !strings.Contains(text, "://") {
			text = "nats://" + text
		}
		u, err := url.Parse(text)
		switch {
		case err != nil:
			return nil, invalid("%s has a URL that cannot be parsed: %w", field, err)
		case u.Hostname() == "":
			return nil, invalid("%s has %q, which names no host", field, u.Redacted())
		case u.Port() == "" && defaultPort == 0:
			return nil, invalid("%s has %q, which names no port", field, u.Redacted())
		case u.Port() == "":
			u.Host = net.JoinHostPort(u.Hostname(), strconv.Itoa(defaultPort))
		}
		urls = append(urls, u)
	}
	return urls, nil
}

// configureCluster translates the options that [Options.validate] has accepted.
func (o *Options) configureCluster(so *server.Options) error {
	if c := o.Cluster; c != nil {
		routes, err := parseURLs("Cluster.Routes", c.Routes, 0)
		if err != nil {
			return err
		}
		for _, u := range routes {
			if c.User != "" && u.User == nil {
				u.User = url.UserPassword(c.User, c.Password)
			}
		}
		so.Routes = routes
		so.Cluster = server.ClusterOpts{
			Name: c.Name, Host: c.Host, Port: c.Port, Advertise: c.Advertise, Username: c.User, Password: c.Password,
			TLSConfig: c.TLS.Clone(),
		}
	}
	if h := o.Hub; h != nil {
		so.LeafNode.Host, so.LeafNode.Port = h.Host, h.Port
		so.LeafNode.Username, so.LeafNode.Password = h.User, h.Password
		so.LeafNode.TLSConfig = h.TLS.Clone()
	}
	if l := o.Leaf; l != nil {
		urls, err := parseURLs("Leaf.URLs", l.URLs, DefaultLeafPort)
		if err != nil {
			return err
		}
		so.LeafNode.Remotes = []*server.RemoteLeafOpts{{
			URLs: urls, Credentials: l.CredentialsFile, TLSConfig: l.TLS.Clone(), TLS: l.TLS != nil,
		}}
	}
	return nil
}

// probeTimeout bounds how long a hub that does not answer delays the start of its leaf node.
const probeTimeout = 500 * time.Millisecond

// checkHubDomain returns an error if a hub can be reached and has the JetStream domain of this leaf node: the two would
// store in each other's place without a word. A hub that cannot be reached is no error, a leaf node works without.
func (o *Options) checkHubDomain(ctx context.Context) error {
	if o.Leaf == nil {
		return nil
	}
	urls, err := parseURLs("Leaf.URLs", o.Leaf.URLs, DefaultLeafPort)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	domains := make([]string, len(urls))
	var wg sync.WaitGroup
	for i, u := range urls {
		wg.Go(func() { domains[i] = hubDomain(ctx, u.Host) })
	}
	wg.Wait()
	for i, domain := range domains {
		if domain == o.Domain {
			return invalid("Domain %q is that of the hub at %s too; a leaf node needs one of its own", domain, urls[i].Redacted())
		}
	}
	return nil
}

// hubDomain reads the greeting that a server sends to whoever connects, in the clear also where TLS follows. It returns
// "" if there is none.
func hubDomain(ctx context.Context, address string) string {
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", address)
	if err != nil {
		return ""
	}
	defer func() { _ = conn.Close() }() // nothing was written that could be lost
	if deadline, ok := ctx.Deadline(); ok {
		if err = conn.SetReadDeadline(deadline); err != nil {
			return ""
		}
	}
	line, err := bufio.NewReaderSize(conn, server.MAX_CONTROL_LINE_SIZE).ReadString('\n')
	if err != nil {
		return ""
	}
	var info struct {
		Domain string `json:"domain"`
	}
	body, found := strings.CutPrefix(line, "INFO ")
	if !found || json.Unmarshal([]byte(body), &info) != nil {
		return ""
	}
	return info.Domain
}
