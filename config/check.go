package config

import (
	"maps"
	"slices"
	"strings"
	"time"
	"unicode"
)

// check finds what is out of range, missing or contradictory, and resolves
// addresses, so that duplicates are seen however they are written.
func (d *draft) check() {
	d.checkSentinel()
	d.checkLogin("redis.", d.Redis.Login)
	d.checkClientTLS("redis.tls", &d.Redis.TLS)
	taken := d.checkListeners()
	d.checkHealth(taken)
	d.checkVIPs()

	oneOf(d, "failover.release", d.Failover.Release, Confirmed, Promoted)
	oneOf(d, "log.level", d.Log.Level, "debug", "info", "warn", "error")
	oneOf(d, "log.format", d.Log.Format, "auto", "json", "console")

	within(d, "hold.max_wait", d.Hold.MaxWait, 0, Duration(time.Hour))
	within(d, "hold.max_bytes", d.Hold.MaxBytes, 64<<10, 1<<40)
	within(d, "failover.fence_timeout", d.Failover.FenceTimeout, Duration(100*time.Millisecond), Duration(10*time.Minute))
	within(d, "limits.max_clients", d.Limits.MaxClients, 1, 1_000_000)
	within(d, "limits.client_buffer", d.Limits.ClientBuffer, 4<<10, 1<<30)
	within(d, "limits.replay_bytes", d.Limits.ReplayBytes, 4<<10, 1<<30)
	within(d, "limits.loops", d.Limits.Loops, 0, 256)
	within(d, "drain.timeout", d.Drain.Timeout, 0, Duration(time.Hour))
}

func (d *draft) checkSentinel() {
	s := &d.Sentinel
	if len(s.Addresses) == 0 {
		d.fault("sentinel.addresses", "at least one is needed, here or as HOLDFAST_SENTINELS; the others are found through it")
	}
	seen := make(map[endpoint]int)
	for i := range s.Addresses {
		key := elementOf("sentinel.addresses", i)
		e, ok := d.readDialAddress(key, &s.Addresses[i])
		if !ok {
			continue
		}
		if first, twice := seen[e]; twice {
			d.fault(key, "%q is %s already", s.Addresses[i], elementOf("sentinel.addresses", first))
			continue
		}
		seen[e] = i
	}
	d.checkLogin("sentinel.", s.Login)
	d.checkClientTLS("sentinel.tls", &s.TLS)
	within(d, "sentinel.poll_interval", s.PollInterval, Duration(100*time.Millisecond), Duration(time.Minute))
	within(d, "sentinel.timeout", s.Timeout, Duration(50*time.Millisecond), Duration(time.Minute))
	for _, announced := range slices.Sorted(maps.Keys(s.AddressMap)) {
		d.checkMapped(announced, s.AddressMap[announced])
	}
}

// checkMapped holds that both sides of the address map are of one kind: a host
// for a host, whatever the port, or a host:port for a host:port.
func (d *draft) checkMapped(announced, reachable string) {
	key := entryOf("sentinel.address_map", announced)
	if announced == "" || reachable == "" {
		d.fault(key, "write announced: reachable, neither of them empty")
		return
	}
	_, fromHost := parseHost(announced)
	_, toHost := parseHost(reachable)
	if fromHost == nil && toHost == nil {
		return
	}
	for _, address := range []string{announced, reachable} {
		e, err := parseAddress(address)
		if err != nil || e.host == "" || e.port == 0 {
			d.fault(key, "write host: host, or host:port: host:port")
			return
		}
	}
}

// checkLogin holds that a user has a password. A password alone is for the
// default user.
func (d *draft) checkLogin(under string, l Login) {
	if l.Username != "" && !hasPassword(l) {
		d.fault(under+"username", "given without a password")
	}
}

// hasPassword says that a password was given, even if its file was a fault.
func hasPassword(l Login) bool { return l.Password != "" || l.PasswordFile != "" }

// checkListeners gives the addresses of all listeners.
func (d *draft) checkListeners() (taken []endpoint) {
	if len(d.Listeners) == 0 {
		d.fault("listeners", "at least one is needed, here or as HOLDFAST_MASTER")
	}
	for i := range d.Listeners {
		l := &d.Listeners[i]
		key := listenerKey(i, "address")
		e := d.readListenAddress(key, &l.Address)
		d.checkFree(key, l.Address, e, taken)
		taken = append(taken, e)
		d.checkListener(i, l)
	}
	return taken
}

func (d *draft) checkListener(i int, l *Listener) {
	master := listenerKey(i, "master")
	if l.Master == "" {
		d.fault(master, "is missing: the name by which the Sentinels know the master, here or as HOLDFAST_MASTER")
	}
	// Sentinel separates the words of its events by spaces.
	if strings.ContainsFunc(l.Master, func(r rune) bool { return unicode.IsSpace(r) || unicode.IsControl(r) }) {
		d.fault(master, "%q cannot be a name at a Sentinel: there is a space in it", l.Master)
	}
	oneOf(d, listenerKey(i, "role"), l.Role, "master")
	oneOf(d, listenerKey(i, "mode"), l.Mode, Shared, Dedicated, Tunnel)
	d.checkLogin(listenerKey(i, "redis."), l.Redis)
	d.checkServerTLS(listenerKey(i, "tls"), l.TLS)
	if l.Mode == Tunnel {
		d.checkTunnel(i, l)
		return
	}
	trust := listenerKey(i, "trust")
	switch {
	case l.Trust && (l.Password != "" || l.PasswordFile != ""):
		d.fault(trust, "given together with a password of the listener; either clients are trusted or they have a password")
	case l.Trust && !hasPassword(d.LoginFor(*l)):
		d.fault(trust, "needs a redis password, for trusted clients to be logged in with")
	}
}

// checkTunnel refuses what only one who understands the bytes could do.
func (d *draft) checkTunnel(i int, l *Listener) {
	refuse := func(name string, given bool) {
		if given {
			d.fault(listenerKey(i, name), "cannot be in mode tunnel, which passes bytes without understanding them")
		}
	}
	refuse("redis", l.Redis != (Login{}))
	refuse("password", l.Password != "" && l.PasswordFile == "")
	refuse("password_file", l.PasswordFile != "")
	refuse("trust", l.Trust)
	refuse("tls", l.TLS.On())
}

func (d *draft) checkHealth(taken []endpoint) {
	if d.Health.Address == "" {
		return
	}
	e := d.readListenAddress("health.address", &d.Health.Address)
	d.checkFree("health.address", d.Health.Address, e, taken)
}

// checkFree holds that no listener in taken has the port already.
func (d *draft) checkFree(key, address string, e endpoint, taken []endpoint) {
	for i := range taken {
		if e.overlaps(taken[i]) {
			d.fault(key, "%q is taken by %s, %q", address, listenerKey(i, "address"), d.Listeners[i].Address)
		}
	}
}

func oneOf[T ~string](d *draft, key string, value T, known ...T) {
	if slices.Contains(known, value) {
		return
	}
	names := make([]string, len(known))
	for i := range known {
		names[i] = string(known[i])
	}
	d.fault(key, "%q is not known; this version knows %s", value, strings.Join(names, ", "))
}

func within[T int | Duration | Size](d *draft, key string, value, least, most T) {
	if value < least || value > most {
		d.fault(key, "%v is out of range; it may be %v to %v", value, least, most)
	}
}

func listenerKey(i int, name string) string { return elementOf("listeners", i) + "." + name }
