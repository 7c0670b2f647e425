// Package redistest runs real Redis (or Valkey) clusters with Sentinels, and
// scripted servers for what real ones will not do on command. It is for tests,
// the demo and the benchmarks.
//
// Its invariants: every process it starts is ended by its own pid, at the latest
// by the kernel when this process ends; everything is on loopback, or in network
// namespaces of its own; Stop leaves no process, directory, namespace or
// goroutine behind; nothing waits by sleeping for a fixed time.
package redistest

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"time"
)

// Options describe a cluster. The zero value is one master without Sentinels.
type Options struct {
	Replicas         int           // a cluster is one master and so many replicas
	Sentinels        int           // none: no failover, Master asks the nodes themselves
	MasterName       string        // "": mymaster
	Password         string        // of the data nodes, for clients, replicas and Sentinels alike
	SentinelPassword string        // of the Sentinels, for clients and for each other
	Quorum           int           // 0: the majority of Sentinels
	DownAfter        time.Duration // 0: 1 s. Whole milliseconds.
	FailoverTimeout  time.Duration // 0: 10 s. Whole milliseconds.
	Server           string        // "": $HOLDFAST_REDIS_SERVER, else redis-server or valkey-server in PATH
	Args             []string      // further arguments for the data nodes: "--appendonly", "yes"
	SentinelConf     []string      // further lines for sentinel.conf, after all others
	Namespaces       bool          // each node in a network namespace of its own, for Partition; needs root
}

// withDefaults fills what was left out.
func (o Options) withDefaults() (Options, error) {
	if o.MasterName == "" {
		o.MasterName = "mymaster"
	}
	if o.Quorum == 0 {
		o.Quorum = o.Sentinels/2 + 1
	}
	if o.DownAfter == 0 {
		o.DownAfter = time.Second
	}
	if o.FailoverTimeout == 0 {
		o.FailoverTimeout = 10 * time.Second
	}
	var err error
	o.Server, err = server(o.Server)
	return o, err
}

// errNoServer: none was asked for and none is installed. One that was asked for
// and does not exist is another error, which no test may skip.
var errNoServer = errors.New("neither redis-server nor valkey-server is in PATH")

// server finds the binary to run.
func server(name string) (string, error) {
	if name == "" {
		name = os.Getenv("HOLDFAST_REDIS_SERVER")
	}
	if name != "" {
		path, err := exec.LookPath(name)
		if err != nil {
			return "", fmt.Errorf("redis server: %w", err)
		}
		return path, nil
	}
	for _, name := range []string{"redis-server", "valkey-server"} {
		if path, err := exec.LookPath(name); err == nil {
			return path, nil
		}
	}
	return "", errNoServer
}
