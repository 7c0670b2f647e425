package proxy

import (
	"sync"

	"holdfast/resp"
)

// scripts remembers the bodies of scripts that clients have given to a master.
// Since Redis 7 the script cache is not replicated, so a new master would answer
// NOSCRIPT to an EVALSHA that worked a moment ago; the bodies are loaded there
// before the first client is. Shared by the loops; only EVAL and SCRIPT LOAD
// come here.
type scripts struct {
	mu    sync.Mutex
	known map[string]struct{}
	order []string // oldest first
	bytes int
}

// What is kept; the oldest goes first.
const (
	maxScripts     = 1000
	maxScriptBytes = 4 << 20
)

// note looks for a body in EVAL body ..., SCRIPT LOAD body; SCRIPT FLUSH
// forgets them all.
func (sc *scripts) note(cmd []byte) {
	var few [8][]byte
	args := resp.Args(few[:0], cmd)
	var body []byte
	switch {
	case len(args) < 2:
	case len(args[0]) == len("eval"):
		body = args[1]
	case len(args) == 3 && is(args[1], "load"):
		body = args[2]
	case is(args[1], "flush"):
		sc.mu.Lock()
		sc.known, sc.order, sc.bytes = nil, nil, 0
		sc.mu.Unlock()
	}
	if len(body) > 0 && len(body) <= maxScriptBytes {
		sc.keep(body)
	}
}

func (sc *scripts) keep(body []byte) {
	sc.mu.Lock()
	defer sc.mu.Unlock()
	if _, ok := sc.known[string(body)]; ok {
		return
	}
	if sc.known == nil {
		sc.known = map[string]struct{}{}
	}
	text := string(body)
	sc.known[text] = struct{}{}
	sc.order = append(sc.order, text)
	sc.bytes += len(text)
	for len(sc.order) > maxScripts || sc.bytes > maxScriptBytes {
		delete(sc.known, sc.order[0])
		sc.bytes -= len(sc.order[0])
		sc.order = sc.order[1:]
	}
}

// load is the replay of all bodies, each answered with its hash.
func (sc *scripts) load() step {
	sc.mu.Lock()
	defer sc.mu.Unlock()
	st := step{soft: true, what: "SCRIPT LOAD", replies: len(sc.order)}
	for _, body := range sc.order {
		st.cmd = append(st.cmd, command("SCRIPT", "LOAD", body)...)
	}
	return st
}
