package sentinel

import (
	"context"
	"errors"
	"net/netip"
	"strconv"
	"testing"
	"testing/synctest"
	"time"
)

func addrs(list ...string) []netip.Addr {
	var out []netip.Addr
	for _, s := range list {
		out = append(out, netip.MustParseAddr(s))
	}
	return out
}

func TestBookResolves(t *testing.T) {
	hosts := map[string][]netip.Addr{
		"db-1":   addrs("10.0.0.1"),
		"dual":   addrs("fd00::9", "10.0.0.9", "10.0.0.8"),
		"mapped": addrs("::ffff:10.0.0.7"),
		"none":   nil,
	}
	b := newBook(map[string]string{
		"172.17.0.2:6379": "203.0.113.5:16379",
		"172.17.0.3":      "203.0.113.6",
		"inner":           "db-1",
	}, func(_ context.Context, host string) ([]netip.Addr, error) {
		if list, ok := hosts[host]; ok {
			return list, nil
		}
		return nil, errors.New("no such host")
	})
	for _, c := range []struct{ host, port, want, fault string }{
		{"10.0.0.1", "6379", "10.0.0.1:6379", ""},
		{"::ffff:10.0.0.1", "6379", "10.0.0.1:6379", ""},
		{"fd00::1", "6379", "[fd00::1]:6379", ""},
		{"[fd00::1]", "6379", "[fd00::1]:6379", ""},
		{"db-1", "6379", "10.0.0.1:6379", ""},
		{"dual", "6379", "10.0.0.8:6379", ""},
		{"mapped", "6379", "10.0.0.7:6379", ""},
		{"172.17.0.2", "6379", "203.0.113.5:16379", ""},
		{"172.17.0.2", "6380", "172.17.0.2:6380", ""},
		{"172.17.0.3", "6380", "203.0.113.6:6380", ""},
		{"inner", "6379", "10.0.0.1:6379", ""},
		{"none", "6379", "", "resolve none: no address"},
		{"other", "6379", "", "resolve other: no such host"},
		{"", "6379", "", `":6379" is not an address`},
		{"10.0.0.1", "0", "", `"10.0.0.1:0" is not an address`},
		{"10.0.0.1", "65536", "", `"10.0.0.1:65536" is not an address`},
		{"10.0.0.1", "x", "", `"10.0.0.1:x" is not an address`},
	} {
		got, err := b.resolve(t.Context(), c.host, c.port)
		fault := ""
		if err != nil {
			fault = err.Error()
		}
		if got != c.want || fault != c.fault {
			t.Errorf("%s %s: %q %q, not %q %q", c.host, c.port, got, fault, c.want, c.fault)
		}
		if known := b.known(c.host, c.port); known != c.want {
			t.Errorf("%s %s: known as %q", c.host, c.port, known)
		}
	}
}

// A name is asked for again after a while; with no answer the old one stands.
func TestBookRemembers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		answer, asked := addrs("10.0.0.1"), 0
		b := newBook(nil, func(context.Context, string) ([]netip.Addr, error) {
			asked++
			if answer == nil {
				return nil, errors.New("no answer")
			}
			return answer, nil
		})
		step := func(wait time.Duration, want string, wantAsked int) {
			t.Helper()
			<-time.After(wait) // of the bubble's clock
			got, err := b.resolve(t.Context(), "db", "1")
			if got != want || err != nil || asked != wantAsked {
				t.Errorf("%q %v after asking %d times, not %q after %d", got, err, asked, want, wantAsked)
			}
		}
		step(0, "10.0.0.1:1", 1)
		step(nameLife-1, "10.0.0.1:1", 1)
		answer = addrs("10.0.0.2")
		step(1, "10.0.0.2:1", 2)
		answer = nil
		step(nameLife, "10.0.0.2:1", 3)
		step(1, "10.0.0.2:1", 3)
	})
}

func TestBookIsBounded(t *testing.T) {
	b := newBook(nil, func(context.Context, string) ([]netip.Addr, error) { return addrs("10.0.0.1"), nil })
	for i := range 3 * mostNames {
		if _, err := b.resolve(t.Context(), "h"+strconv.Itoa(i), "1"); err != nil {
			t.Fatal(err)
		}
	}
	if len(b.names) > mostNames {
		t.Errorf("%d names", len(b.names))
	}
}
