package config

import (
	"encoding/json"
	"math"
	"testing"
	"time"
)

func TestDuration(t *testing.T) {
	for text, want := range map[string]struct {
		value time.Duration
		shown string
	}{
		"1500ms": {1500 * time.Millisecond, "1.5s"},
		"30s":    {30 * time.Second, "30s"},
		"60s":    {time.Minute, "1m"},
		"90s":    {90 * time.Second, "1m30s"},
		"60m":    {time.Hour, "1h"},
		"1h10s":  {time.Hour + 10*time.Second, "1h0m10s"},
		"10m":    {10 * time.Minute, "10m"},
		"10h":    {10 * time.Hour, "10h"},
		"0":      {0, "0s"},
		"250us":  {250 * time.Microsecond, "250µs"},
	} {
		var d, again Duration
		if err := d.UnmarshalText([]byte(text)); err != nil || time.Duration(d) != want.value || d.String() != want.shown {
			t.Errorf("%s is %v, shown as %s, %v", text, time.Duration(d), d, err)
		}
		if err := again.UnmarshalText([]byte(want.shown)); err != nil || again != d {
			t.Errorf("%s is read as %v, %v", want.shown, time.Duration(again), err)
		}
	}
	for _, text := range []string{"", "30", "s", "1 s", "1d", "1e3s", "9999999h"} {
		if d := Duration(7); d.UnmarshalText([]byte(text)) == nil || d != 7 {
			t.Errorf("%q is taken for %v", text, d)
		}
	}
}

func TestSize(t *testing.T) {
	for text, want := range map[string]struct {
		value Size
		shown string
	}{
		"0":                   {0, "0"},
		"1":                   {1, "1B"},
		"1000B":               {1000, "1KB"},
		"1001":                {1001, "1001B"},
		"1kB":                 {1000, "1KB"},
		"64KiB":               {64 << 10, "64KiB"},
		"65536":               {64 << 10, "64KiB"},
		"64 KiB":              {64 << 10, "64KiB"},
		"1MB":                 {1e6, "1MB"},
		"1MiB":                {1 << 20, "1MiB"},
		"1024MiB":             {1 << 30, "1GiB"},
		"3TB":                 {3e12, "3TB"},
		"8388607TiB":          {8388607 << 40, "8388607TiB"},
		"9223372036854775807": {math.MaxInt64, "9223372036854775807B"},
	} {
		var s, again Size
		if err := s.UnmarshalText([]byte(text)); err != nil || s != want.value || s.String() != want.shown {
			t.Errorf("%s is %d, shown as %s, %v", text, int64(s), s, err)
		}
		if err := again.UnmarshalText([]byte(want.shown)); err != nil || again != s {
			t.Errorf("%s is read as %d, %v", want.shown, int64(again), err)
		}
	}
	for _, text := range []string{"", "KiB", "1.5MiB", "-1", "+1", "1mb", "1m", "1K", "1iB", "1 K iB", "KiB1", "0x10", "8388608TiB", "9223372036854775808", "99999999999999999999KB"} {
		if s := Size(7); s.UnmarshalText([]byte(text)) == nil || s != 7 {
			t.Errorf("%q is taken for %v", text, s)
		}
	}
}

func TestUnitsInJSON(t *testing.T) {
	text, err := json.Marshal(struct {
		D Duration
		S Size
	}{Duration(time.Minute), 64 << 10})
	if err != nil || string(text) != `{"D":"1m","S":"64KiB"}` {
		t.Errorf("%s, %v", text, err)
	}
}
