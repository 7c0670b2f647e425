package config

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// One file for each rule, with the exact text that an operator reads. The
// password in all of them is hunter2, which no text may repeat.
var bad = map[string]string{
	"address_map_empty":     `sentinel.address_map[10.0.0.1]: write announced: reachable, neither of them empty (line 3)`,
	"address_map_mixed":     `sentinel.address_map[10.0.0.1]: write host: host, or host:port: host:port (line 4)`,
	"anchor":                `not YAML: a value that begins with * stands for an anchor, and there is none of this name; if it is text, put quotes around it`,
	"anchored_null":         `redis.password: begins with a sign that means something else in YAML; put quotes around it (line 5)`,
	"bool":                  `listeners[0].trust: must be true or false (line 3)`,
	"client_buffer":         `limits.client_buffer: 0 is out of range; it may be 4KiB to 1GiB (line 4)`,
	"drain":                 `drain.timeout: 2h is out of range; it may be 0s to 1h (line 4)`,
	"duplicate_key":         `log.level: given twice, before in line 5 (line 7)`,
	"duration":              `hold.max_wait: "half a minute" is not a duration; write a number with a unit, like 30s or 1500ms (line 5)`,
	"duration_without_unit": `hold.max_wait: "30" is not a duration; write a number with a unit, like 30s or 1500ms (line 5)`,
	"fence_timeout":         `failover.fence_timeout: 0s is out of range; it may be 100ms to 10m (line 4)`,
	"health":                `health.address: "localhost" is not host:port; an IPv6 address is written in brackets, like [::1]:6379 (line 4)`,
	"health_taken":          `health.address: "[::]:6379" is taken by listeners[0].address, "127.0.0.1:6379" (line 4)`,
	"int":                   `limits.max_clients: must be a whole number (line 4)`,
	"key_not_text":          `log."?": a key must be plain text (line 5)`,
	"listener_host":         `listeners[0].address: "my host" is neither an IP address nor a host name (line 3)`,
	"listener_no_address":   `listeners[0].address: is missing; write host:port (line 3)`,
	"listener_null": `listeners[0].address: is missing; write host:port (line 2)
listeners[0].master: is missing: the name by which the Sentinels know the master, here or as HOLDFAST_MASTER (line 2)`,
	"listener_port":           `listeners[0].address: "127.0.0.1:65536" has no valid port; ports are numbers up to 65535 (line 3)`,
	"listener_twice":          `listeners[1].address: "127.0.0.1:6379" is taken by listeners[0].address, "127.0.0.1:6379" (line 4)`,
	"listener_under_wildcard": `listeners[1].address: ":6379" is taken by listeners[0].address, "127.0.0.1:6379" (line 4)`,
	"listener_username":       `listeners[0].redis.username: given without a password (line 3)`,
	"log_format":              `log.format: "text" is not known; this version knows auto, json, console (line 4)`,
	"log_level":               `log.level: "verbose" is not known; this version knows debug, info, warn, error (line 4)`,
	"loops":                   `limits.loops: -1 is out of range; it may be 0 to 256 (line 4)`,
	"master_name":             `listeners[0].master: "my master" cannot be a name at a Sentinel: there is a space in it (line 3)`,
	"max_bytes":               `hold.max_bytes: 1KiB is out of range; it may be 64KiB to 1TiB (line 4)`,
	"max_clients":             `limits.max_clients: 0 is out of range; it may be 1 to 1000000 (line 4)`,
	"max_wait":                `hold.max_wait: 1h1m is out of range; it may be 0s to 1h (line 4)`,
	"max_wait_negative":       `hold.max_wait: -1s is out of range; it may be 0s to 1h (line 4)`,
	"merge_key":               `listeners[1]."<<": there is no such key; known here: address, master, role, mode, redis, password, password_file, trust, tls (line 6)`,
	"mode_unknown":            `listeners[0].mode: "pooled" is not known; this version knows shared, dedicated, tunnel (line 3)`,
	"no_listeners":            `listeners: at least one is needed, here or as HOLDFAST_MASTER`,
	"no_master":               `listeners[0].master: is missing: the name by which the Sentinels know the master, here or as HOLDFAST_MASTER (line 3)`,
	"no_sentinel":             `sentinel.addresses: at least one is needed, here or as HOLDFAST_SENTINELS; the others are found through it`,
	"not_a_list":              `sentinel.addresses: must be a list (line 2)`,
	"not_a_mapping":           `not a configuration: that is a mapping, lines of key: value (line 1)`,
	"not_a_single_value":      `redis.password: must be a single value (line 5)`,
	"password_and_file":       `redis.password_file: given together with redis.password (line 5); keep one (line 6)`,
	"password_file_absent":    `redis.password_file: open testdata/absent: no such file or directory (line 5)`,
	"password_file_empty":     `redis.password_file: testdata/secret.empty is empty (line 5)`,
	"password_file_endless":   `redis.password_file: /dev/zero is longer than 64KiB (line 5)`,
	"password_file_lines":     `redis.password_file: has a line break in it; a password is one line (line 5)`,
	"password_file_tunnel":    `listeners[0].password_file: cannot be in mode tunnel, which passes bytes without understanding them (line 3)`,
	"password_line_break":     `redis.password: has a line break in it; a password is one line (line 5)`,
	"poll_interval":           `sentinel.poll_interval: 10ms is out of range; it may be 100ms to 1m (line 1)`,
	"redis_username":          `redis.username: given without a password (line 4)`,
	"release":                 `failover.release: "asap" is not known; this version knows confirmed, promoted (line 4)`,
	"replay_bytes":            `limits.replay_bytes: 2GiB is out of range; it may be 4KiB to 1GiB (line 4)`,
	"require_quorum":          `failover.require_quorum: must be true or false (line 4)`,
	"role":                    `listeners[0].role: "replica" is not known; this version knows master (line 3)`,
	"second_document":         `a second document begins (line 4); a configuration is one document`,
	"section_not_a_mapping":   `redis: must be a mapping, lines of key: value (line 4)`,
	"sentinel_empty":          `sentinel.addresses[0]: is missing; write host:port (line 1)`,
	"sentinel_host":           `sentinel.addresses[0]: "10.0.0.256" is neither an IP address nor a host name (line 1)`,
	"sentinel_ipv6":           `sentinel.addresses[0]: "::1:26379" is not host:port; an IPv6 address is written in brackets, like [::1]:6379 (line 1)`,
	"sentinel_no_host":        `sentinel.addresses[0]: ":26379" has no host; write host:port (line 1)`,
	"sentinel_no_port":        `sentinel.addresses[0]: "10.0.0.1" is not host:port; an IPv6 address is written in brackets, like [::1]:6379 (line 1)`,
	"sentinel_port_zero":      `sentinel.addresses[0]: "10.0.0.1:0" has no port to connect to; ports are 1 to 65535 (line 1)`,
	"sentinel_twice": `sentinel.addresses[2]: "redis-1.internal.:26379" is sentinel.addresses[0] already (line 5)
sentinel.addresses[3]: "[::ffff:127.0.0.1]:26379" is sentinel.addresses[1] already (line 6)`,
	"sentinel_url":      `sentinel.addresses[0]: is not host:port; leave out scheme, user and path (line 1)`,
	"sentinel_username": `sentinel.username: given without a password (line 1)`,
	"several": `sentinel.adresses: there is no such key; known here: addresses, username, password, password_file, tls, poll_interval, timeout, address_map (line 2)
sentinel.poll_interval: "1" is not a duration; write a number with a unit, like 30s or 1500ms (line 3)
log.level: given twice, before in line 11 (line 11)
sentinel.addresses: at least one is needed, here or as HOLDFAST_SENTINELS; the others are found through it (line 1)
listeners[0].address: "127.0.0.1" is not host:port; an IPv6 address is written in brackets, like [::1]:6379 (line 5)
listeners[0].master: is missing: the name by which the Sentinels know the master, here or as HOLDFAST_MASTER (line 5)
listeners[0].mode: "pooled" is not known; this version knows shared, dedicated, tunnel (line 6)
listeners[0].trust: needs a redis password, for trusted clients to be logged in with (line 7)
listeners[1].address: is missing; write host:port (line 8)
hold.max_wait: 2h is out of range; it may be 0s to 1h (line 10)`,
	"size":                   `hold.max_bytes: "1mb" is not a size; write a number of bytes, or one with KB, MB, GB (thousands) or KiB, MiB, GiB (1024s) (line 5)`,
	"size_negative":          `hold.max_bytes: "-1" is not a size; write a number of bytes, or one with KB, MB, GB (thousands) or KiB, MiB, GiB (1024s) (line 5)`,
	"size_too_large":         `hold.max_bytes: "9223372036854775808KiB" is too large (line 5)`,
	"syntax":                 `not YAML: line 1: did not find expected ',' or ']'`,
	"tag":                    `redis.password: begins with a sign that means something else in YAML; put quotes around it (line 5)`,
	"template":               `listeners[0].address: unable to execute sockaddr input "{{ GetInterfaceIP }}:6379": template: sockaddr.Parse:1:3: executing "sockaddr.Parse" at <GetInterfaceIP>: wrong number of args for GetInterfaceIP: want 1 got 0 (line 3)`,
	"template_finds_nothing": `listeners[0].address: "{{ GetInterfaceIP \"absent0\" }}:6379" finds no address on this machine (line 3)`,
	"timeout":                `sentinel.timeout: 2m is out of range; it may be 50ms to 1m (line 1)`,
	"tls_no_key":             `listeners[0].tls.key_file: is missing: the private key of testdata/tls.pem (line 3)`,
	"tls_no_cert":            `listeners[0].tls.cert_file: is missing (line 3)`,
	"tls_absent":             `listeners[0].tls.cert_file: open testdata/absent: no such file or directory (line 3)`,
	"tls_not_a_pair":         `listeners[0].tls.cert_file: testdata/tls.pem and testdata/secret: tls: failed to find any PEM data in key input (line 3)`,
	"tls_client_ca":          `listeners[0].tls.client_ca_file: testdata/secret: there is no PEM certificate in it (line 3)`,
	"tls_tunnel":             `listeners[0].tls: cannot be in mode tunnel, which passes bytes without understanding them (line 3)`,
	"tls_not_enabled":        `redis.tls.enabled: must be true for the other keys of redis.tls to mean anything (line 3)`,
	"tls_ca":                 `sentinel.tls.ca_file: testdata/secret: there is no PEM certificate in it (line 1)`,
	"tls_client_key":         `redis.tls.cert_file: is missing (line 3)`,
	"trust_with_password":    `listeners[0].trust: given together with a password of the listener; either clients are trusted or they have a password (line 3)`,
	"trust_without_login":    `listeners[0].trust: needs a redis password, for trusted clients to be logged in with (line 3)`,
	"tunnel_password":        `listeners[0].password: cannot be in mode tunnel, which passes bytes without understanding them (line 3)`,
	"tunnel_redis":           `listeners[0].redis: cannot be in mode tunnel, which passes bytes without understanding them (line 3)`,
	"tunnel_trust":           `listeners[0].trust: cannot be in mode tunnel, which passes bytes without understanding them (line 3)`,
	"unknown_key":            `vips: there is no such key; known here: sentinel, redis, listeners, hold, failover, limits, drain, health, vip, log (line 4)`,
	"unknown_key_in_list":    `listeners[0].ssl: there is no such key; known here: address, master, role, mode, redis, password, password_file, trust, tls (line 5)`,
	"unknown_key_nested":     `sentinel.adresses: there is no such key; known here: addresses, username, password, password_file, tls, poll_interval, timeout, address_map (line 2)`,
	"unknown_key_odd":        `"log.level": there is no such key; known here: sentinel, redis, listeners, hold, failover, limits, drain, health, vip, log (line 4)`,
}

func TestBadFiles(t *testing.T) {
	files, err := filepath.Glob("testdata/bad/*.yaml")
	if err != nil || len(files) != len(bad) {
		t.Fatalf("%d files, %d expectations, %v", len(files), len(bad), err)
	}
	for _, file := range files {
		name := strings.TrimSuffix(filepath.Base(file), ".yaml")
		t.Run(name, func(t *testing.T) {
			data, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			config, err := Parse(data, nil)
			if config != nil || err == nil {
				t.Fatalf("accepted as\n%v", config)
			}
			if err.Error() != bad[name] {
				t.Errorf("says\n%v\nwant\n%s", err, bad[name])
			}
			if strings.Contains(err.Error(), "hunter") {
				t.Error("tells a password")
			}
		})
	}
}
