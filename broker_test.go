package hocket_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/hocket-go/hocket"
	"github.com/hocket-go/hocket/embedded"
	"github.com/hocket-go/hocket/events"
	"github.com/hocket-go/hocket/hockettest"
	"github.com/hocket-go/hocket/rpc"
)

// outside is a broker with a port, as one that is not ours.
func outside(t *testing.T, modify func(*embedded.Options)) *embedded.Broker {
	t.Helper()
	opts := &embedded.Options{
		Dir: filepath.Join(t.TempDir(), "data"), Logger: quiet(), Listen: &embedded.Listen{Port: embedded.RandomPort},
	}
	if modify != nil {
		modify(opts)
	}
	broker, err := embedded.Start(t.Context(), opts)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, broker.Close()) })
	return broker
}

func TestABrokerOutsideIsAMatterOfOneURL(t *testing.T) {
	broker := outside(t, func(o *embedded.Options) { o.Listen.User, o.Listen.Password = "u", "p" })
	url := "nats://u:p@" + broker.URL()[len("nats://"):]
	file := filepath.Join(t.TempDir(), "context.json")
	data, err := json.Marshal(map[string]string{"url": broker.URL(), "user": "u", "password": "p"})
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(file, data, 0o600))

	for name, c := range map[string]struct {
		env  map[string]string
		opts hocket.Options
	}{
		"URL":          {nil, hocket.Options{URL: url}},
		"NATS_URL":     {map[string]string{"NATS_URL": url}, hocket.Options{}},
		"Context":      {nil, hocket.Options{Context: file}},
		"NATS_CONTEXT": {map[string]string{"NATS_CONTEXT": file}, hocket.Options{}},
	} {
		t.Run(name, func(t *testing.T) {
			for k, v := range c.env {
				t.Setenv(k, v)
			}
			log := &logs{}
			c.opts.Logger = log.logger()
			svc := open(t, "orders", &c.opts)
			serve(svc)
			require.NoError(t, svc.Start(t.Context()))
			_, err := create.Call(t.Context(), svc, order{"o-" + name})
			require.NoError(t, err)
			assert.Equal(t, hocket.DurabilityUnknown, svc.Durability(), "it is not ours and does not let us look")
			assert.Contains(t, log.String(), "whether the broker syncs acknowledged writes is unknown")
		})
	}
}

func TestABrokerThatCannotBeReachedIsNamedWithoutItsPassword(t *testing.T) {
	t.Parallel()
	began := time.Now()
	_, err := hocket.Open(t.Context(), "orders", &hocket.Options{URL: "nats://ada:secret@127.0.0.1:1", Logger: quiet()})
	require.ErrorIs(t, err, nats.ErrNoServers)
	assert.ErrorContains(t, err, "127.0.0.1:1")
	assert.NotContains(t, err.Error(), "secret")
	assert.Less(t, time.Since(began), 10*time.Second)
	for _, url := range []string{
		"nats://secret@127.0.0.1:1", "nats://a:secret@127.0.0.1:1,nats://b:secret@127.0.0.1:2", "nats://a:secret@127.0.0.1:bad",
		"a:secret@127.0.0.1:1", "nats://a:se%zzcret@127.0.0.1:1",
	} {
		_, err = hocket.Open(t.Context(), "orders", &hocket.Options{URL: url, Logger: quiet()})
		require.ErrorContains(t, err, "127.0.0.1:")
		assert.NotContains(t, err.Error(), "cret", url)
	}
	_, err = hocket.Open(t.Context(), "orders", &hocket.Options{Context: "/no/such/context.json", Logger: quiet()})
	require.ErrorContains(t, err, "/no/such/context.json")
}

func TestRequireSyncRefusesABrokerThatIsNotKnownToSync(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "data")
	_, err := hocket.Open(t.Context(), "orders", &hocket.Options{
		Embedded: &embedded.Options{Dir: dir, SyncInterval: time.Minute}, RequireSync: true, Logger: quiet(),
	})
	require.ErrorIs(t, err, hocket.ErrNotSynced)
	require.ErrorContains(t, err, "not synced")
	svc := open(t, "orders", &hocket.Options{Embedded: &embedded.Options{Dir: dir}, RequireSync: true, Logger: quiet()})
	assert.Equal(t, hocket.Synced, svc.Durability())

	broker := outside(t, nil)
	_, err = hocket.Open(t.Context(), "orders", &hocket.Options{URL: broker.URL(), RequireSync: true, Logger: quiet()})
	require.ErrorIs(t, err, hocket.ErrNotSynced)
	require.ErrorContains(t, err, "unknown")
	require.ErrorIs(t, err, nats.ErrNoResponders, "and says why")
}

func TestDurabilityOfABrokerThatLetsUsLook(t *testing.T) {
	t.Parallel()
	for interval, want := range map[time.Duration]hocket.Durability{0: hocket.Synced, time.Minute: hocket.NotSynced} {
		broker := outside(t, func(o *embedded.Options) {
			o.SyncInterval = interval
			o.Configure = func(so *server.Options) {
				// The default account hears what its system account would, as an operator may allow.
				sys, app := server.NewAccount("SYS"), server.NewAccount("APP")
				so.Accounts = []*server.Account{sys, app}
				so.SystemAccount = "SYS"
				so.Users = []*server.User{{Username: "app", Password: "p", Account: sys}}
			}
		})
		url := "nats://app:p@" + broker.URL()[len("nats://"):]
		svc := open(t, "orders", &hocket.Options{URL: url, Logger: quiet()})
		assert.Equal(t, want, svc.Durability(), "by its system account")

		monitor := httptest.NewServer(jsz(broker))
		t.Cleanup(monitor.Close)
		plain := outside(t, nil)
		svc = open(t, "orders", &hocket.Options{URL: plain.URL(), Monitor: monitor.URL, Logger: quiet()})
		assert.Equal(t, want, svc.Durability(), "by its monitoring port")
	}
	log := &logs{}
	svc := open(t, "orders", &hocket.Options{URL: outside(t, nil).URL(), Monitor: "http://127.0.0.1:1", Logger: log.logger()})
	assert.Equal(t, hocket.DurabilityUnknown, svc.Durability())
	assert.Contains(t, log.String(), "127.0.0.1:1")
}

func TestStateChangesAreReportedAndWorkGoesOnAfterARestart(t *testing.T) {
	t.Parallel()
	states := make(chan hocket.State, 100)
	svc := hockettest.New(t, "orders", serve, func(o *hocket.Options) {
		o.OnState = func(state hocket.State, _ error) { states <- state }
	})
	assert.Equal(t, hocket.Connected, within(t, states))
	svc.Broker.Stop()
	assert.Equal(t, hocket.Disconnected, within(t, states))
	require.Error(t, svc.Health())
	require.NotErrorIs(t, svc.Health(), hocket.ErrClosed, "it passes")
	svc.Broker.Start()
	assert.Equal(t, hocket.Reconnected, within(t, states))
	require.NoError(t, svc.Health())
	require.NoError(t, svc.Ready())
	_, err := create.Call(t.Context(), svc, order{"o-1"})
	require.NoError(t, err)
	require.NoError(t, svc.Drain(t.Context()))
	assert.Equal(t, hocket.Disconnected, within(t, states))
	assert.Equal(t, hocket.Closed, within(t, states))
	require.ErrorIs(t, svc.Health(), hocket.ErrClosed)
}

func TestRunEndsWhenTheConnectionIsLostForGood(t *testing.T) {
	t.Parallel()
	broker := hockettest.NewBroker(t)
	svc := open(t, "orders", &hocket.Options{
		Broker: connector{broker, t}, Logger: quiet(), Signals: []os.Signal{}, NATS: []nats.Option{nats.NoReconnect()},
	})
	svc.AfterStart(func(context.Context) error { broker.Stop(); return nil })
	err := svc.Run(t.Context())
	require.ErrorIs(t, err, nats.ErrConnectionClosed)
}

func TestDrainIsBoundedAndClosesEverythingAllTheSame(t *testing.T) {
	t.Parallel()
	begun, ended := make(chan struct{}), make(chan error, 1)
	broker := hockettest.NewBroker(t)
	svc, err := hocket.Open(t.Context(), "orders", &hocket.Options{Broker: connector{broker, t}, Logger: quiet()})
	require.NoError(t, err)
	slow.Handle(svc, func(ctx context.Context, in order) (order, error) {
		close(begun)
		<-ctx.Done()
		ended <- context.Cause(ctx)
		return in, ctx.Err()
	})
	require.NoError(t, svc.Start(t.Context()))
	require.ErrorContains(t, svc.Start(t.Context()), "started already")
	caller := hockettest.Open(t, broker, "caller", nil)
	go func() { _, _ = slow.Call(t.Context(), caller, order{}) }()
	within(t, begun)
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	results := make(chan error, 4)
	for range 4 {
		go func() { results <- svc.Drain(ctx) }()
	}
	for range 4 {
		err := within(t, results)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.ErrorContains(t, err, "still running Slow (1)")
	}
	require.ErrorIs(t, within(t, ended), rpc.ErrClosed)
	assert.True(t, svc.Conn().IsClosed())
}

func TestWhatTheBrokerRefusesReachesWhoeverAsked(t *testing.T) {
	t.Parallel()
	broker := hockettest.NewBroker(t, func(o *embedded.Options) {
		o.Configure = func(so *server.Options) {
			so.Users = []*server.User{{Username: "u", Password: "p", Permissions: &server.Permissions{
				Publish:   &server.SubjectPermission{Allow: []string{"$JS.API.>"}},
				Subscribe: &server.SubjectPermission{Allow: []string{"_INBOX.orders.>", "r.*.orders.>"}},
			}}}
		}
	})
	svc := open(t, "orders", &hocket.Options{
		Broker: connector{broker, t}, Logger: quiet(), NATS: []nats.Option{nats.UserInfo("u", "p")},
		Events: &events.Options{AttemptTimeout: time.Hour},
	})
	_, err := create.Call(t.Context(), svc, order{}, rpc.Timeout(time.Minute))
	require.Equal(t, rpc.PermissionDenied, rpc.CodeOf(err), "%v", err)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	_, err = event.Publish(ctx, svc, placed{})
	require.ErrorIs(t, err, nats.ErrPermissionViolation)
	require.NoError(t, ctx.Err(), "at once, not when the time is up")
	serve(svc)
	err = svc.Start(t.Context())
	require.ErrorIs(t, err, nats.ErrPermissionViolation)
	require.ErrorContains(t, err, `"rpc.orders.Create"`)
}

func TestADiskThatEndsWithTheContainerIsWarnedOf(t *testing.T) {
	t.Parallel()
	dir, err := os.MkdirTemp("/dev/shm", "hocket-test-") //nolint:usetesting // it has to be in memory
	if err != nil {
		t.Skip("there is no file system in memory here:", err)
	}
	t.Cleanup(func() { require.NoError(t, os.RemoveAll(dir)) })
	log := &logs{}
	svc := open(t, "orders", &hocket.Options{Embedded: &embedded.Options{Dir: dir}, Logger: log.logger()})
	require.NoError(t, svc.Close())
	assert.Contains(t, log.String(), "HOCKET_DATA")
	assert.Contains(t, log.String(), "tmpfs")
}

func TestABrokerInsideCanServeOtherProcessesOnAPort(t *testing.T) {
	t.Parallel()
	free, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	port := free.Addr().(*net.TCPAddr).Port
	require.NoError(t, free.Close())
	svc := open(t, "orders", &hocket.Options{Logger: quiet(), Embedded: &embedded.Options{
		Dir: filepath.Join(t.TempDir(), "data"), Listen: &embedded.Listen{Port: port},
	}})
	serve(svc)
	require.NoError(t, svc.Start(t.Context()))
	caller := open(t, "caller", &hocket.Options{URL: fmt.Sprintf("nats://127.0.0.1:%d", port), Logger: quiet()})
	_, err = create.Call(t.Context(), caller, order{"o-1"})
	require.NoError(t, err)
}

// jsz answers as the monitoring port of a broker does.
func jsz(broker *embedded.Broker) *monitor { return &monitor{broker} }

type monitor struct{ broker *embedded.Broker }

// ServeHTTP hands the question to the server's own handler.
func (m *monitor) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path != "/jsz" {
		http.NotFound(w, r)
		return
	}
	m.broker.Server().HandleJsz(w, r)
}
