package health

import (
	"strconv"
	"strings"
	"time"
)

// span writes seconds as a person says them: 78ms, 1.1s, 3m12s, 4h5m, 12d4h.
func span(seconds float64) string {
	d := time.Duration(seconds * float64(time.Second))
	switch {
	case d < time.Second:
		return strconv.FormatInt(d.Milliseconds(), 10) + "ms"
	case d < time.Minute:
		return strconv.FormatFloat(d.Seconds(), 'f', 1, 64) + "s"
	case d < time.Hour:
		return d.Round(time.Second).String()
	}
	const day = 24 * time.Hour
	hours := d.Truncate(time.Hour)
	if d < day {
		return strings.TrimSuffix(d.Truncate(time.Minute).String(), "0s")
	}
	return strconv.Itoa(int(d/day)) + "d" + strconv.Itoa(int(hours%day/time.Hour)) + "h"
}

// ago is how long before now something was; "never" for the zero time.
func ago(now, at time.Time) string {
	if at.IsZero() {
		return "never"
	}
	return span(max(now.Sub(at).Seconds(), 0)) + " ago"
}

// many writes a count with a space between thousands: 12 345 678.
func many(n uint64) string {
	digits := strconv.FormatUint(n, 10)
	var b strings.Builder
	for i := range len(digits) {
		if i > 0 && (len(digits)-i)%3 == 0 {
			b.WriteByte(' ')
		}
		b.WriteByte(digits[i])
	}
	return b.String()
}

// bytes writes an amount of data: 512 B, 1.5 KiB, 3.2 GiB.
func bytes(n uint64) string {
	if n < 1<<10 {
		return strconv.FormatUint(n, 10) + " B"
	}
	value, unit := float64(n), -1
	for value >= 1<<10 {
		value, unit = value/(1<<10), unit+1
	}
	return strconv.FormatFloat(value, 'f', 1, 64) + " " + "KMGTPE"[unit:unit+1] + "iB"
}

// dash stands for what is not known.
func dash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

// Verdict is the whole status in one word.
func (st *Status) Verdict() string {
	switch {
	case st.Proxy.Draining:
		return "draining"
	case !st.Ready:
		return "not ready"
	case len(st.Troubles) > 0:
		return "serving, with troubles"
	}
	return "serving"
}

// total sums the reasons of a counter.
func total(by map[string]uint64) (sum uint64) {
	for _, n := range by {
		sum += n
	}
	return sum
}
