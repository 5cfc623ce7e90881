package benchmarks

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"sync"
	"sync/atomic"
	"time"
)

// A Lane is one contender, ready to run.
type Lane struct {
	Name string
	Do   func(ctx context.Context) error // one operation, safe for concurrent use
	CPU  func() (time.Duration, error)   // what was computed for it so far, wherever
}

// Pace says how the lanes take turns.
type Pace struct {
	Rounds  int           // how often each lane has its turn
	Turn    time.Duration // how long a turn lasts
	Warmup  time.Duration // how long each lane runs before the first round
	Callers int           // how many goroutines share the lane
}

// A Turn is what one lane did in one round.
type Turn struct {
	Ops       int64         `json:"ops"`
	Failed    int64         `json:"failed"` // in no other number, but their time is
	Elapsed   time.Duration `json:"elapsed_ns"`
	PerSecond float64       `json:"per_second"`
	P50       time.Duration `json:"p50_ns"`
	P99       time.Duration `json:"p99_ns"`
	Allocs    float64       `json:"allocs_per_op"` // of client, service and a broker in the process
	Bytes     float64       `json:"bytes_per_op"`  // likewise
	CPU       time.Duration `json:"cpu_ns_per_op"` // likewise, and of a broker in its own process
}

// Run lets every lane run once per round, in an order drawn anew for each, and returns the turns of each lane by round.
// Turns of one round are neighbours in time: that is what makes their ratio worth something on a noisy machine.
func Run(ctx context.Context, pace Pace, lanes []Lane) ([][]Turn, error) {
	for _, lane := range lanes {
		if _, err := take(ctx, lane, pace.Callers, pace.Warmup); err != nil {
			return nil, err
		}
	}
	turns := make([][]Turn, len(lanes))
	for range pace.Rounds {
		for _, i := range rand.Perm(len(lanes)) {
			turn, err := take(ctx, lanes[i], pace.Callers, pace.Turn)
			if err != nil {
				return nil, err
			}
			turns[i] = append(turns[i], turn)
		}
	}
	return turns, nil
}

// take runs one lane for a while.
func take(ctx context.Context, lane Lane, callers int, length time.Duration) (Turn, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)

	counts := make([]count, callers)
	var stop atomic.Bool
	var running sync.WaitGroup
	start := make(chan struct{})
	for i := range counts {
		running.Go(func() {
			<-start
			if err := work(ctx, lane, &stop, &counts[i]); err != nil {
				cancel(err)
			}
		})
	}

	// Every turn starts with the same clean heap, so that nobody pays for another's garbage.
	runtime.GC()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	cpuBefore, err := lane.CPU()
	if err != nil {
		return Turn{}, err
	}
	began := time.Now()
	close(start)
	select {
	case <-time.After(length):
	case <-ctx.Done():
	}
	stop.Store(true)
	running.Wait()
	elapsed := time.Since(began)
	cpuAfter, err := lane.CPU()
	if err != nil {
		return Turn{}, err
	}
	runtime.ReadMemStats(&after)

	if err := context.Cause(ctx); err != nil {
		return Turn{}, fmt.Errorf("%s with %d callers: %w", lane.Name, callers, err)
	}
	all := &counts[0]
	for i := range counts[1:] {
		all.merge(&counts[i+1].histogram)
		all.failed += counts[i+1].failed
	}
	if all.total == 0 {
		return Turn{}, errors.New(lane.Name + " finished nothing in its turn")
	}
	ops := float64(all.total)
	return Turn{
		Ops:       all.total,
		Failed:    all.failed,
		Elapsed:   elapsed,
		PerSecond: ops / elapsed.Seconds(),
		P50:       all.quantile(0.50),
		P99:       all.quantile(0.99),
		Allocs:    float64(after.Mallocs-before.Mallocs) / ops,
		Bytes:     float64(after.TotalAlloc-before.TotalAlloc) / ops,
		CPU:       (cpuAfter - cpuBefore) / time.Duration(all.total),
	}, nil
}

// count is what one caller did.
type count struct {
	histogram

	failed int64
}

// maxFailed is how many failures one caller may see in a turn before the lane is not worth measuring. It is not zero
// because one of the peers loses a reply now and then, and its table should say so rather than be missing.
const maxFailed = 10

// work is one caller: it asks again as soon as it has an answer.
func work(ctx context.Context, lane Lane, stop *atomic.Bool, c *count) error {
	before := time.Now()
	for !stop.Load() {
		err := lane.Do(ctx)
		now := time.Now()
		switch {
		case err == nil:
			c.add(now.Sub(before))
		case ctx.Err() != nil:
			return nil //nolint:nilerr // another caller has told why
		case c.failed == maxFailed:
			return err
		default:
			c.failed++
		}
		before = now
	}
	return nil
}
