package embedded_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"

	"github.com/hocket-go/hocket/embedded"
)

// Other programs are this test binary, run again for TestProgram alone. Parent and child talk in lines: a word, then its
// arguments. What the child says is marked, since the testing package prints there too.
const (
	programEnv = "HOCKET_EMBEDDED_TEST_PROGRAM" // its data directory
	syncEnv    = "HOCKET_EMBEDDED_TEST_SYNC"    // its SyncInterval
	mark       = "@ "

	patient = 30 * time.Second // for what takes milliseconds on a machine that is not overloaded
)

// program is another process of the test, from the parent's side.
type program struct {
	cmd  *exec.Cmd
	in   io.WriteCloser
	said chan string // closed when the process has ended

	mu    sync.Mutex
	acked []string
}

// startProgram runs a program that joins dir. It is killed when the test ends.
func startProgram(t *testing.T, dir string, env ...string) *program {
	t.Helper()
	exe, err := os.Executable()
	require.NoError(t, err)
	p := &program{
		cmd:  exec.Command(exe, "-test.run=^TestProgram$", "-test.timeout=120s"),
		said: make(chan string, 64),
	}
	p.cmd.Env = append(append(os.Environ(), programEnv+"="+dir), env...)
	p.cmd.Stderr = &prefixed{t: t}
	p.in, err = p.cmd.StdinPipe()
	require.NoError(t, err)
	out, err := p.cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, p.cmd.Start())
	go p.listen(out)
	t.Cleanup(func() {
		_ = p.cmd.Process.Kill()
		for range p.said {
		}
		_ = p.cmd.Wait()
	})
	return p
}

func (p *program) listen(out io.Reader) {
	defer close(p.said)
	for lines := bufio.NewScanner(out); lines.Scan(); {
		line, ok := strings.CutPrefix(lines.Text(), mark)
		if !ok {
			continue
		}
		if id, isAck := strings.CutPrefix(line, "ack "); isAck {
			p.mu.Lock()
			p.acked = append(p.acked, id)
			p.mu.Unlock()
			continue
		}
		p.said <- line
	}
}

// acks are the ids of the messages that this program saw acknowledged.
func (p *program) acks() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clip(p.acked)
}

func (p *program) pid() int { return p.cmd.Process.Pid }

// tell sends a command.
func (p *program) tell(t *testing.T, line string) {
	t.Helper()
	_, err := io.WriteString(p.in, line+"\n")
	require.NoError(t, err)
}

// hear waits for a line that begins with one of the words, and returns it.
func (p *program) hear(t *testing.T, words ...string) string {
	t.Helper()
	timeout := time.After(patient)
	for {
		select {
		case line, ok := <-p.said:
			require.True(t, ok, "program ended before it said one of %q", words)
			for _, word := range words {
				if strings.HasPrefix(line, word) {
					return line
				}
			}
		case <-timeout:
			require.Fail(t, "program is silent", "it did not say one of %q", words)
		}
	}
}

// kill ends it without a warning.
func (p *program) kill(t *testing.T) {
	t.Helper()
	require.NoError(t, p.cmd.Process.Kill())
}

// prefixed shows what programs complain about.
type prefixed struct{ t *testing.T }

func (w *prefixed) Write(b []byte) (int, error) {
	w.t.Logf("program: %s", strings.TrimSpace(string(b)))
	return len(b), nil
}

// TestProgram is not a test of its own but what startProgram runs.
func TestProgram(t *testing.T) {
	dir := os.Getenv(programEnv)
	if dir == "" {
		t.Skip("only for startProgram")
	}
	interval, _ := time.ParseDuration(os.Getenv(syncEnv))
	s, err := embedded.Join(t.Context(), &embedded.Options{Dir: dir, SyncInterval: interval, Logger: quiet()})
	if err != nil {
		sayf("failed %v", err)
		return
	}
	defer func() {
		begin := time.Now()
		err := s.Close()
		sayf("closed %d %v", time.Since(begin).Microseconds(), err)
	}()
	nc, err := s.Connect()
	require.NoError(t, err)
	defer nc.Close()

	ctx, stop := context.WithCancel(t.Context())
	var work sync.WaitGroup
	defer work.Wait()
	defer stop()
	work.Go(func() {
		for st := range s.Watch(ctx) {
			sayf("%s %d", st.State, st.Owner.PID)
		}
	})
	for lines := bufio.NewScanner(os.Stdin); lines.Scan(); {
		word, arg, _ := strings.Cut(lines.Text(), " ")
		switch word {
		case "publish":
			work.Go(func() { publishAll(ctx, nc, arg) })
		case "fill":
			fill(t, nc, arg)
			sayf("filled")
		case "churn":
			work.Go(func() { churn(ctx, nc, arg) })
		case "exit":
			return
		}
	}
}

func sayf(format string, args ...any) {
	fmt.Fprintf(os.Stdout, mark+format+"\n", args...)
}

// publishAll publishes until ctx ends, each message until it is acknowledged, and says so.
func publishAll(ctx context.Context, nc *nats.Conn, name string) {
	js, err := jetstream.New(nc)
	if err != nil {
		sayf("failed %v", err)
		return
	}
	for n := 0; ctx.Err() == nil; n++ {
		id := name + "-" + strconv.Itoa(n)
		for ctx.Err() == nil {
			attempt, cancel := context.WithTimeout(ctx, time.Second)
			_, err = js.Publish(attempt, "load."+name, []byte(id), jetstream.WithMsgID(id))
			cancel()
			if err == nil {
				sayf("ack %s", id)
				break
			}
		}
	}
}

// churn makes, changes and deletes streams and consumers until ctx ends, and says each stream that must be there.
func churn(ctx context.Context, nc *nats.Conn, name string) {
	js, err := jetstream.New(nc)
	if err != nil {
		sayf("failed %v", err)
		return
	}
	for n := 0; ctx.Err() == nil; n++ {
		config := jetstream.StreamConfig{
			Name: name + "-" + strconv.Itoa(n), Subjects: []string{name + "." + strconv.Itoa(n)},
		}
		stream, err := js.CreateStream(ctx, config)
		if err != nil {
			continue // ctx has ended, or the owner has
		}
		sayf("ack %s", stream.CachedInfo().Config.Name)
		for i := range 5 {
			_, _ = stream.CreateConsumer(ctx, jetstream.ConsumerConfig{Durable: "c" + strconv.Itoa(i)})
		}
		for i := range 5 {
			config.Description = strconv.Itoa(i)
			_, _ = js.UpdateStream(ctx, config)
		}
		for i := range 4 {
			_ = stream.DeleteConsumer(ctx, "c"+strconv.Itoa(i))
		}
		if n%2 == 0 {
			_ = js.DeleteStream(ctx, name+"-"+strconv.Itoa(n))
		}
	}
}

// fill stores arg, "count size", in the stream.
func fill(t *testing.T, nc *nats.Conn, arg string) {
	t.Helper()
	var count, size int
	_, err := fmt.Sscan(arg, &count, &size)
	require.NoError(t, err)
	js, err := jetstream.New(nc, jetstream.WithPublishAsyncMaxPending(1000))
	require.NoError(t, err)
	payload := make([]byte, size)
	for range count {
		_, err = js.PublishAsync("load.fill", payload, jetstream.WithStallWait(patient))
		require.NoError(t, err)
	}
	<-js.PublishAsyncComplete()
}

// quiet drops logs.
func quiet() *slog.Logger { return slog.New(slog.DiscardHandler) }

// dataDir is a directory that Join accepts whatever the umask.
func dataDir(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "data")
	require.NoError(t, os.Mkdir(dir, 0o700))
	return dir
}

// join joins from this process; it leaves when the test ends.
func join(t *testing.T, dir string) *embedded.Shared {
	t.Helper()
	s, err := embedded.Join(t.Context(), &embedded.Options{Dir: dir, Logger: quiet()})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, s.Close()) })
	return s
}

// connectShared makes a client and a JetStream context on it; it is closed when the test ends.
func connectShared(t *testing.T, s *embedded.Shared, opts ...nats.Option) (*nats.Conn, jetstream.JetStream) {
	t.Helper()
	nc, err := s.Connect(opts...)
	require.NoError(t, err)
	t.Cleanup(nc.Close)
	js, err := jetstream.New(nc)
	require.NoError(t, err)
	return nc, js
}

// loadStream is where programs publish.
func loadStream(t *testing.T, js jetstream.JetStream) jetstream.Stream {
	t.Helper()
	stream, err := js.CreateOrUpdateStream(t.Context(), jetstream.StreamConfig{
		Name: "LOAD", Subjects: []string{"load.>"}, Duplicates: time.Minute, AllowDirect: true,
	})
	require.NoError(t, err)
	return stream
}

// awaitStatus waits until s is as wanted.
func awaitStatus(t *testing.T, s *embedded.Shared, want func(embedded.Status) bool) embedded.Status {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patient)
	defer cancel()
	var last embedded.Status
	for last = range s.Watch(ctx) {
		if want(last) {
			return last
		}
	}
	require.Fail(t, "status did not come", "last was %v of %v: %v", last.State, last.Owner, last.Err)
	return last
}

func isState(state embedded.State) func(embedded.Status) bool {
	return func(st embedded.Status) bool { return st.State == state }
}

// syncBuffer is a log to look into.
type syncBuffer struct {
	mu  sync.Mutex
	buf strings.Builder
}

func (b *syncBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *syncBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

func (b *syncBuffer) logger() *slog.Logger { return slog.New(slog.NewTextHandler(b, nil)) }
