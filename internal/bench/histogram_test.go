//go:build linux

package main

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

func TestBucketsAreInOrderAndWithoutGap(t *testing.T) {
	last := -1
	for _, ns := range []int64{0, 1, 127, 128, 255, 256, 257, 258, 511, 512, 1023, 1024, 1 << 20, 1<<36 - 1} {
		b := bucketOf(ns)
		if b < last || b >= numBuckets {
			t.Errorf("bucketOf(%d) = %d after %d, of %d", ns, b, last, numBuckets)
		}
		last = b
	}
	if last != numBuckets-1 {
		t.Errorf("the greatest value is in bucket %d of %d", last, numBuckets)
	}
	for b := range numBuckets {
		if got := bucketOf(middleOf(b)); got != b {
			t.Fatalf("the middle %d of bucket %d is in bucket %d", middleOf(b), b, got)
		}
	}
}

func TestBucketsOfValuesOutOfRange(t *testing.T) {
	if got := bucketOf(-5); got != 0 {
		t.Errorf("bucketOf(-5) = %d", got)
	}
	if got := bucketOf(math.MaxInt64); got != numBuckets-1 {
		t.Errorf("bucketOf(MaxInt64) = %d", got)
	}
}

func TestQuantilesAgreeWithSortedValues(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 4))
	var h histogram
	values := make([]int64, 20_001)
	for i := range values {
		values[i] = int64(math.Exp(random.Float64() * 20)) // 1 ns to 0.5 s
		h.add(values[i])
	}
	slices.Sort(values)
	for _, q := range []float64{0, 0.01, 0.5, 0.99, 0.999, 1} {
		want := float64(values[int(q*float64(len(values)-1))])
		got := float64(h.quantile(q))
		if math.Abs(got-want) > 0.01*want+1 {
			t.Errorf("quantile(%v) = %v, the sorted values say %v", q, got, want)
		}
	}
	if h.max != values[len(values)-1] {
		t.Errorf("max = %d, want %d", h.max, values[len(values)-1])
	}
}

func TestQuantileOfFewValues(t *testing.T) {
	var h histogram
	if got := h.quantile(0.5); got != 0 {
		t.Errorf("quantile of nothing = %v", got)
	}
	h.add(1000)
	for _, q := range []float64{0, 0.5, 1} {
		if got := h.quantile(q); got < 992 || got > 1000 {
			t.Errorf("quantile(%v) of 1000 alone = %d", q, got)
		}
	}
}

func BenchmarkAdd(b *testing.B) {
	var h histogram
	for i := range b.N {
		h.add(int64(i) * 17 % 5_000_000)
	}
}
