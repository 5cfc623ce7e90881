package benchmarks_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/hocket-go/hocket/benchmarks"
)

func TestEveryLaneHasOneTurnInEachRound(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		lanes := []benchmarks.Lane{lane("fast", time.Millisecond), lane("slow", 4*time.Millisecond)}
		// Turns end in the middle of an operation of either lane, so that the last one always counts.
		length := 1002*time.Millisecond + 500*time.Microsecond
		pace := benchmarks.Pace{Rounds: 5, Turn: length, Warmup: length, Callers: 3}
		turns, err := benchmarks.Run(t.Context(), pace, lanes)
		require.NoError(t, err)
		require.Len(t, turns, 2)
		cell := benchmarks.Cell{Names: []string{"fast", "slow"}, Turns: turns}
		for _, turn := range turns[0] {
			require.InDelta(t, 3000, turn.PerSecond, 3)
			require.InEpsilon(t, time.Millisecond, turn.P50, 0.02)
			require.InEpsilon(t, time.Millisecond, turn.P99, 0.02)
			require.Zero(t, turn.Failed)
		}
		require.Len(t, turns[0], 5)
		require.Len(t, turns[1], 5)
		ratio, ok := cell.Ratio("fast", "slow")
		require.True(t, ok)
		require.InDelta(t, 4, ratio.Median, 0.05)

		var table strings.Builder
		require.NoError(t, cell.Markdown(&table, "slow", "fast"))
		require.Contains(t, table.String(), "| fast | 3000 | 4.00 (4.00–4.00) | 1.00 (1.00–1.00) |")
	})
}

func TestALaneThatOnlyFailsEndsTheRun(t *testing.T) {
	t.Parallel()
	broken := errors.New("broken")
	failing := lane("failing", 0)
	failing.Do = func(context.Context) error { return broken }
	_, err := benchmarks.Run(t.Context(), benchmarks.Pace{Rounds: 1, Turn: time.Minute, Warmup: time.Minute, Callers: 4},
		[]benchmarks.Lane{failing})
	require.ErrorIs(t, err, broken)
	require.ErrorContains(t, err, "failing with 4 callers")
}

// lane takes the given time for each operation.
func lane(name string, each time.Duration) benchmarks.Lane {
	return benchmarks.Lane{
		Name: name,
		Do: func(ctx context.Context) error {
			select {
			case <-time.After(each):
				return nil
			case <-ctx.Done():
				return ctx.Err()
			}
		},
		CPU: func() (time.Duration, error) { return 0, nil },
	}
}
