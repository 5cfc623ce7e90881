package benchmarks

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestAQuantileIsOffByLessThanTwoPercent(t *testing.T) {
	t.Parallel()
	for _, d := range []time.Duration{
		1, 63, 64, 127, 128, 1000, 12345, time.Millisecond, 3 * time.Second, time.Hour, 1<<63 - 1,
	} {
		var h histogram
		h.add(d)
		require.LessOrEqual(t, h.quantile(0.5), d)
		require.InEpsilon(t, float64(d), float64(h.quantile(0.5)), 0.02)
	}
}

func TestQuantilesComeFromEveryCaller(t *testing.T) {
	t.Parallel()
	var a, b histogram
	for range 60 {
		a.add(10)
	}
	for range 40 {
		b.add(20)
	}
	a.merge(&b)
	require.EqualValues(t, 100, a.total)
	require.EqualValues(t, 10, a.quantile(0.5))
	require.EqualValues(t, 20, a.quantile(0.99))
}
