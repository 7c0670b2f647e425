//go:build linux

package main

import (
	"math/bits"
	"time"
)

// A bucket is a 128th of the power of two it lies in, so a quantile is off by
// less than 0.8 %; what takes longer than about 68 s counts as 68 s.
const (
	subBits    = 7
	topBits    = 36
	numBuckets = (topBits-subBits-1)<<subBits + 2<<subBits
)

// histogram counts latencies in fixed buckets. It never allocates, so that
// counting costs the load generator a few nanoseconds. The zero value is empty.
type histogram struct {
	counts [numBuckets]uint64
	total  uint64
	max    int64 // exact
}

// bucketOf gives the bucket of a latency in nanoseconds: values under 256 have
// a bucket each, then every power of two has 128.
func bucketOf(ns int64) int {
	v := uint64(min(max(ns, 0), 1<<topBits-1))
	shift := max(bits.Len64(v)-subBits-1, 0)
	return shift<<subBits + int(v>>shift)
}

// middleOf is the value that stands for a bucket.
func middleOf(bucket int) int64 {
	if bucket < 2<<subBits {
		return int64(bucket)
	}
	shift := bucket>>subBits - 1
	low := int64(bucket-shift<<subBits) << shift
	return low + int64(1)<<shift/2
}

func (h *histogram) add(ns int64) {
	h.counts[bucketOf(ns)]++
	h.total++
	h.max = max(h.max, ns)
}

// quantile is the latency that the share q (0 to 1) of all stays at or under;
// 0 when nothing was counted.
func (h *histogram) quantile(q float64) time.Duration {
	if h.total == 0 {
		return 0
	}
	rank := max(uint64(q*float64(h.total)+0.5), 1)
	var seen uint64
	for i, n := range h.counts {
		seen += n
		if seen >= rank {
			return time.Duration(min(middleOf(i), h.max))
		}
	}
	return time.Duration(h.max)
}
