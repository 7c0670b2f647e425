package config

import (
	"strconv"
	"strings"
)

// fillFrom takes from the environment what the file leaves unset. A value
// given in both is a fault, so nobody has to know which of them would win. A
// variable that is empty counts as unset: that is how compose files and charts
// leave one out.
//
// Variables are asked for by name and never searched: beside a Service called
// holdfast, Kubernetes sets HOLDFAST_PORT and others that are not ours.
func (d *draft) fillFrom(lookup func(name string) (value string, ok bool)) {
	e := environment{draft: d, lookup: lookup}
	if value, ok := e.take("HOLDFAST_SENTINELS", "sentinel.addresses"); ok {
		for address := range strings.SplitSeq(value, ",") {
			d.Sentinel.Addresses = append(d.Sentinel.Addresses, strings.TrimSpace(address))
		}
	}
	put(e, "HOLDFAST_SENTINEL_USERNAME", "sentinel.username", &d.Sentinel.Username)
	put(e, "HOLDFAST_SENTINEL_PASSWORD", "sentinel.password", &d.Sentinel.Password)
	put(e, "HOLDFAST_SENTINEL_PASSWORD_FILE", "sentinel.password_file", &d.Sentinel.PasswordFile)
	put(e, "HOLDFAST_REDIS_USERNAME", "redis.username", &d.Redis.Username)
	put(e, "HOLDFAST_REDIS_PASSWORD", "redis.password", &d.Redis.Password)
	put(e, "HOLDFAST_REDIS_PASSWORD_FILE", "redis.password_file", &d.Redis.PasswordFile)
	put(e, "HOLDFAST_RELEASE", "failover.release", &d.Failover.Release)
	put(e, "HOLDFAST_HEALTH", "health.address", &d.Health.Address)
	put(e, "HOLDFAST_LOG_LEVEL", "log.level", &d.Log.Level)
	e.fillListener()
}

type environment struct {
	*draft
	lookup func(name string) (value string, ok bool)
}

// take gives what variable name says for key, unless the file has said it.
func (e environment) take(name, key string) (string, bool) {
	value, _ := e.lookup(name)
	if value == "" {
		return "", false
	}
	if e.origin[key] != "" {
		e.fault(key, "given in the file and as %s; keep one", name)
		return "", false
	}
	e.origin[key] = name
	return value, true
}

func put[T ~string](e environment, name, key string, field *T) {
	if value, ok := e.take(name, key); ok {
		*field = T(value)
	}
}

// fillListener describes one listener without any file. Listeners of the file
// are described there alone: it would not be clear which one a variable means.
func (e environment) fillListener() {
	var set []string
	for _, name := range []string{
		"HOLDFAST_LISTEN", "HOLDFAST_MASTER", "HOLDFAST_TRUST",
		"HOLDFAST_LISTEN_PASSWORD", "HOLDFAST_LISTEN_PASSWORD_FILE",
	} {
		if value, _ := e.lookup(name); value != "" {
			set = append(set, name)
		}
	}
	if len(set) == 0 {
		return
	}
	names := strings.Join(set, ", ")
	if e.origin["listeners"] != "" {
		e.fault("listeners", "given in the file and as %s; keep one", names)
		return
	}
	e.origin["listeners"] = names
	l := DefaultListener()
	l.Address = "0.0.0.0:6379" // a container's loopback address would reach nobody
	put(e, "HOLDFAST_LISTEN", "listeners[0].address", &l.Address)
	put(e, "HOLDFAST_MASTER", "listeners[0].master", &l.Master)
	put(e, "HOLDFAST_LISTEN_PASSWORD", "listeners[0].password", &l.Password)
	put(e, "HOLDFAST_LISTEN_PASSWORD_FILE", "listeners[0].password_file", &l.PasswordFile)
	if value, ok := e.take("HOLDFAST_TRUST", "listeners[0].trust"); ok {
		var err error
		if l.Trust, err = strconv.ParseBool(value); err != nil {
			e.fault("listeners[0].trust", "must be true or false")
		}
	}
	e.Listeners = []Listener{l}
}
