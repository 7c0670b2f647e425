package redistest

import (
	"fmt"
	"math/rand/v2"
	"net"
	"sync/atomic"
)

// Ports are taken below Linux' ephemeral range (32768 and up), so that no
// outgoing connection of anybody sits on the port of a node that is down.
const (
	lowestPort = 10000
	portCount  = 22000
)

// nextPort goes round the ports, from a random one on: so two processes seldom
// meet, and within one no port is given to two nodes that have not started yet.
var nextPort atomic.Uint32

func init() { nextPort.Store(rand.Uint32N(portCount)) }

// FreePort returns a TCP port of 127.0.0.1 that nobody listens on and that this
// process was not given lately. Another process may take it before its use.
func FreePort() (int, error) {
	for range portCount {
		port := lowestPort + int(nextPort.Add(1)%portCount)
		l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
		if err == nil {
			return port, l.Close()
		}
	}
	return 0, fmt.Errorf("no free loopback port from %d to %d", lowestPort, lowestPort+portCount-1)
}
