package config

import (
	"net"
	"net/netip"
	"testing"
)

func TestTemplates(t *testing.T) {
	loopback := loopbackInterface(t)
	template := `{{ GetAllInterfaces | include "name" "` + loopback + `" | include "type" "IPv4" | attr "address" }}`
	text := "sentinel: {addresses: ['" + template + ":26379']}\n" +
		"listeners: [{address: '" + template + ":6379', master: m}, {address: ':6380', master: m}]\n" +
		"health: {address: '" + template + ":9121'}\n"
	config, err := Parse([]byte(text), nil)
	if err != nil {
		t.Fatal(err)
	}
	for got, want := range map[string]string{
		config.Sentinel.Addresses[0]: "127.0.0.1:26379",
		config.Listeners[0].Address:  "127.0.0.1:6379",
		config.Listeners[1].Address:  ":6380",
		config.Health.Address:        "127.0.0.1:9121",
	} {
		if got != want {
			t.Errorf("is %s, want %s", got, want)
		}
	}
}

func loopbackInterface(t *testing.T) string {
	t.Helper()
	interfaces, err := net.Interfaces()
	if err != nil {
		t.Fatal(err)
	}
	for _, i := range interfaces {
		addresses, _ := i.Addrs()
		for _, a := range addresses {
			if p, err := netip.ParsePrefix(a.String()); err == nil && p.Addr().String() == "127.0.0.1" {
				return i.Name
			}
		}
	}
	t.Skip("127.0.0.1 is on no interface here")
	return ""
}

func TestDollarIsNotExpanded(t *testing.T) {
	t.Setenv("HOME", "here")
	config, err := Parse([]byte("sentinel: {addresses: [s1:26379]}\nlisteners: [{address: ':1', master: $HOME, password: '${HOME}'}]\n"), nil)
	if err != nil {
		t.Fatal(err)
	}
	if l := config.Listeners[0]; l.Master != "$HOME" || l.Password != "${HOME}" {
		t.Errorf("became %s and %s", l.Master, string(l.Password))
	}
}

func TestParseAddress(t *testing.T) {
	for address, want := range map[string]endpoint{
		":6379":                       {"", 6379},
		"0.0.0.0:0":                   {"0.0.0.0", 0},
		"10.0.0.1:1":                  {"10.0.0.1", 1},
		"[::1]:65535":                 {"::1", 65535},
		"[0:0::0:1]:65535":            {"::1", 65535},
		"[fe80::1%eth0]:6379":         {"fe80::1%eth0", 6379},
		"Redis-1.Internal.:6379":      {"redis-1.internal", 6379},
		"redis_1:6379":                {"redis_1", 6379},
		"1.redis.svc.cluster.local:6": {"1.redis.svc.cluster.local", 6},
	} {
		if got, err := parseAddress(address); err != nil || got != want {
			t.Errorf("%s is %v, %v", address, got, err)
		}
	}
	for _, address := range []string{
		"", "a", "a:", "a:b", "a:-1", "a:+1", "a:65536", "a:redis", "1.2.3:4", "1.2.3.4.5:6", "a b:1", "ä:1",
		".:1", "..:1", "::1:6379", "[::1]", "[::1", "a/b:1", "http://a:1", "u@a:1", "a:1:2", "127.0.0.1 127.0.0.2:1",
	} {
		if got, err := parseAddress(address); err == nil {
			t.Errorf("%q is taken for %v", address, got)
		}
	}
}

// The rule for wildcards is what the system does: one port, one owner.
func TestOverlapIsWhatTheSystemRefuses(t *testing.T) {
	for _, host := range []string{"", "0.0.0.0", "127.0.0.1"} {
		first, err := net.Listen("tcp", host+":0")
		if err != nil {
			t.Fatal(err)
		}
		_, port, _ := net.SplitHostPort(first.Addr().String())
		for _, other := range []string{"", "0.0.0.0", "127.0.0.1", "127.0.0.2"} {
			second, err := net.Listen("tcp", other+":"+port)
			if err == nil {
				second.Close()
			}
			var d draft
			a, b := host+":"+port, other+":"+port
			overlaps := d.readListenAddress("a", &a).overlaps(d.readListenAddress("b", &b))
			if overlaps != (err != nil) {
				t.Errorf("%s and %s: overlap %v, but the system says %v", a, b, overlaps, err)
			}
		}
		first.Close()
	}
}
