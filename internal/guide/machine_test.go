//go:build linux

package guide

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"golang.org/x/sys/unix"

	"holdfast/health"
	"holdfast/internal/lan"
)

// machine is a node of an example with what runs on it. What does not run is nil.
type machine struct {
	*lan.Host
	s   *site
	dir string // instead of /etc and /var/lib

	redis, sentinel, holdfast *lan.Process

	cut bool // off from all others
}

func newMachine(s *site, h *lan.Host, dir, example string, more []string) *machine {
	s.Helper()
	m := &machine{Host: h, s: s, dir: dir}
	for _, sub := range []string{"redis", "sentinel"} {
		s.must(os.MkdirAll(m.file(sub), 0o755))
	}
	network := []string{"10.0.0.", "10.78.0."}
	install(s, example, m.file("holdfast.yaml"), append(network, "/etc/holdfast/", m.file(""))...)
	install(s, "sentinel.conf", m.file("sentinel.conf"), append(network, "/var/lib/sentinel", m.file("sentinel"))...)
	data := append(network, "/var/lib/redis", m.file("redis"))
	if h != s.lan.Nodes[0] {
		data = append(data, "#replicaof", "replicaof")
	}
	install(s, "redis.conf", m.file("redis.conf"), data...)
	install(s, "holdfast.service", m.file("holdfast.service"), "/usr/local/bin/holdfast", program, "/etc/holdfast/", m.file(""))
	text, err := os.ReadFile(m.file("holdfast.yaml"))
	s.must(err)
	s.must(os.WriteFile(m.file("holdfast.yaml"), []byte(string(text)+strings.Join(more, "\n")), 0o644))
	s.must(os.WriteFile(m.file("redis-password"), []byte(password+"\n"), 0o644))
	return m
}

// file is one in the machine's directory; "" is the directory with its slash.
func (m *machine) file(name string) string {
	if name == "" {
		return m.dir + "/"
	}
	return filepath.Join(m.dir, name)
}

func (m *machine) startRedis() {
	m.s.Helper()
	m.redis = m.Start(m.s, exec.Command("redis-server", m.file("redis.conf")))
	m.redis.Await(m.s, "Ready to accept connections")
}

func (m *machine) startSentinel() {
	m.s.Helper()
	m.sentinel = m.Start(m.s, exec.Command("redis-server", m.file("sentinel.conf"), "--sentinel"))
	m.sentinel.Await(m.s, "Sentinel ID is")
}

// capabilities that may stand in the unit.
var capabilities = map[string]uintptr{
	"CAP_NET_ADMIN": unix.CAP_NET_ADMIN, "CAP_NET_RAW": unix.CAP_NET_RAW, "CAP_SYS_NICE": unix.CAP_SYS_NICE,
}

// startHoldfast does what systemd would: it runs what the unit says, as a user that
// is not root, with the capabilities that the unit gives and no others.
func (m *machine) startHoldfast() {
	m.s.Helper()
	unit := make(map[string][]string)
	text, err := os.ReadFile(m.file("holdfast.service"))
	m.s.must(err)
	for line := range strings.Lines(string(text)) {
		key, value, _ := strings.Cut(line, "=")
		unit[key] = strings.Fields(value)
	}
	command := unit["ExecStart"]
	if len(command) == 0 || len(unit["User"]) == 0 {
		m.s.Fatal("the unit has no ExecStart, or runs it as root")
	}
	cmd := exec.Command(command[0], command[1:]...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	for _, name := range unit["AmbientCapabilities"] {
		cmd.SysProcAttr.AmbientCaps = append(cmd.SysProcAttr.AmbientCaps, capabilities[name])
	}
	m.holdfast = m.Start(m.s, cmd)
	m.holdfast.Await(m.s, "adverts are sent and received")
}

// kill ends a program as a crash does.
func kill(p **lan.Process) {
	(*p).Kill()
	*p = nil
}

// die is the machine losing its power.
func (m *machine) die() {
	m.s.Helper()
	m.Unplug(m.s)
	for _, p := range []**lan.Process{&m.holdfast, &m.redis, &m.sentinel} {
		if *p != nil {
			kill(p)
		}
	}
}

// boot is the machine coming back.
func (m *machine) boot() {
	m.s.Helper()
	m.Plug(m.s)
	m.startRedis()
	m.startSentinel()
	m.startHoldfast()
}

// isolate cuts the machine off from all others, without its noticing.
func (m *machine) isolate() { m.s.Helper(); m.Partition(m.s); m.cut = true }

// rejoin ends isolate.
func (m *machine) rejoin() { m.s.Helper(); m.Heal(m.s); m.cut = false }

// ask sends one command to a server on the machine itself.
func (m *machine) ask(port int, password string, command ...any) *redis.Cmd {
	c := redis.NewClient(&redis.Options{
		Addr: net.JoinHostPort(m.Addr.String(), fmt.Sprint(port)), Dialer: m.Dial, Password: password, Protocol: 2,
		MaxRetries: -1, DialTimeout: time.Second, ReadTimeout: time.Second,
	})
	defer c.Close()
	return c.Do(m.s.Context(), command...)
}

// replication is the section of that name of the machine's Redis.
func (m *machine) replication() (string, error) {
	return m.ask(6380, password, "INFO", "replication").Text()
}

func (m *machine) hasReplicas(n int) error {
	info, err := m.replication()
	if err == nil && strings.Count(info, "state=online") != n {
		err = errors.New(info)
	}
	return err
}

func (m *machine) isMaster() error { return m.role("role:master") }

// follows says whether the machine's Redis is a replica of another's, and up to
// date.
func (m *machine) follows(master *machine) error {
	return m.role("role:slave", "master_host:"+master.Addr.String()+"\r", "master_link_status:up")
}

func (m *machine) role(words ...string) error {
	info, err := m.replication()
	for _, word := range words {
		if err == nil && !strings.Contains(info, word) {
			err = errors.New(info)
		}
	}
	return err
}

// names is whom the machine's Sentinel names as the master.
func (m *machine) names() (ip string, err error) {
	said, err := m.ask(26379, "", "SENTINEL", "GET-MASTER-ADDR-BY-NAME", "mymaster").StringSlice()
	if err != nil || len(said) != 2 {
		return "", fmt.Errorf("Sentinel of %s: %v, %w", m.Name, said, err)
	}
	return said[0], nil
}

// knows says whether the machine's Sentinel has found so many replicas and others of
// its kind.
func (m *machine) knows(replicas, sentinels int) error {
	said, err := m.ask(26379, "", "INFO", "sentinel").Text()
	want := fmt.Sprintf("status=ok,address=10.78.0.11:6380,slaves=%d,sentinels=%d", replicas, sentinels+1)
	if err == nil && !strings.Contains(said, want) {
		err = fmt.Errorf("want %s: %s", want, said)
	}
	return err
}

// status asks the machine's holdfast.
func (m *machine) status() (st health.Status, err error) {
	client := http.Client{Transport: &http.Transport{DialContext: m.Dial, DisableKeepAlives: true}, Timeout: 2 * time.Second}
	answer, err := client.Get("http://127.0.0.1:9121/status")
	if err != nil {
		return st, err
	}
	defer answer.Body.Close()
	err = json.NewDecoder(answer.Body).Decode(&st)
	if err == nil && len(st.Routers) != 1 {
		err = fmt.Errorf("there are %d routers", len(st.Routers))
	}
	return st, err
}

// ready says whether the machine's holdfast serves, and could own the address.
func (m *machine) ready() error {
	st, err := m.status()
	if err == nil && (!st.Ready || st.Routers[0].State != "master" && st.Routers[0].State != "backup") {
		err = fmt.Errorf("%q, %+v", st.NotReady, st.Routers[0])
	}
	return err
}

// Every example is a configuration without a fault.
func TestExamplesAreFine(t *testing.T) {
	if testing.Short() {
		t.Skip("builds holdfast")
	}
	s := &site{T: t}
	for _, example := range []string{"two-nodes.yaml", "three-nodes.yaml"} {
		dir := t.TempDir() + "/"
		install(s, example, dir+"holdfast.yaml", "/etc/holdfast/", dir)
		s.must(os.WriteFile(dir+"redis-password", []byte(password), 0o600))
		out, err := exec.Command(program, "check", "-c", dir+"holdfast.yaml").CombinedOutput()
		if err != nil || !strings.Contains(string(out), "is fine") {
			t.Errorf("%s: %v: %s", example, err, out)
		}
	}
}
