package config

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// Duration is a time.Duration written as 1500ms or 30s.
type Duration time.Duration

// String is the shortest way to write d: 1m, not 1m0s.
func (d Duration) String() string {
	s := time.Duration(d).String()
	if strings.HasSuffix(s, "m0s") {
		s = s[:len(s)-len("0s")]
	}
	if strings.HasSuffix(s, "h0m") {
		s = s[:len(s)-len("0m")]
	}
	return s
}

// MarshalText is String, for YAML and JSON.
func (d Duration) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// UnmarshalText reads a number with its unit; 0 needs none.
func (d *Duration) UnmarshalText(text []byte) error {
	v, err := time.ParseDuration(string(text))
	if err != nil {
		return fmt.Errorf("%q is not a duration; write a number with a unit, like 30s or 1500ms", text)
	}
	*d = Duration(v)
	return nil
}

// Size is a number of bytes written as 64KiB or 1MB.
type Size int64

// Largest first, so that String finds the shortest form. Redis' own 1mb and
// 1m are not here: there one is 1048576 and the other 1000000 bytes, and a
// reader should not have to know which.
var units = []struct {
	name  string
	bytes Size
}{
	{"TiB", 1 << 40}, {"TB", 1e12},
	{"GiB", 1 << 30}, {"GB", 1e9},
	{"MiB", 1 << 20}, {"MB", 1e6},
	{"KiB", 1 << 10}, {"KB", 1e3}, {"kB", 1e3},
	{"B", 1}, {"", 1},
}

// String writes s exactly, in the largest unit that leaves no fraction.
func (s Size) String() string {
	for _, u := range units {
		if s != 0 && s%u.bytes == 0 {
			return strconv.FormatInt(int64(s/u.bytes), 10) + u.name
		}
	}
	return "0"
}

// MarshalText is String, for YAML and JSON.
func (s Size) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText reads a whole number of bytes, or of a unit: KB, MB, GB, TB
// count in thousands, KiB, MiB, GiB, TiB in 1024s.
func (s *Size) UnmarshalText(text []byte) error {
	digits := strings.TrimRight(string(text), "BKMGTki ")
	name := strings.TrimSpace(string(text[len(digits):]))
	n, err := strconv.ParseUint(digits, 10, 64)
	for _, u := range units {
		if u.name != name || err != nil && !errors.Is(err, strconv.ErrRange) {
			continue
		}
		if n > uint64(math.MaxInt64/u.bytes) {
			return fmt.Errorf("%q is too large", text)
		}
		*s = Size(n) * u.bytes
		return nil
	}
	return fmt.Errorf("%q is not a size; write a number of bytes, or one with KB, MB, GB (thousands) or KiB, MiB, GiB (1024s)", text)
}
