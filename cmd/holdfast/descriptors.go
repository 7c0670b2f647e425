package main

import (
	"fmt"
	"syscall"

	"holdfast/config"
)

// besides is how many descriptors there are besides those of clients: health
// connections, Sentinels, probes, upstreams being made, epoll, files.
const besides = 1000

// descriptors warns if not all clients that are allowed find a descriptor: each
// takes one, and its connection to the master another. The soft limit is no
// concern: Go raises it to the hard one when a program starts.
func descriptors(l config.Limits) (warning string) {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return fmt.Sprintf("the limit of open files cannot be read: %v", err)
	}
	need := 2*uint64(l.MaxClients) + besides
	if limit.Cur >= need {
		return ""
	}
	return fmt.Sprintf("limits.max_clients %d needs %d open files and the limit is %d; raise it (ulimit -Hn, LimitNOFILE=) or lower max_clients",
		l.MaxClients, need, limit.Cur)
}
