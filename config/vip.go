package config

import (
	"net/netip"
	"slices"
	"strings"
	"time"
	"unicode"
)

// VIP is one VRRP instance: addresses of which one node at a time is the owner.
type VIP struct {
	Name              string       `yaml:"name"`                // what logs, metrics and the status call it
	Interface         string       `yaml:"interface"`           // go-sockaddr template resolved
	Addresses         []netip.Addr `yaml:"addresses"`           // of one family, no two instances have the same; held as /32 or /128
	RouterID          int          `yaml:"router_id"`           // 1 to 255, unique per interface and family
	Priority          int          `yaml:"priority"`            // 1 to 254, or 255: owns whenever it can
	AdvertInterval    Duration     `yaml:"advert_interval"`     // whole seconds in version 2, hundredths in version 3
	Version           int          `yaml:"version"`             // of VRRP: 2 or 3
	Password          Secret       `yaml:"password"`            // up to 8 bytes, version 2 only; empty: no authentication
	PasswordFile      string       `yaml:"password_file"`       // has been read already
	Source            netip.Addr   `yaml:"source"`              // of adverts; not valid: the first one of the interface
	Peers             []netip.Addr `yaml:"peers"`               // of all nodes, this one's own may be among them; none: multicast
	Preempt           bool         `yaml:"preempt"`             // take the addresses from a living owner of lower priority
	PreemptDelay      Duration     `yaml:"preempt_delay"`       // for how long such an owner is let be first
	PreferLocalMaster int          `yaml:"prefer_local_master"` // added to the priority where the Redis master is; 0: nothing
	Checksum          Checksum     `yaml:"checksum"`            // of adverts of version 3 over IPv4
	NotifyMaster      Command      `yaml:"notify_master"`       // run on entering the state, as are those below
	NotifyBackup      Command      `yaml:"notify_backup"`
	NotifyFault       Command      `yaml:"notify_fault"`
	NotifyStop        Command      `yaml:"notify_stop"`
}

// Checksum is which bytes an advert's checksum covers. Both are accepted.
type Checksum string

// The checksums of version 3 over IPv4.
const (
	Pseudo Checksum = "pseudo" // with a pseudo-header: RFC 5798, every keepalived
	Plain  Checksum = "plain"  // the message only: RFC 9568
)

// Command is a program and its arguments; no shell reads it. Empty: none.
type Command []string

// DefaultVIP is an instance of which nothing was said. It is not usable as it
// stands: name, interface, addresses and router id have no default.
func DefaultVIP() VIP {
	return VIP{
		Priority: 100, AdvertInterval: Duration(time.Second), Version: 2,
		Preempt: true, Checksum: Pseudo,
	}
}

// maxAddresses keeps an advert in one packet, with IPv6 too.
const maxAddresses = 64

func (d *draft) checkVIPs() {
	for i := range d.VIP {
		v := &d.VIP[i]
		d.checkInterface(vipKey(i, "interface"), &v.Interface)
		d.checkVIP(i, v)
		d.checkVersion(i, v)
		d.checkAddresses(i, v)
		d.checkPeers(i, v)
		d.checkElection(i, v)
		for j := range i {
			d.checkTwo(i, v, j, &d.VIP[j])
		}
	}
}

// checkInterface resolves the name, in place. Whether there is such an
// interface is seen at start: it may belong to another node.
func (d *draft) checkInterface(key string, name *string) {
	expanded, err := expand(*name)
	switch {
	case err != nil:
		d.fault(key, "%v", err)
	case *name == "":
		d.fault(key, "is missing: the network interface that is to have the addresses")
	case expanded == "":
		d.fault(key, "%q finds no interface on this machine", *name)
	case len(expanded) > 15 || strings.ContainsFunc(expanded, func(r rune) bool { return r == '/' || unicode.IsSpace(r) || unicode.IsControl(r) }):
		d.fault(key, "%q is not the name of one network interface", expanded) // Linux's own rule
	default:
		*name = expanded
	}
}

func (d *draft) checkVIP(i int, v *VIP) {
	if v.Name == "" {
		d.fault(vipKey(i, "name"), "is missing: what logs, metrics and the status are to call it")
	}
	within(d, vipKey(i, "router_id"), v.RouterID, 1, 255)
	within(d, vipKey(i, "priority"), v.Priority, 1, 255)
	oneOf(d, vipKey(i, "checksum"), v.Checksum, Pseudo, Plain)
	notify := func(name string, c Command) {
		if len(c) > 0 && c[0] == "" {
			d.fault(vipKey(i, name), "names no program")
		}
	}
	notify("notify_master", v.NotifyMaster)
	notify("notify_backup", v.NotifyBackup)
	notify("notify_fault", v.NotifyFault)
	notify("notify_stop", v.NotifyStop)
}

// checkVersion holds that an advert of the version can say what is configured.
func (d *draft) checkVersion(i int, v *VIP) {
	interval, password := vipKey(i, "advert_interval"), vipKey(i, "password")
	switch v.Version {
	case 2:
		within(d, interval, v.AdvertInterval, Duration(time.Second), Duration(255*time.Second))
		if v.AdvertInterval%Duration(time.Second) != 0 {
			d.fault(interval, "%v is not a whole number of seconds, and version 2 knows no fractions; version 3 does", v.AdvertInterval)
		}
	case 3:
		within(d, interval, v.AdvertInterval, Duration(10*time.Millisecond), Duration(40950*time.Millisecond))
		if v.AdvertInterval%Duration(10*time.Millisecond) != 0 {
			d.fault(interval, "%v is not a multiple of 10ms, the unit of version 3", v.AdvertInterval)
		}
		if v.Password != "" || v.PasswordFile != "" {
			d.fault(password, "version 3 knows none; what protects is peers, and a firewall that lets nobody else send IP protocol 112")
		}
	default:
		d.fault(vipKey(i, "version"), "%d is not known; this version knows 2, 3", v.Version)
	}
	if len(v.Password) > 8 {
		d.fault(password, "is longer than 8 bytes, which is all that VRRP sends; of a longer one, keepalived uses the first 8")
	}
	if v.Checksum == Plain && (v.Version != 3 || slices.ContainsFunc(v.Addresses, netip.Addr.Is6)) {
		d.fault(vipKey(i, "checksum"), "only version 3 over IPv4 has two forms of it; leave it out")
	}
}

// checkAddresses holds that one advert can carry them.
func (d *draft) checkAddresses(i int, v *VIP) {
	key := vipKey(i, "addresses")
	if len(v.Addresses) == 0 {
		d.fault(key, "at least one is needed: what applications connect to")
	}
	if len(v.Addresses) > maxAddresses {
		d.fault(key, "are more than %d; make a second instance of some", maxAddresses)
	}
	for n, a := range v.Addresses {
		at := elementOf(key, n)
		switch first := slices.Index(v.Addresses, a); {
		case !a.IsValid():
			d.fault(at, "is missing; write an IP address")
		case !isOfNode(a):
			d.fault(at, "%v cannot be the address of a node", a)
		case a.Is4() != v.Addresses[0].Is4():
			d.fault(at, "%v is not of the same family as %v; IPv4 and IPv6 need an instance each", a, v.Addresses[0])
		case a.Is6() && v.Version == 2:
			d.fault(at, "%v is IPv6, which needs version: 3", a)
		case first < n:
			d.fault(at, "%v is %s already", a, elementOf(key, first))
		}
	}
}

// isOfNode says whether a can be the address of one node on a link.
func isOfNode(a netip.Addr) bool {
	return a.IsValid() && !a.IsUnspecified() && !a.IsMulticast() && !a.IsLoopback() && a != netip.AddrFrom4([4]byte{255, 255, 255, 255})
}

// checkPeers holds that adverts can go from the source to the peers. The source
// may be among them, so that one file serves all nodes.
func (d *draft) checkPeers(i int, v *VIP) {
	for n, a := range v.Peers {
		key := vipKey(i, "peers")
		if first := slices.Index(v.Peers, a); first < n && a.IsValid() {
			d.fault(elementOf(key, n), "%v is %s already", a, elementOf(key, first))
		} else {
			d.checkSender(elementOf(key, n), v, a)
		}
	}
	if !v.Source.IsValid() {
		return
	}
	source := vipKey(i, "source")
	d.checkSender(source, v, v.Source)
	if v.Source.Is6() && !v.Source.IsLinkLocalUnicast() && len(v.Peers) == 0 {
		d.fault(source, "%v is not a link-local address, which IPv6 multicast needs", v.Source)
	}
}

// checkSender holds that adverts of v may come from a.
func (d *draft) checkSender(key string, v *VIP, a netip.Addr) {
	switch {
	case !a.IsValid():
		d.fault(key, "is missing; write an IP address")
	case !isOfNode(a):
		d.fault(key, "%v cannot be the address of a node", a)
	case slices.Contains(v.Addresses, a):
		d.fault(key, "%v is one of the addresses, which move; write the node's own", a)
	case len(v.Addresses) > 0 && a.Is4() != v.Addresses[0].Is4():
		d.fault(key, "%v is not of the same family as %v", a, v.Addresses[0])
	}
}

// ownsAlways is the priority of a router that no other can outdo.
const ownsAlways = 255

func (d *draft) checkElection(i int, v *VIP) {
	preempt, delay, local := vipKey(i, "preempt"), vipKey(i, "preempt_delay"), vipKey(i, "prefer_local_master")
	within(d, delay, v.PreemptDelay, 0, Duration(1000*time.Second))
	within(d, local, v.PreferLocalMaster, 0, 253)
	if v.Priority == ownsAlways {
		if !v.Preempt {
			d.fault(preempt, "cannot be false with priority 255, which owns from the start; 254 is the highest that waits")
		}
		if v.PreemptDelay > 0 {
			d.fault(delay, "cannot be with priority 255, which owns from the start; 254 is the highest that waits")
		}
		if v.PreferLocalMaster > 0 {
			d.fault(local, "cannot be with priority 255, to which nothing can be added")
		}
		return
	}
	if v.Priority+v.PreferLocalMaster >= ownsAlways {
		d.fault(local, "%d and priority %d are more than 254 together", v.PreferLocalMaster, v.Priority)
	}
	if v.Preempt {
		return
	}
	if v.PreemptDelay > 0 {
		d.fault(delay, "says when to preempt, and preempt: false says never")
	}
	if v.PreferLocalMaster > 0 {
		d.fault(local, "would move nothing with preempt: false, which leaves the addresses with their owner whatever the priorities")
	}
}

// checkTwo holds that two instances do not stand in each other's way.
func (d *draft) checkTwo(i int, v *VIP, j int, earlier *VIP) {
	if v.Name == earlier.Name {
		d.fault(vipKey(i, "name"), "%q is the name of %s already", v.Name, elementOf("vip", j))
	}
	for n, a := range v.Addresses {
		if slices.Contains(earlier.Addresses, a) {
			d.fault(elementOf(vipKey(i, "addresses"), n), "%v is in %s already", a, vipKey(j, "addresses"))
		}
	}
	if len(v.Addresses) == 0 || len(earlier.Addresses) == 0 || v.Addresses[0].Is4() != earlier.Addresses[0].Is4() {
		return
	}
	if v.RouterID == earlier.RouterID && v.Interface == earlier.Interface {
		d.fault(vipKey(i, "router_id"), "%d is %s on %s already", v.RouterID, vipKey(j, "router_id"), v.Interface)
	}
}

func vipKey(i int, name string) string { return elementOf("vip", i) + "." + name }
