package embedded_test

import (
	"context"
	"fmt"
	"math"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/hocket-go/hocket/embedded"
)

func portOf(tb testing.TB, address string) int {
	tb.Helper()
	u, err := url.Parse(address)
	require.NoError(tb, err)
	port, err := strconv.Atoi(u.Port())
	require.NoError(tb, err)
	return port
}

func TestDefaultDirIsHocketDataOrBelowTheUsersData(t *testing.T) {
	home := t.TempDir()
	t.Setenv("HOCKET_DATA", "")
	t.Setenv("HOME", home)
	t.Setenv("XDG_DATA_HOME", "")
	if runtime.GOOS == "linux" {
		dir, err := embedded.DefaultDir()
		require.NoError(t, err)
		assert.Equal(t, filepath.Join(home, ".local", "share", "hocket"), dir)
		t.Setenv("XDG_DATA_HOME", filepath.Join(home, "xdg"))
		dir, err = embedded.DefaultDir()
		require.NoError(t, err)
		assert.Equal(t, filepath.Join(home, "xdg", "hocket"), dir)
	}
	t.Setenv("HOCKET_DATA", home)
	dir, err := embedded.DefaultDir()
	require.NoError(t, err)
	assert.Equal(t, home, dir)
	_, err = os.Stat(filepath.Join(home, ".local"))
	assert.ErrorIs(t, err, os.ErrNotExist, "asking made a directory")
}

func TestNoHomeIsAnErrorThatNamesHocketData(t *testing.T) {
	t.Setenv("HOCKET_DATA", "")
	t.Setenv("HOME", "")
	t.Setenv("XDG_DATA_HOME", "")
	if runtime.GOOS == "windows" {
		t.Setenv("LocalAppData", "")
		t.Setenv("USERPROFILE", "")
	}
	_, err := embedded.DefaultDir()
	require.ErrorIs(t, err, embedded.ErrNoDir)
	assert.ErrorContains(t, err, "HOCKET_DATA")
	require.ErrorIs(t, refuse(t, nil), embedded.ErrNoDir)

	t.Setenv("HOCKET_DATA", filepath.Join("not", "absolute"))
	_, err = embedded.DefaultDir()
	require.ErrorIs(t, err, embedded.ErrNoDir)
	assert.ErrorContains(t, err, "not an absolute path")
}

func TestInvalidOptionsAreNamedBeforeAnythingIsTouched(t *testing.T) {
	t.Parallel()
	listen := &embedded.Listen{Port: embedded.RandomPort}
	for _, c := range []struct {
		want string
		set  func(o *embedded.Options)
	}{
		{"SyncInterval is -1s", func(o *embedded.Options) { o.SyncInterval = -time.Second }},
		{"StartTimeout is -1s", func(o *embedded.Options) { o.StartTimeout = -time.Second }},
		{`Name is "a b"`, func(o *embedded.Options) { o.Name = "a b" }},
		{`Domain is "a.b"`, func(o *embedded.Options) { o.Domain = "a.b" }},
		{"MaxMemory is -1", func(o *embedded.Options) { o.Limits.MaxMemory = -1 }},
		{"MaxStore is -1", func(o *embedded.Options) { o.Limits.MaxStore = -1 }},
		{"MaxPayload is -1", func(o *embedded.Options) { o.Limits.MaxPayload = -1 }},
		{"MaxPayload is 67108865", func(o *embedded.Options) { o.Limits.MaxPayload = 64<<20 + 1 }},
		{"MaxConsumers is -2", func(o *embedded.Options) { o.Limits.MaxConsumers = -2 }},
		{"MaxStreams is -2", func(o *embedded.Options) { o.Limits.MaxStreams = -2 }},
		{"MaxConnections is -1", func(o *embedded.Options) { o.Limits.MaxConnections = -1 }},
		{"Listen.Port is 65536", func(o *embedded.Options) { o.Listen = &embedded.Listen{Port: 65536} }},
		{"Listen.Port is -2", func(o *embedded.Options) { o.Listen = &embedded.Listen{Port: -2} }},
		{"both a Token and a User", func(o *embedded.Options) {
			o.Listen = &embedded.Listen{Token: "t", User: "u", Password: "p"}
		}},
		{"both User and Password", func(o *embedded.Options) { o.Listen = &embedded.Listen{User: "u"} }},
		{"both CertFile and KeyFile", func(o *embedded.Options) { o.Listen = &embedded.Listen{CertFile: "c"} }},
		{"ClientCAFile but no CertFile", func(o *embedded.Options) { o.Listen = &embedded.Listen{ClientCAFile: "c"} }},
		{`Cluster.Name is ""`, func(o *embedded.Options) { o.Cluster = &embedded.Cluster{} }},
		{"needs Options.Name", func(o *embedded.Options) { o.Cluster = &embedded.Cluster{Name: "c"} }},
		{"needs Options.Listen", func(o *embedded.Options) {
			o.Name, o.Cluster = "n", &embedded.Cluster{Name: "c", Port: 1, Routes: []string{"a:1"}}
		}},
		{"Cluster.Port is 0", func(o *embedded.Options) {
			o.Name, o.Listen, o.Cluster = "n", listen, &embedded.Cluster{Name: "c", Routes: []string{"a:1"}}
		}},
		{"has no Routes", func(o *embedded.Options) {
			o.Name, o.Listen, o.Cluster = "n", listen, &embedded.Cluster{Name: "c", Port: 1}
		}},
		{`"nats://host", which names no port`, func(o *embedded.Options) {
			o.Name, o.Listen, o.Cluster = "n", listen, &embedded.Cluster{Name: "c", Port: 1, Routes: []string{"host"}}
		}},
		{"Hub.Port is 65536", func(o *embedded.Options) { o.Hub = &embedded.Hub{Port: 65536} }},
		{"Leaf needs a Domain", func(o *embedded.Options) { o.Leaf = &embedded.Leaf{URLs: []string{"a:1"}} }},
		{"Leaf.URLs is empty", func(o *embedded.Options) { o.Leaf, o.Domain = &embedded.Leaf{}, "edge" }},
	} {
		t.Run(c.want, func(t *testing.T) {
			t.Parallel()
			o := options(t)
			c.set(o)
			err := refuse(t, o)
			require.ErrorIs(t, err, embedded.ErrOptions)
			require.ErrorContains(t, err, c.want)
			_, err = os.Stat(o.Dir)
			require.ErrorIs(t, err, os.ErrNotExist)
		})
	}
}

func TestAStoreLimitBeyondTheDiskIsAnError(t *testing.T) {
	t.Parallel()
	o := options(t)
	o.Limits.MaxStore = math.MaxInt64
	err := refuse(t, o)
	require.ErrorIs(t, err, embedded.ErrOptions)
	assert.ErrorContains(t, err, "MaxStore")
}

func TestLimitsHold(t *testing.T) {
	t.Parallel()
	o := options(t)
	o.Limits = embedded.Limits{
		MaxMemory: 1 << 20, MaxStore: 1 << 20, MaxPayload: 300 << 10, MaxConsumers: 2, MaxStreams: 2, MaxConnections: 2,
	}
	b := start(t, o)
	nc := connect(t, b)
	assert.EqualValues(t, 300<<10, nc.MaxPayload())
	js, err := jetstream.New(nc)
	require.NoError(t, err)
	ctx := t.Context()
	for _, storage := range []jetstream.StorageType{jetstream.FileStorage, jetstream.MemoryStorage} {
		name := storage.String()
		s, err := js.CreateStream(ctx, jetstream.StreamConfig{Name: name, Subjects: []string{name}, Storage: storage})
		require.NoError(t, err)
		for range 5 { // the one that crosses the limit is still taken
			_, err = js.Publish(ctx, name, make([]byte, 299<<10))
		}
		var api *jetstream.APIError
		require.ErrorAs(t, err, &api, "5 x 299 KiB fit into 1 MiB")
		assert.EqualValues(t, 10023, api.ErrorCode)

		for range 2 {
			_, err = s.CreateConsumer(ctx, jetstream.ConsumerConfig{})
			require.NoError(t, err)
		}
		_, err = s.CreateConsumer(ctx, jetstream.ConsumerConfig{})
		require.ErrorAs(t, err, &api)
		assert.Equal(t, jetstream.JSErrCodeMaximumConsumersLimit, api.ErrorCode)
	}
	_, err = js.CreateStream(ctx, jetstream.StreamConfig{Name: "third", Subjects: []string{"third"}})
	require.ErrorContains(t, err, "maximum number of streams")

	connect(t, b)
	_, err = b.Connect()
	require.ErrorContains(t, err, "maximum connections exceeded")
}

func TestAStreamCanHaveMoreThanAThousandConsumers(t *testing.T) {
	t.Parallel()
	b := start(t, options(t))
	s := stream(t, connect(t, b), jetstream.StreamConfig{Name: "S", Subjects: []string{"s"}})
	const consumers = 1001
	for range consumers {
		_, err := s.CreateConsumer(t.Context(), jetstream.ConsumerConfig{MemoryStorage: true})
		require.NoError(t, err)
	}
	info, err := s.Info(t.Context())
	require.NoError(t, err)
	assert.Equal(t, consumers, info.State.Consumers)
}

func TestAPortInUseIsNamed(t *testing.T) {
	t.Parallel()
	taken, err := new(net.ListenConfig).Listen(context.Background(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, taken.Close()) })
	port := taken.Addr().(*net.TCPAddr).Port
	address := taken.Addr().String()

	for name, set := range map[string]func(o *embedded.Options){
		"clients": func(o *embedded.Options) { o.Listen = &embedded.Listen{Port: port} },
		"cluster": func(o *embedded.Options) {
			o.Name, o.Listen = "n", &embedded.Listen{Port: embedded.RandomPort}
			o.Cluster = &embedded.Cluster{Name: "c", Port: port, Routes: []string{address}}
		},
		"hub": func(o *embedded.Options) { o.Hub = &embedded.Hub{Port: port} },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o := options(t)
			set(o)
			began := time.Now()
			err := refuse(t, o)
			require.ErrorIs(t, err, embedded.ErrPortInUse)
			require.ErrorContains(t, err, address)
			assert.Less(t, time.Since(began), 5*time.Second, "it waited although the cause was known")
		})
	}
}

func TestADirectoryThatCannotBeWrittenIsNamed(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "file")
	require.NoError(t, os.WriteFile(file, nil, 0o600))
	o := options(t)
	o.Dir = filepath.Join(file, "data")
	err := refuse(t, o)
	require.ErrorIs(t, err, embedded.ErrUnwritable)
	require.ErrorContains(t, err, o.Dir)

	o = options(t)
	require.NoError(t, os.MkdirAll(o.Dir, 0o700))
	require.NoError(t, os.WriteFile(filepath.Join(o.Dir, "jetstream"), nil, 0o600))
	err = refuse(t, o)
	require.ErrorIs(t, err, embedded.ErrUnwritable)
	require.ErrorContains(t, err, filepath.Join(o.Dir, "jetstream"))
}

func TestAReadOnlyDirectoryIsNamed(t *testing.T) {
	t.Parallel()
	if os.Geteuid() == 0 || runtime.GOOS == "windows" {
		t.Skip("needs a user whom permissions bind")
	}
	o := options(t)
	require.NoError(t, os.MkdirAll(o.Dir, 0o500))
	require.ErrorIs(t, refuse(t, o), embedded.ErrUnwritable)
}

func TestAStartThatTakesTooLongSaysSo(t *testing.T) {
	t.Parallel()
	o := options(t)
	o.StartTimeout = time.Nanosecond
	b, err := embedded.Start(context.Background(), o)
	if err == nil { // the server was up before anybody looked at the clock
		require.NoError(t, b.Close())
		return
	}
	require.ErrorIs(t, err, embedded.ErrStart)
	require.ErrorContains(t, err, fmt.Sprint(o.StartTimeout))
	o.StartTimeout = 0
	startSoon(t, o)
}
