package hocket

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
)

func TestReconnectingGetsSlowerAndNeverStops(t *testing.T) {
	t.Parallel()
	for attempt := range 1000 {
		d := reconnectDelay(attempt)
		assert.GreaterOrEqual(t, d, minReconnectDelay/2, "attempt %d", attempt)
		assert.Less(t, d, maxReconnectDelay+minReconnectDelay, "attempt %d", attempt)
	}
	longest := time.Duration(0)
	for range 100 {
		assert.Less(t, reconnectDelay(1), 2*minReconnectDelay)
		longest = max(longest, reconnectDelay(50))
	}
	assert.Greater(t, longest, maxReconnectDelay/2, "it is spread over the whole of it")
}
