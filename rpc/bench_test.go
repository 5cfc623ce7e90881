package rpc_test

import (
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/hocket-go/hocket/rpc"
)

// BenchmarkCall is a call of 128 bytes there and back, both ends in one process. The module benchmarks compares it with
// others.
func BenchmarkCall(b *testing.B) {
	for _, callers := range []int{1, 64} {
		b.Run(fmt.Sprintf("callers=%d", callers), func(b *testing.B) {
			bundle := setup(b, rpc.ServerOptions{}, nil)
			payload := ping{Text: strings.Repeat("x", 128)}
			work := make(chan struct{}, 1024)
			var wg sync.WaitGroup
			for range callers {
				wg.Go(func() {
					for range work {
						if _, err := echo.Call(b.Context(), bundle.client, payload); err != nil {
							b.Error(err)
						}
					}
				})
			}
			b.ReportAllocs()
			for b.Loop() {
				work <- struct{}{}
			}
			close(work)
			wg.Wait()
			require.Zero(b, bundle.server.Stats().Errors)
		})
	}
}
