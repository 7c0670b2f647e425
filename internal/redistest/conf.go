package redistest

import (
	"bufio"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"net"
	"os"
	"strings"
)

// dataConf is the configuration file of a data node; master is "" for the
// master itself. There is a file, and not only arguments, because Sentinel has
// every node rewrite its configuration after a failover: so a restarted old
// master comes back as what it was told to be last, as it does in production.
func (o Options) dataConf(n *Node, master string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%sdir %s\n", listenConf(n), n.dir)
	b.WriteString("protected-mode no\nappendonly no\nsave \"\"\n")
	// With a diskless transfer the stream begins only at the first ACK, up to a
	// second later.
	b.WriteString("repl-diskless-sync no\n")
	if o.Password != "" {
		fmt.Fprintf(&b, "requirepass %q\nmasterauth %q\n", o.Password, o.Password)
	}
	if master != "" {
		fmt.Fprintf(&b, "replicaof %s\n", spaced(master))
	}
	return b.String()
}

// sentinelConf is the configuration file of a Sentinel. With the replicas
// written down, as Sentinel itself would have done, it need not wait for the
// master's INFO, which it asks for every 10 s, to find them.
func (o Options) sentinelConf(n *Node, id, master string, replicas []*Node) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%sdir %s\nprotected-mode no\n", listenConf(n), n.dir)
	if o.SentinelPassword != "" {
		fmt.Fprintf(&b, "requirepass %q\nsentinel sentinel-pass %q\n", o.SentinelPassword, o.SentinelPassword)
	}
	name := o.MasterName
	fmt.Fprintf(&b, "sentinel myid %s\n", id)
	fmt.Fprintf(&b, "sentinel monitor %s %s %d\n", name, spaced(master), o.Quorum)
	fmt.Fprintf(&b, "sentinel down-after-milliseconds %s %d\n", name, o.DownAfter.Milliseconds())
	fmt.Fprintf(&b, "sentinel failover-timeout %s %d\n", name, o.FailoverTimeout.Milliseconds())
	fmt.Fprintf(&b, "sentinel parallel-syncs %s 1\n", name)
	if o.Password != "" {
		fmt.Fprintf(&b, "sentinel auth-pass %s %q\n", name, o.Password)
	}
	for _, r := range replicas {
		fmt.Fprintf(&b, "sentinel known-replica %s %s\n", name, spaced(r.Addr))
	}
	for _, line := range o.SentinelConf {
		fmt.Fprintln(&b, line)
	}
	return b.String()
}

// monitored returns the master that a Sentinel's configuration file names.
func monitored(conf string) (addr string, err error) {
	f, err := os.Open(conf)
	if err != nil {
		return "", err
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		w := strings.Fields(lines.Text())
		if len(w) == 6 && w[0] == "sentinel" && w[1] == "monitor" {
			return net.JoinHostPort(w[3], w[4]), nil
		}
	}
	return "", fmt.Errorf("%s: no line says sentinel monitor", conf)
}

// spaced writes host:port as "host port", as Redis' configuration has it.
func spaced(addr string) string {
	host, port, _ := net.SplitHostPort(addr)
	return host + " " + port
}

// newID makes a run id: 40 hexadecimal digits.
func newID() string {
	var id [20]byte
	rand.Read(id[:]) // never fails
	return hex.EncodeToString(id[:])
}
