package sentinel

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"holdfast/config"
)

// FuzzMachine throws any sequence of inputs at a machine and holds it to what
// must be true whatever anybody says. The judge keeps books of its own.
func FuzzMachine(f *testing.F) {
	for seed := range uint64(8) {
		f.Add(script(seed, 300))
	}
	f.Fuzz(func(t *testing.T, data []byte) { playBytes(t, data) })
}

// TestMachineProperties is the same without a fuzzer, on many random sequences.
func TestMachineProperties(t *testing.T) {
	runs := uint64(3000)
	if testing.Short() {
		runs = 300
	}
	for seed := range runs {
		playBytes(t, script(seed, 400))
		if t.Failed() {
			t.Fatalf("seed %d", seed)
		}
	}
}

func script(seed uint64, n int) []byte {
	r := rand.New(rand.NewPCG(seed, 7))
	data := make([]byte, n)
	for i := range data {
		data[i] = byte(r.Uint32())
	}
	return data
}

// choices are bytes to choose by, and zeros when they are used up.
type choices []byte

func (b *choices) upTo(n int) int {
	if len(*b) == 0 {
		return 0
	}
	c := int((*b)[0]) % n
	*b = (*b)[1:]
	return c
}

// judge knows what was put in and checks what comes out.
type judge struct {
	t         *testing.T
	m         *machine
	now       time.Time
	sentinels int
	order     order
	owing     map[string]bool   // whose answer is overdue
	usual     map[string]int    // of each node, the most replicas that it ever had
	said      map[string]report // the last of each Sentinel
	proved    map[string]proof  // the last of each node
	left      map[string]uint64 // masters that were left, and for which epoch
	demoted   map[string]bool   // of those, the ones since seen as replicas of a master
	top       uint64            // the newest epoch served
	last      View
	log       []string
}

func nodeAddr(i int) string { return fmt.Sprintf("10.0.0.%d:6379", i+1) }

func playBytes(t *testing.T, data []byte) {
	b := choices(data)
	j := &judge{
		t: t, now: time.Unix(1e9, 0), sentinels: 1 + b.upTo(5),
		owing: make(map[string]bool), usual: make(map[string]int),
		said: make(map[string]report), proved: make(map[string]proof),
		left: make(map[string]uint64), demoted: make(map[string]bool),
	}
	r := rules{
		release: config.Confirmed, fenceTimeout: 2 * time.Second, requireQuorum: b.upTo(4) == 0,
		pollInterval: time.Second, timeout: time.Second,
	}
	if b.upTo(2) == 0 {
		r.release = config.Promoted
	}
	r.demote = b.upTo(2) == 0
	j.m = newMachine("mymaster", r, j.now)
	j.last = j.m.view
	var members []member
	for i := range j.sentinels {
		members = append(members, member{addr: fmt.Sprintf("s%d", i)})
	}
	j.m.enlist(j.now, members)
	for len(b) > 0 && !t.Failed() {
		j.now = j.now.Add([]time.Duration{0, 1, 5, 50, 300, 900, 2500, 6000}[b.upTo(8)] * time.Millisecond)
		j.input(&b)
		j.check()
	}
	if t.Failed() {
		for _, line := range j.log[max(0, len(j.log)-40):] {
			t.Log(line)
		}
	}
}

// input makes one input of some bytes. Most of what Sentinels say is sensible, so
// that the machine gets somewhere.
func (j *judge) input(b *choices) {
	id := fmt.Sprintf("s%d", b.upTo(j.sentinels))
	node := nodeAddr(b.upTo(3))
	switch b.upTo(10) {
	case 9:
		o := order{}
		if b.upTo(2) == 0 {
			o = order{addr: j.m.addr, ends: j.now.Add(time.Second)}
		}
		j.order = o
		j.note("order %+v", o)
		j.m.obey(j.now, o)
	case 8:
		j.owing[id] = true
		j.note("%s is overdue", id)
		j.m.miss(j.now, id, j.now)
	case 0, 1, 2:
		j.report(b, id, node)
	case 3, 4:
		j.probe(b)
	case 5, 6:
		kinds := []string{
			"+new-epoch", "+try-failover", "+elected-leader", "+selected-slave", "+promoted-slave",
			"+switch-master", "-failover-abort-no-good-slave", "+sdown", subscribed, "+failover-state-wait-promotion",
		}
		e := event{via: id, id: id, heard: j.now, kind: kinds[b.upTo(len(kinds))], about: "slave", node: node, name: "mymaster"}
		if e.kind == "+new-epoch" {
			e.epoch = j.m.epoch + uint64(b.upTo(3))
		}
		delete(j.owing, id)
		if e.aborts() {
			j.order = order{}
		}
		j.note("event %s %s %s %d", id, e.kind, node, e.epoch)
		j.m.hear(j.now, e)
		if trying := j.m.witnesses[id].trying; decisive(e.stage()) && !j.m.rules.early(e.stage()) && e.node != j.m.addr && (trying == 0 || trying > j.m.epoch) {
			if j.m.view.Serving() {
				j.t.Errorf("serves through %s", e.kind)
			}
		}
	case 7:
		if d, at := j.m.demotion(); d.old != "" && !at.After(j.now) {
			out := demoted{demotion: d, told: b.upTo(2) == 0}
			if !out.told && b.upTo(2) == 0 {
				out.err = errors.New("refused")
			}
			j.note("told %+v", out)
			j.m.told(j.now, out)
			return
		}
		j.note("doubt")
		j.m.doubt(j.now, j.m.view.Seq)
		j.m.tick(j.now)
	}
}

func (j *judge) report(b *choices, id, node string) {
	epoch := j.m.epoch + uint64(b.upTo(3))
	if b.upTo(4) == 0 {
		epoch = uint64(b.upTo(4))
	}
	r := report{via: id, id: id, asked: j.now.Add(-time.Millisecond), heard: j.now, addr: node, epoch: epoch, quorum: 1 + b.upTo(3), flags: "master"}
	r.stage = []string{"", "", "", "wait_start", "wait_promotion", "reconf_slaves"}[b.upTo(6)]
	if b.upTo(5) == 0 {
		r.flags = "master,s_down"
	}
	r.unknown = b.upTo(20) == 1
	r.tilt = b.upTo(10) == 1
	for i := range 3 {
		s := Replica{Address: nodeAddr(i), Role: "slave", Flags: "slave"}
		switch b.upTo(4) {
		case 0:
			s.Master = node
		case 1:
			s.Role = "master"
		case 2:
			s.Flags = "slave,promoted"
		}
		if s.Address != node {
			r.replicas = append(r.replicas, s)
		}
	}
	j.said[id] = r
	delete(j.owing, id)
	if !r.unknown {
		for _, s := range r.replicas {
			if e, ok := j.left[s.Address]; ok && r.epoch >= e && s.Role == "slave" && s.Master == r.addr {
				j.demoted[s.Address] = true
			}
		}
	}
	j.note("report %+v", r)
	j.m.report(j.now, r)
}

// probe answers the probe that the machine wants, or one that it does not.
func (j *judge) probe(b *choices) {
	addr, _ := j.m.probe()
	if addr == "" || b.upTo(6) == 0 {
		addr = nodeAddr(b.upTo(3))
	}
	v := []verdict{isMaster, isMaster, isMaster, isReplica, isLoading, isLocked, isMute, isSilent, isGone}[b.upTo(9)]
	p := proof{addr: addr, asked: j.now.Add(-time.Millisecond), heard: j.now, verdict: v, why: v.String(), attached: b.upTo(3)}
	p.prompt = b.upTo(p.attached + 1)
	j.usual[addr] = max(j.usual[addr], p.attached)
	if v == isMaster {
		p.runID = fmt.Sprint("run", b.upTo(2))
	}
	j.proved[addr] = p
	j.note("probe %s %s", addr, v)
	j.m.prove(j.now, p)
}

func (j *judge) note(format string, args ...any) {
	j.log = append(j.log, fmt.Sprintf("%8d %s -> ", j.now.Sub(time.Unix(1e9, 0)).Milliseconds(), fmt.Sprintf(format, args...)))
}

// votes counts the Sentinels in sight that name addr; under this epoch, or under
// any (any).
func (j *judge) votes(addr string, epoch uint64, anyEpoch bool) (n, known int) {
	known = j.sentinels
	for _, r := range j.said {
		if r.unknown {
			known--
			continue
		}
		inSight := j.now.Sub(r.heard) < j.m.rules.sight()
		if inSight && r.addr == addr && (anyEpoch || r.epoch == epoch) {
			n++
		}
	}
	return n, known
}

func (j *judge) check() {
	v := j.m.view
	last := j.last
	j.last = v
	j.log[len(j.log)-1] += fmt.Sprintf("%d %s %s epoch %d proven %v: %s", v.Seq, v.State, v.Master, v.Epoch, v.Proven, v.Reason)
	if v.sameAs(&last) != (v.Seq == last.Seq) || v.Seq > last.Seq+1 || v.Seq < last.Seq {
		j.t.Errorf("View %d after %d: %+v after %+v", v.Seq, last.Seq, v, last)
	}
	if last.Master != "" && v.Master != last.Master {
		j.left[last.Master] = v.Epoch
		delete(j.demoted, last.Master)
	}
	if n, known := j.votes(v.Master, 0, true); n > known/2 {
		delete(j.left, v.Master) // a majority took us back
	}
	if v.State == Fenced && last.State != Fenced && j.m.fence() == nil && j.m.ordered() == "" && v.Master == last.Master {
		j.checkCutOff(v)
	}
	if d, _ := j.m.demotion(); d.old != "" {
		j.checkDemotion(d, v)
	}
	if v.Serving() && v.Master == j.order.addr && j.now.Before(j.order.ends) {
		j.t.Errorf("serves %s, which is to be switched over until %v", v.Master, j.order.ends)
	}
	if v.State == Fenced && last.State != Fenced && v.Reason == j.m.ordered() && (j.order.addr != v.Master || j.now.After(j.order.ends)) {
		j.t.Errorf("fenced by no order: %+v", j.order)
	}
	if v.State == Serving {
		j.checkServing(v, last)
	}
}

// checkCutOff: neither silent Sentinels nor missing replicas are a reason alone.
func (j *judge) checkCutOff(v View) {
	known, prompt, quorum := 0, 0, 0
	for id, r := range j.said {
		if r.unknown {
			continue
		}
		known++
		quorum = max(quorum, r.quorum)
		if !j.owing[id] && j.now.Sub(r.heard) < j.m.rules.sight() {
			prompt++
		}
	}
	for i := range j.sentinels { // not heard yet
		if _, ok := j.said[fmt.Sprintf("s%d", i)]; !ok {
			known++
		}
	}
	if prompt >= max(quorum, known/2+1) {
		j.t.Errorf("cut off with %d of %d Sentinels that answer: %s", prompt, known, v.Reason)
	}
	if p := j.proved[v.Master]; !j.m.rules.requireQuorum && p.verdict == isMaster && p.prompt*2 >= max(j.usual[v.Master], 2) {
		j.t.Errorf("cut off with %d replicas that keep the pace: %s", p.prompt, v.Reason)
	}
}

// checkDemotion: nobody is told anything who may be the master, or while anybody
// thinks so.
func (j *judge) checkDemotion(d demotion, v View) {
	if v.State != Serving || !v.Proven || d.old == v.Master {
		j.t.Errorf("demotes %s while the View is %+v", d.old, v)
	}
	for id, r := range j.said {
		if !r.unknown && j.now.Sub(r.heard) < j.m.rules.sight() && !r.names(configuration{v.Master, v.Epoch}) {
			j.t.Errorf("demotes %s while %s names %s under epoch %d", d.old, id, r.addr, r.epoch)
		}
	}
	if named, known := j.votes(v.Master, v.Epoch, false); named <= known/2 {
		j.t.Errorf("demotes %s with %d of %d Sentinels", d.old, named, known)
	}
}

func (j *judge) checkServing(v, last View) {
	p := j.proved[v.Master]
	if v.Proven && p.verdict == isLocked || v.Proven && v.RunID == "" {
		j.t.Errorf("proven by nothing: %+v", p)
	}
	if last.State != Serving || last.Master != v.Master {
		if p.verdict != isMaster && p.verdict != isLocked || j.now.Sub(p.heard) > proofLife {
			j.t.Errorf("begins to serve on a proof that is none: %+v", p)
		}
	}
	if p.verdict == isReplica || p.verdict == isGone || p.verdict == isLoading {
		j.t.Errorf("serves a master that said: %s", p.verdict)
	}
	named, known := j.votes(v.Master, v.Epoch, true)
	exactly, _ := j.votes(v.Master, v.Epoch, false)
	majority := known/2 + 1
	if v.Epoch < j.top && v.Epoch != last.Epoch && named < majority {
		j.t.Errorf("epoch %d after %d with %d of %d votes", v.Epoch, j.top, named, known)
	}
	j.top = v.Epoch
	if e, ok := j.left[v.Master]; ok {
		if v.Epoch <= e || !j.demoted[v.Master] {
			j.t.Errorf("back to %s, left for epoch %d, demoted %v, under epoch %d with %d of %d votes",
				v.Master, e, j.demoted[v.Master], v.Epoch, named, known)
		}
		delete(j.left, v.Master)
	}
	for _, r := range j.said {
		other, _ := j.votes(r.addr, r.epoch, false)
		if j.now.Equal(r.heard) && !r.unknown && r.epoch == v.Epoch && r.addr != v.Master && exactly < majority && last.Epoch == v.Epoch {
			j.t.Errorf("serves %s with %d votes although %s has %d under the same epoch", v.Master, exactly, r.addr, other)
		}
	}
}
