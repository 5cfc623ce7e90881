package events

import (
	"context"
	"fmt"
	"math/rand/v2"
	"time"
)

// exponential doubles the first delay with every attempt, up to a most.
func exponential(attempt int, first, most time.Duration) time.Duration {
	d := first
	for i := 1; i < attempt && d < most; i++ {
		d *= 2
	}
	return min(d, most)
}

// jittered returns a random duration between half of d and d.
func jittered(d time.Duration) time.Duration {
	if d <= 1 {
		return d
	}
	return d/2 + rand.N(d-d/2)
}

// backoff waits between attempts, jittered so that many who failed together do not come back together. It reports whether
// the context still runs.
func backoff(ctx context.Context, attempt int) bool {
	const first, most = 20 * time.Millisecond, time.Second
	t := time.NewTimer(jittered(exponential(attempt, first, most)))
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// ended says why a context ended: the error that everybody knows and the cause, if one was given.
func ended(ctx context.Context) error {
	err, cause := ctx.Err(), context.Cause(ctx)
	if cause == nil || cause == err { //nolint:errorlint // without a cause of its own it is the same value
		return err
	}
	return fmt.Errorf("%w: %w", err, cause)
}
