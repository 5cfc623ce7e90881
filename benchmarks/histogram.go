package benchmarks

import (
	"math/bits"
	"time"
)

// subBuckets splits each power of two of nanoseconds, so that a percentile is off by less than 2%.
const (
	subBits    = 6
	subBuckets = 1 << subBits
)

// histogram counts durations without allocating: a measurement must not add to what it measures.
type histogram struct {
	counts [(64 - subBits + 1) * subBuckets]uint32
	total  int64
}

func (h *histogram) add(d time.Duration) {
	h.counts[bucket(uint64(max(d, 0)))]++
	h.total++
}

func (h *histogram) merge(other *histogram) {
	for i, n := range &other.counts {
		h.counts[i] += n
	}
	h.total += other.total
}

// quantile returns the lower end of the bucket that holds the q-th part of all durations.
func (h *histogram) quantile(q float64) time.Duration {
	rank := int64(q * float64(h.total))
	for i, n := range &h.counts {
		if rank -= int64(n); rank < 0 {
			return time.Duration(lowest(i))
		}
	}
	return 0
}

func bucket(v uint64) int {
	if v < subBuckets {
		return int(v)
	}
	shift := bits.Len64(v) - subBits - 1
	return shift<<subBits + int(v>>shift)
}

// lowest is the smallest value of a bucket.
func lowest(i int) uint64 {
	if i < 2*subBuckets {
		return uint64(i)
	}
	shift := i>>subBits - 1
	return uint64(i-shift<<subBits) << shift
}
