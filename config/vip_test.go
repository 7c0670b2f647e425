package config

import (
	"reflect"
	"strings"
	"testing"

	"gopkg.in/yaml.v3"
)

const withoutVIP = "sentinel: {addresses: [s1:26379]}\nlisteners: [{address: ':1', master: m}]\n"

// What stands after a key in the example's instance is its default, except of
// those that have none.
func TestExampleInstanceIsTheDefaults(t *testing.T) {
	var root struct {
		VIP []map[string]any `yaml:"vip"`
	}
	text := uncommented.ReplaceAll(readExample(t), []byte("$1$2"))
	if err := yaml.Unmarshal(text, &root); err != nil || len(root.VIP) != 1 {
		t.Fatal(root, err)
	}
	for name := range root.VIP[0] {
		switch name {
		case "password", "password_file", "source", "peers", "prefer_local_master", "notify_master", "notify_backup", "notify_fault", "notify_stop":
			delete(root.VIP[0], name)
		}
	}
	instance, err := yaml.Marshal(root)
	if err != nil {
		t.Fatal(err)
	}
	config, err := Parse([]byte(withoutVIP+string(instance)), nil)
	if err != nil {
		t.Fatal(err)
	}
	got, want := config.VIP[0], DefaultVIP()
	want.Name, want.Interface, want.Addresses, want.RouterID = got.Name, got.Interface, got.Addresses, got.RouterID
	if !reflect.DeepEqual(got, want) {
		t.Errorf("is\n%+v\nwant\n%+v", got, want)
	}
}

// Each key of the example can be in force at once with the others, but for the
// two ways to give a password.
func TestExampleInstanceIsAccepted(t *testing.T) {
	text := string(uncommented.ReplaceAll(readExample(t), []byte("$1$2")))
	_, instance, _ := strings.Cut(text, "\nvip:\n")
	instance, _, _ = strings.Cut(instance, "\nlog:\n")
	instance = strings.ReplaceAll(instance, "    password_file: /run/secrets/vrrp\n", "")
	instance = strings.ReplaceAll(instance, `'{{ GetInterfaceIP "eth0" }}'`, "10.0.0.1") // of this machine
	config, err := Parse([]byte(withoutVIP+"vip:\n"+instance), nil)
	if err != nil {
		t.Fatal(err)
	}
	if v := config.VIP[0]; v.Password != "secret" || len(v.Peers) != 2 || len(v.NotifyBackup) != 2 {
		t.Errorf("is %+v", v)
	}
}

func TestInstances(t *testing.T) {
	const whole = "name: a, interface: eth0, addresses: [10.0.0.100], router_id: 51"
	const whole6 = "name: a, interface: eth0, addresses: [fe80::100], router_id: 51, version: 3"
	for _, c := range []struct{ one, another, want string }{
		{whole, "name: b, interface: eth0, addresses: [10.0.0.101], router_id: 52", ""},
		{whole, "name: b, interface: eth1, addresses: [10.0.0.101], router_id: 51", ""},
		{whole, "name: b, interface: eth0, addresses: ['2001:db8::1'], version: 3, router_id: 51", ""},
		{whole, whole, `vip[1].name: "a" is the name of vip[0] already
vip[1].addresses[0]: 10.0.0.100 is in vip[0].addresses already
vip[1].router_id: 51 is vip[0].router_id on eth0 already`},

		{"priority: 100", "", `vip[0].interface: is missing: the network interface that is to have the addresses
vip[0].name: is missing: what logs, metrics and the status are to call it
vip[0].router_id: 0 is out of range; it may be 1 to 255
vip[0].addresses: at least one is needed: what applications connect to`},
		{whole + ", router_id: 256", "", `vip[0].router_id: given twice, before in line 4`},
		{"name: a, interface: eth0, addresses: [10.0.0.100], router_id: 256", "", `vip[0].router_id: 256 is out of range; it may be 1 to 255`},
		{"name: a, interface: eth 0, addresses: [10.0.0.100], router_id: 1", "", `vip[0].interface: "eth 0" is not the name of one network interface`},
		{"name: a, interface: 0123456789abcdef, addresses: [10.0.0.100], router_id: 1", "", `vip[0].interface: "0123456789abcdef" is not the name of one network interface`},
		{`name: a, interface: '{{ GetAllInterfaces | include "name" "absent0" | attr "name" }}', addresses: [10.0.0.100], router_id: 1`, "",
			`vip[0].interface: "{{ GetAllInterfaces | include \"name\" \"absent0\" | attr \"name\" }}" finds no interface on this machine`},
		{`name: a, interface: '{{ GetInterfaceIP }}', addresses: [10.0.0.100], router_id: 1`, "",
			`vip[0].interface: unable to execute sockaddr input "{{ GetInterfaceIP }}": template: sockaddr.Parse:1:3: executing "sockaddr.Parse" at <GetInterfaceIP>: wrong number of args for GetInterfaceIP: want 1 got 0`},

		{"name: a, interface: eth0, router_id: 1, addresses: [10.0.0.256, redis, 10.0.0.1:6379, 'fe80::1%eth0', '', 0.0.0.0, 224.0.0.1, 127.0.0.1, 255.255.255.255]", "",
			`vip[0].addresses[0]: "10.0.0.256" is not an IP address
vip[0].addresses[1]: "redis" is not an IP address
vip[0].addresses[2]: "10.0.0.1:6379" is not an IP address
vip[0].addresses[3]: "fe80::1%eth0" is not an IP address
vip[0].addresses[4]: is missing; write an IP address
vip[0].addresses[5]: 0.0.0.0 cannot be the address of a node
vip[0].addresses[6]: 224.0.0.1 cannot be the address of a node
vip[0].addresses[7]: 127.0.0.1 cannot be the address of a node
vip[0].addresses[8]: 255.255.255.255 cannot be the address of a node`},
		{"name: a, interface: eth0, router_id: 1, addresses: [10.0.0.100/24, '2001:db8::1', '::ffff:10.0.0.100']", "",
			`vip[0].addresses[1]: 2001:db8::1 is not of the same family as 10.0.0.100; IPv4 and IPv6 need an instance each
vip[0].addresses[2]: 10.0.0.100 is vip[0].addresses[0] already`},
		{"name: a, interface: eth0, router_id: 1, addresses: ['2001:db8::1']", "", `vip[0].addresses[0]: 2001:db8::1 is IPv6, which needs version: 3`},
		{"name: a, interface: eth0, router_id: 1, addresses: ['{{ GetInterfaceIP \"absent0\" }}']", "",
			`vip[0].addresses[0]: "{{ GetInterfaceIP \"absent0\" }}" finds no address on this machine`},
		{"name: a, interface: eth0, router_id: 1, addresses: [" + strings.Repeat("10.0.0.100,", 65) + "]", "", "vip[0].addresses: are more than 64; make a second instance of some"},

		{whole + ", version: 4", "", `vip[0].version: 4 is not known; this version knows 2, 3`},
		{whole + ", advert_interval: 1500ms", "", `vip[0].advert_interval: 1.5s is not a whole number of seconds, and version 2 knows no fractions; version 3 does`},
		{whole + ", advert_interval: 100ms", "", `vip[0].advert_interval: 100ms is out of range; it may be 1s to 4m15s`},
		{whole + ", advert_interval: 256s", "", `vip[0].advert_interval: 4m16s is out of range; it may be 1s to 4m15s`},
		{whole + ", version: 3, advert_interval: 15ms", "", `vip[0].advert_interval: 15ms is not a multiple of 10ms, the unit of version 3`},
		{whole + ", version: 3, advert_interval: 41s", "", `vip[0].advert_interval: 41s is out of range; it may be 10ms to 40.95s`},
		{whole + ", version: 3, password: x", "", `vip[0].password: version 3 knows none; what protects is peers, and a firewall that lets nobody else send IP protocol 112`},
		{whole + ", version: 3, password_file: testdata/secret", "", `vip[0].password: version 3 knows none; what protects is peers, and a firewall that lets nobody else send IP protocol 112`},
		{whole + ", password: hunter2hunter2", "", `vip[0].password: is longer than 8 bytes, which is all that VRRP sends; of a longer one, keepalived uses the first 8`},
		{whole + ", password: x, password_file: testdata/secret", "", `vip[0].password_file: given together with vip[0].password (line 4); keep one`},
		{whole + ", checksum: none", "", `vip[0].checksum: "none" is not known; this version knows pseudo, plain`},
		{whole + ", checksum: plain", "", `vip[0].checksum: only version 3 over IPv4 has two forms of it; leave it out`},
		{whole6 + ", checksum: plain", "", `vip[0].checksum: only version 3 over IPv4 has two forms of it; leave it out`},

		{whole + ", source: 10.0.0.100", "", `vip[0].source: 10.0.0.100 is one of the addresses, which move; write the node's own`},
		{whole + ", source: 224.0.0.1", "", `vip[0].source: 224.0.0.1 cannot be the address of a node`},
		{whole + ", source: 'fe80::1'", "", `vip[0].source: fe80::1 is not of the same family as 10.0.0.100`},
		{whole6 + ", source: '2001:db8::1'", "", `vip[0].source: 2001:db8::1 is not a link-local address, which IPv6 multicast needs`},
		{whole6 + ", source: '2001:db8::1', peers: ['2001:db8::2']", "", ""},
		{whole + ", peers: ['', 10.0.0.100, 10.0.0.1, 10.0.0.1, 'fe80::1']", "", `vip[0].peers[0]: is missing; write an IP address
vip[0].peers[1]: 10.0.0.100 is one of the addresses, which move; write the node's own
vip[0].peers[3]: 10.0.0.1 is vip[0].peers[2] already
vip[0].peers[4]: fe80::1 is not of the same family as 10.0.0.100`},

		{whole + ", priority: 0", "", `vip[0].priority: 0 is out of range; it may be 1 to 255`},
		{whole + ", priority: 255", "", ""},
		{whole + ", priority: 255, preempt: false, preempt_delay: 5s, prefer_local_master: 1", "",
			`vip[0].preempt: cannot be false with priority 255, which owns from the start; 254 is the highest that waits
vip[0].preempt_delay: cannot be with priority 255, which owns from the start; 254 is the highest that waits
vip[0].prefer_local_master: cannot be with priority 255, to which nothing can be added`},
		{whole + ", preempt: false", "", ""},
		{whole + ", preempt: false, preempt_delay: 5s, prefer_local_master: 50", "",
			`vip[0].preempt_delay: says when to preempt, and preempt: false says never
vip[0].prefer_local_master: would move nothing with preempt: false, which leaves the addresses with their owner whatever the priorities`},
		{whole + ", preempt_delay: 1001s", "", `vip[0].preempt_delay: 16m41s is out of range; it may be 0s to 16m40s`},
		{whole + ", prefer_local_master: 154", "", ""},
		{whole + ", prefer_local_master: 155", "", `vip[0].prefer_local_master: 155 and priority 100 are more than 254 together`},
		{whole + ", prefer_local_master: 254", "", `vip[0].prefer_local_master: 254 is out of range; it may be 0 to 253`},

		{whole + ", notify_master: ['', x], notify_stop: ['']", "", `vip[0].notify_master: names no program
vip[0].notify_stop: names no program`},
		{whole + ", notify_fault: {}", "", `vip[0].notify_fault: must be a list`},
	} {
		text := withoutVIP + "vip:\n  - {" + c.one + "}\n"
		if c.another != "" {
			text += "  - {" + c.another + "}\n"
		}
		_, err := Parse([]byte(text), nil)
		got := ""
		if err != nil {
			got = strings.NewReplacer(" (line 4)\n", "\n", " (line 5)\n", "\n").Replace(err.Error() + "\n")
			got = strings.TrimSuffix(got, "\n")
		}
		if got != c.want {
			t.Errorf("%s\nsays\n%s\nwant\n%s", text, got, c.want)
		}
		if strings.Contains(got, "hunter") {
			t.Error("tells a password")
		}
	}
}
