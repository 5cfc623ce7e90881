package benchmarks

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	"github.com/hocket-go/hocket/embedded"
)

// Topology says where the broker is. Caller and service always share the measured process, on a connection each.
type Topology string

// The broker is in the measured process, with in-process connections or with TCP, or in a process of its own.
const (
	InProcess Topology = "inproc"   // what nats-server hands out
	Embedded  Topology = "embedded" // what package embedded hands out
	Loopback  Topology = "tcp"
	External  Topology = "external"
)

// Topologies returns all of them.
func Topologies() []Topology {
	return []Topology{InProcess, Embedded, Loopback, External}
}

// Site is the broker that all NATS contenders of a round share.
type Site struct {
	Topology Topology

	url       string                     // "" if it does not listen
	inProcess nats.InProcessConnProvider // nil where connections go over TCP
	brokerCPU func() (time.Duration, error)
	close     func() error
}

// NewSite starts a broker that stores below dir, syncing every write where syncAlways says so.
func NewSite(ctx context.Context, t Topology, dir string, syncAlways bool) (*Site, error) {
	switch t {
	case InProcess, Loopback:
		broker, err := startBroker(dir, syncAlways)
		if err != nil {
			return nil, err
		}
		site := &Site{Topology: t, url: broker.ClientURL(), close: func() error {
			broker.Shutdown()
			broker.WaitForShutdown()
			return nil
		}}
		if t == InProcess {
			site.inProcess = broker
		}
		return site, nil
	case Embedded:
		options := &embedded.Options{Dir: dir}
		if !syncAlways {
			options.SyncInterval = 2 * time.Minute // the default of the plain server beside it
		}
		broker, err := embedded.Start(ctx, options)
		if err != nil {
			return nil, err
		}
		return &Site{Topology: t, inProcess: broker, close: broker.Close}, nil
	case External:
		broker, err := startBrokerProcess(ctx, dir, syncAlways)
		if err != nil {
			return nil, err
		}
		return &Site{Topology: t, url: broker.url, brokerCPU: broker.cpu, close: broker.close}, nil
	default:
		return nil, fmt.Errorf("%q is no topology", t)
	}
}

// Connect returns a connection of the site's kind.
func (s *Site) Connect() (*nats.Conn, error) {
	if s.inProcess != nil {
		return nats.Connect("", nats.InProcessServer(s.inProcess))
	}
	return nats.Connect(s.url)
}

// CPU returns the time that the measured process and its broker have spent computing so far.
func (s *Site) CPU() (time.Duration, error) {
	own, err := processCPU()
	if err != nil || s.brokerCPU == nil {
		return own, err
	}
	remote, err := s.brokerCPU()
	return own + remote, err
}

// Close stops the broker.
func (s *Site) Close() error {
	return s.close()
}

func startBroker(dir string, syncAlways bool) (*server.Server, error) {
	broker, err := server.NewServer(&server.Options{
		Host: "127.0.0.1", Port: server.RANDOM_PORT, NoLog: true, NoSigs: true,
		JetStream: true, StoreDir: dir, SyncAlways: syncAlways,
	})
	if err != nil {
		return nil, err
	}
	broker.Start()
	if !broker.ReadyForConnections(10 * time.Second) {
		broker.Shutdown()
		return nil, errors.New("the broker did not start within 10 s")
	}
	return broker, nil
}

// brokerEnv holds the directory in which the broker process stores; being set is what makes it one.
const (
	brokerEnv     = "HOCKET_BENCH_BROKER"
	brokerSyncEnv = "HOCKET_BENCH_BROKER_SYNC"
)

// BrokerMain turns the process into a broker and never returns, if it was started to be one. Call it first in main and in
// TestMain: it is how the program runs a broker in its own process with nothing installed.
func BrokerMain() {
	dir := os.Getenv(brokerEnv)
	if dir == "" {
		return
	}
	if err := serveBroker(dir, os.Getenv(brokerSyncEnv) != "", os.Stdin, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "broker:", err)
		os.Exit(1)
	}
	os.Exit(0)
}

// serveBroker writes its URL, then answers each line with the CPU time it has used, in nanoseconds, and ends with its
// input: when the parent closes it, or is gone.
func serveBroker(dir string, syncAlways bool, in io.Reader, out io.Writer) error {
	broker, err := startBroker(dir, syncAlways)
	if err != nil {
		return err
	}
	if _, err := fmt.Fprintln(out, broker.ClientURL()); err != nil {
		return err
	}
	for lines := bufio.NewScanner(in); lines.Scan(); {
		used, err := processCPU()
		if err != nil {
			return err
		}
		if _, err := fmt.Fprintln(out, int64(used)); err != nil {
			return err
		}
	}
	broker.Shutdown()
	broker.WaitForShutdown()
	return nil
}

type brokerProcess struct {
	url string
	cmd *exec.Cmd

	mu  sync.Mutex // a question and its answer
	in  io.WriteCloser
	out *bufio.Reader
}

func startBrokerProcess(ctx context.Context, dir string, syncAlways bool) (*brokerProcess, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	// It lives as long as the site, not as long as the call; should this process die, its input ends.
	cmd := exec.CommandContext(context.WithoutCancel(ctx), self) //nolint:gosec // this very program
	cmd.Env = append(os.Environ(), brokerEnv+"="+dir)
	if syncAlways {
		cmd.Env = append(cmd.Env, brokerSyncEnv+"=1")
	}
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	b := &brokerProcess{cmd: cmd, in: in, out: bufio.NewReader(out)}
	line, err := b.out.ReadString('\n')
	if err != nil {
		return nil, errors.Join(fmt.Errorf("the broker process did not start: %w", err), b.close())
	}
	b.url = strings.TrimSpace(line)
	return b, nil
}

func (b *brokerProcess) cpu() (time.Duration, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if _, err := fmt.Fprintln(b.in); err != nil {
		return 0, err
	}
	line, err := b.out.ReadString('\n')
	if err != nil {
		return 0, err
	}
	used, err := strconv.ParseInt(strings.TrimSpace(line), 10, 64)
	return time.Duration(used), err
}

func (b *brokerProcess) close() error {
	if err := b.in.Close(); err != nil {
		return err
	}
	return b.cmd.Wait()
}
