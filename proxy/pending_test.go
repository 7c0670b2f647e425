package proxy

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"testing"
)

// pend makes a queue of plain commands, none of it written.
func pend(commands ...string) *pending {
	p := &pending{}
	for _, c := range commands {
		p.push(entry{kind: kindPlain}, []byte(c))
	}
	return p
}

func TestPendingKeepsTheBytesUntilTheyAreAnswered(t *testing.T) {
	p := pend("one", "two", "three")
	if got := string(p.unsent()); got != "onetwothree" {
		t.Fatalf("to be written: %q", got)
	}
	p.written(5)
	if !p.sentWhole() || string(p.command()) != "one" {
		t.Fatalf("the reply belongs to %q, sent whole %v", p.command(), p.sentWhole())
	}
	p.pop()
	if p.sentWhole() {
		t.Fatal("half a command counts as sent whole: a reply to it cannot come")
	}
	if got := string(p.unsent()); got != "othree" || p.len() != 2 || p.kept() != len("twothree") {
		t.Fatalf("after the first answer: %q, %d left, %d bytes kept", got, p.len(), p.kept())
	}
	p.rewind()
	if got := string(p.unsent()); got != "twothree" {
		t.Fatalf("for another upstream: %q", got)
	}
	p.written(8)
	p.pop()
	p.pop()
	if !p.empty() || p.kept() != 0 || len(p.unsent()) != 0 || p.waiting() != nil {
		t.Fatalf("all is answered, and %d entries and %d bytes are left", p.len(), p.kept())
	}
}

func TestPendingSetAsideLeavesTheOrderAsItIs(t *testing.T) {
	p := pend("one", "two", "three")
	p.written(11)
	p.setAside()
	p.setAside()
	if string(p.command()) != "three" || p.len() != 3 {
		t.Fatalf("the reply belongs to %q", p.command())
	}
	p.setAside()
	if p.waiting() != nil || p.sentWhole() {
		t.Fatal("a reply belongs to a command that has been told its refusal")
	}
	for i, e := range p.q[p.head:] {
		if e.flag&flagAgain == 0 {
			t.Errorf("command %d does not know that it was refused", i)
		}
	}
	p.rewind()
	if string(p.unsent()) != "onetwothree" || string(p.command()) != "one" {
		t.Fatalf("again: %q, the first reply to %q", p.unsent(), p.command())
	}
}

func TestPendingSetAsidePassesOverAnswersOfOurs(t *testing.T) {
	p := pend("one")
	p.push(entry{kind: kindAnswer}, nil)
	p.push(entry{kind: kindSilent}, []byte("silent"))
	p.push(entry{kind: kindPlain}, []byte("two"))
	p.written(p.kept())
	p.setAside()
	if string(p.command()) != "two" {
		t.Fatalf("the next reply belongs to a command of kind %d, %q", p.waiting().kind, p.command())
	}
}

func TestPendingPassesALargeCommandOn(t *testing.T) {
	p := pend("one")
	p.push(entry{kind: kindPlain, flag: flagLarge}, []byte("beginning"))
	p.release() // none of it is written yet
	if string(p.unsent()) != "onebeginning" {
		t.Fatalf("to be written: %q", p.unsent())
	}
	p.written(7)
	p.release()
	if string(p.unsent()) != "nning" || p.kept() != len("onenning") {
		t.Fatalf("to be written: %q, kept %d", p.unsent(), p.kept())
	}
	p.written(5)
	p.release()
	p.grow([]byte("middle"))
	if string(p.unsent()) != "middle" || p.kept() != len("onemiddle") || p.len() != 2 {
		t.Fatalf("to be written: %q, kept %d, %d commands", p.unsent(), p.kept(), p.len())
	}
	p.written(6)
	p.release()
	p.pop()
	if !p.sentWhole() || len(p.command()) != 0 {
		t.Fatalf("the large command is not sent whole, or was kept: %q", p.command())
	}
}

func TestPendingForgetsOrdinaryCommandsOnly(t *testing.T) {
	p := pend("plain1")
	p.push(entry{kind: kindSelect}, []byte("select"))
	p.push(entry{kind: kindPlain, flag: flagAgain}, []byte("refused"))
	p.push(entry{kind: kindPlain}, []byte("plain2"))
	p.push(entry{kind: kindPlain}, []byte("unsent"))
	p.written(6 + 6 + 7 + 6 + 2)
	p.forget()
	if string(p.log[p.off:]) != "selectrefusedunsent" || string(p.unsent()) != "sent" {
		t.Fatalf("kept %q, to be written %q", p.log[p.off:], p.unsent())
	}
	p.pop()
	if string(p.command()) != "select" {
		t.Fatalf("the next reply belongs to %q", p.command())
	}
}

func TestPendingDropsAPartOfACommand(t *testing.T) {
	p := pend("one")
	p.push(entry{kind: kindPlain, flag: flagLarge}, []byte("beginning"))
	p.written(6)
	p.release()
	p.drop()
	if p.len() != 1 || p.kept() != 3 || len(p.unsent()) != 0 || !p.sentWhole() {
		t.Fatalf("%d commands, %d bytes kept, %q to be written", p.len(), p.kept(), p.unsent())
	}
}

func TestPendingDueCountsNothingOfOurs(t *testing.T) {
	p := pend("one", "two")
	p.push(entry{kind: kindProve}, []byte("hello"))
	p.push(entry{kind: kindAnswer}, nil)
	if p.due() != 3 {
		t.Fatalf("%d commands of the client's are due, not 3", p.due())
	}
}

// naive does what pending does, with a slice for each command.
type naive struct {
	q    []naiveEntry
	sent int // of what is kept, from the first byte on
	pair int
}

type naiveEntry struct {
	cmd  []byte
	kind kind
	flag flag
}

func (n *naive) log() (all []byte) {
	for _, e := range n.q {
		all = append(all, e.cmd...)
	}
	return all
}

// before is where entry i begins in log.
func (n *naive) before(i int) (at int) {
	for _, e := range n.q[:i] {
		at += len(e.cmd)
	}
	return at
}

func (n *naive) pop() {
	n.sent = max(0, n.sent-len(n.q[0].cmd))
	n.q = n.q[1:]
	n.pair = 0
}

func (n *naive) release() {
	last := len(n.q) - 1
	begin := n.before(last)
	if n.sent <= begin {
		return
	}
	n.q[last].cmd = n.q[last].cmd[n.sent-begin:]
	n.sent = begin
}

func (n *naive) forget() {
	for i := range n.q {
		e := &n.q[i]
		begin := n.before(i)
		if begin+len(e.cmd) <= n.sent && !e.kind.stateful() && e.flag&flagAgain == 0 {
			n.sent -= len(e.cmd)
			e.cmd = nil
		}
	}
}

func (n *naive) due() (due int) {
	for _, e := range n.q {
		if e.kind != kindProve {
			due++
		}
	}
	return due
}

// TestPendingDoesWhatTheNaiveOneDoes drives both with the same random steps.
func TestPendingDoesWhatTheNaiveOneDoes(t *testing.T) {
	for seed := range uint64(150) {
		r := rand.New(rand.NewPCG(seed, 1))
		p, n := &pending{}, &naive{}
		var trace []string
		for step := range 400 {
			trace = append(trace, pendingStep(r, p, n, step))
			if diff := pendingDiff(p, n); diff != "" {
				t.Fatalf("seed %d, step %d: %s\nafter %v", seed, step, diff, trace[max(0, len(trace)-30):])
			}
		}
	}
}

// replied says whether a reply of the server's can belong to such a command.
func replied(k kind) bool { return k != kindSilent && k != kindAnswer }

func pendingStep(r *rand.Rand, p *pending, n *naive, step int) string {
	last := len(n.q) - 1
	large := last >= 0 && n.q[last].flag&flagLarge != 0
	switch op := r.IntN(12); {
	case op < 4:
		kinds := []kind{kindPlain, kindPlain, kindPlain, kindSelect, kindAnswer, kindProve, kindSilent}
		e := entry{kind: kinds[r.IntN(len(kinds))]}
		cmd := bytes.Repeat([]byte{'a' + byte(step%26)}, 1+r.IntN(40))
		if e.kind == kindAnswer {
			cmd = nil
		}
		if e.kind == kindPlain && r.IntN(6) == 0 {
			e.flag = flagLarge
		}
		p.push(e, cmd)
		n.q = append(n.q, naiveEntry{cmd: bytes.Clone(cmd), kind: e.kind, flag: e.flag})
		return fmt.Sprintf("push(%d,%d bytes)", e.kind, len(cmd))
	case op == 4 && large:
		more := bytes.Repeat([]byte{'A' + byte(step%26)}, r.IntN(60))
		p.grow(more)
		n.q[last].cmd = append(n.q[last].cmd, more...)
		return fmt.Sprintf("grow(%d)", len(more))
	case op == 5 && large:
		p.release()
		n.release()
		return "release"
	case op == 6 && n.pair < len(n.q) && replied(n.q[n.pair].kind):
		p.setAside()
		n.q[n.pair].flag |= flagAgain
		for n.pair++; n.pair < len(n.q) && !replied(n.q[n.pair].kind); n.pair++ {
		}
		return "setAside"
	case op == 7 && r.IntN(4) == 0:
		p.forget()
		n.forget()
		return "forget"
	case op == 8 && r.IntN(8) == 0:
		p.rewind()
		n.sent, n.pair = 0, 0
		return "rewind"
	case op > 8 && len(n.q) > 0 && n.pair == 0:
		p.pop()
		n.pop()
		return "pop"
	}
	k := r.IntN(len(n.log()) - n.sent + 1)
	p.written(k)
	n.sent += k
	return fmt.Sprintf("written(%d)", k)
}

func pendingDiff(p *pending, n *naive) string {
	log := n.log()
	switch {
	case p.len() != len(n.q) || p.empty() != (len(n.q) == 0):
		return fmt.Sprintf("%d entries, not %d", p.len(), len(n.q))
	case p.kept() != len(log):
		return fmt.Sprintf("%d bytes kept, not %d", p.kept(), len(log))
	case !bytes.Equal(p.unsent(), log[n.sent:]):
		return fmt.Sprintf("to be written %q, not %q", p.unsent(), log[n.sent:])
	case p.due() != n.due():
		return fmt.Sprintf("%d due, not %d", p.due(), n.due())
	case (p.waiting() == nil) != (n.pair == len(n.q)):
		return fmt.Sprintf("waiting %v with %d of %d set aside", p.waiting(), n.pair, len(n.q))
	case p.ours() != (len(n.q) > 0 && n.pair == 0 && n.q[0].kind == kindAnswer):
		return fmt.Sprintf("ours %v", p.ours())
	case p.waiting() == nil:
		return ""
	}
	e := n.q[n.pair]
	whole := n.before(n.pair)+len(e.cmd) <= n.sent
	switch {
	case !bytes.Equal(p.command(), e.cmd):
		return fmt.Sprintf("the reply belongs to %q, not %q", p.command(), e.cmd)
	case p.waiting().kind != e.kind || p.waiting().flag != e.flag:
		return fmt.Sprintf("the reply belongs to kind %d flags %b, not %d %b", p.waiting().kind, p.waiting().flag, e.kind, e.flag)
	case p.sentWhole() != whole:
		return fmt.Sprintf("sent whole %v, not %v", p.sentWhole(), whole)
	}
	return ""
}
