package config

import (
	"maps"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"gopkg.in/yaml.v3"
)

const example = "../config.example.yaml"

func readExample(t *testing.T) []byte {
	t.Helper()
	data, err := os.ReadFile(example)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func TestExampleIsTheDefaults(t *testing.T) {
	config, err := Parse(readExample(t), nil)
	if err != nil {
		t.Fatal(err)
	}
	listener := DefaultListener()
	listener.Address, listener.Master = config.Listeners[0].Address, config.Listeners[0].Master
	if !reflect.DeepEqual(config.Listeners, []Listener{listener}) {
		t.Errorf("listeners are %+v, want %+v", config.Listeners, listener)
	}
	config.Sentinel.Addresses, config.Listeners = nil, nil
	if want := Default(); !reflect.DeepEqual(*config, want) {
		t.Errorf("loads as\n%v\nwant\n%v", config, want)
	}
}

// uncommented finds the keys of the example that are off.
var uncommented = regexp.MustCompile(`(?m)^( *)#([^ #\n])`)

// Once its commented keys are uncommented, the example names each key of the
// structs at its place, and no other.
func TestExampleNamesEveryKey(t *testing.T) {
	text := uncommented.ReplaceAll(readExample(t), []byte("$1$2"))
	var root yaml.Node
	if err := yaml.Unmarshal(text, &root); err != nil {
		t.Fatal(err)
	}
	named := make(map[string]bool)
	pathsOfNode("", root.Content[0], named)
	known := make(map[string]bool)
	pathsOfType("", reflect.TypeFor[Config](), known)
	for path := range known {
		if !named[path] {
			t.Errorf("%s is not in the example", path)
		}
	}
	for path := range named {
		if !known[path] {
			t.Errorf("%s in the example is no key", path)
		}
	}
	if len(known) < 40 {
		t.Errorf("only %d keys found", len(known))
	}
}

func pathsOfType(path string, typ reflect.Type, paths map[string]bool) {
	switch {
	case typ == reflect.TypeFor[netip.Addr]():
	case typ.Kind() == reflect.Slice:
		pathsOfType(path, typ.Elem(), paths)
	case typ.Kind() == reflect.Struct:
		for i := range typ.NumField() {
			if !typ.Field(i).IsExported() {
				continue
			}
			name, option, _ := strings.Cut(typ.Field(i).Tag.Get("yaml"), ",")
			if option != "inline" {
				name = path + "." + name
				paths[name] = true
			} else {
				name = path
			}
			pathsOfType(name, typ.Field(i).Type, paths)
		}
	}
}

func pathsOfNode(path string, n *yaml.Node, paths map[string]bool) {
	for i := 0; i < len(n.Content); i++ {
		switch {
		case n.Kind == yaml.SequenceNode:
			pathsOfNode(path, n.Content[i], paths)
		case n.Kind == yaml.MappingNode && path != ".sentinel.address_map":
			name := path + "." + n.Content[i].Value
			paths[name] = true
			i++
			pathsOfNode(name, n.Content[i], paths)
		}
	}
}

func TestExampleNamesEveryVariable(t *testing.T) {
	text := string(readExample(t))
	Parse(nil, func(name string) (string, bool) {
		for _, suffix := range []string{"_USERNAME", "_PASSWORD", "_PASSWORD_FILE"} {
			if rest, ok := strings.CutSuffix(name, suffix); ok && strings.Contains(text, rest+"_USERNAME, _PASSWORD, _PASSWORD_FILE") {
				return "", false
			}
		}
		if !regexp.MustCompile(`\b` + name + `\b`).MatchString(text) {
			t.Errorf("%s is not in the example", name)
		}
		return "", false
	})
}

// What is printed can be read again.
func TestStringLoads(t *testing.T) {
	config, err := Parse(readExample(t), nil)
	if err != nil {
		t.Fatal(err)
	}
	again, err := Parse([]byte(config.String()), nil)
	if err != nil {
		t.Fatal(err)
	}
	if again.String() != config.String() {
		t.Errorf("becomes\n%v\nwas\n%v", again, config)
	}
}

func TestEveryValueIsRead(t *testing.T) {
	config, err := Parse([]byte(`
sentinel:
  addresses: [s1:26379, "[::1]:26380"]
  username: watcher
  password: 0123
  poll_interval: 250ms
  timeout: 2s
  address_map: {10.0.0.1:6379: 192.0.2.1:16379, redis-1: 192.0.2.1}
  tls: {enabled: true}
redis: {username: holdfast, password: 1_000, tls: {enabled: true, ca_file: testdata/tls.pem, cert_file: testdata/tls.pem, key_file: testdata/tls.pem, server_name: redis.internal}}
listeners:
  - {address: ":6379", master: one, trust: yes}
  - {address: "127.0.0.1:0", master: two, mode: tunnel}
  - {address: "127.0.0.1:0", master: two, redis: {password: "true"}, password: x, tls: {cert_file: testdata/tls.pem, key_file: testdata/tls.pem, client_ca_file: testdata/tls.pem}}
hold: {max_wait: 0, max_bytes: 1MB}
failover: {release: promoted, fence_timeout: 1m, require_quorum: true, demote_old_master: true}
limits: {max_clients: 7, client_buffer: 65536, replay_bytes: 64KiB, loops: 2}
drain: {timeout: 0s}
health: {address: ""}
vip:
  - {name: a, interface: eth0, addresses: [10.0.0.100/24, "::ffff:10.0.0.101"], router_id: 51, password: 0123, source: ""}
  - name: b
    interface: '{{ printf "eth%d" 7 }}'
    addresses: ["fe80::100", "2001:DB8::1/64"]
    router_id: 51
    priority: 200
    advert_interval: 100ms
    version: 3
    source: fe80::1
    peers: [fe80::1, fe80::2]
    preempt_delay: 5s
    prefer_local_master: 54
    notify_master: [/bin/notify, "two words"]
    notify_backup: /bin/notify  backup
    notify_fault: ""
    notify_stop: []
  - {name: c, interface: eth1, addresses: ['{{ "10.0.0.102/32" }}'], router_id: 51, version: 3, preempt: false, checksum: plain}
log: {level: debug, format: console}
`), nil)
	if err != nil {
		t.Fatal(err)
	}
	const second, pem = Duration(1e9), "testdata/tls.pem"
	if at := config.Redis.TLS.For("10.0.0.1:6379"); at.ServerName != "redis.internal" || at.RootCAs == nil || at.GetClientCertificate == nil {
		t.Errorf("nodes are spoken to with %+v", at)
	}
	if at := config.Sentinel.TLS.For("[::1]:26380"); at.ServerName != "::1" || at.RootCAs != nil || at.GetClientCertificate != nil {
		t.Errorf("Sentinels are spoken to with %+v", at)
	}
	config.Redis.TLS.conf, config.Sentinel.TLS.conf = nil, nil
	ip := netip.MustParseAddr
	want := &Config{
		Sentinel: Sentinel{
			Addresses:    []string{"s1:26379", "[::1]:26380"},
			Login:        Login{Username: "watcher", Password: "0123"},
			PollInterval: second / 4,
			TLS:          ClientTLS{Enabled: true},
			Timeout:      2 * second,
			AddressMap:   map[string]string{"10.0.0.1:6379": "192.0.2.1:16379", "redis-1": "192.0.2.1"},
		},
		Redis: Redis{
			Login: Login{Username: "holdfast", Password: "1_000"},
			TLS:   ClientTLS{Enabled: true, CAFile: pem, CertFile: pem, KeyFile: pem, ServerName: "redis.internal"},
		},
		Listeners: []Listener{
			{Address: ":6379", Master: "one", Role: "master", Mode: Shared, Trust: true},
			{Address: "127.0.0.1:0", Master: "two", Role: "master", Mode: Tunnel},
			{Address: "127.0.0.1:0", Master: "two", Role: "master", Mode: Shared, Redis: Login{Password: "true"}, Password: "x", TLS: ServerTLS{CertFile: pem, KeyFile: pem, ClientCAFile: pem}},
		},
		Hold:     Hold{MaxBytes: 1000000},
		Failover: Failover{Release: Promoted, FenceTimeout: 60 * second, RequireQuorum: true, DemoteOldMaster: true},
		Limits:   Limits{MaxClients: 7, ClientBuffer: 64 << 10, ReplayBytes: 64 << 10, Loops: 2},
		VIP: []VIP{
			{
				Name: "a", Interface: "eth0", Addresses: []netip.Addr{ip("10.0.0.100"), ip("10.0.0.101")}, RouterID: 51, Priority: 100,
				AdvertInterval: second, Version: 2, Password: "0123", Preempt: true, Checksum: Pseudo,
			},
			{
				Name: "b", Interface: "eth7", Addresses: []netip.Addr{ip("fe80::100"), ip("2001:db8::1")}, RouterID: 51, Priority: 200,
				AdvertInterval: second / 10, Version: 3, Source: ip("fe80::1"), Peers: []netip.Addr{ip("fe80::1"), ip("fe80::2")},
				Preempt: true, PreemptDelay: 5 * second, PreferLocalMaster: 54, Checksum: Pseudo,
				NotifyMaster: Command{"/bin/notify", "two words"}, NotifyBackup: Command{"/bin/notify", "backup"}, NotifyFault: Command{}, NotifyStop: Command{},
			},
			{
				Name: "c", Interface: "eth1", Addresses: []netip.Addr{ip("10.0.0.102")}, RouterID: 51, Priority: 100,
				AdvertInterval: second, Version: 3, Checksum: Plain,
			},
		},
		Log: Log{Level: "debug", Format: "console"},
	}
	if !reflect.DeepEqual(config, want) {
		t.Errorf("is\n%#v\nwant\n%#v", config, want)
	}
}

func TestNullIsNotGiven(t *testing.T) {
	config, err := Parse([]byte("sentinel: {addresses: [s1:26379], username: , password: , poll_interval: }\n"+
		"listeners: [{address: ':1', master: m, mode: , redis: }]\nlog:\n"), nil)
	if err != nil {
		t.Fatal(err)
	}
	if want := Default(); config.Sentinel.PollInterval != want.Sentinel.PollInterval || config.Log != want.Log || config.Listeners[0].Mode != Shared {
		t.Errorf("lost a default:\n%v", config)
	}
}

func TestAlias(t *testing.T) {
	config, err := Parse([]byte("sentinel: {addresses: [s1:26379], password: &p x}\nlisteners: [{address: ':1', master: m, password: *p}]\n"), nil)
	if err != nil {
		t.Fatal(err)
	}
	if config.Listeners[0].Password != "x" {
		t.Errorf("an alias is not its anchor's value:\n%v", config)
	}
}

func TestLogins(t *testing.T) {
	ours, own := Login{Password: "ours"}, Login{Username: "app", Password: "own"}
	listeners := []Listener{{Master: "a"}, {Master: "a", Redis: own}, {Master: "b", Redis: own}, {Master: "b"}}
	for _, c := range []struct {
		top  Login
		each []Login
		want map[string]Login
	}{
		{Login{}, []Login{{}, own, own, {}}, map[string]Login{"a": own, "b": own}},
		{ours, []Login{ours, own, own, ours}, map[string]Login{"a": ours, "b": own}},
	} {
		config := Config{Redis: Redis{Login: c.top}, Listeners: listeners}
		for i, l := range listeners {
			if got := config.LoginFor(l); got != c.each[i] {
				t.Errorf("listener %d with %#v logs in as %#v", i, c.top, got)
			}
		}
		if got := config.Masters(); !maps.Equal(got, c.want) {
			t.Errorf("masters with %#v are %#v", c.top, got)
		}
	}
}

func TestLoad(t *testing.T) {
	if _, err := Load(filepath.Join(t.TempDir(), "absent.yaml")); err == nil || !strings.Contains(err.Error(), "absent.yaml: no such file") {
		t.Errorf("says %v of an absent file", err)
	}
	if _, err := Load("/dev/zero"); err == nil || err.Error() != "/dev/zero is longer than 1MiB" {
		t.Errorf("says %v of an endless file", err)
	}
	t.Setenv("HOLDFAST_REDIS_PASSWORD", "p")
	if config, err := Load(example); err != nil || config.Redis.Password != "p" {
		t.Errorf("the example with a variable is\n%v\n%v", config, err)
	}
	t.Setenv("HOLDFAST_SENTINELS", "s1:26379")
	t.Setenv("HOLDFAST_MASTER", "m")
	if config, err := Load(""); err != nil || config.Listeners[0].Master != "m" {
		t.Errorf("the environment alone is\n%v\n%v", config, err)
	}
}

func FuzzParse(f *testing.F) {
	files, _ := filepath.Glob("testdata/bad/*.yaml")
	for _, file := range slices.Concat(files, []string{example}) {
		data, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		// Neither other files nor this machine's interfaces belong to the input.
		if strings.Contains(string(data), "_file") || strings.Contains(string(data), "{{") {
			t.Skip()
		}
		config, err := Parse(data, nil)
		if err != nil {
			return
		}
		again, err := Parse([]byte(config.String()), nil)
		if err != nil {
			t.Fatalf("is printed as\n%v\nand then refused: %v", config, err)
		}
		if again.String() != config.String() {
			t.Fatalf("becomes\n%v\nwas\n%v", again, config)
		}
	})
}
