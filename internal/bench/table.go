//go:build linux

package main

import (
	"fmt"
	"io"
	"math"
	"slices"
	"strings"
	"unicode/utf8"
)

// table is printed as aligned Markdown: readable in a terminal, and it can go
// into a document as it is.
type table struct {
	title string
	head  []string
	rows  [][]string // each as long as head
	notes []string
}

func (t table) write(w io.Writer) error {
	width := make([]int, len(t.head))
	for _, row := range append([][]string{t.head}, t.rows...) {
		for i, cell := range row {
			width[i] = max(width[i], utf8.RuneCountInString(cell))
		}
	}
	var b strings.Builder
	fmt.Fprintf(&b, "### %s\n\n", t.title)
	writeRow(&b, t.head, width)
	for i, n := range width {
		if i == 0 {
			b.WriteString("|" + strings.Repeat("-", n+2) + "|")
			continue
		}
		b.WriteString(strings.Repeat("-", n+1) + ":|")
	}
	b.WriteString("\n")
	for _, row := range t.rows {
		writeRow(&b, row, width)
	}
	b.WriteString("\n")
	for _, note := range t.notes {
		fmt.Fprintf(&b, "* %s\n", note)
	}
	if len(t.notes) > 0 {
		b.WriteString("\n")
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// writeRow aligns the first cell to the left and the others, figures, to the right.
func writeRow(b *strings.Builder, cells []string, width []int) {
	for i, cell := range cells {
		pad := strings.Repeat(" ", width[i]-utf8.RuneCountInString(cell))
		if i == 0 {
			b.WriteString("| " + cell + pad + " |")
			continue
		}
		b.WriteString(" " + pad + cell + " |")
	}
	b.WriteString("\n")
}

// missing stands where a figure does not apply or could not be had; it is
// stored as NaN.
const missing = "-"

// figure shows three digits of a number, more of a large whole one.
func figure(v float64) string {
	switch a := math.Abs(v); {
	case math.IsNaN(v) || math.IsInf(v, 0):
		return missing
	case a >= 100:
		return fmt.Sprintf("%.0f", v)
	case a >= 10:
		return fmt.Sprintf("%.1f", v)
	}
	return fmt.Sprintf("%.2f", v)
}

// median leaves out NaN; of nothing it is NaN.
func median(values []float64) float64 {
	v := slices.DeleteFunc(slices.Clone(values), math.IsNaN)
	if len(v) == 0 {
		return math.NaN()
	}
	slices.Sort(v)
	mid := len(v) / 2
	if len(v)%2 == 1 {
		return v[mid]
	}
	return (v[mid-1] + v[mid]) / 2
}
