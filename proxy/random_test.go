package proxy

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"

	"holdfast/config"
	"holdfast/internal/redistest"
	"holdfast/sentinel"
)

// TestRandomFailovers moves the master to and fro while clients say all kinds of
// things. Whatever happens, each command has one answer, in its place, and it is
// one that the contract allows.
func TestRandomFailovers(t *testing.T) {
	rounds := 120
	if testing.Short() {
		rounds = 25
	}
	nodes := []*redistest.Node{realRedis(t), realRedis(t)}
	w := newWorld(t, nodes[0].Addr, func(cfg *config.Config) { cfg.Limits.Loops = 2 })
	stop := make(chan struct{})
	var wg sync.WaitGroup
	speakers := make([]*speaker, 8)
	for i := range speakers {
		k := &speaker{c: w.dial(), r: rand.New(rand.NewPCG(uint64(i), 5)), name: fmt.Sprint("speaker-", i)}
		speakers[i] = k
		wg.Go(func() { k.speak(stop) })
	}
	r := rand.New(rand.NewPCG(7, 7))
	master := 0
	for range rounds {
		progressAny(w, 1+r.IntN(300))
		old, next := nodes[master], nodes[1-master]
		switch r.IntN(5) {
		case 0:
			w.fence()
			w.abort()
		case 1: // there and back, before anybody has arrived
			w.name(next.Addr)
			w.move(old.Addr)
		case 2: // the old master refuses writes before the new one is known
			w.do(old, "REPLICAOF", "127.0.0.1", "1")
			w.believe("doubt", func(v *sentinel.View) bool { return !v.Serving() })
			w.move(next.Addr)
			w.do(old, "REPLICAOF", "NO", "ONE")
			master = 1 - master
		case 3: // it drops its clients
			w.do(old, "CLIENT", "KILL", "TYPE", "normal")
		default:
			w.move(next.Addr)
			master = 1 - master
		}
		if w.conserved(); t.Failed() {
			break
		}
	}
	progressAny(w, 100)
	close(stop)
	wg.Wait()
	for _, k := range speakers {
		if k.wrong != "" {
			t.Errorf("%s: %s", k.name, k.wrong)
		}
	}
	st := w.counters()
	t.Logf("%d answered, %d resent, %v refused", st.Answered, st.Resent, st.Refused)
	if st.Closed["state"]+st.Closed["login"]+st.Closed["slow"] > 0 {
		t.Errorf("clients were cut: %v", st.Closed)
	}
}

func progressAny(w *world, n int) {
	w.t.Helper()
	from := w.counters().Answered
	eventually(w.t, "answers", func() bool { return w.counters().Answered >= from+uint64(n) })
}

// speaker is a client that checks every answer.
type speaker struct {
	c     *client
	r     *rand.Rand
	name  string
	n     int
	resp3 bool
	wrong string
}

// expected is one command and what may be answered to it.
type expected struct {
	cmd string
	is  func(reply string) bool
}

// speak ends when it is told to, or with the first answer that is wrong.
func (k *speaker) speak(stop <-chan struct{}) {
	for k.wrong == "" {
		select {
		case <-stop:
			return
		default:
		}
		var batch []expected
		for range 1 + k.r.IntN(6) {
			batch = append(batch, k.say()...)
		}
		var out strings.Builder
		for _, e := range batch {
			out.WriteString(e.cmd)
		}
		if _, err := k.c.nc.Write([]byte(out.String())); err != nil {
			k.wrong = err.Error()
			return
		}
		for i, e := range batch {
			reply, err := k.c.next()
			if err != nil || !e.is(reply) {
				k.wrong = fmt.Sprintf("%q was answered %q, %v, in %q", cropped(e.cmd), cropped(reply), err, cropped(commandsOf(batch[:i+1])))
				return
			}
		}
	}
}

func commandsOf(batch []expected) (all string) {
	for _, e := range batch[max(0, len(batch)-8):] {
		all += e.cmd
	}
	return all
}

// exactly this, or nothing is known.
func orUncertain(want string) func(string) bool {
	return func(reply string) bool { return reply == want || strings.HasPrefix(reply, "-UNCERTAIN ") }
}

func exactly(want string) func(string) bool {
	return func(reply string) bool { return reply == want }
}

func oneOf(prefixes ...string) func(string) bool {
	return func(reply string) bool {
		for _, p := range prefixes {
			if strings.HasPrefix(reply, p) {
				return true
			}
		}
		return false
	}
}

// say makes up a few commands that belong together. Reads and what concerns only
// the connection are always answered; writes may be uncertain.
func (k *speaker) say() []expected {
	k.n++
	id := fmt.Sprint(k.name, "-", k.n)
	echo := expected{line("ECHO " + id), exactly(bulk(id))}
	switch k.r.IntN(10) {
	case 0:
		return []expected{{line("SET " + k.name + " " + id), orUncertain(ok)}}
	case 1:
		return []expected{{line("SELECT " + fmt.Sprint(k.r.IntN(4))), exactly(ok)}, echo}
	case 2:
		return []expected{{line("CLIENT SETNAME " + id), exactly(ok)}, {line("CLIENT GETNAME"), exactly(bulk(id))}}
	case 3:
		return k.transaction(id)
	case 4:
		return []expected{{line("WATCH " + k.name), exactly(ok)}, {line("UNWATCH"), exactly(ok)}}
	case 5:
		k.resp3 = !k.resp3
		if k.resp3 {
			return []expected{{line("HELLO 3"), oneOf("%7\r\n")}}
		}
		return []expected{{line("HELLO 2"), oneOf("*14\r\n")}}
	case 6:
		large := strings.Repeat("x", 70000)
		return []expected{{string(command("SET", "large", large)), oneOf(ok, "-UNCERTAIN ", "-MASTERDOWN ")}}
	case 7:
		return []expected{{line("BLPOP nothing 0.001"), oneOf("*-1\r\n", "_\r\n", "-UNCERTAIN ")}, echo}
	default:
		return []expected{echo, {line("GET nothing"), oneOf("$-1\r\n", "_\r\n")}}
	}
}

// transaction: when its EXEC was under way what is not answered yet is not known,
// from there to the end. What is answered is of this transaction and of no other.
func (k *speaker) transaction(id string) []expected {
	one, two := id+"-one", id+"-two"
	lost := false
	orLost := func(want string) func(string) bool {
		return func(reply string) bool {
			if strings.HasPrefix(reply, "-UNCERTAIN ") {
				lost = true
				return true
			}
			return reply == want && !lost
		}
	}
	return []expected{
		{line("MULTI"), orLost(ok)},
		{line("ECHO " + one), orLost(queued)},
		{line("SET " + k.name + " " + id), orLost(queued)},
		{line("ECHO " + two), orLost(queued)},
		{line("EXEC"), orLost(array(bulk(one), ok, bulk(two)))},
	}
}
