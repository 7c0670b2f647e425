// Package config is the configuration file as one checked value.
//
// A Config that Load or Parse gives out is whole: defaults are filled in,
// secrets are read, addresses are resolved and no two keys contradict each
// other, so nobody else checks again. It is not changed afterwards. A password
// inside it is a Secret, which prints as stars.
package config

import (
	"time"

	"gopkg.in/yaml.v3"
)

// Config is everything an operator can say. Load fills the defaults, so a
// zero field here means "off", never "default".
type Config struct {
	Sentinel  Sentinel   `yaml:"sentinel"`
	Redis     Redis      `yaml:"redis"`
	Listeners []Listener `yaml:"listeners"`
	Hold      Hold       `yaml:"hold"`
	Failover  Failover   `yaml:"failover"`
	Limits    Limits     `yaml:"limits"`
	Drain     Drain      `yaml:"drain"`
	Health    Health     `yaml:"health"`
	VIP       []VIP      `yaml:"vip"`
	Log       Log        `yaml:"log"`
}

// Login is a user and password; both empty means: do not log in. It has no
// methods, because Sentinel embeds it and would inherit them.
type Login struct {
	Username     string `yaml:"username"`
	Password     Secret `yaml:"password"`      // what was in PasswordFile, if that is given
	PasswordFile string `yaml:"password_file"` // has been read already
}

// Redis says how holdfast talks to the data nodes.
type Redis struct {
	Login `yaml:",inline"`
	TLS   ClientTLS `yaml:"tls"` // not in mode tunnel
}

// Sentinel says where the Sentinels are and how to talk to them.
type Sentinel struct {
	Addresses    []string          `yaml:"addresses"` // host:port of at least one; the others are discovered
	Login        `yaml:",inline"`  // for the Sentinels themselves
	TLS          ClientTLS         `yaml:"tls"`
	PollInterval Duration          `yaml:"poll_interval"` // between two polls of one Sentinel
	Timeout      Duration          `yaml:"timeout"`       // for one dial, question or role probe
	AddressMap   map[string]string `yaml:"address_map"`   // announced host:port or host -> reachable one
}

// Mode is how a listener's clients share upstreams.
type Mode string

// The modes of a listener.
const (
	Shared    Mode = "shared"    // clients share upstreams while their connection has no state of its own
	Dedicated Mode = "dedicated" // every client has an upstream of its own
	Tunnel    Mode = "tunnel"    // bytes only, nothing is understood or carried over
)

// Listener is one address that applications connect to.
type Listener struct {
	Address      string    `yaml:"address"` // host:port, go-sockaddr templates resolved; port 0: the system picks one
	Master       string    `yaml:"master"`  // the master's name at the Sentinels
	Role         string    `yaml:"role"`    // "master"
	Mode         Mode      `yaml:"mode"`
	Redis        Login     `yaml:"redis"`         // replaces the top-level redis login for this listener, see LoginFor
	Password     Secret    `yaml:"password"`      // what clients must present to holdfast itself
	PasswordFile string    `yaml:"password_file"` // has been read already
	Trust        bool      `yaml:"trust"`         // clients are let in as the redis login without a password of their own
	TLS          ServerTLS `yaml:"tls"`           // how clients are spoken to
}

// Hold bounds the waiting for a master.
type Hold struct {
	MaxWait  Duration `yaml:"max_wait"`  // per command; 0: answer at once
	MaxBytes Size     `yaml:"max_bytes"` // unsent commands of all waiting clients together; unread replies of all, too
}

// Release is when a new master may be used.
type Release string

// The release policies. Both hold commands until then and neither loses any.
const (
	Promoted  Release = "promoted"  // the named replica itself says role:master
	Confirmed Release = "confirmed" // a Sentinel's configuration names it too
)

// Failover says what happens around a change of master.
type Failover struct {
	Release         Release  `yaml:"release"`
	FenceTimeout    Duration `yaml:"fence_timeout"`     // a fence without a promotion ends after this
	RequireQuorum   bool     `yaml:"require_quorum"`    // fence as soon as fewer than a quorum of Sentinels answer
	DemoteOldMaster bool     `yaml:"demote_old_master"` // make an old master that still claims its role a replica, instead of waiting for Sentinel
}

// Limits bounds memory and descriptors.
type Limits struct {
	MaxClients   int  `yaml:"max_clients"`   // of all listeners together
	ClientBuffer Size `yaml:"client_buffer"` // unsent replies per client, then its upstream is not read
	ReplayBytes  Size `yaml:"replay_bytes"`  // unanswered commands kept per client, to send them again
	Loops        int  `yaml:"loops"`         // event loops; 0: 1 up to 3 cores, then half of them, at most 4
}

// Drain bounds the shutdown.
type Drain struct {
	Timeout Duration `yaml:"timeout"` // 0: cut everybody at once
}

// Health is the address of the probes, metrics and status; empty: none.
type Health struct {
	Address string `yaml:"address"`
}

// Log says what is logged and how.
type Log struct {
	Level  string `yaml:"level"`  // debug, info, warn, error
	Format string `yaml:"format"` // json, console, auto (json unless stderr is a terminal)
}

// Default is the configuration in which nothing was said. It is not usable as
// it stands: Sentinels and listeners have no default.
func Default() Config {
	return Config{
		Sentinel: Sentinel{PollInterval: Duration(time.Second), Timeout: Duration(time.Second)},
		Hold:     Hold{MaxWait: Duration(30 * time.Second), MaxBytes: 256 << 20},
		Failover: Failover{Release: Confirmed, FenceTimeout: Duration(5 * time.Second)},
		Limits:   Limits{MaxClients: 10000, ClientBuffer: 1 << 20, ReplayBytes: 1 << 20},
		Drain:    Drain{Timeout: Duration(10 * time.Second)},
		Health:   Health{Address: "127.0.0.1:9121"},
		Log:      Log{Level: "info", Format: "auto"},
	}
}

// DefaultListener is a listener of which nothing was said.
func DefaultListener() Listener {
	return Listener{Role: "master", Mode: Shared}
}

// LoginFor is how holdfast logs in to Redis for l: l's own login, else the one
// of the whole configuration, else none.
func (c *Config) LoginFor(l Listener) Login {
	if l.Redis != (Login{}) {
		return l.Redis
	}
	return c.Redis.Login
}

// Masters names every master in use and how to log in to its nodes to prove
// their role. Of several listeners of one master, the first that has a login
// gives it.
func (c *Config) Masters() map[string]Login {
	masters := make(map[string]Login)
	for _, l := range c.Listeners {
		if masters[l.Master] == (Login{}) {
			masters[l.Master] = c.LoginFor(l)
		}
	}
	return masters
}

// String is the configuration in effect as YAML, secrets as stars.
func (c Config) String() string {
	text, err := yaml.Marshal(c)
	if err != nil {
		return "configuration cannot be printed: " + err.Error()
	}
	return string(text)
}
