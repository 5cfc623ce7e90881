package benchmarks_test

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/hocket-go/hocket/benchmarks"
)

func TestMain(m *testing.M) {
	benchmarks.BrokerMain()
	os.Exit(m.Run())
}

// BenchmarkEcho is one caller of each contender, by itself. For comparisons use cmd/bench, which takes turns.
func BenchmarkEcho(b *testing.B) {
	for _, topology := range benchmarks.Topologies() {
		for _, contender := range benchmarks.Contenders() {
			if !contender.On(topology) {
				continue
			}
			for _, size := range []int{128, 1024} {
				b.Run(fmt.Sprintf("%s/%s/%dB", topology, contender.Name, size), func(b *testing.B) {
					echoer, err := contender.Open(b.Context(), newSite(b, topology, false))
					require.NoError(b, err)
					defer func() { require.NoError(b, echoer.Close()) }()
					message := benchmarks.NewMessage(size)

					b.ReportAllocs()
					b.SetBytes(int64(2 * size))
					for b.Loop() {
						got, err := echoer.Echo(b.Context(), message)
						if err != nil || len(got.Text) != size {
							b.Fatalf("got %d bytes back, and error %v", len(got.Text), err)
						}
					}
				})
			}
		}
	}
}

// BenchmarkPublish is one caller of each publisher, by itself.
func BenchmarkPublish(b *testing.B) {
	for _, always := range []bool{true, false} {
		for _, publisher := range benchmarks.Publishers() {
			for _, size := range []int{128, 1024} {
				b.Run(fmt.Sprintf("sync=%t/%s/%dB", always, publisher.Name, size), func(b *testing.B) {
					publish, done, err := publisher.Open(b.Context(), newSite(b, benchmarks.InProcess, always))
					require.NoError(b, err)
					defer func() { require.NoError(b, done()) }()
					message := benchmarks.NewMessage(size)

					b.ReportAllocs()
					for b.Loop() {
						if err := publish(b.Context(), message); err != nil {
							b.Fatal(err)
						}
					}
				})
			}
		}
	}
}

func newSite(tb testing.TB, topology benchmarks.Topology, syncAlways bool) *benchmarks.Site {
	tb.Helper()
	site, err := benchmarks.NewSite(tb.Context(), topology, filepath.Join(tb.TempDir(), "store"), syncAlways)
	require.NoError(tb, err)
	tb.Cleanup(func() { require.NoError(tb, site.Close()) })
	return site
}
