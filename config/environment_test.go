package config

import (
	"reflect"
	"testing"
)

// env looks variables up in a map.
type env map[string]string

func (e env) lookup(name string) (string, bool) {
	value, ok := e[name]
	return value, ok
}

func TestEnvironmentAlone(t *testing.T) {
	config, err := Parse(nil, env{
		"HOLDFAST_SENTINELS": "s1:26379, s2:26379",
		"HOLDFAST_MASTER":    "mymaster",
		"HOLDFAST_PORT":      "tcp://10.96.0.7:6379",
	}.lookup)
	if err != nil {
		t.Fatal(err)
	}
	want := Default()
	want.Sentinel.Addresses = []string{"s1:26379", "s2:26379"}
	want.Listeners = []Listener{{Address: "0.0.0.0:6379", Master: "mymaster", Role: "master", Mode: Shared}}
	if !reflect.DeepEqual(*config, want) {
		t.Errorf("is\n%v\nwant\n%v", config, want)
	}
}

func TestEnvironmentInFull(t *testing.T) {
	full := env{
		"HOLDFAST_SENTINELS":         "s1:26379",
		"HOLDFAST_SENTINEL_USERNAME": "watcher",
		"HOLDFAST_SENTINEL_PASSWORD": "p1",
		"HOLDFAST_REDIS_USERNAME":    "holdfast",
		"HOLDFAST_REDIS_PASSWORD":    "p2",
		"HOLDFAST_MASTER":            "mymaster",
		"HOLDFAST_LISTEN":            "127.0.0.1:7000",
		"HOLDFAST_TRUST":             "true",
		"HOLDFAST_HEALTH":            "127.0.0.1:7001",
		"HOLDFAST_LOG_LEVEL":         "debug",
		"HOLDFAST_RELEASE":           "promoted",
	}
	config, err := Parse([]byte("--- # nothing\n"), full.lookup)
	if err != nil {
		t.Fatal(err)
	}
	want := Default()
	want.Sentinel.Addresses = []string{"s1:26379"}
	want.Sentinel.Login = Login{Username: "watcher", Password: "p1"}
	want.Redis = Redis{Login: Login{Username: "holdfast", Password: "p2"}}
	want.Listeners = []Listener{{Address: "127.0.0.1:7000", Master: "mymaster", Role: "master", Mode: Shared, Trust: true}}
	want.Health.Address = "127.0.0.1:7001"
	want.Log.Level = "debug"
	want.Failover.Release = Promoted
	if !reflect.DeepEqual(*config, want) {
		t.Errorf("is\n%v\nwant\n%v", config, want)
	}
}

func TestEnvironmentPasswordFiles(t *testing.T) {
	config, err := Parse(nil, env{
		"HOLDFAST_SENTINELS":              "s1:26379",
		"HOLDFAST_SENTINEL_PASSWORD_FILE": "testdata/secret",
		"HOLDFAST_REDIS_PASSWORD_FILE":    "testdata/secret",
		"HOLDFAST_MASTER":                 "mymaster",
		"HOLDFAST_LISTEN_PASSWORD_FILE":   "testdata/secret",
	}.lookup)
	if err != nil {
		t.Fatal(err)
	}
	for _, got := range []Secret{config.Sentinel.Password, config.Redis.Password, config.Listeners[0].Password} {
		if got != "hunter2" {
			t.Errorf("a password is %q", string(got))
		}
	}
}

func TestEnvironmentFillsTheFile(t *testing.T) {
	file := "sentinel: {addresses: [s1:26379], username: watcher}\nlisteners: [{address: ':6379', master: m}]\nredis:\n"
	config, err := Parse([]byte(file), env{
		"HOLDFAST_SENTINEL_PASSWORD": "p1",
		"HOLDFAST_REDIS_PASSWORD":    "p2",
		"HOLDFAST_MASTER":            "",
	}.lookup)
	if err != nil {
		t.Fatal(err)
	}
	if config.Sentinel.Login != (Login{Username: "watcher", Password: "p1"}) || config.Redis.Login != (Login{Password: "p2"}) {
		t.Errorf("logins are %#v and %#v", config.Sentinel.Login, config.Redis)
	}
}

func TestEnvironmentFaults(t *testing.T) {
	const sentinels, listeners = "sentinel:\n  addresses: [s1:26379]\n", "listeners:\n  - {address: ':6379', master: m}\n"
	for _, c := range []struct {
		name, file string
		env        env
		want       string
	}{
		{"nothing at all", "", nil,
			`sentinel.addresses: at least one is needed, here or as HOLDFAST_SENTINELS; the others are found through it
listeners: at least one is needed, here or as HOLDFAST_MASTER`},
		{"in both", sentinels + listeners + "log:\n  level: info\n",
			env{"HOLDFAST_SENTINELS": "s2:26379", "HOLDFAST_LOG_LEVEL": "info", "HOLDFAST_MASTER": "m", "HOLDFAST_LISTEN": ":1"},
			`sentinel.addresses: given in the file and as HOLDFAST_SENTINELS; keep one (line 2)
log.level: given in the file and as HOLDFAST_LOG_LEVEL; keep one (line 6)
listeners: given in the file and as HOLDFAST_LISTEN, HOLDFAST_MASTER; keep one (line 3)`},
		{"password here, file there", sentinels + listeners + "redis:\n  password_file: testdata/secret\n",
			env{"HOLDFAST_REDIS_PASSWORD": "hunter2"},
			`redis.password_file: given together with redis.password (HOLDFAST_REDIS_PASSWORD); keep one (line 6)`},
		{"its values are checked", "",
			env{"HOLDFAST_SENTINELS": "s1:26379,s1", "HOLDFAST_LISTEN": "6379", "HOLDFAST_TRUST": "maybe", "HOLDFAST_RELEASE": "now", "HOLDFAST_REDIS_PASSWORD": "hunter2\n"},
			`listeners[0].trust: must be true or false (HOLDFAST_TRUST)
redis.password: has a line break in it; a password is one line (HOLDFAST_REDIS_PASSWORD)
sentinel.addresses[1]: "s1" is not host:port; an IPv6 address is written in brackets, like [::1]:6379 (HOLDFAST_SENTINELS)
listeners[0].address: "6379" is not host:port; an IPv6 address is written in brackets, like [::1]:6379 (HOLDFAST_LISTEN)
listeners[0].master: is missing: the name by which the Sentinels know the master, here or as HOLDFAST_MASTER (HOLDFAST_LISTEN, HOLDFAST_TRUST)
failover.release: "now" is not known; this version knows confirmed, promoted (HOLDFAST_RELEASE)`},
		{"an absent file", sentinels + listeners, env{"HOLDFAST_SENTINEL_PASSWORD_FILE": "testdata/absent"},
			`sentinel.password_file: open testdata/absent: no such file or directory (HOLDFAST_SENTINEL_PASSWORD_FILE)`},
		{"one listener's password for several", sentinels + listeners, env{"HOLDFAST_LISTEN_PASSWORD": "hunter2"},
			`listeners: given in the file and as HOLDFAST_LISTEN_PASSWORD; keep one (line 3)`},
	} {
		t.Run(c.name, func(t *testing.T) {
			config, err := Parse([]byte(c.file), c.env.lookup)
			if config != nil || err == nil {
				t.Fatalf("accepted as\n%v", config)
			}
			if err.Error() != c.want {
				t.Errorf("says\n%v\nwant\n%s", err, c.want)
			}
		})
	}
}
