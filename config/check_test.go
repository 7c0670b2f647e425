package config

import (
	"fmt"
	"strings"
	"testing"
)

// The ends of every range are inside, and the next value is not.
func TestRanges(t *testing.T) {
	for _, c := range []struct{ section, key, below, least, most, above string }{
		{"sentinel", "poll_interval", "99ms", "100ms", "1m", "60001ms"},
		{"sentinel", "timeout", "49ms", "50ms", "1m", "60001ms"},
		{"hold", "max_wait", "-1ns", "0", "1h", "1h1ns"},
		{"hold", "max_bytes", "65535", "64KiB", "1TiB", "1099511627777"},
		{"failover", "fence_timeout", "99ms", "100ms", "10m", "10m1ns"},
		{"limits", "max_clients", "0", "1", "1000000", "1000001"},
		{"limits", "client_buffer", "4095", "4KiB", "1GiB", "1073741825"},
		{"limits", "replay_bytes", "4095", "4KiB", "1GiB", "1073741825"},
		{"limits", "loops", "-1", "0", "256", "257"},
		{"drain", "timeout", "-1ns", "0", "1h", "1h1ns"},
	} {
		fault := func(value string) error {
			// Sentinel's addresses come first in its section, so that any key may follow.
			sections := map[string]string{"sentinel": "  addresses: [s1:26379]\n"}
			sections[c.section] += fmt.Sprintf("  %s: %s\n", c.key, value)
			text := "listeners: [{address: ':6379', master: m}]\n"
			for name, lines := range sections {
				text += name + ":\n" + lines
			}
			_, err := Parse([]byte(text), nil)
			return err
		}
		key := c.section + "." + c.key
		for _, value := range []string{c.least, c.most} {
			if err := fault(value); err != nil {
				t.Errorf("%s refused: %v", value, err)
			}
		}
		for _, value := range []string{c.below, c.above} {
			if err := fault(value); err == nil || !strings.HasPrefix(err.Error(), key+": ") || !strings.Contains(err.Error(), "out of range") {
				t.Errorf("%s: %s is answered with %v", key, value, err)
			}
		}
	}
}
