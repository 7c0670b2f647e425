//go:build linux

package main

import (
	"math"
	"strings"
	"testing"
)

func TestTableIsAlignedMarkdown(t *testing.T) {
	var b strings.Builder
	err := table{
		title: "c1: one",
		head:  []string{"endpoint", "cmds/s", "µ"},
		rows:  [][]string{{"direct", "100000", "1.00"}, {"holdfast-dedicated", "9", "-"}},
		notes: []string{"direct, round 0: closed"},
	}.write(&b)
	want := `### c1: one

| endpoint           | cmds/s |    µ |
|--------------------|-------:|-----:|
| direct             | 100000 | 1.00 |
| holdfast-dedicated |      9 |    - |

* direct, round 0: closed

`
	if err != nil || b.String() != want {
		t.Errorf("got\n%s%v\nwant\n%s", b.String(), err, want)
	}
}

func TestFigure(t *testing.T) {
	for v, want := range map[float64]string{
		0: "0.00", 0.126: "0.13", 9.876: "9.88", 12.34: "12.3", 123.4: "123", 1234567: "1234567", -0.5: "-0.50",
		math.Inf(1): missing, math.NaN(): missing,
	} {
		if got := figure(v); got != want {
			t.Errorf("figure(%v) = %q, want %q", v, got, want)
		}
	}
}

func TestMedian(t *testing.T) {
	nan := math.NaN()
	for _, c := range []struct {
		values []float64
		want   float64
	}{{[]float64{3, 1, 2}, 2}, {[]float64{4, 1, 2, 3}, 2.5}, {[]float64{nan, 7, nan}, 7}} {
		if got := median(c.values); got != c.want {
			t.Errorf("median(%v) = %v, want %v", c.values, got, c.want)
		}
	}
	if got := median([]float64{nan}); !math.IsNaN(got) {
		t.Errorf("median of nothing = %v", got)
	}
}
